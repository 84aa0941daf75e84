//! Faults that tests cause on their targets.

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

#[target_test]
fn loses_power(target: &Target) -> Result<()> {
    let before = boot_id(target)?;
    target.faults().power_cut()?;
    assert_ne!(boot_id(target)?, before);
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

#[target_test]
fn fills(target: &Target) -> Result<()> {
    target.run("mkdir -p /tmp/small && mount -t tmpfs -o size=4m none /tmp/small")?;
    let full = target.faults().disk_full("/tmp/small")?;
    let written = target
        .command("echo x > /tmp/small/x")
        .allow_failure()
        .run()?;
    assert!(!written.exit.success(), "{written:?}");
    full.end()?;
    target.run("echo x > /tmp/small/x && umount /tmp/small")?;
    Ok(())
}

#[target_test]
fn presses(target: &Target) -> Result<()> {
    let free = || -> Result<i64> {
        let line = target.run("grep MemAvailable /proc/meminfo")?.stdout;
        let word = line.split_whitespace().nth(1).ok_or("no number")?;
        Ok(word.parse()?)
    };
    let before = free()?;
    let pressed = target.faults().memory_pressure(40)?;
    wait_until(Duration::from_secs(30), || {
        Ok::<_, Error>((before - free()? > 30 << 10).then_some(()))
    })?;
    pressed.end()?;
    Ok(())
}

/// Dies with a fault that lasts.
#[target_test]
fn dies_paused(target: &Target) -> Result<()> {
    std::mem::forget(target.faults().pause()?);
    std::process::abort();
}
