//! Each machine of the example knows who it is (`$TARGET_IDENTITY`): these tests reach the right one.

use target_fixtures::prelude::*;

fn identity(target: &Target) -> Result<String> {
    let output = target.run("echo $TARGET_IDENTITY")?;
    Ok(output.stdout.trim_end().to_owned())
}

/// The machine is the instance that the lease names.
#[target_test(priority = 0)]
fn smoke(target: &Target) -> Result<()> {
    let identity = identity(target)?;
    assert_eq!(identity, target.instance());
    assert!(identity.starts_with(target.name()));
    Ok(())
}

/// Files come from the machine that the commands reach.
#[target_test(area = "files")]
fn files(target: &Target) -> Result<()> {
    let path = target.run("file=$(mktemp) && echo $TARGET_IDENTITY >$file && echo $file")?;
    let path = path.stdout.trim_end();
    assert_eq!(target.cat(path)?, target.instance());
    target.run(format!("rm {path}"))?;
    Ok(())
}

/// Two instances of a target are two machines.
#[target_test(count = 2)]
fn pair(targets: &[Target]) -> Result<()> {
    let [one, two] = targets else {
        panic!("asked for two instances, got {}", targets.len())
    };
    assert_ne!(identity(one)?, identity(two)?);
    Ok(())
}
