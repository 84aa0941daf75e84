//! The content of `list`: a plan with indices replaced by names, in the shape of the JSON (see [`list`](super)).
//!
//! Must not know the text format.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use target_fixtures::metadata::Metadata;

use super::Chosen;
use crate::{
    case::declared,
    inventory::{Inventory, Test},
    plan::{Case, Exclusion, Plan, PlanNote},
    playbook::PlaybookTarget,
};

/// The content of the list.
#[derive(Serialize)]
pub(super) struct Listing<'a> {
    pub(super) cases: Vec<CaseLine<'a>>,
    pub(super) excluded: Vec<ExcludedLine<'a>>,
    pub(super) plain: Vec<PlainLine<'a>>,
    #[serde(serialize_with = "texts")]
    pub(super) notes: &'a [PlanNote],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CaseLine<'a> {
    pub(super) case: &'a str,
    pub(super) binary: &'a str,
    pub(super) test: &'a str,
    pub(super) target: &'a str,
    pub(super) platform: &'a str,
    pub(super) count: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) ignored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expect_fail: Option<&'a str>,
    /// The declarations that describe the test.
    #[serde(flatten)]
    pub(super) declared: Map<String, Value>,
}

#[derive(Serialize)]
pub(super) struct ExcludedLine<'a> {
    pub(super) binary: &'a str,
    pub(super) test: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<&'a str>,
    pub(super) reason: String,
}

#[derive(Serialize)]
pub(super) struct PlainLine<'a> {
    pub(super) binary: &'a str,
    pub(super) test: &'a str,
    pub(super) ignored: bool,
}

/// Serializes notes as sentences.
fn texts<S: Serializer>(notes: &[PlanNote], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(notes.iter().map(ToString::to_string))
}

/// The declarations that decide where and under which conditions a test runs, which its cases show.
const CONDITIONS: [&str; 8] = [
    "platform",
    "targets",
    "count",
    "roles",
    "collect",
    "collect-when",
    "skip",
    "expect-fail",
];

/// Returns the declarations that describe a test.
fn described(metadata: &Metadata) -> Map<String, Value> {
    let mut declared = declared(metadata);
    declared.retain(|key, _| !CONDITIONS.contains(&key.as_str()));
    declared
}

impl<'a> Listing<'a> {
    /// Creates the list of a plan, or of its chosen part. With `chosen`, exclusions are listed only for chosen tests.
    pub(super) fn new(
        inventory: &'a Inventory,
        plan: &'a Plan,
        targets: &'a [PlaybookTarget],
        chosen: Option<&Chosen<'_>>,
    ) -> Self {
        let is_chosen = |binary, name| chosen.is_none_or(|chosen| chosen.contains(&(binary, name)));
        let world = World { inventory, targets };
        let cases = plan.cases.iter().map(|case| world.case(case));
        let cases: Vec<_> = cases
            .filter(|line| is_chosen(line.binary, line.case))
            .collect();
        let shown: HashSet<_> = cases.iter().map(|line| (line.binary, line.test)).collect();
        let excluded = plan
            .excluded
            .iter()
            .map(|exclusion| world.exclusion(exclusion));
        let excluded = excluded
            .filter(|line| chosen.is_none() || shown.contains(&(line.binary, line.test)))
            .collect();
        let plain = plan.plain.iter().map(|number| world.plain(*number));
        let plain = plain
            .filter(|line| is_chosen(line.binary, line.test))
            .collect();
        Self {
            cases,
            excluded,
            plain,
            notes: &plan.notes,
        }
    }
}

/// The tests and targets that a plan's indices refer to.
struct World<'a> {
    inventory: &'a Inventory,
    targets: &'a [PlaybookTarget],
}

impl<'a> World<'a> {
    fn test(&self, number: usize) -> (&'a str, &'a Test) {
        let test = &self.inventory.tests[number];
        (&self.inventory.binaries[test.binary].id, test)
    }

    fn case(&self, case: &'a Case) -> CaseLine<'a> {
        let ((binary, test), target) = (self.test(case.test), &self.targets[case.target]);
        CaseLine {
            case: &case.info.name,
            binary,
            test: &test.name,
            target: &target.label,
            platform: target.platform,
            count: case.count,
            ignored: test.ignored,
            expect_fail: case.expect_fail.first().map(|one| one.reason.as_str()),
            declared: test.metadata.as_ref().map(described).unwrap_or_default(),
        }
    }

    fn exclusion(&self, exclusion: &'a Exclusion) -> ExcludedLine<'a> {
        let (binary, test) = self.test(exclusion.test);
        let target = exclusion
            .target
            .map(|target| self.targets[target].label.as_str());
        ExcludedLine {
            binary,
            test: &test.name,
            target,
            reason: exclusion.reason.to_string(),
        }
    }

    fn plain(&self, number: usize) -> PlainLine<'a> {
        let (binary, test) = self.test(number);
        PlainLine {
            binary,
            test: &test.name,
            ignored: test.ignored,
        }
    }
}
