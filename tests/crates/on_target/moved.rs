//! Ordinary tests that find the files of their package by variables.

use std::{
    env, fs,
    path::Path,
    process::{self, Command},
};

#[test]
fn finds_moved_files() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("a variable");
    assert_eq!(env::current_dir().expect("a folder"), Path::new(&folder));
    assert!(fs::exists("tests/data/greeting").expect("a folder"));
    let program = env::var("CARGO_BIN_EXE_the-app").expect("a variable");
    let output = Command::new(&program).output().expect("an output");
    assert_eq!(output.stdout, program.as_bytes());
}

/// Is killed after its program has written a profile.
#[test]
fn writes_a_profile() {
    if env::var_os("LLVM_PROFILE_FILE").is_some() {
        let program = env::var("CARGO_BIN_EXE_the-app").expect("a variable");
        let output = Command::new(program).output().expect("an output");
        assert!(output.status.success());
        process::abort();
    }
}
