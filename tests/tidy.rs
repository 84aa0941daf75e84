//! The project's habits, checked: each test lists all offences at once.
//!
//! Owns the rules that no compiler knows. Must not run the tool, but for its help.

/// Rust files as the checks read them.
pub(crate) mod source;

use std::{collections::BTreeMap, fs};

use regex::Regex;

use self::source::Source;
use crate::support::{Project, repository};

/// The engine's rooms from left to right: a room may use those before it.
const ROOMS: &[&str] = &[
    "case",
    "run_event",
    "playbook",
    "inventory",
    "plan",
    "connect",
    "provision",
    "execute",
    "aggregate",
    "orchestrate",
    "commands",
];

/// Modules that every room may use, and that use no room; `cli` may name the types of a room's flags.
const SHARED: &[&str] = &[
    "bounded",
    "digest",
    "error",
    "failpoint",
    "process",
    "secret",
    "sync",
    "ui",
];

/// The packages that the project promises to build on.
const PROMISED: &[&str] = &[
    "clap",
    "cargo_metadata",
    "nextest-metadata",
    "serde",
    "toml",
    "tokio",
    "ssh2",
    "tempfile",
    "fs4",
];

/// The only place that starts processes.
const SPAWNER: &str = "process";

/// The only place that prints.
const PRINTER: &str = "ui";

/// The place that limits what is read.
const BOUNDED: &str = "bounded";

/// A harness that reads its own files.
const UNBOUNDED: &[&str] = &["contract"];

/// The only places that know nextest's command line, files and variables.
const NEXTEST: &[&str] = &["execute/nextest", "execute/runner"];

/// The engine's sources; rooms are files or folders in it.
const ENGINE: &str = "cargo-target-test/src";

/// The sources of the packages that are published.
const PUBLISHED: &[&str] = &[
    "cargo-target-test/src/",
    "target-fixtures/src/",
    "target-fixtures/macros/src/",
];

/// The names that each published library crate may define, by Rust's convention.
const ONE_PER_CRATE: &[&str] = &["Error", "ErrorKind", "Result"];

#[test]
fn rooms_use_only_rooms_to_their_left() {
    let mut offences = Vec::new();
    for source in engine() {
        let path = source.path.as_str();
        let room = ROOMS
            .iter()
            .position(|room| source.is(&format!("{ENGINE}/{room}")));
        let shared = SHARED
            .iter()
            .any(|name| source.is(&format!("{ENGINE}/{name}")));
        for (line, used) in crate_paths(source.product()) {
            let Some(other) = ROOMS.iter().position(|room| *room == used) else {
                continue;
            };
            if shared || room.is_some_and(|room| room < other) {
                offences.push(format!("{path}:{line}: uses `{used}`, to its right"));
            }
        }
    }
    report(offences);
}

#[test]
fn one_place_each() {
    let rules = [
        (r"\bCommand::new\(|\.spawn\(\)", SPAWNER, "starts a process"),
        (r"\be?print(ln)?!|\bio::std(out|err)\(\)", PRINTER, "prints"),
    ];
    let rules = rules.map(|(text, place, what)| (pattern(text), place, what));
    let mut offences = Vec::new();
    for source in engine() {
        for (pattern, place, what) in &rules {
            if source.is(&format!("{ENGINE}/{place}")) {
                continue;
            }
            let code = source.product().replace("io::stdout().is_terminal", "");
            for line in lines_with(&code, pattern) {
                offences.push(format!(
                    "{}:{line}: {what}; only `{place}` may",
                    source.path
                ));
            }
        }
    }
    report(offences);
}

/// Files and programs of others may have no end. The kernel's files have one; so has what is cut off in the same line.
#[test]
fn foreign_input_is_read_within_limits() {
    let reads = pattern(r"\.read_to_(end|string)\(|\bfs(_err)?::read(_to_string)?\(");
    let mut offences = Vec::new();
    for source in engine() {
        let exempt = UNBOUNDED.iter().chain(&[BOUNDED]);
        let mut exempt = exempt.map(|place| format!("{ENGINE}/{place}"));
        if exempt.any(|place| source.is(&place)) {
            continue;
        }
        let lines: Vec<_> = source.text.lines().collect();
        let is_limited = |line: &str| {
            ["\"/proc/", "\"/sys/", ".take("]
                .iter()
                .any(|one| line.contains(one))
        };
        for line in lines_with(source.product(), &reads) {
            if !is_limited(lines[line - 1]) {
                offences.push(format!(
                    "{}:{line}: reads without a limit; use `{BOUNDED}`",
                    source.path
                ));
            }
        }
    }
    report(offences);
}

