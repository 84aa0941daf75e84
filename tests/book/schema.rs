//! The JSON Schema, as an editor uses it: it accepts every playbook that `check` accepts, and refuses wrong ones.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{Block, all_blocks};
use crate::{
    support::{examples, here, repository},
    tidy::source,
};

/// Prints the first mistake of each playbook on standard input, or an empty line.
const VALIDATOR: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for line in sys.stdin:
    first = next(validator.iter_errors(json.loads(line)), None)
    print("" if first is None else json.dumps(f"{list(first.path)}: {first.message}"))
"#;

/// Golden playbooks whose mistake a schema can see.
const WRONG: &[&str] = &[
    "bad-checks",
    "bad-everywhere",
    "bad-name",
    "bad-numbers",
    "bad-pool",
    "bad-recipes",
    "bad-rules",
    "bad-secrets",
    "missing-name",
    "recipe-misspelt-key",
    "targets-one-table",
    "unknown-common-key",
    "unknown-key",
    "unknown-key-in-platform",
    "unknown-platform",
    "unknown-top-level-key",
    "unused-platform",
    "wrong-number",
    "wrong-select",
    "wrong-type",
    "wrong-type-in-platform",
];

/// The playbooks of the project with their places: goldens, examples, those of `init`, those of the book.
fn valid() -> Vec<(String, String)> {
    let is_playbook = |path: &Path| {
        let (path, name) = (path.to_string_lossy(), path.file_name().unwrap_or_default());
        path.ends_with(".toml")
            && (path.starts_with("cargo-target-test/src/commands/init/")
                || path.starts_with("tests/playbooks/good-")
                || path.starts_with("examples/") && name == "target-test.toml")
    };
    let read = |path: &Path| fs::read_to_string(repository().join(path)).expect("a playbook");
    let files = source::files(&repository()).into_iter();
    let files = files.filter(|path| is_playbook(path));
    let files = files.map(|path| (path.display().to_string(), read(&path)));
    let shown = all_blocks().into_iter().filter(Block::is_playbook);
    files
        .chain(shown.map(|block| (block.place, block.text)))
        .collect()
}

fn wrong() -> Vec<(String, String)> {
    let file = |name: &&str| repository().join(format!("tests/playbooks/{name}.toml"));
    let read = |name: &&str| fs::read_to_string(file(name)).expect("a playbook");
    WRONG
        .iter()
        .map(|name| ((*name).to_owned(), read(name)))
        .collect()
}

/// The validator's words on each playbook.
fn validate(schema: &Path, playbooks: &[(String, String)]) -> Vec<String> {
    let mut python = Command::new("python3");
    python.args(["-c", VALIDATOR]).arg(schema);
    let child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("python3");
    let mut input = child.stdin.take().expect("a pipe");
    for (place, text) in playbooks {
        let table: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        let table: Value = json!(table);
        writeln!(input, "{table}").expect("the validator");
    }
    drop(input);
    let output = child.wait_with_output().expect("the validator");
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    said.lines().map(str::to_owned).collect()
}

#[test]
fn the_schema_accepts_valid_playbooks_and_refuses_wrong_ones() {
    let mut python = Command::new("python3");
    python.args(["-c", "from jsonschema import Draft202012Validator"]);
    let found = match python.status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("no Python package `jsonschema`: {other:?}")),
    };
    if here(found).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let schema = folder.path().join("schema.json");
    let printed = examples().run(&["schema"]).code(0).stdout;
    fs::write(&schema, printed).expect("the schema");
    let (valid, wrong) = (valid(), wrong());
    assert!(valid.len() > 25, "{}", valid.len());
    for ((place, _), said) in valid.iter().zip(validate(&schema, &valid)) {
        assert_eq!(said, "", "{place}");
    }
    for ((place, _), said) in wrong.iter().zip(validate(&schema, &wrong)) {
        assert_ne!(said, "", "{place}");
    }
}
