//! Timeouts, dropped commands, dead servers, and silent servers.

use std::net::TcpListener;

use cargo_target_test::ErrorKind;

use super::*;

/// Part of the error of a connection that received no data for too long.
pub(super) const SILENT: &str = "no data received for";

#[test]
fn a_timeout_kills_the_whole_group() {
    block_on(on_each(async |transport, _| {
        let mut command = line("sleep 1000 & echo $!; sleep 1000 & echo $$; wait");
        command.timeout = Some(300);
        let mut running = transport.exec(&command, "", None);
        let mut text = String::new();
        let error = loop {
            match running.events.recv().await.unwrap() {
                CommandEvent::Output(_, bytes) => text.push_str(str::from_utf8(&bytes).unwrap()),
                CommandEvent::Exited(exit) => panic!("{exit:?}"),
                CommandEvent::Lost(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("300ms"), "{error}");
        let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2);
        eventually("the group is gone", || {
            pids.iter().all(|pid| !is_alive(*pid))
        })
        .await;
        assert_eq!(run(&*transport, "echo usable").await.text(), "usable\n");
    }));
}

#[test]
fn dropping_the_handle_kills() {
    block_on(on_each(async |transport, _| {
        let mut running = transport.exec(&line("echo $$; sleep 1000"), "", None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        assert!(is_alive(pid));
        drop(running);
        eventually("the command is gone", || !is_alive(pid)).await;
    }));
}

#[test]
fn a_server_killed_during_a_command_loses_it_at_once() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        let transport = farm.transport("alpha-0");
        let mut running = transport.exec(&line("echo $$; sleep 1000"), "", None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        for pid in farm.sessions("alpha-0") {
            signal(pid, "-KILL");
        }
        let error = finish(running).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Infra);
        let text = error.to_string();
        assert!(text.contains("`alpha-0`"), "{text}");
        assert!(!text.contains(SILENT), "it was waited for: {text}");
        kill_group(pid);
        // The next command gets a new connection.
        assert_eq!(run(&*transport, "echo again").await.text(), "again\n");
    });
}

#[test]
fn a_connection_that_died_idle_is_made_again() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        let transport = farm.transport("alpha-0");
        for _ in 0..5 {
            run(&*transport, ":").await;
            let sessions = farm.sessions("alpha-0");
            for pid in &sessions {
                signal(*pid, "-KILL");
            }
            eventually("the sessions are gone", || {
                sessions.iter().all(|pid| !is_alive(*pid))
            })
            .await;
            assert_eq!(run(&*transport, "echo again").await.text(), "again\n");
        }
    });
}

#[test]
fn a_connection_that_went_silent_idle_is_made_again() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        let transport = farm.quick("alpha-0");
        run(&transport, ":").await;
        let stopped = farm.sessions("alpha-0");
        for pid in &stopped {
            signal(*pid, "-STOP");
        }
        tokio::time::sleep(IDLE).await;
        assert_eq!(run(&transport, "echo again").await.text(), "again\n");
        for pid in stopped {
            signal(pid, "-KILL");
        }
    });
}

#[test]
fn silence_during_a_command_is_an_error_in_time() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        let transport = farm.transport("alpha-0");
        let mut running = transport.exec(&line("echo $$; sleep 1000"), "", None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        let stopped = farm.sessions("alpha-0");
        for pid in &stopped {
            signal(*pid, "-STOP");
        }
        let error = finish(running).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Infra);
        let text = error.to_string();
        assert!(
            text.contains("`alpha-0`") && text.contains(SILENT),
            "{text}"
        );
        assert!(ssh::Limits::default().silence < Duration::from_secs(30));
        kill_group(pid);
        for pid in stopped {
            signal(pid, "-KILL");
        }
    });
}

#[test]
fn a_timeout_on_a_silent_server_is_reported() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        let transport = farm.quick("alpha-0");
        let mut command = line("echo $$; sleep 1000");
        command.timeout = Some(500);
        let mut running = transport.exec(&command, "", None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        let stopped = farm.sessions("alpha-0");
        for pid in &stopped {
            signal(*pid, "-STOP");
        }
        assert_eq!(
            finish(running).await.unwrap_err().kind(),
            ErrorKind::Timeout
        );
        kill_group(pid);
        for pid in stopped {
            signal(pid, "-KILL");
        }
    });
}

#[test]
fn a_long_quiet_command_lives_on() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        // The server answers three keepalives, without any of which the connection would be lost.
        let transport = farm.silent_for("alpha-0", Duration::from_secs(6));
        let output = run(&transport, "sleep 11; echo done").await;
        assert_eq!(output.text(), "done\n");
    });
}

#[test]
fn a_port_that_accepts_and_never_speaks() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reach = SshReach {
        host: "127.0.0.1".to_owned(),
        port: Some(listener.local_addr().unwrap().port()),
        connect_timeout: Some(Duration::from_secs(1)),
        ..SshReach::default()
    };
    block_on(async {
        let transport = connect::connect("mute-0", &Reach::Ssh(reach));
        let error = lost(&*transport, "true").await;
        assert_eq!(error.kind(), ErrorKind::Infra);
        let text = error.to_string();
        assert!(
            text.contains("`mute-0`") && text.contains("within 1s"),
            "{text}"
        );
        assert!(error.hint().is_some());
        let error = transport
            .probe(Duration::from_millis(200))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("`mute-0`"), "{error}");
    });
}

#[test]
fn a_closed_port() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let reach = SshReach {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        ..SshReach::default()
    };
    block_on(async {
        let transport = connect::connect("gone-0", &Reach::Ssh(reach));
        let error = lost(&*transport, "true").await;
        assert!(
            error.chain().contains("`gone-0`") && error.chain().contains("refused"),
            "{error:?}"
        );
    });
}

#[test]
fn invalid_commands_are_errors() {
    block_on(on_each(async |transport, _| {
        let error = lost(&*transport, "a\0b").await;
        assert_eq!(error.kind(), ErrorKind::Usage);
        let mut command = line("true");
        command.env.insert("A=B".to_owned(), String::new());
        assert!(finish(transport.exec(&command, "", None)).await.is_err());
    }));
}
