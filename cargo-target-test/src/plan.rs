//! The plan: tests x targets -> cases, and for each pair that is left out, why.
//!
//! Owns what is run where. Pure: it touches no disk, clock or process, and must not know how targets
//! are made nor how cases are run.

mod matrix;
mod notes;
mod order;
mod select;

pub use matrix::build;
pub use notes::{ON_HOST, unmatched};
pub use order::{bucket, buckets};
pub use select::{exact_names, expected_failure, fits, missed, skip_reason};

/// What is run, once, and what is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// By test, then by target, both in the order given. Their names are unique within a binary.
    pub cases: Vec<Case>,
    /// Tests that run once, on the host, under their own names: indices into the inventory's tests.
    pub plain: Vec<usize>,
    /// What is left out, by test.
    pub excluded: Vec<Exclusion>,
    /// What a user should know, a sentence each.
    pub notes: Vec<String>,
}

/// One test on one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// `smoke[alpha]`
    pub name: String,
    /// An index into the inventory's tests.
    pub test: usize,
    /// An index into the playbook's targets.
    pub target: usize,
    /// How many instances it needs, at least 1.
    pub count: u32,
    /// The author's, 0 (most important) to 4.
    pub priority: Option<u8>,
    /// Why it is expected to fail here.
    pub expect_fail: Option<String>,
}

/// A test that is not run on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// An index into the inventory's tests.
    pub test: usize,
    /// An index into the playbook's targets; `None`: any target.
    pub target: Option<usize>,
    /// A fragment: ``needs 2 instances, `alpha` has 1``.
    pub reason: String,
}

#[cfg(test)]
pub(crate) mod testing {
    //! Short ways to write inventories and targets.

    use std::collections::BTreeMap;

    use target_fixtures::metadata::Metadata;

    use crate::{
        inventory::{Binary, Inventory, Test},
        playbook::{Definition, Target},
    };

    pub(crate) fn target(name: &str) -> Target {
        Target {
            name: name.to_owned(),
            platform: "local",
            count: 1,
            features: Vec::new(),
            cost: 1.0,
            capabilities: BTreeMap::new(),
            care: Default::default(),
            parameters: serde_json::Value::Null,
            definition: Definition {
                keys: BTreeMap::new(),
                hash: String::new(),
            },
            origins: BTreeMap::new(),
        }
    }

    pub(crate) fn metadata(json: serde_json::Value) -> Metadata {
        serde_json::from_value(json).expect("metadata")
    }

    pub(crate) fn binary(id: &str, host: bool) -> Binary {
        Binary {
            id: id.to_owned(),
            name: id.to_owned(),
            kind: "lib".to_owned(),
            package_id: id.to_owned(),
            path: format!("/{id}").into(),
            cwd: "/".into(),
            host,
        }
    }

    /// One binary `hello` with these tests.
    pub(crate) fn inventory(tests: &[(&str, Option<serde_json::Value>)]) -> Inventory {
        let test = |(name, json): &(&str, Option<serde_json::Value>)| Test {
            binary: 0,
            name: (*name).to_owned(),
            ignored: false,
            metadata: json.clone().map(metadata),
        };
        Inventory {
            binaries: vec![binary("hello", false)],
            tests: tests.iter().map(test).collect(),
        }
    }
}
