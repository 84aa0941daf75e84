//! The syntax of `[[variants]]`: configurations that a test runs with, one case for each.
//!
//! Must not know tests; the plan matches tests against variants.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PlaybookTarget, criteria::Texts, scenario::matches, wait::Pattern};

/// A variant of `[[variants]]`: a test that it selects runs once for each of its variants, and not without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TestVariant {
    /// The name, unique in the playbook; part of the case's name: `vlan[lan/vlan93]`.
    pub name: String,
    /// Part of the test name (`a::smoke`), or a regular expression in slashes: `/^a::/`. Selects the tests.
    pub test: Pattern,
    /// Names of targets and environments, in which `*` matches any text. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Texts>,
    /// Values for the test, which reads them as JSON: `{ vlan = 93 }`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

impl TestVariant {
    /// True if the test runs with this variant on the target.
    pub fn is_for(&self, test: &str, target: &PlaybookTarget) -> bool {
        let named = |pattern: &String| {
            matches(pattern, target.written_name()) || matches(pattern, &target.label)
        };
        let targets = self.targets.as_ref();
        self.test.is_match(test) && targets.is_none_or(|all| all.0.iter().any(named))
    }
}
