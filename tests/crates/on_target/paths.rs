//! Ordinary tests that need files of their package, at the paths of the host.

use std::{env, fs, os::unix::fs::MetadataExt, path::Path, process::Command};

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn finds_the_files_of_its_package() {
    assert_eq!(env::current_dir().expect("a folder"), Path::new(PACKAGE));
    for folder in ["", PACKAGE] {
        let data = Path::new(folder).join("tests/data");
        let text = fs::read_to_string(data.join("greeting")).expect("a file");
        assert_eq!(text, "hello\n");
        let link = fs::read_link(data.join("link")).expect("a link");
        assert_eq!(link, Path::new("greeting"));
        println!("more: {}", data.join("more").exists());
    }
    assert!(!Path::new("ignored").exists());
}

#[test]
fn starts_a_program_of_its_package() {
    for program in [
        env!("CARGO_BIN_EXE_the-app"),
        &env::var("CARGO_BIN_EXE_the-app").expect("a variable"),
    ] {
        let output = Command::new(program).output().expect("an output");
        assert_eq!(output.stdout, program.as_bytes());
    }
    let own = env::current_exe().expect("a path");
    let beside = own.ancestors().nth(2).expect("a folder").join("the-app");
    assert_eq!(beside, Path::new(env!("CARGO_BIN_EXE_the-app")));
}

#[test]
fn writes_as_its_user() {
    for folder in [PACKAGE, env!("CARGO_TARGET_TMPDIR")] {
        let file = Path::new(folder).join("written-by-on-target");
        fs::write(&file, "").expect("a folder that can be written");
        let owner = fs::metadata(&file).expect("a file").uid();
        let own = fs::metadata("/proc/self").expect("/proc").uid();
        assert_eq!(owner, own);
        println!("user {owner}");
    }
    show_namespace();
}

/// A file and a folder beside the package's, if the playbook names them.
#[test]
fn writes_beside_its_package() {
    let beside = Path::new(PACKAGE).with_extension("beside");
    if fs::exists(beside.join("file")).expect("a folder") {
        fs::write(beside.join("written-by-on-target"), "").expect("a folder");
        fs::write(beside.with_extension("file"), "changed").expect("a file");
    }
    show_namespace();
}

fn show_namespace() {
    let namespace = fs::read_link("/proc/self/ns/mnt").expect("a namespace");
    println!("in {}", namespace.display());
}
