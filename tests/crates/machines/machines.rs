//! Tests that reboot, restore, unplug and break their machine.

use target_fixtures::platform::{Container, Qemu};
use target_fixtures::prelude::*;

#[target_test]
fn quick(target: &Target) -> Result<()> {
    target.run("true")?;
    Ok(())
}

/// A command that kills the shell that runs it.
#[target_test]
fn kills_its_shell(target: &Target) -> Result<()> {
    target.run("kill -9 $$")?;
    Ok(())
}

/// A command that takes more memory than there is.
#[target_test]
fn eats_memory(target: &Target) -> Result<()> {
    target.run("exec tail /dev/zero")?;
    Ok(())
}

#[target_test(reuse = false)]
fn spends(target: &Target) -> Result<()> {
    target.run("true")?;
    Ok(())
}

/// Makes the kernel panic while a command runs.
#[target_test]
fn panics(target: &Target) -> Result<()> {
    target.run("(sleep 0.3; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 & sleep 1000")?;
    Ok(())
}

/// Passes, though the kernel's log and its flags say that something is wrong.
#[target_test]
fn reports_a_bug(target: &Target) -> Result<()> {
    target.run(
        "echo 512 >/proc/sys/kernel/tainted; echo 'BUG: on purpose' >/dev/kmsg; \
         echo 'Out of memory: on purpose' >/dev/kmsg; mkdir -p /var/crash; echo >/var/crash/core.1",
    )?;
    Ok(())
}

/// Finds the machine as its recipe left it, and leaves it otherwise.
fn leaves_a_trace(target: &Target, me: &str) -> Result<()> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let there: u64 = target.run("date +%s")?.stdout.trim().parse()?;
    assert!(
        there.abs_diff(now) < 10,
        "its clock says {there}, it is {now}"
    );
    let seen = target
        .run("cat /etc/prepared; ls /etc/trace* 2>/dev/null; true")?
        .stdout;
    assert_eq!(seen.trim(), "prepared");
    target.run(format!(
        "touch /etc/trace-{me}; rm /etc/prepared; sleep 1000 >/dev/null 2>&1 &"
    ))?;
    Ok(())
}

#[target_test(reuse = "snapshot")]
fn restored_1(target: &Target) -> Result<()> {
    leaves_a_trace(target, "1")
}

#[target_test(reuse = "snapshot")]
fn restored_2(target: &Target) -> Result<()> {
    leaves_a_trace(target, "2")
}

#[target_test(reuse = "snapshot")]
fn restored_3(target: &Target) -> Result<()> {
    leaves_a_trace(target, "3")
}

/// Down and up again, by itself and by its power button.
#[target_test]
fn comes_up_again(target: &Qemu) -> Result<()> {
    let before = target.facts()?.boot_id;
    target.run("touch /run/before; sleep 1000 >/dev/null 2>&1 &")?;
    let lost = target.command("sleep 1000").spawn()?;
    target.reboot()?;
    let after = target.facts()?.boot_id;
    assert_ne!(before, after);
    assert_eq!(target.file("/run/before")?, None);
    assert!(lost.wait().is_err());
    target.restart()?;
    assert_ne!(target.facts()?.boot_id, after);
    assert!(
        target.console()?.text()?.contains("ready: it-0"),
        "{}",
        target.console()?.text()?
    );
    assert!(
        ["kvm", "tcg"].contains(&target.accel())
            && target.cores()? >= 1
            && !target.memory()?.is_empty()
    );
    Ok(())
}

/// Several of one platform, typed.
#[target_test(count = 2)]
fn are_two(targets: &[Container]) -> Result<()> {
    assert_ne!(targets[0].container(), targets[1].container());
    Ok(())
}

/// Restarted by its engine; it cannot reboot.
#[target_test]
fn is_restarted(target: &Container) -> Result<()> {
    let started = || target.run("cut -d' ' -f22 /proc/1/stat");
    let before = started()?.stdout;
    target.run("echo x >/stays; sleep 1000 >/dev/null 2>&1 &")?;
    target.restart()?;
    assert_ne!(started()?.stdout, before);
    assert_eq!(target.cat("/stays")?, "x");
    assert_eq!(
        target.reboot().unwrap_err().kind(),
        target_fixtures::ErrorKind::Request
    );
    assert!(!target.engine().is_empty() && target.container().starts_with("tt-"));
    target.restart()?;
    target.run("true")?;
    Ok(())
}

