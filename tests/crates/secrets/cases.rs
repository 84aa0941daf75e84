//! Tests that see secrets, and show them wherever they can.

use std::{fs, io::Write, path::Path};

use target_fixtures::prelude::*;

fn token() -> String {
    std::env::var("LAB_TOKEN").unwrap()
}

/// The path of a file below the folder that contains the token, if any.
fn written(folder: &Path) -> Option<String> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let found = if kind.is_dir() {
            written(&path)
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let has = bytes
                .windows(token().len())
                .any(|window| window == token().as_bytes());
            has.then(|| path.display().to_string())
        } else {
            None
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[target_test]
fn sees(target: &Target) -> Result<()> {
    if target.name() == "here" {
        assert!(target.run("printf %s \"$TOKEN\"")?.stdout == token());
        println!("the key: {}", target.run("printf %s \"$KEY\"")?.stdout);
        println!("the pin: {}", target.run("printf %s \"$PIN\"")?.stdout);
        println!("quoted: {:?}", target.run("printf %s \"$PIN\"")?.stdout);
    }
    let params = std::env::var("TARGET_TEST_PARAMS").unwrap();
    assert!(params.contains("{\"env\":\"LAB_TOKEN\"}"), "{params}");
    // While all of it exists: the pool, the broker's folder, temporary files.
    let found = written(Path::new(&std::env::var("SCANNED").unwrap()));
    assert_eq!(found, None);
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        // `command_fails` has it there by its own doing, and may run at the same time.
        let own = line.contains("echo said ");
        assert!(own || !line.contains(&token()), "a command line");
    }
    Ok(())
}

#[target_test]
fn prints(_: &Target) {
    println!("printed {}", token());
    eprintln!("complained {}", token());
    for byte in token().bytes() {
        std::io::stderr().write_all(&[byte]).unwrap();
        std::io::stdout().write_all(&[byte]).unwrap();
        std::io::stdout().flush().unwrap();
    }
    println!(", {}", &token()[..token().len() - 1]);
}

#[target_test]
fn panics(_: &Target) {
    panic!("panicked at {}", token());
}

#[target_test]
fn returns(_: &Target) -> Result<()> {
    Err(format!("returned {}", token()).into())
}

#[target_test]
fn command_fails(target: &Target) -> Result<()> {
    target
        .command(format!("echo said {} >&2; exit 3", token()))
        .run()?;
    Ok(())
}

#[target_test]
fn skips(_: &Target) -> Result<()> {
    Err(skip(format!("skipped for {}", token())))
}
