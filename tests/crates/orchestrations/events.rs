//! Events and a fixture of a crate that a test only links.

use std::{fs::OpenOptions, io::Write as _};

use target_fixtures::prelude::*;

fn ledger(line: &str) -> Result<()> {
    let path = std::env::var_os("LEDGER").ok_or("no LEDGER")?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

/// A value that no event takes.
#[target_fixture(tear_down = unlinked)]
fn linked_device(target: &Target) -> Result<String> {
    target.run("true")?;
    ledger("up linked_device")?;
    Ok("device".to_owned())
}

fn unlinked(_target: &Target, _device: &str) -> Result<()> {
    ledger("down linked_device")
}

/// An event whose name another one has too.
#[target_event]
fn again() {}

mod other {
    use target_fixtures::prelude::*;

    #[target_event]
    fn again() {}
}

/// Notes that it ran, and reports to the reporter of the test.
#[target_event]
fn linked(result_reporter: &Reporter) -> Result<()> {
    result_reporter.info("from another crate");
    ledger("linked")
}
