//! Runs on every target in the playbook: `cargo target-test`.

use target_fixtures::prelude::*;

/// The target answers, and names its kernel.
#[target_test(timeout = "30s")]
fn answers(target: &Target) -> Result<()> {
    target.ping()?;
    let kernel = target.run("uname -sr")?.stdout;
    assert!(!kernel.trim().is_empty());
    Ok(())
}
