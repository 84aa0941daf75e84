//! Tests that pass, fail, skip, hang, die, and meet each other; what they leave is in `SCRATCH`.

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use target_fixtures::prelude::*;

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("SCRATCH").expect("SCRATCH")).join(name)
}

fn note(file: &str, line: &str) {
    let file = fs::File::options()
        .append(true)
        .create(true)
        .open(scratch(file));
    file.and_then(|mut file| writeln!(file, "{line}"))
        .expect("a note");
}

fn wait_for(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "waited in vain"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Each waits until the other has started too, on another instance.
fn meet(target: &Target, me: &str, other: &str) {
    fs::write(
        scratch(&format!("{me}-{}", target.name())),
        target.instance(),
    )
    .expect("a file");
    let other = scratch(&format!("{other}-{}", target.name()));
    wait_for(|| fs::read_to_string(&other).is_ok_and(|text| !text.is_empty()));
    assert_ne!(
        fs::read_to_string(other).expect("a file"),
        target.instance()
    );
}

mod good {
    use super::*;

    #[target_test(priority = 4)]
    fn late() {
        note("order", "late");
    }

    #[target_test(priority = 0)]
    fn early() {
        note("order", "early");
    }

    #[target_test]
    fn meets_one(target: &Target) {
        meet(target, "one", "two");
    }

    #[target_test]
    fn meets_two(target: &Target) {
        meet(target, "two", "one");
    }

    #[target_test(count = 2)]
    fn pair(targets: &[Target]) {
        assert_eq!(targets.len(), 2);
        assert_ne!(targets[0].instance(), targets[1].instance());
    }

    #[target_test]
    #[ignore]
    fn ignored() {}
}

mod verdict {
    use super::*;

    #[target_test]
    fn passes(target: &Target) -> Result<()> {
        target.ping()?;
        Ok(())
    }

    #[target_test]
    fn fails() {
        panic!("on purpose");
    }

    #[target_test]
    fn skips() -> Result<()> {
        Err(skip("no such device"))
    }

    #[target_test(expect_fail = "bug 7")]
    fn fails_as_known() {
        panic!("bug 7");
    }

    #[target_test(expect_fail = "bug 8")]
    fn works_again() {}

    #[target_test(timeout = "300ms")]
    #[allow(clippy::zombie_processes, reason = "it is killed with the test")]
    fn hangs(target: &Target) {
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        note("pids", &child.id().to_string());
        target
            .run("echo $$ >>\"$SCRATCH/pids\"; exec sleep 1000")
            .expect("sleep");
    }

    #[target_test(timeout = "2s")]
    fn quick(target: &Target) {
        assert!(!target.instance().is_empty());
    }

    #[target_test(retries = 2)]
    fn flaky() {
        note("flaky", "attempt");
        let attempts = fs::read_to_string(scratch("flaky")).expect("a file");
        assert!(attempts.lines().count() >= 3);
    }

    #[target_test]
    fn aborts() {
        std::process::abort();
    }

    #[target_test]
    fn prints() {
        let mut out = std::io::stdout();
        writeln!(out, "{}", "x".repeat(2000)).expect("output");
        out.write_all(b"\xff\xfe\n").expect("output");
    }
}

mod around {
    use super::*;

    #[target_test]
    fn environment() {
        for (name, value) in env::vars().filter(|(name, _)| name.starts_with("TARGET_TEST_")) {
            note("environment", &format!("{name}={value}"));
        }
    }

    #[target_test]
    fn logs_in() {
        let config = env::var("TARGET_TEST_SSH_CONFIG").expect("a configuration");
        let instance = env::var("TARGET_TEST_INSTANCE").expect("an instance");
        let mut ssh = Command::new("ssh");
        let ssh = ssh.args(["-F", &config, &instance, "echo $TARGET_IDENTITY"]);
        let output = ssh.output().expect("ssh");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            instance,
            "{output:?}"
        );
    }

    /// Runs cargo, nextest and the tool on this crate again, from within a case.
    #[target_test]
    fn nests(target: &Target) {
        // A run gives these to nextest, which passes them on.
        for variable in ["NEXTEST_DOUBLE_SPAWN", "NEXTEST_LOG"] {
            assert_eq!(env::var_os(variable), None);
        }
        for line in [
            "cargo test --test odd",
            "cargo nextest run --test odd",
            "\"$TARGET_TEST_TOOL\" --test odd",
            "cargo test --test cases passes",
        ] {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", line])
                .env("TARGET_TEST_POOL", scratch("nested"));
            let output = shell.output().expect("sh");
            let said = [output.stderr, output.stdout].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(output.status.success(), "{line}\n{said}");
            assert!(!said.contains("0 passed"), "{line}\n{said}");
        }
        target.ping().expect("a lease of our own");
    }

    /// Fails on a machine that does not answer from then on.
    #[target_test]
    fn breaks() {
        note("dead", "now");
        panic!("no answer");
    }

    /// Fails by a signal: to the command's own process, and to the shell that started it.
    #[target_test]
    fn is_killed(target: &Target) -> Result<()> {
        let own = target.command("kill -9 $$").allow_failure().run()?;
        assert_eq!(own.exit.to_string(), "signal KILL");
        target.run("kill -9 $PPID; sleep 1000")?;
        Ok(())
    }

    /// Fails by one of its two bugs, or by another.
    #[target_test(
        expect_fail("bug 9", error = "no carrier"),
        expect_fail("bug 10", error = "timed out", target = "east")
    )]
    fn fails_by_a_bug(target: &Target) -> Result<()> {
        assert_ne!(target.name(), "west", "timed out");
        Err("the link timed out".into())
    }

    /// Is expected to fail by an error that does not come.
    #[target_test]
    fn fails_by_another(target: &Target) -> Result<()> {
        target_fixtures::expect_error("bug 11", "no carrier");
        target.run("echo out of memory >&2; exit 3")?;
        Ok(())
    }

    /// Fails by a lost connection to a machine that answers again.
    #[target_test]
    fn loses_its_connection(target: &Target) -> Result<()> {
        target.run("echo before; touch cut; sleep 1000")?;
        Ok(())
    }

    /// Fails, after it has lost a connection that it did not need.
    #[target_test]
    fn fails_beside_a_loss(target: &Target) -> Result<()> {
        let lost = target.run("echo before; touch cut; sleep 1000");
        assert!(lost.is_err());
        Err("another failure".into())
    }

    /// Fails the second time.
    #[target_test]
    fn fails_once() {
        // Two that run at the same time have different numbers.
        let attempt =
            (1..).find(|number| fs::create_dir(scratch(&format!("once-{number}"))).is_ok());
        assert_ne!(attempt, Some(2));
    }

    /// Stays until it is told to go.
    #[target_test]
    fn waits() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        note("pids", &child.id().to_string());
        note("pids", &std::process::id().to_string());
        note("waiting", "now");
        wait_for(|| scratch("go").exists());
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}

