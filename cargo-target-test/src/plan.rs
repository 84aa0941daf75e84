//! The plan: tests x targets -> cases, and the reason for each excluded pair.
//!
//! Pure: touches no disk, clock or process.

// Must not know how targets are deployed or how cases are run.

mod criteria;
mod durations;
mod matrix;
mod needs;
mod notes;
mod order;
mod overrides;
mod prefer;
mod scenes;
mod select;

pub use criteria::is_named;
pub use durations::Durations;
pub use matrix::build;
pub use needs::{Needs, asked, met};
pub use notes::{PlanNote, skipped, unmatched};
pub use order::Order;
pub use overrides::{change, demands};
pub use prefer::Prefer;
pub use scenes::{Candidate, Scenes, caseless};
pub use select::{exact_names, expected_failures, fits, missed, skip_reason};

use std::sync::Arc;

use target_fixtures::wire::ExpectedFailure;

use crate::{
    case::{CaseInfo, RunsOn, reason::ExclusionReason},
    inventory::Inventory,
    playbook::{Expression, Override, PlaybookTarget, Rule, Select, TestVariant},
};

/// The inputs that decide which cases exist and in which order they start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choosing<'a> {
    /// The tests that are multiplied by targets.
    pub select: Select,
    /// The playbook's criteria.
    pub criteria: &'a [Rule],
    /// The command line's expressions: all must hold.
    pub expressions: &'a [Expression],
    /// The playbook's overrides, already applied to the tests' metadata.
    pub overrides: &'a [Override],
    /// The playbook's variants.
    pub variants: &'a [Arc<TestVariant>],
    /// The choice of a target for tests that run on any one target.
    pub prefer: Prefer,
    /// Durations of cases in earlier runs.
    pub durations: Option<&'a Durations>,
    /// True if shards share the cases. All shards must plan the same cases, so recorded durations do not decide.
    pub shared: bool,
    /// The order in which cases start.
    pub order: Order,
    /// The selection of the scenarios, if the run has several.
    pub scenes: Option<&'a Scenes>,
}

impl Choosing<'_> {
    /// Returns the text in the brackets of a test's cases on a target.
    fn label<'t>(&self, test: usize, target: &'t PlaybookTarget) -> &'t str {
        let is_shared = |scenes: &Scenes| scenes.is_shared(test);
        match self.scenes.is_some_and(is_shared) {
            true => &target.label,
            false => target.written_name(),
        }
    }
}

/// The cases to run, the tests that run once on the host, and the exclusions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Cases by test, then by target, both in the given order. Case names are unique within a binary.
    pub cases: Vec<Case>,
    /// Tests that run once, on the host, under their own names: indices into the inventory's tests.
    pub plain: Vec<usize>,
    /// Excluded tests and pairs, by test.
    pub excluded: Vec<Exclusion>,
    /// Notes for the user.
    pub notes: Vec<PlanNote>,
    /// Requirements that nothing can meet, one sentence each.
    pub impossible: Vec<String>,
    /// Likely mistakes in the playbook, one sentence each.
    pub warnings: Vec<String>,
}

/// One test on one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The identity of the case, used by everything after the plan.
    pub info: Arc<CaseInfo>,
    /// An index into the inventory's tests.
    pub test: usize,
    /// An index into the playbook's targets.
    pub target: usize,
    /// The configuration that the test runs with, if it has variants.
    pub variant: Option<Arc<TestVariant>>,
    /// The number of instances that the case needs, at least 1.
    pub count: u32,
    /// nextest's priority of the case: higher priorities start first.
    pub rank: i8,
    /// The failures of the case that are expected.
    pub expect_fail: Vec<ExpectedFailure>,
}

/// A test that does not run on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// An index into the inventory's tests.
    pub test: usize,
    /// An index into the playbook's targets; `None` for all targets.
    pub target: Option<usize>,
    /// The reason: ``needs 2 instances, `alpha` has 1``.
    pub reason: ExclusionReason,
}

/// Returns the identity of a test without a case: a test that runs on the host or nowhere.
pub fn host_case(inventory: &Inventory, test: usize) -> Arc<CaseInfo> {
    let test = &inventory.tests[test];
    let metadata = test.metadata.clone().map(Arc::new);
    let binary = &inventory.binaries[test.binary].id;
    Arc::new(CaseInfo::new(
        binary.as_str(),
        test.name.as_str(),
        RunsOn::Host,
        None,
        metadata,
    ))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Builders of inventories and targets for unit tests.

    use std::collections::BTreeMap;

    use target_fixtures::metadata::Metadata;

    use crate::{
        inventory::{Binary, Inventory, Test},
        playbook::{Definition, PlaybookRole, PlaybookTarget},
    };

    pub(crate) fn target(name: &str) -> PlaybookTarget {
        PlaybookTarget {
            name: name.to_owned(),
            label: name.to_owned(),
            directory: Default::default(),
            scenario: None,
            assured: Default::default(),
            max_spares: 0,
            triple: None,
            platform: "local",
            count: 1,
            features: Vec::new(),
            cost: 1.0,
            capabilities: BTreeMap::new(),
            lifecycle: Default::default(),
            machines_stay: false,
            roles: Vec::new(),
            parameters: serde_json::Value::Null,
            definition: Definition {
                keys: BTreeMap::new(),
                hash: String::new(),
            },
            param_docs: BTreeMap::new(),
            origins: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// An environment with a machine `gateway` and two in the role `tester`.
    pub(crate) fn environment(name: &str) -> PlaybookTarget {
        let role = |role: &str, count: u32| PlaybookRole {
            role: role.to_owned(),
            target: PlaybookTarget {
                count,
                ..target(&format!("{name}.{role}"))
            },
        };
        PlaybookTarget {
            roles: vec![role("gateway", 1), role("tester", 2)],
            ..target(name)
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
            known: crate::playbook::KnownEvents::default(),
        }
    }

    /// An inventory of one binary `hello` with the given tests.
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
