//! The tool's surface, held against a checked-in list: verbs, flags, exit codes, error kinds, playbook keys, variables.
//!
//! Owns the list, `tests/surface/list.txt`. What is in it may not vanish; what is new needs a line:
//! `SNAPSHOTS=overwrite` adds the lines, and never removes one.

use std::{collections::BTreeSet, fs};

use cargo_target_test::ErrorKind;
use regex::Regex;
use serde_json::Value;

use crate::{
    support::{Project, repository},
    tidy::source,
};

const LIST: &str = "tests/surface/list.txt";

/// Verbs that `--help` does not show.
const HIDDEN: &[&str] = &["broker"];

/// Verbs of which only the name is ours.
const WITHOUT_HELP: &[&str] = &["help"];

type Lines = BTreeSet<String>;

#[test]
fn nothing_has_vanished_and_all_is_listed() {
    let found: Lines = [help(), book(), errors(), keys(), variables()]
        .into_iter()
        .flatten()
        .collect();
    let path = repository().join(LIST);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let listed: Lines = text.lines().map(str::to_owned).collect();
    let vanished: Vec<&str> = listed.difference(&found).map(String::as_str).collect();
    assert!(
        vanished.is_empty(),
        "{LIST} lists what the tool no longer has:\n{}",
        vanished.join("\n")
    );
    if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        let lines: String = found.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, lines).expect(LIST);
        return;
    }
    let new: Vec<&str> = found.difference(&listed).map(String::as_str).collect();
    assert!(
        new.is_empty(),
        "{LIST} lacks these lines (`SNAPSHOTS=overwrite` adds them):\n{}",
        new.join("\n")
    );
    let in_order: String = listed.iter().map(|line| format!("{line}\n")).collect();
    snapbox::assert_data_eq!(text, snapbox::Data::text(in_order).raw());
}

/// The output of `--help` of the tool and of each verb.
fn help() -> Lines {
    let project = Project::existing(&repository());
    let help = |words: &[&str]| project.run(&[words, &["--help"]].concat()).code(0).stdout;
    let (mut found, root) = (Lines::new(), help(&[]));
    for line in section(&root, "Exit codes:") {
        found.insert(format!("exit {} (help)", first_word(line)));
    }
    let verbs = section(&root, "Verbs:").map(first_word);
    for verb in verbs.chain(HIDDEN.iter().copied()) {
        let hidden = if HIDDEN.contains(&verb) {
            " (hidden)"
        } else {
            ""
        };
        found.insert(format!("verb {verb}{hidden}"));
        if !WITHOUT_HELP.contains(&verb) {
            found.extend(help_of_verb(verb, &help(&[verb])));
        }
    }
    found
}

/// The arguments, options, aliases, defaults, values, variables and exit codes in the help of a verb.
fn help_of_verb(verb: &str, help: &str) -> Lines {
    let value_name = Regex::new("<[^>]*>").expect("a pattern");
    let note = Regex::new(r"\[(alias(?:es)?|env|default): ([^\]]*)\]").expect("a pattern");
    let (mut found, mut option) = (Lines::new(), String::new());
    for line in help.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if (2..=6).contains(&indent) && line.starts_with('-') {
            let shape = value_name.replace_all(line, "<>");
            found.insert(format!("flag {verb} {shape}"));
            option = shape
                .split([' ', '=', '[', '.'])
                .rfind(|word| word.starts_with('-'))
                .unwrap_or_default()
                .to_owned();
        } else if indent == 2 && line.starts_with(['[', '<']) {
            found.insert(format!("argument {verb} {line}"));
            option = line.to_owned();
        } else if let Some((value, _)) = line
            .strip_prefix("- ")
            .and_then(|line| line.split_once(':'))
        {
            found.insert(format!("value {verb} {option} {value}"));
        }
        for note in note.captures_iter(line) {
            found.insert(format!("{} {verb} {option} {}", &note[1], &note[2]));
        }
    }
    let paragraphs = help.split("\n\n");
    for text in paragraphs.filter(|text| text.to_lowercase().contains("exit code")) {
        found.extend(codes(text, verb));
    }
    found
}

/// The numbers of a text about exit codes, with the text's place.
fn codes(text: &str, place: &str) -> Lines {
    let number = Regex::new(r"\b\d{1,3}\b").expect("a pattern");
    let numbers = number.find_iter(text).map(|found| found.as_str());
    numbers
        .map(|code| format!("exit {code} ({place})"))
        .collect()
}

