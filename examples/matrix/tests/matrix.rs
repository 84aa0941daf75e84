//! Each machine of the example knows who it is (`$TARGET_IDENTITY`): these tests reach the right one.

use std::env;

use target_fixtures::prelude::*;

/// The machine is the instance that the lease names.
#[target_test(priority = 0)]
fn smoke(target: &Target) -> Result<()> {
    let identity = target.run("echo $TARGET_IDENTITY")?.stdout;
    let identity = identity.trim_end();
    assert!(
        identity.starts_with(target.name()),
        "asked for a machine of `{}`, reached `{identity}`",
        target.name()
    );
    assert_eq!(env::var("TARGET_TEST_INSTANCE").as_deref(), Ok(identity));
    Ok(())
}

/// Commands and files reach the same machine.
#[target_test(area = "files")]
fn files(target: &Target) -> Result<()> {
    let path = target
        .run("f=$(mktemp) && echo $TARGET_IDENTITY >$f && echo $f")?
        .stdout;
    let path = path.trim_end();
    let identity = target.cat(path)?;
    target.run(&format!("rm {path}"))?;
    assert!(identity.starts_with(target.name()));
    Ok(())
}

/// Two machines of one target at once are two machines.
#[target_test(count = 2)]
fn pair(targets: &[Target]) -> Result<()> {
    let mut identities = Vec::new();
    for target in targets {
        identities.push(target.run("echo $TARGET_IDENTITY")?.stdout);
    }
    identities.sort();
    identities.dedup();
    assert_eq!(identities.len(), 2, "{identities:?}");
    Ok(())
}
