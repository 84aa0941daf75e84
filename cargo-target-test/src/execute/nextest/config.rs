//! The text of nextest's tool configuration for one run: groups, threads, priorities and settings of tests.
//!
//! A user's override precedes a tool override, and a tool override precedes a user's profile-wide value. Overrides are
//! therefore used only for settings that a test declares; other settings are at profile level, where the user's wins. Those of
//! tests that end by themselves precede the user's too, in a copy of the user's file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, json};

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
    /// True if the report contains the output of tests that passed, too.
    pub with_output: bool,
}

/// Labels in the brackets of case names, by binary id and test name.
pub type CaseNames = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<String>>>;

/// Cases by nextest's priority.
pub type PriorityMap = BTreeMap<i8, CaseNames>;

/// Names of tests (without the brackets of their cases) by declared setting and binary id.
pub type DeclaredSettings = BTreeMap<(DeclaredSetting, String), BTreeSet<String>>;

/// A setting that a test declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeclaredSetting {
    /// `retries`.
    Retries(u32),
    /// `threads-required`.
    Threads(u32),
    /// A test that ends by itself: nextest does not end it, and after a signal gives it this time.
    EndsItself(Duration),
}

impl DeclaredSetting {
    /// Returns nextest's settings.
    fn json(self) -> Value {
        match self {
            Self::Retries(retries) => json!({ "retries": retries }),
            Self::Threads(threads) => json!({ "threads-required": threads }),
            Self::EndsItself(grace) => {
                let grace = format!("{}ms", grace.as_millis());
                json!({ "slow-timeout": { "period": "1d", "grace-period": grace } })
            }
        }
    }
}

impl ToolConfig {
    /// Returns the overrides of tests that end by themselves, which no override of the user's may precede.
    pub(super) fn limits(&self) -> Vec<Value> {
        let declared = self.declared.iter();
        let declared =
            declared.filter(|((one, _), _)| matches!(one, DeclaredSetting::EndsItself(_)));
        declared.map(declared_override).collect()
    }

    /// Returns the TOML text.
    pub fn render(&self) -> String {
        let threads = self.targets.iter().map(|of| of.at_once);
        let groups = threads.chain(self.ordinary).enumerate();
        let groups = groups.map(|(at, threads)| (group(at), json!({ "max-threads": threads })));
        let mut default = json!({
            "test-threads": self.threads.max(1),
            "fail-fast": false,
            "overrides": self.overrides(),
        });
        if let Some(JunitConfig { path, with_output }) = &self.junit {
            default["junit"] = json!({
                "path": path.to_string_lossy(),
                "store-success-output": with_output,
                "store-failure-output": true,
            });
        }
        let groups: Map<_, _> = groups.collect();
        let config = json!({ "test-groups": groups, "profile": { "default": default } });
        toml::to_string(&config).unwrap_or_default()
    }

    /// Assigns cases, deploy entries and other tests to groups, and returns what tests declare and the priorities.
    fn overrides(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut add = |filter: String, settings: Value| all.push(with_filter(filter, settings));
        for (number, of) in self.targets.iter().enumerate() {
            let (target, group) = (escape(&of.target), group(number));
            let cases = match &of.cases {
                GroupedCases::Labelled(label) => test(&format!(r"\[{}(#\d+)?\]$", escape(label))),
                GroupedCases::Named(names) => named(names),
            };
            let deploys = test(&format!(r"^deploy\[{target}-\d+\]$"));
            // A user's limit is for tests: a deploy has a limit of its own.
            let of_deploys = json!({ "test-group": group, "priority": 100, "slow-timeout": "60s" });
            add(deploys, of_deploys);
            add(cases, json!({ "test-group": group }));
        }
        if self.ordinary.is_some() {
            let group = group(self.targets.len());
            add(test(r"[^\]]$"), json!({ "test-group": group }));
        }
        all.extend(self.declared.iter().map(declared_override));
        let order = self.order.iter();
        all.extend(order.map(|(priority, binaries)| {
            with_filter(named(binaries), json!({ "priority": priority }))
        }));
        all
    }
}

/// Returns the override of the tests that declare a setting.
fn declared_override(
    ((setting, binary), tests): (&(DeclaredSetting, String), &BTreeSet<String>),
) -> Value {
    let filter = format!("binary_id(={binary}) & {}", test(&beginning(tests)));
    with_filter(filter, setting.json())
}

/// Returns an override of the tests that a filterset matches.
fn with_filter(filter: String, mut settings: Value) -> Value {
    settings["filter"] = filter.into();
    settings
}

/// Returns the name of a group. Groups are numbered because target names may contain characters that group names must
/// not.
fn group(number: usize) -> String {
    format!("@tool:target-test:g{number}")
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
                (DeclaredSetting::Retries(3), "hello::it".to_owned()),
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
