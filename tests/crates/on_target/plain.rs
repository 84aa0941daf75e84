//! Ordinary tests of a crate that knows nothing of targets.

use std::{env, fs, process::Command};

#[test]
fn passes() {
    let is_here = env::var_os("TARGET_TEST_BROKER").is_some();
    println!("{}", if is_here { "here" } else { "on its target" });
    fs::write("left-here", "").expect("a folder that can be written");
}

/// The variables that Cargo, nextest and the tool give, and those of the user that are about Rust.
#[test]
fn finds_its_variables() {
    for (name, value) in [
        ("NEXTEST", "1"),
        ("CARGO_PKG_NAME", env!("CARGO_PKG_NAME")),
        ("RUST_LOG", "debug"),
        ("OF_CARGOS_CONFIG", "it's\n\"here\""),
    ] {
        assert_eq!(env::var(name).as_deref(), Ok(value), "{name}");
    }
    assert!(env::var("TARGET_TEST_INSTANCE").is_ok());
    for name in ["TARGET_TEST_BROKER", "TARGET_TEST_SSH_CONFIG", "TOKEN"] {
        assert_eq!(env::var_os(name), None, "{name}");
    }
}

#[test]
fn fails() {
    eprintln!("said on standard error");
    assert_eq!(1, 2);
}

#[test]
#[should_panic(expected = "as expected")]
fn panics() {
    panic!("as expected");
}

#[test]
#[ignore = "asked for by name"]
fn ignored() {}

#[test]
fn exits() {
    std::process::exit(7);
}

#[test]
fn aborts() {
    std::process::abort();
}

/// Waits for a process of its own, which has a session of its own where the machine has `setsid`.
#[test]
fn hangs() {
    let line = "echo hanging; (setsid sleep 86399 || sleep 86399) & sleep 86399; wait";
    let _ = Command::new("sh").args(["-c", line]).status();
}

/// A process stays, and holds none of its streams.
#[test]
fn leaves() {
    let line = "sleep 86398 </dev/null >/dev/null 2>&1 &";
    let started = Command::new("sh").args(["-c", line]).status();
    assert!(started.expect("a shell").success());
}
