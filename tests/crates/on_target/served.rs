//! Tests that run on their target and use it.

use std::{fs, thread};

use target_fixtures::prelude::*;

target_defaults! { runs_on = "target" }

/// A fixture of one test, with a tear-down that the test does itself.
#[target_fixture(tear_down = remove)]
fn scratch(target: &Target) -> Result<String> {
    Ok(target.run("mktemp -d")?.stdout.trim().to_owned())
}

fn remove(target: &Target, scratch: &String) -> Result<()> {
    target.run(format!("rm -r {scratch}"))?;
    println!("removed {scratch}");
    Ok(())
}

#[target_fixture(scope = "instance")]
fn shared() -> u32 {
    7
}

/// Both ways lead to the same machine: the standard library's and the target's.
#[target_test]
fn is_on_its_target(target: &Target, scratch: &String) -> Result<()> {
    fs::write(format!("{scratch}/by-std"), "one")?;
    assert_eq!(target.cat(format!("{scratch}/by-std"))?, "one");
    target.write(format!("{scratch}/by-target"), "two")?;
    assert_eq!(fs::read_to_string(format!("{scratch}/by-target"))?, "two");
    assert_eq!(std::env::var_os("TARGET_TEST_SSH_CONFIG"), None);
    Ok(())
}

/// Several requests at once, with more input and output than pipes and windows hold.
#[target_test]
fn works_at_once(target: &Target) {
    let line = "head -c 3000000 /dev/zero; wc -c";
    let one = || {
        let input = vec![b'x'; 3_000_000];
        let output = target.command(line).stdin(input).quiet().run();
        output.expect("an output").stdout.len()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        for length in all {
            assert_eq!(length.join().expect("a thread"), 3_000_008);
        }
    });
}

#[target_test(programs = ["kvd"])]
fn starts_a_program(target: &Target) -> Result<()> {
    let output = target.program_of("kvd")?.arg("--where").run()?;
    assert!(fs::exists(output.stdout.trim())?);
    Ok(())
}

#[target_test]
fn skips() -> Result<()> {
    Err(skip("seen enough"))
}

#[target_test(expect_fail("bug 7"))]
fn fails_as_expected(target: &Target) -> Result<()> {
    target.run("exit 3")?;
    Ok(())
}

#[target_test]
fn fails(target: &Target) -> Result<()> {
    target.run("exit 3")?;
    Ok(())
}

/// Local paths are those of the machine on which the test runs.
#[target_test(count = 2)]
fn copies_files(targets: &[Target]) -> Result<()> {
    fs::create_dir_all("copied/inner")?;
    fs::write("copied/inner/file", "one")?;
    for target in targets {
        target.put("copied", "/tmp/there")?;
        assert_eq!(target.cat("/tmp/there/inner/file")?, "one");
        target.get("/tmp/there/inner/file", "back")?;
        assert_eq!(fs::read_to_string("back")?, "one");
        fs::remove_file("back")?;
        let missing = target.get("/tmp/there/none", "back");
        let said = missing.expect_err("no file").to_string();
        assert!(said.contains("file not found"), "{said}");
    }
    Ok(())
}

/// Requests that would reach ports of the host, or end the test, are refused.
#[target_test]
fn is_refused(target: &Target) {
    let errors = [
        target.forward(22).expect_err("forward"),
        target.reboot().expect_err("reboot"),
    ];
    for error in errors {
        let said = error.to_string();
        let why = "not supported in a test that runs on its target";
        assert!(said.contains(why), "{said}");
    }
}

#[target_test]
fn shares(_: &Target, shared: &u32) {
    unreachable!("{shared}");
}

/// The other machine is reached through the host.
#[target_test(count = 2)]
fn reaches_another(targets: &[Target]) -> Result<()> {
    fs::write("/tmp/of-the-first", "")?;
    targets[0].run("test -e /tmp/of-the-first")?;
    assert!(targets[1].run("test -e /tmp/of-the-first").is_err());
    Ok(())
}

/// Ends before its fixture is torn down.
#[target_test]
fn dies(_: &Target, scratch: &String) {
    println!("in {scratch}");
    std::process::abort();
}

#[target_test(runs_on = "host")]
fn stays_here() {
    assert!(std::env::var_os("TARGET_TEST_SSH_CONFIG").is_some());
}
