//! Tests that end in every way: passed, failed, skipped, retried, known to fail; what they leave is in `SCRATCH`.

use std::{fs, path::PathBuf};

use target_fixtures::prelude::*;

#[target_test(priority = 0)]
fn answers(target: &Target) -> Result<()> {
    target.run("true")?;
    Ok(())
}

#[target_test(targets = ["east"])]
fn fails_there(target: &Target) -> Result<()> {
    target.run("echo building; echo 'cannot open x' >&2; exit 3")?;
    Ok(())
}

#[target_test(expect_fail("bug 7", target = "east"))]
fn is_known_to_fail(target: &Target) {
    assert_eq!(target.name(), "west", "bug 7");
}

#[target_test(skip("needs a switch", target = "east"))]
fn skipped_beforehand(_: &Target) {}

#[target_test(targets = ["east"])]
fn skips_itself(_: &Target) -> Result<()> {
    Err(skip("no such device"))
}

#[target_test(targets = ["west"], retries = 2)]
fn passes_at_last(target: &Target) {
    let scratch = std::env::var_os("SCRATCH").map(PathBuf::from);
    let mark = scratch.expect("SCRATCH").join(target.name());
    let again = mark.exists();
    fs::write(mark, "").expect("a mark");
    assert!(again, "not yet");
}

#[target_test(memory = ">= 8 GiB")]
fn needs_much(_: &Target) {}

#[test]
fn ordinary() {}
