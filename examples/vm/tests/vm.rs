//! Each instance is a virtual machine, prepared by the playbook's recipe.

use target_fixtures::prelude::*;

/// It is the machine that the lease names, and runs a kernel of its own.
#[target_test(priority = 0)]
fn smoke(target: &Target) -> Result<()> {
    assert_eq!(target.run("hostname")?.stdout.trim_end(), target.instance());
    let kernel = target.run("uname -r")?.stdout;
    assert!(kernel.contains("cloud"), "{kernel}");
    Ok(())
}

/// The recipe ran before the first test.
#[target_test]
fn is_prepared(target: &Target) -> Result<()> {
    assert_eq!(target.cat("/etc/motd")?, "made for tests");
    Ok(())
}

/// Two instances are two machines.
#[target_test(count = 2)]
fn pair(targets: &[Target]) -> Result<()> {
    let boot = |target: &Target| target.cat("/proc/sys/kernel/random/boot_id");
    assert_ne!(boot(&targets[0])?, boot(&targets[1])?);
    Ok(())
}
