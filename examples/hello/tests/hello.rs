//! Three tests, each on a target that is its own for as long as it runs.

use target_fixtures::prelude::*;

/// The target answers, and runs a kernel that says its version.
#[target_test]
fn answers(target: &Target) -> Result<()> {
    target.ping()?;
    let kernel = target.run("uname -r")?.stdout;
    assert!(kernel.starts_with(|first: char| first.is_ascii_digit()));
    Ok(())
}

/// What is put on the target can be read there, and comes back unchanged.
#[target_test(area = "files", priority = 1, timeout = "30s")]
fn round_trip(target: &Target) -> Result<()> {
    let here = std::env::temp_dir().join(format!("hello-{}", std::process::id()));
    std::fs::write(&here, hello::motd(target.name()))?;

    let there = target.run("mktemp")?.stdout;
    let there = there.trim_end();
    target.put(&here, there)?;
    assert_eq!(target.cat(there)?, hello::motd(target.name()));
    target.get(there, &here)?;
    assert_eq!(std::fs::read_to_string(&here)?, hello::motd(target.name()));

    target.run(&format!("rm {there}"))?;
    std::fs::remove_file(here)?;
    Ok(())
}

/// A command that fails is an error, which `?` carries to the report with what the command said.
#[target_test(area = "commands")]
fn failures_are_errors(target: &Target) -> Result<()> {
    let error = target.run("echo no such luck >&2; exit 3").unwrap_err();
    assert!(error.to_string().contains("no such luck"), "{error}");
    Ok(())
}
