//! Tests that hold their lease, hang, die, and leave processes behind; what they say is in `FAULTS_AT`.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use target_fixtures::prelude::*;

fn at(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("FAULTS_AT").expect("FAULTS_AT")).join(name)
}

/// Says something, whole, in a file. Two tests may say the same at once.
fn say(name: &str, text: String) {
    let new = at(&format!("{name}.{}.new", std::process::id()));
    fs::write(&new, text).unwrap();
    fs::rename(new, at(name)).unwrap();
}

fn wait_for(name: &str) {
    while !at(name).exists() {
        thread::sleep(Duration::from_millis(3));
    }
}

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[target_test]
fn quick(target: &Target) -> Result<()> {
    target.run("true")?;
    say(&format!("quick-{}", target.instance()), String::new());
    Ok(())
}

/// Two machines of an environment.
#[target_test(roles = ["gateway", "tester"])]
fn together(env: &Environment) -> Result<()> {
    for role in ["gateway", "tester"] {
        env[role].run("true")?;
    }
    say(&format!("together-{}", env.name()), String::new());
    Ok(())
}

/// Two machines, of which the first goes away under the test.
#[target_test(roles = ["gateway", "tester"])]
fn loses_the_gateway(env: &Environment) -> Result<()> {
    env["tester"].run("true")?;
    env["gateway"].run("true poison")?;
    Ok(())
}

/// A command that a broken machine loses.
#[target_test]
fn poisoned(target: &Target) -> Result<()> {
    target.run("true poison")?;
    Ok(())
}

/// More than a slow link takes in a moment.
#[target_test]
fn sends_much(target: &Target) -> Result<()> {
    let at = std::env::temp_dir().join(format!("much-{}", std::process::id()));
    let much: Vec<u8> = (0_u32..12 << 18)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    std::fs::write(&at, &much)?;
    let there = target.run("mktemp")?.stdout.trim().to_owned();
    let put = target.put(&at, &there);
    std::fs::remove_file(at)?;
    put?;
    assert_eq!(
        target
            .run(format!("wc -c <{there}; rm {there}"))?
            .stdout
            .trim(),
        much.len().to_string()
    );
    Ok(())
}

#[target_test]
fn other(target: &Target) -> Result<()> {
    target.run("true")?;
    Ok(())
}

/// Its runner's and its own number, until it may go on.
#[target_test]
fn holds(target: &Target) -> Result<()> {
    target.run("true")?;
    let lease = std::env::var("TARGET_TEST_LEASE").unwrap_or_default();
    say(
        "held",
        format!(
            "{} {} {} {lease}",
            parent(),
            std::process::id(),
            target.instance()
        ),
    );
    wait_for("go");
    target.run("true")?;
    Ok(())
}

/// A command by its own `ssh` that never ends.
#[target_test]
fn endless_by_ssh(target: &Target) {
    let config = std::env::var_os("TARGET_TEST_SSH_CONFIG").expect("a configuration");
    let line = format!("echo $$ >{}; exec sleep 1000", at("remote").display());
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(config).args([target.instance(), &line]);
    ssh.status().unwrap();
}

/// Reboots its target, and holds its lease.
#[target_test]
fn boots_anew(target: &Target) -> Result<()> {
    target.reboot()?;
    say("held", target.instance().to_owned());
    wait_for("go");
    Ok(())
}

/// Crashes its target, and goes on; then expects a crash that does not come.
#[target_test]
fn dies_on_purpose(target: &Target) -> Result<()> {
    target.run("true")?;
    let before = target.facts()?.boot_id;
    target.expect_crash(|| target.run("reboot"))?;
    target.run("true")?;
    assert_ne!(target.facts()?.boot_id, before);
    let error = target.expect_crash_for(Duration::from_millis(10), || ());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), target_fixtures::ErrorKind::Timeout);
    let message = "see the expected crash on `alpha-0`: none within 10ms";
    assert_eq!(error.to_string(), message);
    target.run("true")?;
    Ok(())
}

/// Fails while it expects a crash, which comes.
#[target_test]
fn dies_in_between(target: &Target) -> Result<()> {
    target.expect_crash(|| {
        let cut_off = target.run("reboot");
        panic!("it should not have died: {}", cut_off.is_ok());
    })?;
    Ok(())
}

/// Holds its lease without a word to its target, for so long that the next one to lease it proves it alive before.
#[target_test]
fn idle(target: &Target) -> Result<()> {
    target.run("true")?;
    let heard = Instant::now();
    say(
        "held",
        format!("{} {} {}", parent(), std::process::id(), target.instance()),
    );
    wait_for("go");
    thread::sleep(Duration::from_secs(2).saturating_sub(heard.elapsed()));
    Ok(())
}

/// Fails without a word to its target, whose fault it may be.
#[target_test]
fn fails(target: &Target) -> Result<()> {
    say(
        "held",
        format!("{} {} {}", parent(), std::process::id(), target.instance()),
    );
    wait_for("go");
    panic!("by its own means");
}

