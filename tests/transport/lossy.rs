//! Links that lose packets or are cut.
//!
//! A test runs itself again in a new network namespace, where loopback is the link.

use super::*;

/// Returns a command that runs its arguments in a new network namespace, with the rights to set a packet filter.
fn namespace() -> Process {
    let mut unshare = Process::new("unshare");
    unshare.arg("--net");
    if !is_root() {
        unshare.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let path = std::env::var("PATH").unwrap();
    unshare.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    unshare
}

fn is_root() -> bool {
    let id = Process::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// Runs a test in a namespace. Without namespaces the test is skipped, or fails if no test may be skipped.
fn alone(test: &str) {
    let tried = namespace()
        .args(["sh", "-c", "ip link set lo up && nft add table inet tried"])
        .output();
    if let Ok(tried) = &tried
        && tried.status.success()
    {
        return again(namespace(), &format!("lossy::{test}"), "alone");
    }
    let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
    assert!(!must, "no network namespace: {tried:?}; .ci/setup --tests");
    eprintln!("skipped: no network namespace: {tried:?}");
}

fn sh(line: &str) {
    let done = Process::new("sh").args(["-c", line]).output().unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
}

/// The link of the namespace.
struct Link;

impl Link {
    fn new() -> Self {
        sh("ip link set lo up; nft add table inet link; \
            nft 'add chain inet link in { type filter hook input priority 0; }'");
        Self
    }

    /// Drops this percentage of all packets.
    fn set_loss(&self, percent: u32) {
        sh("nft flush chain inet link in");
        sh(&format!(
            "nft add rule inet link in numgen random mod 100 '<' {percent} counter drop"
        ));
    }

    /// Drops all packets. Packets that open a connection are counted by a separate rule.
    fn cut(&self) {
        sh("nft flush chain inet link in; \
            nft add rule inet link in 'tcp flags & (syn | ack) == syn' counter drop; \
            nft add rule inet link in counter drop");
    }

    /// Returns the number of packets that each rule has dropped.
    fn dropped(&self) -> Vec<usize> {
        let rules = Process::new("nft")
            .args(["list", "table", "inet", "link"])
            .output();
        let text = String::from_utf8(rules.unwrap().stdout).unwrap();
        let counters = text.split("packets ").skip(1);
        let counts = counters.map(|rest| rest.split(' ').next().unwrap());
        counts.map(|count| count.parse().unwrap()).collect()
    }

    /// Stops dropping packets and returns the number of dropped packets.
    fn restore(&self) -> usize {
        let lost = self.dropped().iter().sum();
        sh("nft flush chain inet link in");
        lost
    }
}

fn marks(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn a_link_that_loses_packets_loses_no_command() {
    if inner().is_none() {
        return alone("a_link_that_loses_packets_loses_no_command");
    }
    let link = Link::new();
    let farm = Farm::new("alpha-0");
    let file = farm.path().join("ran");
    link.set_loss(10);
    block_on(async {
        let transport = farm.transport("alpha-0");
        let mark = format!("echo ran >>'{}'; seq 1 2000; cat", file.display());
        let expected: String = (1..=2000).map(|n| format!("{n}\n")).collect();
        for n in 1..=20 {
            let sent = noise(20_001);
            let running = transport.exec(&line(&mark), "", Some(input(vec![sent.clone()])));
            let output = finish(running).await.unwrap();
            assert!(
                output.stdout == [expected.as_bytes(), &sent].concat(),
                "{n}"
            );
            assert_eq!(marks(&file), n);
        }
        let lost = link.restore();
        assert!(lost > 20, "{lost} packets were lost");
    });
}

/// A command survives a short cut, and does not start again.
#[test]
fn a_short_cut_is_waited_for() {
    if inner().is_none() {
        return alone("a_short_cut_is_waited_for");
    }
    let link = Link::new();
    let farm = Farm::new("alpha-0");
    let (file, go) = (farm.path().join("ran"), farm.path().join("go"));
    block_on(async {
        let transport = farm.transport("alpha-0");
        let wait = "until [ -e \"$GO\" ]; do sleep 0.02; done";
        let mut command = line(&format!(
            "echo ran >>\"$RAN\"; echo begun; {wait}; echo done; touch \"$GO-2\""
        ));
        for (name, path) in [("RAN", &file), ("GO", &go)] {
            command
                .env
                .insert(name.to_owned(), path.to_str().unwrap().to_owned());
        }
        let mut running = transport.exec(&command, "", None);
        assert_eq!(first_line(&mut running).await, "begun");
        link.cut();
        fs::write(&go, "").unwrap();
        // The command ends during the cut.
        eventually("the command is done", || farm.path().join("go-2").exists()).await;
        let is_lost = || link.dropped().iter().sum::<usize>() > 0;
        eventually("the loss of a packet", is_lost).await;
        link.restore();
        assert_eq!(finish(running).await.unwrap().text(), "done\n");
        assert_eq!(marks(&file), 1);
    });
}

/// A long cut ends the command with an error. Commands during the cut fail, and commands after the cut succeed.
#[test]
fn a_long_cut_is_told_and_healed() {
    if inner().is_none() {
        return alone("a_long_cut_is_told_and_healed");
    }
    let link = Link::new();
    let farm = Farm::new("alpha-0");
    let file = farm.path().join("ran");
    block_on(async {
        let transport = ssh::connect(
            "alpha-0",
            &SshReach {
                connect_timeout: Some(Duration::from_secs(2)),
                ..farm.reach("alpha-0")
            },
            ssh::Limits {
                heartbeat: Duration::from_secs(2),
                silence: Duration::from_secs(5),
                idle: IDLE,
                answer: Duration::from_secs(2),
                channels: 8,
            },
        );
        let mark = format!("echo ran >>'{}'; echo $$; sleep 1000", file.display());
        let mut running = transport.exec(&line(&mark), &lease("cut-off"), None);
        let pid: u32 = first_line(&mut running).await.parse().unwrap();
        link.cut();
        let error = finish(running).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("lost the connection to `alpha-0`"), "{text}");
        assert!(text.contains(failures::SILENT), "{text}");

        let error = lost(&transport, &mark).await;
        assert!(
            error.chain().contains("failed to connect to `alpha-0`"),
            "{error:?}"
        );
        link.restore();
        assert_eq!(run(&transport, "echo again").await.text(), "again\n");
        assert_eq!(marks(&file), 1);
        // The process of the lost connection is found by its lease.
        transport.sweep(&lease("cut-off"), PATIENCE).await.unwrap();
        assert!(!is_alive(pid));
    });
}

/// A cut that ends before the next command has no effect. During a cut, no command is sent on the old connection.
#[test]
fn a_cut_while_idle_runs_nothing_twice() {
    if inner().is_none() {
        return alone("a_cut_while_idle_runs_nothing_twice");
    }
    let link = Link::new();
    let farm = Farm::new("alpha-0");
    let file = farm.path().join("ran");
    let mark = format!("echo ran >>'{}'", file.display());
    block_on(async {
        let transport = farm.quick("alpha-0");
        run(&transport, &mark).await;
        let before = farm.sessions("alpha-0");
        link.cut();
        tokio::time::sleep(IDLE).await;
        link.restore();
        run(&transport, &mark).await;
        assert_eq!((marks(&file), farm.sessions("alpha-0")), (2, before));

        link.cut();
        tokio::time::sleep(IDLE).await;
        let running = transport.exec(&line(&mark), "", None);
        // The old connection does not answer. The new one is established once the link is restored.
        eventually("a new connection is tried", || link.dropped()[0] > 0).await;
        link.restore();
        finish(running).await.unwrap();
        assert_eq!(marks(&file), 3);
    });
}