/// Remembered, changed, put back; its link pulled and plugged in.
#[target_test]
fn goes_back(target: &Qemu) -> Result<()> {
    target.run("touch /run/a")?;
    target.snapshot("first")?;
    target.run("rm /run/a; touch /run/b")?;
    target.restore("first")?;
    assert!(target.file("/run/a")?.is_some() && target.file("/run/b")?.is_none());
    assert!(
        target
            .restore("none")
            .unwrap_err()
            .to_string()
            .contains("none")
    );
    assert_eq!(
        target.snapshot("no name").unwrap_err().kind(),
        target_fixtures::ErrorKind::Request
    );
    let mut console = target.console()?;
    target.run("(while [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.05; done; echo carrier lost >/dev/console) >/dev/null 2>&1 &")?;
    target.set_link(0, false)?;
    // While it is down, only the console tells.
    console.expect("carrier lost", std::time::Duration::from_secs(60))?;
    target.set_link(0, true)?;
    target.wait_for_command("true", std::time::Duration::from_secs(60))?;
    assert_eq!(
        target.set_link(7, false).unwrap_err().kind(),
        target_fixtures::ErrorKind::Request
    );
    Ok(())
}

/// Crashes in every way, and goes on.
#[target_test]
fn dies_on_purpose(target: &Qemu) -> Result<()> {
    let mut boots = vec![target.facts()?.boot_id];
    for crash in [
        "echo c >/proc/sysrq-trigger",
        "echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger",
        "poweroff -f",
        "reboot -f",
    ] {
        target.expect_crash(|| target.run(crash))?;
        boots.push(target.facts()?.boot_id);
    }
    boots.sort();
    boots.dedup();
    assert_eq!(boots.len(), 5);
    // The machine is watched again.
    target.run("echo c >/proc/sysrq-trigger")?;
    Ok(())
}

/// Ends the machine while a command runs.
#[target_test]
fn powers_down(target: &Target) -> Result<()> {
    target.run("(sleep 0.3; poweroff -f) >/dev/null 2>&1 & sleep 1000")?;
    Ok(())
}

/// Says on this host that it idles.
#[target_test]
fn idles_on(target: &Target) -> Result<()> {
    target.run("true")?;
    std::fs::write(std::env::var("MACHINES_AT")? + "/idles", "")?;
    std::thread::sleep(std::time::Duration::from_secs(1000));
    Ok(())
}

/// Makes the kernel panic, and talks to nobody any more.
#[target_test]
fn panics_and_idles(target: &Target) -> Result<()> {
    target.run("(sleep 0.3; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")?;
    std::thread::sleep(std::time::Duration::from_secs(1000));
    Ok(())
}

/// The client reads what the server sends, on the way that its platform has.
#[target_test(timeout = "2m")]
fn talks(client: &Target, server: &Target) -> Result<()> {
    let port = free_port()?;
    let line = "while echo \"from $(hostname)\" | nc -l -p \"$1\"; do :; done";
    let _serves = server.command(line).arg(port.to_string()).spawn()?;
    server.wait_for_port(port, Duration::from_secs(20))?;
    let way = server.reach_from(client, port)?;
    let (address, port) = (way.address().ip(), way.port());
    let said = client
        .run(format!("nc {address} {port} </dev/null"))?
        .stdout;
    assert_eq!(said, server.run("echo \"from $(hostname)\"")?.stdout);
    Ok(())
}

/// A port that is free on this host, and on machines with nothing on them.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// A container with an address, as the engine says.
#[target_test]
fn has_an_address(client: &Container, server: &Container) -> Result<()> {
    let way = server.reach_from(client, 80)?;
    assert_eq!(way.to_string(), "10.88.0.7:80");
    Ok(())
}

/// Containers without a network.
#[target_test]
fn has_no_address(client: &Container, server: &Container) -> Result<()> {
    let error = server.reach_from(client, 80).unwrap_err();
    assert_eq!(error.kind(), target_fixtures::ErrorKind::Request);
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("network create"), "{error:?}");
    Ok(())
}

/// Its serial console has a shell, which is read and written while the log goes on.
#[target_test]
fn has_a_console(target: &Target) -> Result<()> {
    let soon = Duration::from_secs(60);
    let mut console = target.console()?;
    console.send("\n")?;
    console.expect("# ", soon)?;
    for number in 0..3 {
        console.send(format!("echo $(({number} * 7))-ü\n"))?;
        let said = console.expect("^[0-9]+-ü$", soon)?;
        assert_eq!(said, format!("{}-ü", number * 7));
    }
    console.send("seq 3000 5000; echo \"end of it\"\n")?;
    console.expect("^end of it$", soon)?;
    // Another reader starts where it was opened, and takes nothing away.
    target.run("echo by itself >/dev/console")?;
    console.expect("by itself", soon)?;
    let mut other = target.console()?;
    let late = other
        .expect("by itself", Duration::from_millis(50))
        .unwrap_err();
    assert_eq!(late.kind(), target_fixtures::ErrorKind::Timeout);
    let wrong = other.expect("(", soon).unwrap_err();
    assert_eq!(wrong.kind(), target_fixtures::ErrorKind::Request);
    let text = console.text()?;
    for part in [
        "ready: it-",
        "14-ü",
        "3000",
        "5000",
        "end of it",
        "by itself",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}
