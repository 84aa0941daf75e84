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

/// As an instrumented program at its end.
#[test]
fn writes_a_profile() {
    if let Ok(pattern) = env::var("LLVM_PROFILE_FILE") {
        let file = pattern.replace("%p", &process::id().to_string());
        let folder = Path::new(&file).parent().expect("a folder");
        fs::create_dir_all(folder).expect("a folder");
        fs::write(file, "a profile").expect("a profile");
        // Also after this.
        process::abort();
    }
}
