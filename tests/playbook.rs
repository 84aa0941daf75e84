//! Playbooks, good and bad, as users see them: every `playbooks/NAME.toml` is checked, and what is
//! printed is in `NAME.stdout` or `NAME.stderr` beside it. `SNAPSHOTS=overwrite` rewrites those.

use std::path::{Path, PathBuf};

/// What a check printed, and its exit code.
struct Checked {
    stdout: String,
    stderr: String,
    code: i32,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/playbooks")
}

#[test]
fn golden_files() {
    let mut wrong = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 20);
    for name in names {
        let checked = check(&format!("{name}.toml"));
        let good = name.starts_with("good");
        assert_eq!(
            checked.code,
            if good { 0 } else { 78 },
            "{name}: {}",
            checked.stderr
        );
        wrong.extend(compare(&format!("{name}.stdout"), &checked.stdout));
        wrong.extend(compare(&format!("{name}.stderr"), &checked.stderr));
    }
    assert!(
        wrong.is_empty(),
        "SNAPSHOTS=overwrite accepts these:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_missing_file_is_named() {
    let checked = check("missing.toml");
    assert_eq!(checked.code, 78);
    assert!(checked.stdout.is_empty());
    assert!(checked.stderr.starts_with("error: ") && checked.stderr.contains("`missing.toml`"));
}

/// What differs from the golden file; an absent file means nothing was printed.
fn compare(file: &str, actual: &str) -> Option<String> {
    let path = folder().join(file);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        std::fs::write(&path, actual).unwrap();
        return None;
    }
    Some(format!(
        "--- {file}, expected\n{expected}--- {file}, actual\n{actual}"
    ))
}

fn check(file: &str) -> Checked {
    let mut checked = run(file);
    let root = folder().canonicalize().unwrap();
    for shown in [
        format!("{}/", root.display()),
        format!("{}/", folder().display()),
    ] {
        checked.stdout = checked.stdout.replace(&shown, "[FOLDER]/");
        checked.stderr = checked.stderr.replace(&shown, "");
    }
    checked
}

fn run(file: &str) -> Checked {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cargo-target-test"))
        .args(["target-test", "check", "--playbook", file])
        .current_dir(folder())
        .env_remove("TARGET_TEST_PLAYBOOK")
        .output()
        .unwrap();
    Checked {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}