/// A remote command that does not end, which says its number.
fn endless(target: &Target) -> Result<()> {
    let file = at("remote");
    let file = file.display();
    target.run(format!(
        "echo $$ >{file}.new; mv {file}.new {file}; sleep 1000; true"
    ))?;
    Ok(())
}

#[target_test]
fn endless_alone(target: &Target) -> Result<()> {
    say(
        "held",
        format!("{} {} {}", parent(), std::process::id(), target.instance()),
    );
    endless(target)
}

#[target_test]
fn endless_behind(target: &Target) {
    thread::scope(|scope| {
        scope.spawn(|| endless(target));
        wait_for("remote");
        std::process::exit(1);
    });
}

/// Also leaves local children: one in its group, one in a session of its own.
#[target_test]
fn children(target: &Target) -> Result<()> {
    let script = "sleep 1000 & a=$!; setsid sleep 1000 & echo $a $! >$FAULTS_AT/children.new; \
                  mv $FAULTS_AT/children.new $FAULTS_AT/children";
    Command::new("sh").args(["-c", script]).status()?;
    endless_alone_body(target)
}

fn endless_alone_body(target: &Target) -> Result<()> {
    say(
        "held",
        format!("{} {} {}", parent(), std::process::id(), target.instance()),
    );
    endless(target)
}

/// Leaves a daemon as daemons are: forked twice, its own session, our output still in its hands.
#[target_test]
fn daemon(target: &Target) -> Result<()> {
    target.run("true")?;
    let script = "setsid sh -c 'sleep 1000 & echo $! >$FAULTS_AT/daemon' & wait";
    Command::new("sh").args(["-c", script]).status()?;
    wait_for("daemon");
    Ok(())
}

/// Forks a daemon that keeps all that the test has open: its connection, its output.
#[target_test]
fn forks(target: &Target) -> Result<()> {
    target.run("true")?;
    match forked::fork() {
        0 => loop {
            thread::sleep(Duration::from_millis(10));
            // Also once the folder is gone.
            if at("go").exists() || !at("").exists() {
                std::process::exit(0);
            }
        },
        child => say("forked", child.to_string()),
    }
    Ok(())
}

#[expect(unsafe_code, reason = "only a fork keeps what is closed on exec")]
mod forked {
    unsafe extern "C" {
        #[link_name = "fork"]
        fn libc_fork() -> i32;
    }

    pub(super) fn fork() -> i32 {
        // SAFETY: the child sleeps, looks for a file and exits.
        unsafe { libc_fork() }
    }
}

/// Notes another test that is alive on the same target.
#[target_test]
fn exclusive(target: &Target) -> Result<()> {
    let mine = at(&format!("exclusive-{}", target.instance()));
    let held = || fs::read_to_string(&mine).is_ok_and(|pid| alive(&pid));
    if held() {
        say("twice", target.instance().to_owned());
    }
    fs::write(&mine, std::process::id().to_string())?;
    target.run("sleep 0.05")?;
    fs::remove_file(&mine)?;
    Ok(())
}

/// True for a process that exists and is no zombie.
fn alive(pid: &str) -> bool {
    fs::read_to_string(PathBuf::from("/proc").join(pid).join("stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

#[target_test]
fn puts_a_fifo(target: &Target) -> Result<()> {
    let fifo = at("fifo");
    Command::new("mkfifo").arg(&fifo).status()?;
    let error = target.put(&fifo, "/tmp/never").unwrap_err().to_string();
    assert!(error.contains("is a FIFO"), "{error}");
    Ok(())
}

/// Never ends by itself.
#[target_test]
fn reads_a_fifo(target: &Target) -> Result<()> {
    let fifo = format!("{}/remote", at("").display());
    target.run(format!("mkfifo {fifo}"))?;
    say("reads", "now".to_owned());
    target.read(&fifo)?;
    Ok(())
}

/// A file without an end is an error, and the next one is read.
#[target_test]
fn reads_without_end(target: &Target) -> Result<()> {
    let error = target.read("/dev/zero").unwrap_err();
    assert_eq!(
        error.to_string(),
        "read `/dev/zero` on `alpha-0`: larger than 64 MiB"
    );
    assert_eq!(target.read("/dev/null")?, b"");
    Ok(())
}

/// Runs another test on the target that this one holds.
#[target_test]
fn nested(target: &Target) -> Result<()> {
    target.run("true")?;
    let tool = std::env::var_os("TARGET_TEST_TOOL").expect("the tool");
    let run = Command::new(tool).arg("quick").output()?;
    println!("{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(69));
    Ok(())
}

/// Leaves a process of another user, which the runner of this test may not kill.
#[target_test]
fn leaves_roots_process(target: &Target) -> Result<()> {
    target.run("true")?;
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let other = other.args(["sleep", "1000"]).spawn()?;
    while !fs::read_to_string(format!("/proc/{}/comm", other.id()))?.starts_with("sleep") {
        thread::sleep(Duration::from_millis(2));
    }
    say("anothers", other.id().to_string());
    Ok(())
}
