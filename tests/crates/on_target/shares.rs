//! Tests of machines that show folders of the host.

use std::path::Path;

use target_fixtures::platform::Qemu;
use target_fixtures::prelude::*;

/// The program and its folder are those of the host, seen on the machine.
#[target_test(runs_on = "target")]
fn is_in_the_shared_folder(target: &Target) -> Result<()> {
    let program = env!("CARGO_BIN_EXE_the-app");
    assert_eq!(target.run(program)?.stdout, program);
    std::fs::write("written-by-on-target", target.instance())?;
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert!(temporary.is_dir());
    Ok(())
}

/// A folder that is read-only is there again after a reboot.
#[target_test]
fn is_mounted_again(target: &Qemu) -> Result<()> {
    let reads = || target.cat("/code/data/greeting");
    assert_eq!(reads()?, "hello");
    assert!(target.run("echo x >/code/new").is_err());
    target.reboot()?;
    assert_eq!(reads()?, "hello");
    target.restart()?;
    assert_eq!(reads()?, "hello");
    let error = target.snapshot("one").unwrap_err().to_string();
    assert!(error.contains("has a shared folder"), "{error}");
    Ok(())
}
