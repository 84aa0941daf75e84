//! `list --stats`: counts tests and cases by their metadata.
//!
//! The JSON is one object: for each key a list of objects with `value` (null if not declared), `tests` and `cases`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    case::declared,
    error::{Error, Result},
    inventory::Inventory,
    plan::Plan,
    playbook::{self, PlaybookTarget},
};

/// Keys to count by. `tags` and `features` count a test once for each value.
const KEYS: [&str; 12] = [
    "area", "category", "priority", "tags", "owner", "features", "platform", "target", "count",
    "reuse", "timeout", "retries",
];

/// The counts of one value.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    value: Option<String>,
    tests: usize,
    cases: usize,
}

/// The counts, by key.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Stats(Vec<(&'static str, Vec<Line>)>);

/// Tests and the number of their cases.
#[derive(Default)]
struct Counted {
    tests: BTreeSet<usize>,
    cases: usize,
}

impl Stats {
    /// Counts the chosen cases and tests, by `key` only unless `key` is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an unknown key.
    pub(super) fn new(
        inventory: &Inventory,
        plan: &Plan,
        targets: &[PlaybookTarget],
        is_chosen: impl Fn(usize, &str) -> bool,
        key: &str,
    ) -> Result<Self> {
        let keys: Vec<_> = KEYS
            .into_iter()
            .filter(|one| key.is_empty() || *one == key)
            .collect();
        if keys.is_empty() {
            let message = format!("unknown statistics key `{key}`");
            return Err(Error::usage(message).with_hint(playbook::nearest_or_all(key, &KEYS)));
        }
        let metadata = inventory.tests.iter().map(|test| test.metadata.as_ref());
        let counted = Counting {
            inventory,
            plan,
            targets,
            declared: metadata
                .map(|one| one.map(declared).unwrap_or_default())
                .collect(),
        };
        let lines = |key| (key, counted.by(key, &is_chosen));
        Ok(Self(keys.into_iter().map(lines).collect()))
    }

    /// Returns the counts as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        let lines =
            |(key, lines): &(&str, Vec<Line>)| ((*key).to_owned(), serde_json::json!(lines));
        self.0
            .iter()
            .map(lines)
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Formats the counts as text. Keys that no test declares are omitted. The last line has no newline.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let alone = self.0.len() == 1;
        for (key, lines) in &self.0 {
            if !alone && lines.iter().all(|line| line.value.is_none()) {
                continue;
            }
            let _ = writeln!(text, "{key}");
            let shown = |line: &Line| line.value.clone().unwrap_or_else(|| "(none)".to_owned());
            let width = lines
                .iter()
                .map(|line| shown(line).chars().count())
                .max()
                .unwrap_or(0);
            for line in lines {
                let (value, tests, cases) = (shown(line), line.tests, line.cases);
                let of = |count: usize, one: &str| {
                    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
                };
                let _ = writeln!(
                    text,
                    "    {value:width$}  {:>10}  {:>12}",
                    of(tests, "test"),
                    of(cases, "case")
                );
            }
        }
        text.trim_end().to_owned()
    }
}

/// The data to count.
struct Counting<'a> {
    inventory: &'a Inventory,
    plan: &'a Plan,
    targets: &'a [PlaybookTarget],
    /// The declarations of each test.
    declared: Vec<Map<String, Value>>,
}

impl Counting<'_> {
    fn by(&self, key: &str, is_chosen: impl Fn(usize, &str) -> bool) -> Vec<Line> {
        let tests = &self.inventory.tests;
        let mut counted = BTreeMap::<Option<String>, Counted>::new();
        let cases = self.plan.cases.iter();
        for case in cases.filter(|case| is_chosen(case.test, &case.info.name)) {
            let target = &self.targets[case.target].label;
            for value in values(key, &self.declared[case.test], target) {
                let counted = counted.entry(value).or_default();
                counted.tests.insert(case.test);
                counted.cases += 1;
            }
        }
        // Tests without a case have no target to count by.
        let excluded = self.plan.excluded.iter().map(|one| &one.test);
        let alone = self.plan.plain.iter().chain(excluded);
        let alone = alone.filter(|test| key != "target" && is_chosen(**test, &tests[**test].name));
        for test in alone {
            for value in values(key, &self.declared[*test], "") {
                counted.entry(value).or_default().tests.insert(*test);
            }
        }
        let line = |(value, Counted { tests, cases })| Line {
            value,
            tests: tests.len(),
            cases,
        };
        counted.into_iter().map(line).collect()
    }
}

/// Returns a test's values of a key; a single `None` if no value is declared.
fn values(key: &str, declared: &Map<String, Value>, target: &str) -> Vec<Option<String>> {
    let text = |value: &Value| match value {
        Value::String(text) if key == "category" => text.to_lowercase(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match declared.get(key) {
        _ if key == "target" => vec![Some(target.to_owned())],
        Some(Value::Array(all)) => all.iter().map(|one| Some(text(one))).collect(),
        value => vec![value.map(text)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Choosing, build, testing};

    #[test]
    fn tests_and_cases_are_counted_by_what_they_declare() {
        let inventory = testing::inventory(&[
            (
                "a",
                Some(json!({"area": "net", "tags": ["x", "y"], "priority": 0})),
            ),
            ("b", Some(json!({"area": "net", "tags": ["x"]}))),
            ("c", Some(json!({"area": "disk", "features": ["gpu"]}))),
            ("plain", None),
        ]);
        let targets = [testing::target("s"), testing::target("t")];
        let plan = build(&inventory, &targets, &Choosing::default()).unwrap();
        let stats = |key| Stats::new(&inventory, &plan, &targets, |_, _| true, key);
        let json = stats("").expect("stats").json();
        assert_eq!(
            json["area"],
            json!([
                {"value": null, "tests": 1, "cases": 0},
                {"value": "disk", "tests": 1, "cases": 0},
                {"value": "net", "tests": 2, "cases": 4},
            ])
        );
        assert_eq!(
            json["tags"][1],
            json!({"value": "x", "tests": 2, "cases": 4})
        );
        assert_eq!(
            json["tags"][2],
            json!({"value": "y", "tests": 1, "cases": 2})
        );
        assert_eq!(
            json["target"],
            json!([
                {"value": "s", "tests": 2, "cases": 2}, {"value": "t", "tests": 2, "cases": 2},
            ])
        );
        let text = stats("area").expect("stats").table();
        assert_eq!(
            text.lines().nth(3),
            Some("    net        2 tests       4 cases"),
            "{text}"
        );
        let error = stats("aera").expect_err("no key");
        assert_eq!(error.hint(), Some("did you mean `area`?"));
        assert!(!stats("").expect("stats").table().contains("owner"));
    }
}
