//! The inventory of a real test binary, whose records are written by hand.

use std::{path::Path, process::Command};

use cargo_target_test::inventory;
use nextest_metadata::TestListSummary;
use serde_json::json;

/// Two tests; the link section holds a test's record, padding, and a module's.
const SOURCE: &str = r#"
#[used]
#[unsafe(link_section = "target_test")]
static TEST: [u8; TEST_TEXT.len() + 5] = padded(TEST_TEXT);
const TEST_TEXT: &str =
    "\x1e{\"kind\":\"test\",\"path\":\"my_tests::net::smoke\",\"metadata\":{\"doc\":\"Gr\u{fc}n.\",\"count\":2}}\n";
#[used]
#[unsafe(link_section = "target_test")]
static MODULE: [u8; MODULE_TEXT.len() + 3] = padded(MODULE_TEXT);
const MODULE_TEXT: &str =
    "\x1e{\"kind\":\"module\",\"path\":\"my_tests::net\",\"metadata\":{\"area\":\"net\"}}DAMAGE\n";

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let (mut bytes, mut at) = ([0; N], 0);
    while at < text.len() {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

mod net {
    #[test]
    fn smoke() {}
}
#[test]
#[ignore]
fn plain() {}
"#;

/// Compiles the source as a test binary, and says what nextest would list.
fn build(directory: &Path, damage: &str) -> TestListSummary {
    let (source, binary) = (directory.join("my-tests.rs"), directory.join("my-tests"));
    std::fs::write(&source, SOURCE.replace("DAMAGE", damage)).expect("written");
    let status = Command::new("rustc")
        .args(["--test", "--edition=2024", "--crate-name=my_tests", "-o"])
        .args([&binary, &source])
        .status();
    assert!(status.expect("rustc").success());
    summary(&binary)
}

fn summary(binary: &Path) -> TestListSummary {
    let case = |ignored: bool| json!({"kind": "test", "ignored": ignored, "filter-match": {"status": "matches"}});
    let summary = json!({
        "rust-build-meta": {
            "target-directory": "/t", "base-output-directories": [], "non-test-binaries": {},
            "build-script-out-dirs": {}, "linked-paths": []
        },
        "test-count": 2,
        "rust-suites": {"pkg::my-tests": {
            "package-name": "pkg", "binary-id": "pkg::my-tests", "binary-name": "my-tests", "package-id": "pkg 0.1.0",
            "kind": "test", "binary-path": binary, "build-platform": "target", "cwd": "/w", "status": "listed",
            "testcases": {"net::smoke": case(false), "plain": case(true)}
        }}
    });
    serde_json::from_value(summary).expect("a summary")
}

#[test]
fn tests_are_joined_with_what_their_binary_carries() {
    let directory = tempfile::tempdir().expect("a folder");
    let inventory = inventory::read(&build(directory.path(), "")).expect("read");
    let [binary] = inventory.binaries.as_slice() else {
        panic!("{inventory:?}")
    };
    assert_eq!(
        (binary.id.as_str(), binary.cwd.as_str(), binary.host),
        ("pkg::my-tests", "/w", false)
    );
    let [smoke, plain] = inventory.tests.as_slice() else {
        panic!("{inventory:?}")
    };
    let declared = smoke.metadata.as_ref().expect("declared");
    assert_eq!((smoke.name.as_str(), smoke.ignored), ("net::smoke", false));
    assert_eq!(
        (declared.doc.as_deref(), declared.area.as_deref()),
        (Some("Gr\u{fc}n."), Some("net"))
    );
    assert_eq!(declared.count, Some(2));
    assert_eq!(
        (plain.name.as_str(), plain.ignored, &plain.metadata),
        ("plain", true, &None)
    );
}

#[test]
fn damage_names_the_binary() {
    let directory = tempfile::tempdir().expect("a folder");
    let error = inventory::read(&build(directory.path(), "}"))
        .expect_err("damaged")
        .chain();
    assert!(
        error.contains("my-tests") && error.contains("invalid record"),
        "{error}"
    );
    let error = inventory::read(&summary(Path::new("/nonexistent/b")))
        .expect_err("missing")
        .chain();
    assert!(error.contains("/nonexistent/b"), "{error}");
}
