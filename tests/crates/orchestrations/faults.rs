//! Faults that tests cause on their targets.

use std::sync::OnceLock;

use target_fixtures::prelude::*;

orchestration!("faulty");
target_fixtures::fault_events!();

/// Seconds since 1970, on the target.
fn clock(target: &Target) -> Result<i64> {
    Ok(target.run("date +%s")?.stdout.trim().parse()?)
}

fn boot_id(target: &Target) -> Result<String> {
    Ok(target.cat("/proc/sys/kernel/random/boot_id")?)
}

#[target_test]
fn pauses(target: &Target) -> Result<()> {
    let paused = target.faults().pause()?;
    let short = Duration::from_secs(2);
    let during = target.command("true").timeout(short).run();
    assert!(during.is_err(), "{during:?}");
    paused.end()?;
    target.ping()?;
    target.run("true")?;
    Ok(())
}

/// The boot before the event `cut_power`.
static BOOT: OnceLock<String> = OnceLock::new();

#[target_event]
fn notes_boot(target: &Target) -> Result<()> {
    BOOT.set(boot_id(target)?)
        .map_err(|_| "noted before".into())
}

#[target_event]
fn is_booted_again(target: &Target) -> Result<()> {
    assert_ne!(BOOT.get().ok_or("not noted")?, &boot_id(target)?);
    Ok(())
}

#[target_test]
fn jumps(target: &Target) -> Result<()> {
    let before = clock(target)?;
    let jumped = target.faults().clock_jump(7200)?;
    assert!(clock(target)? - before >= 7200);
    jumped.end()?;
    assert!(clock(target)? - before < 3600);
    let drifting = target.faults().clock_drift(1, true)?;
    let before = clock(target)?;
    let uptime = || -> Result<f64> {
        let text = target.cat("/proc/uptime")?;
        Ok(text.split(' ').next().unwrap_or_default().parse()?)
    };
    let up = uptime()?;
    wait_until(Duration::from_secs(60), || {
        let gained = (clock(target)? - before) as f64 - (uptime()? - up);
        Ok::<_, Error>((gained > 2.0).then_some(()))
    })?;
    drop(drifting);
    Ok(())
}

/// A small file system, as events and tests of a virtual machine fill it. A container has one already, or none.
fn mount(target: &Target, folder: &str) -> Result<()> {
    if target.platform() == "qemu" {
        target.run(format!(
            "mkdir -p {folder} && mount -t tmpfs -o size=4m none {folder}"
        ))?;
    }
    Ok(())
}

#[target_event]
fn mounts(target: &Target) -> Result<()> {
    mount(target, "/tmp/filled")
}

#[target_test]
fn fills(target: &Target) -> Result<()> {
    mount(target, "/tmp/small")?;
    target.run("mkdir -p /tmp/small")?;
    let full = target.faults().disk_full("/tmp/small")?;
    let written = target
        .command("echo x > /tmp/small/x")
        .allow_failure()
        .run()?;
    assert!(!written.exit.success(), "{written:?}");
    full.end()?;
    target.run("echo x > /tmp/small/x && rm /tmp/small/x")?;
    Ok(())
}

#[target_test]
fn cuts_its_link(target: &Target) -> Result<()> {
    let _cut = target.faults().link_cut()?;
    Ok(())
}

#[target_test]
fn presses(target: &Target) -> Result<()> {
    // The file of a container: this is a host with control groups of version 1 or 2.
    let used = || -> Result<i64> {
        let line = match target.platform() {
            "qemu" => {
                "awk '/MemTotal/ {all = $2} /MemAvailable/ {free = $2} END {print (all - free) * 1024}' /proc/meminfo"
            }
            _ => {
                "cat /sys/fs/cgroup/memory.current 2>/dev/null || cat /sys/fs/cgroup/memory/memory.usage_in_bytes"
            }
        };
        Ok(target.run(line)?.stdout.trim().parse()?)
    };
    let before = used()?;
    if target.name() == "box" {
        let more = target.faults().memory_pressure(100).unwrap_err();
        assert!(more.to_string().contains("less memory is free"), "{more}");
    }
    let pressed = target.faults().memory_pressure(20)?;
    wait_until(Duration::from_secs(30), || {
        Ok::<_, Error>((used()? - before > 15 << 20).then_some(()))
    })?;
    pressed.end()?;
    wait_until(Duration::from_secs(30), || {
        Ok::<_, Error>((used()? - before < 15 << 20).then_some(()))
    })?;
    Ok(())
}

/// Leaves a fault that cannot be ended.
#[target_test]
fn stays_full(target: &Target) -> Result<()> {
    mount(target, "/tmp/stuck")?;
    std::mem::forget(target.faults().disk_full("/tmp/stuck")?);
    target.run("mount -o remount,ro /tmp/stuck")?;
    Ok(())
}

/// Dies with a fault that lasts.
#[target_test]
fn dies_paused(target: &Target) -> Result<()> {
    std::mem::forget(target.faults().pause()?);
    std::process::abort();
}