#[test]
fn two_files_speak_to_nextest() {
    let command = r"^(nextest|cargo-nextest|NEXTEST\w*|--(tool-config-file|binaries-metadata))$";
    let command = pattern(command);
    let mut offences = Vec::new();
    for source in engine() {
        if NEXTEST
            .iter()
            .any(|place| source.is(&format!("{ENGINE}/{place}")))
        {
            continue;
        }
        for literal in source.literals.iter().filter(|text| command.is_match(text)) {
            offences.push(format!("{}: speaks to nextest: {literal:?}", source.path));
        }
    }
    report(offences);
}

#[test]
fn files_open_with_a_sentence() {
    let mut offences = Vec::new();
    for source in source::all(&repository()) {
        if !source.text.starts_with("//! ") {
            offences.push(format!("{}: does not open with `//! `", source.path));
        }
        if source.path.ends_with("/mod.rs") {
            offences.push(format!(
                "{}: `foo.rs` beside `foo/`, not `foo/mod.rs`",
                source.path
            ));
        }
    }
    report(offences);
}

#[test]
fn doc_comments_open_with_a_verb_or_a_noun() {
    let opening = pattern(r"^ *//[/!] (What|Whether|Why|How|Whose|So many|Has)\b");
    let mut offences = Vec::new();
    for source in source::all(&repository()) {
        let mut before = "";
        for (number, line) in source.text.lines().enumerate() {
            let begins = !is_doc_comment(before);
            before = line;
            if begins && opening.is_match(line) {
                offences.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    report(offences);
}

fn is_doc_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("///") || line.starts_with("//!")
}

/// A type's name means one thing in the workspace.
#[test]
fn type_names_mean_one_thing() {
    let start = pattern(r"^ *pub(?:\([^)]*\))? (?:unsafe )?(?:struct|enum|union|trait|type) (\w+)");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in source::all(&repository()) {
        if !PUBLISHED
            .iter()
            .any(|folder| source.path.starts_with(folder))
        {
            continue;
        }
        for (number, line) in source.product().lines().enumerate() {
            if let Some(name) = start.captures(line) {
                let place = format!("{}:{}: `{}`", source.path, number + 1, &name[1]);
                found.entry(name[1].to_owned()).or_default().push(place);
            }
        }
    }
    found.retain(|name, places| places.len() > 1 && !ONE_PER_CRATE.contains(&name.as_str()));
    report(found.into_values().flatten().collect());
}

#[test]
fn nothing_is_left_over() {
    let root = repository();
    let mut offences = Vec::new();
    let unfinished = pattern(r"\b(todo|unimplemented|dbg)!");
    let ignored = pattern(r"#\[ignore");
    for source in source::all(&root) {
        for line in lines_with(&source.code, &unfinished) {
            offences.push(format!("{}:{line}: unfinished", source.path));
        }
        // No offence where tests start the ignored ones by themselves, nor where attributes are data.
        let mut options = source.literals.iter().filter(|text| text.starts_with("--"));
        let started = options.any(|text| text.ends_with("ignored"));
        let data = source.path.starts_with("target-fixtures/macros/")
            || source.path.starts_with("tests/crates/");
        if !started && !data {
            for line in lines_with(&source.code, &ignored) {
                offences.push(format!("{}:{line}: a test that nobody runs", source.path));
            }
        }
    }
    let machine = pattern(
        r"(^|[^\w.$}])/(work|root|home/\w+)/(\.cargo|main|shared|\.library|src)\b|/tmp/wt/",
    );
    for path in source::files(&root) {
        let text = fs::read_to_string(root.join(&path)).unwrap_or_default();
        if !path.ends_with("tests/tidy.rs") {
            for line in lines_with(&text, &machine) {
                offences.push(format!("{}:{line}: a path of one machine", path.display()));
            }
        }
    }
    report(offences);
}

#[test]
fn the_top_level_is_bare() {
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "cargo-target-test",
        "examples",
        "target-fixtures",
        "tests",
    ];
    let root = repository();
    let found: Vec<String> = fs::read_dir(&root)
        .expect("the repository")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let extra = found
        .iter()
        .filter(|name| !expected.contains(&name.as_str()));
    let missing = expected
        .iter()
        .filter(|name| !found.iter().any(|other| other == *name));
    let extra = extra.map(|name| format!("`{name}` does not belong to the top level"));
    report(
        extra
            .chain(missing.map(|name| format!("`{name}` is missing")))
            .collect(),
    );
}

#[test]
fn promised_packages_are_in_use() {
    let manifest = manifest("cargo-target-test/Cargo.toml");
    let code: String = engine()
        .iter()
        .map(|source| source.product().to_owned())
        .collect();
    let mut offences = Vec::new();
    for package in PROMISED {
        if manifest
            .get("dependencies")
            .and_then(|all| all.get(package))
            .is_none()
        {
            offences.push(format!("`{package}` is no direct dependency"));
        }
        let used = format!(r"(^|[^\w:])(::)?{}::", package.replace('-', "_"));
        if lines_with(&code, &pattern(&used)).is_empty() {
            offences.push(format!("`{package}` is not used in product code"));
        }
    }
    report(offences);
}

#[test]
fn changelogs_know_the_version() {
    let root = repository();
    let workspace = manifest("Cargo.toml");
    let version = workspace["workspace"]["package"]["version"]
        .as_str()
        .expect("a version");
    let mut offences = Vec::new();
    for package in ["cargo-target-test", "target-fixtures"] {
        let text = fs::read_to_string(root.join(package).join("CHANGELOG.md")).unwrap_or_default();
        if !text
            .lines()
            .any(|line| line.starts_with(&format!("## {version}")))
        {
            offences.push(format!("{package}/CHANGELOG.md has no `## {version}`"));
        }
    }
    report(offences);
}

/// README promises what `.ci/run` tests, and shows the help as it is; `SNAPSHOTS=overwrite` rewrites it.
#[test]
fn readme_is_current() {
    const OPEN: &str = "<!-- help -->\n```text\n";
    const CLOSE: &str = "```\n<!-- /help -->";
    let root = repository();
    let path = root.join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let help = Project::existing(&root).run(&["-h"]).code(0).stdout;
    let (before, rest) = readme.split_once(OPEN).expect("README.md's help block");
    let (shown, after) = rest
        .split_once(CLOSE)
        .expect("the end of README.md's help block");
    if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        fs::write(&path, format!("{before}{OPEN}{help}{CLOSE}{after}")).expect("README.md");
    } else {
        snapbox::assert_data_eq!(shown.to_owned(), help);
    }
    let all_checks = fs::read_to_string(root.join(".ci/run")).expect(".ci/run");
    let tests = ".ci/setup --tests && cargo nextest run";
    for (text, name) in [(&readme, "README.md"), (&all_checks, ".ci/run")] {
        assert!(text.contains(tests), "{name} does not have `{tests}`");
    }
}