mod artifacts {
    use super::*;

    /// Leaves a log, and fails on `east` and on machines.
    #[target_test(collect = [command("echo \"by the test\"")])]
    fn leaves_a_log(target: &Target) -> Result<()> {
        let logs = scratch("logs/deep");
        fs::create_dir_all(&logs)?;
        fs::write(logs.join("app.log"), "a line\n")?;
        std::os::unix::fs::symlink("/etc", logs.join("link")).ok();
        note("dead", "now");
        assert_eq!(target.name(), "west");
        Ok(())
    }
}

mod checked {
    use super::*;

    /// Passes, and leaves something that a check finds.
    #[target_test]
    fn leaves_a_finding(target: &Target) -> Result<()> {
        target.run("echo broken >\"$SCRATCH/left\"")?;
        Ok(())
    }

    /// Skips itself, and leaves the machine as it was.
    #[target_test]
    fn leaves_nothing() -> Result<()> {
        Err(skip("no reason"))
    }
}

mod parts {
    use super::*;
    use target_fixtures::tap;

    /// Fails by two of its six subtests, after all have run.
    #[target_test]
    fn has_subtests(target: &Target) -> Result<()> {
        let one = subtest("passes", || Ok(target.run("echo 7")?.stdout));
        assert_eq!(one.as_deref(), Some("7\n"));
        subtest("fails", || {
            target.run("echo no such link >&2; exit 3")?;
            Ok(())
        });
        subtest("skips", || -> Result<()> {
            target_fixtures::skip!("no link")
        });
        subtest("outer", || {
            subtest("panics", || -> Result<()> { panic!("by itself") });
            let said = target.run(
                "printf 'TAP version 13\\n1..2\\nok 1 - adds\\nok 2 - finds # SKIP slow\\n'",
            )?;
            tap(&said.stdout)
        });
        note("parts", "ended");
        Ok(())
    }

