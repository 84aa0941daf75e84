//! The text of nextest's tool configuration for one run: groups, threads, priorities and settings of tests.
//!
//! A user's override precedes a tool override, and a tool override precedes a user's profile-wide value. Overrides are
//! therefore used only for settings that a test declares; other settings are at profile level, where the user's wins.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

/// The content of the configuration.
#[derive(Debug, Default)]
pub struct ToolConfig {
    /// The maximum number of tests that run at once.
    pub threads: usize,
    /// The groups of targets.
    pub targets: Vec<TargetGroup>,
    /// The maximum number of tests without a target that run at once; `None` if there are none.
    pub ordinary: Option<usize>,
    /// Settings that tests declare.
    pub declared: DeclaredSettings,
    /// Priorities of cases.
    pub order: PriorityMap,
    /// nextest's own JUnit report, unless the user configured it.
    pub junit: Option<JunitConfig>,
}

/// The group of a target's cases and deploy entries.
#[derive(Debug)]
pub struct TargetGroup {
    /// The target's name.
    pub target: String,
    /// The number of instances at once.
    pub at_once: usize,
    /// The cases.
    pub cases: GroupedCases,
}

/// The cases of a group.
#[derive(Debug)]
pub enum GroupedCases {
    /// Those whose name ends in this label in brackets.
    Labelled(String),
    /// Those with these names, because another target has cases with the same label.
    Named(CaseNames),
}

/// The path and content of nextest's own JUnit report.
#[derive(Clone, Debug)]
pub struct JunitConfig {
    /// The file, absolute.
    pub path: PathBuf,
    /// True if the report contains the output of tests.
    pub with_output: bool,
}

/// Labels in the brackets of case names, by binary id and test name.
pub type CaseNames = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<String>>>;

/// Cases by nextest's priority.
pub type PriorityMap = BTreeMap<i8, CaseNames>;

/// Names of tests (without the brackets of their cases) by declared setting: nextest's key, the value and the binary
/// id.
pub type DeclaredSettings = BTreeMap<(&'static str, String, String), BTreeSet<String>>;

impl ToolConfig {
    /// Returns the TOML text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write_groups(&mut text);
        let _ = writeln!(
            text,
            "[profile.default]\ntest-threads = {}\nfail-fast = false\n",
            self.threads.max(1)
        );
        if let Some(JunitConfig { path, with_output }) = &self.junit {
            let path = toml::Value::from(path.to_string_lossy().as_ref());
            let _ = writeln!(
                text,
                "[profile.default.junit]\npath = {path}\nstore-success-output = {with_output}\n\
                 store-failure-output = {with_output}\n"
            );
        }
        self.write_members(&mut text);
        for ((key, value, binary), tests) in &self.declared {
            let filter = format!("binary_id(={binary}) & {}", test(&beginning(tests)));
            over(&mut text, &filter, &[(key, value.clone())]);
        }
        for (priority, binaries) in &self.order {
            over(
                &mut text,
                &named(binaries),
                &[("priority", priority.to_string())],
            );
        }
        text
    }

    fn write_groups(&self, text: &mut String) {
        for (number, TargetGroup { at_once, .. }) in self.targets.iter().enumerate() {
            let _ = writeln!(
                text,
                "[test-groups.{}]\nmax-threads = {at_once}\n",
                group(number)
            );
        }
        if let Some(threads) = self.ordinary {
            let _ = writeln!(
                text,
                "[test-groups.{}]\nmax-threads = {threads}\n",
                group(self.targets.len())
            );
        }
    }

    /// Assigns cases, deploy entries and other tests to groups.
    fn write_members(&self, text: &mut String) {
        for (number, of) in self.targets.iter().enumerate() {
            let target = escape(&of.target);
            let cases = match &of.cases {
                GroupedCases::Labelled(label) => test(&format!(r"\[{}(#\d+)?\]$", escape(label))),
                GroupedCases::Named(names) => named(names),
            };
            over(
                text,
                &test(&format!(r"^deploy\[{target}-\d+\]$")),
                &[
                    ("test-group", group(number)),
                    ("priority", "100".to_owned()),
                    // A user's limit is for tests: a deploy has a limit of its own.
                    ("slow-timeout", "\"60s\"".to_owned()),
                ],
            );
            over(text, &cases, &[("test-group", group(number))]);
        }
        if self.ordinary.is_some() {
            over(
                text,
                &test(r"[^\]]$"),
                &[("test-group", group(self.targets.len()))],
            );
        }
    }
}

