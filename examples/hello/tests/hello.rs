//! Three tests, each on a target that is its own for as long as it runs.

use target_fixtures::prelude::*;

/// The target answers, and its kernel has a version.
#[target_test]
fn answers(target: &Target) -> Result<()> {
    target.ping()?;
    let kernel = target.run("uname -r")?.stdout;
    assert!(kernel.starts_with(|first: char| first.is_ascii_digit()));
    Ok(())
}

/// A file that is put on the target is there, unchanged.
#[target_test(area = "files", priority = 1, timeout = "30s")]
fn installs(target: &Target) -> Result<()> {
    let path = target.run("mktemp")?.stdout;
    let path = path.trim_end();
    target.put("motd", path)?;
    assert_eq!(target.read_to_string(path)?, hello::MOTD);
    target.run(format!("rm {path}"))?;
    Ok(())
}

/// A command that fails is an error, which `?` carries into the report with what the command said.
#[target_test(area = "commands")]
fn failures_are_errors(target: &Target) -> Result<()> {
    let error = target.run("echo no such luck >&2; exit 3").unwrap_err();
    assert!(error.to_string().contains("no such luck"), "{error}");
    Ok(())
}