/// The indented lines below a heading.
fn section<'a>(help: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != heading);
    lines
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect::<Vec<_>>()
        .into_iter()
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// The exit codes of the book's table.
fn book() -> Lines {
    let page = repository().join("cargo-target-test/docs/ci.md");
    let text = fs::read_to_string(page).expect("the page");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| exit code |"));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.flat_map(|row| codes(row, "book")).collect()
}

/// The kinds of errors, of the tool with their exit codes, and of the crate for test authors.
fn errors() -> Lines {
    let tool = [
        ErrorKind::Usage,
        ErrorKind::Playbook,
        ErrorKind::Infra,
        ErrorKind::Unfit,
        ErrorKind::Timeout,
        ErrorKind::Pool,
        ErrorKind::Nextest,
        ErrorKind::Build,
        ErrorKind::Other,
    ];
    let code = |name: &str| {
        let kind = tool.iter().find(|kind| format!("{kind:?}") == name);
        let kind =
            kind.unwrap_or_else(|| panic!("`ErrorKind::{name}` is missing in tests/surface.rs"));
        format!("error {name} exits {}", kind.exit_code())
    };
    let tool = variants("cargo-target-test/src/", "ErrorKind");
    let author = variants("target-fixtures/src/", "ErrorKind");
    let author = author
        .iter()
        .map(|name| format!("error target_fixtures {name}"));
    tool.iter().map(|name| code(name)).chain(author).collect()
}

/// The variants of an enum without fields, wherever below `folder` it is.
fn variants(folder: &str, name: &str) -> Vec<String> {
    let opening = format!("pub enum {name} {{");
    let sources = source::all(&repository());
    let mut sources = sources
        .iter()
        .filter(|source| source.path.starts_with(folder));
    let body = sources.find_map(|source| source.code.split_once(&opening)?.1.split_once('}'));
    let (body, _) = body.unwrap_or_else(|| panic!("no `{opening}` below {folder}"));
    let names = body.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The keys of the playbook, as the schema for editors has them, and the words that they take.
fn keys() -> Lines {
    let printed = Project::existing(&repository())
        .run(&["schema"])
        .code(0)
        .stdout;
    let schema: Value = serde_json::from_str(&printed).expect("JSON");
    let mut keys = Keys {
        schema: &schema,
        open: Vec::new(),
        found: Lines::new(),
    };
    keys.walk(&schema, "");
    keys.found
}

struct Keys<'a> {
    schema: &'a Value,
    /// The references that lead to where the walk is.
    open: Vec<&'a str>,
    found: Lines,
}

impl<'a> Keys<'a> {
    fn walk(&mut self, node: &'a Value, path: &str) {
        if !node.is_object() {
            return;
        }
        if let Some(reference) = node["$ref"].as_str()
            && !self.open.contains(&reference)
        {
            let pointer = reference.trim_start_matches('#');
            let node = self.schema.pointer(pointer);
            self.open.push(reference);
            self.walk(node.unwrap_or_else(|| panic!("no {reference}")), path);
            self.open.pop();
        }
        for (key, node) in node["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            self.found.insert(format!("key {}", &path[1..]));
            self.walk(node, &path);
        }
        for (part, suffix) in [
            ("additionalProperties", ".*"),
            ("items", "[]"),
            ("then", ""),
            ("else", ""),
        ] {
            self.walk(&node[part], &format!("{path}{suffix}"));
        }
        for part in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            for node in node[part].as_array().into_iter().flatten() {
                self.walk(node, path);
            }
        }
        let words = node["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&node["const"]]);
        for word in words.filter_map(Value::as_str) {
            self.found.insert(format!("word {} = {word:?}", &path[1..]));
        }
    }
}

/// The environment variables that the tool and the crate for test authors read or set.
fn variables() -> Lines {
    let name = Regex::new("^TARGET_TEST_[A-Z_]+$").expect("a pattern");
    let mut sources = source::all(&repository());
    sources.retain(|source| source.path.contains("src/") && !source.path.starts_with("examples/"));
    let literals = sources.iter().flat_map(|source| &source.literals);
    let names = literals.filter(|text| name.is_match(text));
    names.map(|name| format!("variable {name}")).collect()
}