/// Returns the name of a group. Groups are numbered because target names may contain characters that group names must
/// not.
fn group(number: usize) -> String {
    format!("\"@tool:target-test:g{number}\"")
}

/// Returns one anchored expression for many tests. Exact-name terms would be quadratic.
fn beginning(tests: &BTreeSet<String>) -> String {
    let names: Vec<_> = tests.iter().map(|name| escape(name)).collect();
    format!(r"^({})(\[|$)", names.join("|"))
}

/// Returns a filterset of cases by name.
fn named(cases: &CaseNames) -> String {
    let filters = cases
        .iter()
        .map(|(binary, tests)| format!("(binary_id(={binary}) & {})", test(&exactly(tests))));
    filters.collect::<Vec<_>>().join(" | ")
}

/// Returns one anchored expression for many cases.
fn exactly(tests: &BTreeMap<Arc<str>, Vec<String>>) -> String {
    let cases = tests.iter().map(|(test, labels)| {
        let labels: Vec<_> = labels.iter().map(|label| escape(label)).collect();
        format!(r"{}\[({})\]", escape(test), labels.join("|"))
    });
    format!("^({})$", cases.collect::<Vec<_>>().join("|"))
}

/// Returns a filterset of tests whose names match.
fn test(regex: &str) -> String {
    format!("test(/{}/)", regex.replace('/', r"\/"))
}

fn over(text: &mut String, filter: &str, values: &[(&str, String)]) {
    let filter = toml::Value::from(filter);
    let _ = writeln!(text, "[[profile.default.overrides]]\nfilter = {filter}");
    for (key, value) in values {
        let _ = writeln!(text, "{key} = {value}");
    }
    text.push('\n');
}

/// Escapes a name for an expression between slashes.
fn escape(name: &str) -> String {
    regex::escape(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_toml_with_numbered_groups() {
        let config = ToolConfig {
            threads: 4,
            targets: vec![
                TargetGroup {
                    target: "a.b".to_owned(),
                    at_once: 2,
                    cases: GroupedCases::Labelled("a.b".to_owned()),
                },
                TargetGroup {
                    target: "s.ubuntu".to_owned(),
                    at_once: 1,
                    cases: GroupedCases::Named(BTreeMap::from([(
                        "hello".into(),
                        BTreeMap::from([("x".into(), vec!["s/ubuntu".to_owned()])]),
                    )])),
                },
            ],
            ordinary: Some(2),
            declared: BTreeMap::from([(
                ("retries", "3".to_owned(), "hello::it".to_owned()),
                BTreeSet::from(["dir/a.txt".to_owned(), "x::y".to_owned()]),
            )]),
            junit: None,
            order: BTreeMap::from([(
                -3,
                BTreeMap::from([(
                    "hello".into(),
                    BTreeMap::from([("x".into(), vec!["a.b#2".to_owned(), "s/ubuntu".to_owned()])]),
                )]),
            )]),
        };
        let text = config.render();
        let table: toml::Table = text.parse().expect(&text);
        let groups = table["test-groups"].as_table().expect("groups");
        assert_eq!(
            groups["@tool:target-test:g0"]["max-threads"].as_integer(),
            Some(2)
        );
        let overrides = table["profile"]["default"]["overrides"]
            .as_array()
            .expect("overrides");
        assert_eq!(
            overrides[0]["filter"].as_str(),
            Some(r"test(/^deploy\[a\.b-\d+\]$/)")
        );
        assert_eq!(
            overrides[3]["filter"].as_str(),
            Some(r"(binary_id(=hello) & test(/^(x\[(s\/ubuntu)\])$/))")
        );
        let [.., declared, order] = overrides.as_slice() else {
            panic!("{text}")
        };
        assert_eq!(
            order["filter"].as_str(),
            Some(r"(binary_id(=hello) & test(/^(x\[(a\.b\#2|s\/ubuntu)\])$/))")
        );
        assert_eq!(order["priority"].as_integer(), Some(-3));
        assert_eq!(
            declared["filter"].as_str(),
            Some(r"binary_id(=hello::it) & test(/^(dir\/a\.txt|x::y)(\[|$)/)")
        );
        assert_eq!(declared["retries"].as_integer(), Some(3));
    }
}
