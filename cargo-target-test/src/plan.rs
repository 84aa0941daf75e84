//! The plan: tests x targets -> cases, and for each pair that is left out, why.
//!
//! Owns what is run where. Pure: it touches no disk, clock or process, and must not know how targets
//! are made nor how cases are run.

mod criteria;
mod durations;
mod matrix;
mod needs;
mod notes;
mod order;
mod overrides;
mod prefer;
mod select;

pub use criteria::is_named;
pub use durations::Durations;
pub use matrix::build;
pub use needs::{Needs, asked, met};
pub use notes::{PlanNote, skipped, unmatched};
pub use order::Order;
pub use overrides::{change, demands};
pub use prefer::Prefer;
pub use select::{everywhere, exact_names, expected_failure, fits, missed, skip_reason};

use std::sync::Arc;

use crate::{
    case::{CaseInfo, RunsOn, reason::ExclusionReason},
    inventory::Inventory,
    playbook::{Expression, Override, Rule, Select},
};

/// What decides which cases there are and when they start.
#[derive(Clone, Copy, Debug)]
pub struct Choosing<'a> {
    /// Which tests are multiplied.
    pub select: Select,
    /// The playbook's.
    pub criteria: &'a [Rule],
    /// The command line's: all have to hold.
    pub expressions: &'a [Expression],
    /// The playbook's, which have changed what tests declare.
    pub overrides: &'a [Override],
    /// Which target a test gets that does not care.
    pub prefer: Prefer,
    /// How long cases took earlier.
    pub durations: &'a Durations,
    /// Whether shards share the cases: all have to plan the same ones, whatever each remembers of earlier runs.
    pub shared: bool,
    /// Which start first.
    pub order: Order,
}

impl Default for Choosing<'_> {
    fn default() -> Self {
        static NOTHING: std::sync::LazyLock<Durations> =
            std::sync::LazyLock::new(Durations::default);
        Self {
            select: Select::default(),
            criteria: &[],
            expressions: &[],
            overrides: &[],
            prefer: Prefer::default(),
            durations: &NOTHING,
            shared: false,
            order: Order::default(),
        }
    }
}

/// What is run, once, and what is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// By test, then by target, both in the order given. Their names are unique within a binary.
    pub cases: Vec<Case>,
    /// Tests that run once, on the host, under their own names: indices into the inventory's tests.
    pub plain: Vec<usize>,
    /// What is left out, by test.
    pub excluded: Vec<Exclusion>,
    /// What a user should know.
    pub notes: Vec<PlanNote>,
    /// Requirements that nothing can meet, a sentence each.
    pub impossible: Vec<String>,
    /// What can hardly be meant, a sentence each.
    pub warnings: Vec<String>,
}

/// One test on one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The case, as everything after the plan knows it.
    pub info: Arc<CaseInfo>,
    /// An index into the inventory's tests.
    pub test: usize,
    /// An index into the playbook's targets.
    pub target: usize,
    /// How many instances it needs, at least 1.
    pub count: u32,
    /// nextest's priority for it: higher ones start first.
    pub rank: i8,
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
    /// The reason: ``needs 2 instances, `alpha` has 1``.
    pub reason: ExclusionReason,
}

/// The identity of a test that has no case: it runs on the host, or nowhere.
pub fn host_case(inventory: &Inventory, test: usize) -> Arc<CaseInfo> {
    let test = &inventory.tests[test];
    let metadata = test.metadata.clone().map(Arc::new);
    let binary = &inventory.binaries[test.binary].id;
    Arc::new(CaseInfo::new(
        binary,
        &test.name,
        RunsOn::Host,
        None,
        metadata,
    ))
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
            label: name.to_owned(),
            directory: Default::default(),
            scenario: None,
            assured: Default::default(),
            max_spares: 0,
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
            attribute: json.is_some(),
            metadata: json.clone().map(metadata),
        };
        Inventory {
            binaries: vec![binary("hello", false)],
            tests: tests.iter().map(test).collect(),
        }
    }
}
