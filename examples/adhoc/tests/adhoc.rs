//! The script's own test: all shell tests pass, and the report has them.

use std::{fs, path::Path, process::Command};

#[test]
fn shell_tests_pass_and_are_reported() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adhoc");
    let report = folder.join("junit.xml");
    let pool = folder.join("pool");
    fs::create_dir_all(&folder).expect("a folder");
    for name in ["smoke", "network", "target-test.toml"] {
        let link = folder.join(name);
        let _ = fs::remove_file(&link);
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::os::unix::fs::symlink(ours, link).expect("a link");
    }
    let _ = fs::remove_file(&report);

    let mut script = Command::new(env!("CARGO_BIN_EXE_adhoc"));
    let script = script.current_dir(&folder).env("TARGET_TEST_POOL", &pool);
    let ended = script.output().expect("the script's end");
    assert!(ended.status.success(), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("4 passed"), "{said}");
    let report = fs::read_to_string(report).expect("the report");
    for case in [
        "smoke/shell",
        "smoke/temporary",
        "network/loopback",
        "network/name",
    ] {
        assert!(
            report.contains(&format!("<testcase name=\"{case}\"")),
            "{report}"
        );
    }
}
