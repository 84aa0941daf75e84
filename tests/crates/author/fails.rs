//! Tests that fail, each in its own way.

use std::time::Duration;

use target_fixtures::prelude::*;

#[target_test]
fn command(target: &Target) -> Result<()> {
    target.run("echo building; echo 'cannot open x' >&2; exit 3")?;
    Ok(())
}

#[target_test]
fn timeout(target: &Target) -> Result<()> {
    target
        .command("echo started; sleep 1000")
        .timeout(Duration::from_millis(300))
        .run()?;
    Ok(())
}

#[target_test]
fn file(target: &Target) -> Result<()> {
    target.cat("/etc/none")?;
    Ok(())
}

#[target_test]
fn local_file(target: &Target) -> Result<()> {
    target.put("/none/here", "/tmp/there")?;
    Ok(())
}

#[target_test]
fn foreign(target: &Target) -> Result<()> {
    target.run("echo seven")?.stdout.trim().parse::<u8>()?;
    Ok(())
}

#[target_test]
fn text(_: &Target) -> Result<()> {
    Err("the moon is wrong".into())
}

#[target_test]
fn panics(target: &Target) {
    let kernel = target
        .run("echo 5.10")
        .map(|output| output.stdout)
        .unwrap_or_default();
    assert!(kernel.starts_with("6."), "an old kernel: {kernel}");
}
