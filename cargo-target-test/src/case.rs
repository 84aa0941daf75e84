//! One test in one place: the identity that plan, broker and reports share.
//!
//! The only place that builds case names; they are never parsed. Pure: no disk, clock or process.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use target_fixtures::metadata::Metadata;

pub mod reason;
pub mod verdict;

/// The binary id of deploy entries.
pub const DEPLOY_BINARY: &str = "@target-test";

/// One test in one place. Created by the plan, and shared by [`Arc`] from then on. Cases share the texts of their test
/// and target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CaseInfo {
    /// nextest's id of the test binary: `hello`, `hello::net`.
    pub binary_id: Arc<str>,
    /// The case's name, unique within its binary: `smoke[ubuntu]`, `smoke[ubuntu#2]`.
    pub name: String,
    /// The test's name within its binary: `net::smoke`.
    pub test: Arc<str>,
    /// The place where the case runs.
    pub runs_on: RunsOn,
    /// The number of this repetition, from 1; `None` if the case runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition: Option<u32>,
    /// The test's declarations; `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub metadata: Option<Arc<Metadata>>,
}

/// The place where a case runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunsOn {
    /// This host, without a lease.
    Host,
    /// Any target that fits; the orchestrator chooses.
    Any,
    /// Instances of one target.
    Target {
        /// The target's name in the playbook: `ubuntu`.
        name: Arc<str>,
        /// The text in the brackets of case names: `ubuntu`, `nightly/ubuntu`.
        label: Arc<str>,
    },
    /// All instances of one environment.
    Environment {
        /// The environment's name in the playbook.
        name: Arc<str>,
        /// The text in the brackets of case names.
        label: Arc<str>,
    },
}

impl RunsOn {
    /// The text in the brackets of case names, without a repetition; `None` if the names have no brackets.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Host | Self::Any => None,
            Self::Target { label, .. } | Self::Environment { label, .. } => Some(label),
        }
    }

    /// The name of the target or environment in the playbook; `None` for other places.
    pub fn target(&self) -> Option<&Arc<str>> {
        match self {
            Self::Host | Self::Any => None,
            Self::Target { name, .. } | Self::Environment { name, .. } => Some(name),
        }
    }

    /// The same place with a variant in its label: `lan/vlan93`.
    pub(crate) fn with_variant(&self, variant: &str) -> Self {
        let mut place = self.clone();
        if let Self::Target { label, .. } | Self::Environment { label, .. } = &mut place {
            *label = format!("{label}/{variant}").into();
        }
        place
    }
}

impl CaseInfo {
    /// A case. Its name is the test's, followed by label and repetition in brackets.
    pub fn new(
        binary_id: impl Into<Arc<str>>,
        test: impl Into<Arc<str>>,
        runs_on: RunsOn,
        repetition: Option<u32>,
        metadata: Option<Arc<Metadata>>,
    ) -> Self {
        let test = test.into();
        let name = match (runs_on.label(), repetition) {
            (None, _) => test.as_ref().to_owned(),
            (Some(label), None) => format!("{test}[{label}]"),
            (Some(label), Some(number)) => format!("{test}[{label}#{number}]"),
        };
        Self {
            binary_id: binary_id.into(),
            name,
            test,
            runs_on,
            repetition,
            metadata,
        }
    }

    /// A test that runs once, on this host.
    pub fn on_host(binary_id: impl Into<Arc<str>>, test: impl Into<Arc<str>>) -> Self {
        Self::new(binary_id, test, RunsOn::Host, None, None)
    }

    /// True for a deploy entry, which is no case.
    pub fn is_deploy_entry(&self) -> bool {
        &*self.binary_id == DEPLOY_BINARY
    }

    /// The text in the name's brackets: `ubuntu#2`; `None` if the name has no brackets.
    pub fn bracket(&self) -> Option<String> {
        let label = self.runs_on.label()?;
        Some(match self.repetition {
            None => label.to_owned(),
            Some(number) => format!("{label}#{number}"),
        })
    }
}

impl fmt::Display for CaseInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Returns the declarations of a test by key.
pub(crate) fn declared(metadata: &Metadata) -> Map<String, Value> {
    match serde_json::to_value(metadata) {
        Ok(Value::Object(declared)) => declared,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(label: &str) -> RunsOn {
        RunsOn::Target {
            name: "alpha".into(),
            label: label.into(),
        }
    }

    #[test]
    fn names_are_made_of_test_label_and_repetition() {
        for (runs_on, repetition, name) in [
            (target("alpha"), None, "smoke[alpha]"),
            (target("a/alpha"), Some(2), "smoke[a/alpha#2]"),
            (RunsOn::Any, Some(2), "smoke"),
            (RunsOn::Host, None, "smoke"),
        ] {
            let case = CaseInfo::new("hello", "smoke", runs_on, repetition, None);
            assert_eq!(case.name, name);
            let bracket = case.bracket().map(|bracket| format!("smoke[{bracket}]"));
            assert_eq!(bracket.unwrap_or("smoke".to_owned()), name);
        }
    }

    #[test]
    fn what_is_not_declared_is_not_written() {
        let metadata = Metadata {
            area: Some("xdp".to_owned()),
            ..Metadata::default()
        };
        let case = CaseInfo::new("b", "t", target("x"), None, Some(Arc::new(metadata)));
        let text = serde_json::to_string(&case).expect("JSON");
        assert!(text.ends_with(r#""metadata":{"area":"xdp"}}"#), "{text}");
        let read: CaseInfo = serde_json::from_str(&text).expect("a case");
        assert_eq!(read, case);
    }
}
