//! More concurrent connections and commands than a server allows.

use std::net::TcpStream;

use super::*;

/// Opens all unauthenticated connections that a server with `MaxStartups 2` allows.
fn hold(farm: &Farm, server: &str) -> [TcpStream; 2] {
    use std::io::Read as _;
    [(); 2].map(|()| {
        let mut held = TcpStream::connect(("127.0.0.1", farm.port(server))).unwrap();
        // The server counts the connection before it sends its banner.
        held.read_exact(&mut [0; 4]).unwrap();
        held
    })
}

fn has_refused(farm: &Farm, server: &str) -> bool {
    let log = fs::read_to_string(farm.path().join(server).join("log")).unwrap();
    log.contains("MaxStartups")
}

#[test]
fn a_server_that_lets_few_log_in_at_once() {
    let farm = Farm::with("alpha-0", "MaxStartups 2");
    block_on(async {
        let held = hold(&farm, "alpha-0");
        let transports: Vec<_> = (0..12).map(|_| farm.transport("alpha-0")).collect();
        let one = line("echo in");
        let running = transports
            .iter()
            .map(|transport| transport.exec(&one, "", None));
        let running: Vec<_> = running.collect();
        eventually("a connection is refused", || has_refused(&farm, "alpha-0")).await;
        drop(held);
        for running in running {
            assert_eq!(finish(running).await.unwrap().text(), "in\n");
        }
    });
}

#[test]
fn an_overloaded_server_has_its_own_hint() {
    let farm = Farm::with("alpha-0", "MaxStartups 2");
    let _held = hold(&farm, "alpha-0");
    let reach = SshReach {
        connect_timeout: Some(Duration::from_secs(1)),
        ..farm.reach("alpha-0")
    };
    let transport = connect::connect("alpha-0", &Reach::Ssh(reach));
    let error = block_on(async { lost(&*transport, "true").await });
    let text = error.to_string();
    assert!(
        text.contains("attempts within 1s") && text.contains("`alpha-0`"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("`MaxStartups`"), "{error}");
}

#[test]
fn a_server_without_a_banner_is_not_overloaded() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reach = SshReach {
        host: "127.0.0.1".to_owned(),
        port: Some(silent.local_addr().unwrap().port()),
        connect_timeout: Some(Duration::from_millis(500)),
        ..SshReach::default()
    };
    let transport = connect::connect("alpha-0", &Reach::Ssh(reach));
    let error = block_on(async { lost(&*transport, "true").await });
    let text = error.to_string();
    assert!(text.ends_with("no SSH banner within 500ms"), "{text}");
    let hint = error.hint().unwrap();
    assert!(
        hint.starts_with("check that an SSH server is listening"),
        "{hint}"
    );
}

/// The jump host refuses `ssh -W`, or the server behind the jump host refuses the connection.
#[test]
fn jump_hosts_that_let_few_log_in_at_once() {
    if inner().is_some() {
        return block_on(async {
            let transports: Vec<_> = (0..6).map(|_| config::alias("jumped")).collect();
            let one = line("echo $TARGET_IDENTITY");
            let running = transports
                .iter()
                .map(|transport| transport.exec(&one, "", None));
            let running: Vec<_> = running.collect();
            for running in running {
                assert_eq!(finish(running).await.unwrap().text(), "behind-0\n");
            }
        });
    }
    let farm = Farm::with("jump-0 behind-0", "MaxStartups 2");
    let to = config::to(&farm, "behind-0");
    let config = format!("Host jumped\n{to}ProxyJump jump-0\nConnectTimeout 30\n");
    config::again_with(
        &farm,
        &config,
        &[],
        "crowd::jump_hosts_that_let_few_log_in_at_once",
    );
    assert!(has_refused(&farm, "jump-0"));
}

/// Killing a command needs a channel, for which another session is opened.
#[test]
fn a_command_is_killed_without_a_free_channel() {
    for sessions in [1, 2] {
        let farm = Farm::with("alpha-0", &format!("MaxSessions {sessions}"));
        block_on(async {
            let transport = farm.transport("alpha-0");
            let mut others = Vec::new();
            for _ in 1..sessions {
                let mut other = transport.exec(&line("echo $$; sleep 1000"), "", None);
                first_line(&mut other).await;
                others.push(other);
            }
            let mut command = line("echo $$; sleep 1000");
            command.timeout = Some(500);
            let mut running = transport.exec(&command, "", None);
            let pid: u32 = first_line(&mut running).await.parse().unwrap();
            let error = finish(running).await.unwrap_err();
            assert_eq!(error.kind(), cargo_target_test::ErrorKind::Timeout);
            assert!(
                !error.to_string().contains("not confirmed"),
                "{sessions}: {error}"
            );
            eventually("the command is gone", || !is_alive(pid)).await;
        });
    }
}

/// A command must not wait for endless commands that use all channels of a connection.
#[test]
fn few_channels_and_commands_that_never_end() {
    let farm = Farm::with("alpha-0", "MaxSessions 2");
    block_on(async {
        let transport = farm.transport("alpha-0");
        let endless: Vec<_> = (0..5)
            .map(|_| transport.exec(&line("sleep 1000"), "", None))
            .collect();
        for _ in 0..3 {
            assert_eq!(run(&*transport, "echo through").await.text(), "through\n");
        }
        drop(endless);
    });
}