#[track_caller]
fn report(offences: Vec<String>) {
    assert!(
        offences.is_empty(),
        "{} offences:\n{}",
        offences.len(),
        offences.join("\n")
    );
}

fn engine() -> Vec<Source> {
    let mut all = source::all(&repository());
    all.retain(|source| source.path.starts_with(ENGINE));
    all
}

fn manifest(path: &str) -> toml::Table {
    let text = fs::read_to_string(repository().join(path)).expect("a manifest");
    text.parse().expect("a manifest's TOML")
}

/// Made once for all files: this takes longer than to look through one.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// The line numbers of a pattern's matches.
fn lines_with(code: &str, pattern: &Regex) -> Vec<usize> {
    let numbered = code.lines().enumerate();
    numbered
        .filter(|(_, line)| pattern.is_match(line))
        .map(|(number, _)| number + 1)
        .collect()
}

/// The names directly below `crate::` in the code, with their lines: `crate::{a, b::{c}}` gives `a` and `b`.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, matched) in code.match_indices("crate::") {
        let line = code[..start].matches('\n').count() + 1;
        let rest = &code[start + matched.len()..];
        let end = rest.find(';').unwrap_or(rest.len());
        let names = match rest.strip_prefix('{') {
            Some(group) => outer_names(&group[..end.saturating_sub(1)]),
            None => vec![leading_name(rest)],
        };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

fn outer_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let parts = group.split(|letter| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    });
    parts.map(|part| leading_name(part.trim_start())).collect()
}

fn leading_name(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

#[test]
fn groups_of_imports_are_read() {
    let code = "use crate::{plan::{self, Case}, error::Result};\nlet x = crate::ui::out(1);";
    let found = crate_paths(code)
        .into_iter()
        .map(|(line, name)| format!("{line} {name}"));
    assert_eq!(found.collect::<Vec<_>>(), ["1 plan", "1 error", "2 ui"]);
}