    /// Passes, with results of a nested KTAP.
    #[target_test(retries = 1)]
    fn has_ktap() -> Result<()> {
        subtest("first attempt", || {
            note("ktap", "attempt");
            let attempts = fs::read_to_string(scratch("ktap"))?;
            assert!(attempts.lines().count() > 1);
            Ok(())
        });
        tap(
            "KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: list\n  1..1\n  ok 1 adds\nok 1 list\n",
        )
    }

    /// Is expected to fail by one of its subtests.
    #[target_test(expect_fail("bug 12", error = "no such link"))]
    fn fails_in_a_part(target: &Target) {
        subtest("link", || {
            target.run("echo no such link >&2; exit 3")?;
            Ok(())
        });
    }
}

mod thousands {
    use super::*;
    use target_fixtures::tap;

    /// More results than a report keeps; the last one fails.
    #[target_test]
    fn has_thousands() -> Result<()> {
        let mut text = "1..10003\n".to_owned();
        (0..10_002).for_each(|number| text += &format!("ok - n{number}\n"));
        tap(&(text + "not ok - last\n"))
    }
}

mod results {
    use super::*;
    use std::os::unix::net::UnixStream;
    use target_fixtures::{
        env::{BROKER, LEASE},
        wire::{
            BrokerRequest, Measurement, PROTOCOL, Reply, SubResult, VerdictKind, read_frame,
            write_frame,
        },
    };

    /// Reports a measurement and two of its results.
    #[target_test]
    fn reports(target: &Target) {
        let mut stream =
            UnixStream::connect(env::var(BROKER).expect("a socket")).expect("a broker");
        let mut ask = |request| {
            write_frame(&mut stream, &request, &[]).expect("a request");
            read_frame::<Reply>(&mut stream).expect("a reply").0
        };
        let version = "1".to_owned();
        let protocol = PROTOCOL;
        ask(BrokerRequest::Hello { protocol, version });
        let lease = env::var(LEASE).expect("a lease");
        ask(BrokerRequest::Attach { lease });
        let throughput = Measurement {
            name: "throughput".to_owned(),
            value: 9.5,
            unit: Some("Gbit/s".to_owned()),
        };
        let result = |name: &str, verdict, message: Option<&str>| SubResult {
            path: vec!["suite".to_owned(), name.to_owned()],
            lane: Some(target.instance().to_owned()),
            verdict,
            started: 1_700_000_000_000_000,
            took: 250,
            message: message.map(str::to_owned),
        };
        for request in [
            BrokerRequest::Record(throughput),
            BrokerRequest::SubResult(result("one", VerdictKind::Pass, None)),
            BrokerRequest::SubResult(result("two", VerdictKind::Skip, Some("no gpu"))),
        ] {
            assert_eq!(ask(request), Reply::Done);
        }
    }
}

#[test]
fn plain() {
    note("plain", &env::var("TARGET_TEST_NAME").unwrap_or_default());
}

#[test]
#[ignore]
fn plain_ignored() {}

/// Leaves a process behind that has the test's output.
#[test]
#[ignore]
#[expect(clippy::zombie_processes, reason = "it is left to the runner")]
fn leaks() {
    let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
    note("pids", &child.id().to_string());
}
