//! The origin of a run, for its first event.

use nextest_metadata::RustBinaryId;

use super::{InstanceSets, Selection};
use crate::{
    cli::{Class, Global, OrderArg, RunArgs},
    inventory,
    run_event::{RunOrigin, RunTarget, TestBinary},
};

/// Build options that change only what cargo prints, or how fast it is.
const WITHOUT_EFFECT: [&str; 6] = [
    "--build-jobs",
    "--cargo-quiet",
    "--cargo-verbose",
    "--color",
    "--no-pager",
    "--timings",
];

impl Selection {
    /// Completes what is known of the working copy.
    pub(super) fn origin(&self, instance_sets: &InstanceSets, known: RunOrigin) -> RunOrigin {
        let labelled = |number: usize, label: &str| {
            let target = &self.workspace.playbook.targets[number];
            RunTarget {
                name: target.name.clone(),
                label: label.to_owned(),
                platform: target.platform.to_owned(),
                count: target.count,
                definition: target.definition.hash.clone(),
            }
        };
        let targets = instance_sets.keys().map(|number| {
            let label = &self.workspace.playbook.targets[*number].label;
            labelled(*number, label)
        });
        let mut targets: Vec<_> = targets.collect();
        // The cases of a variant have a label of their own.
        for case in self.chosen_cases().filter(|case| case.variant.is_some()) {
            let label = case.info.runs_on.label().unwrap_or_default();
            if !targets.iter().any(|known| known.label == label) {
                targets.push(labelled(case.target, label));
            }
        }
        RunOrigin {
            repository: Some(self.repository.clone()),
            seed: self.run.tests.choosing.seed,
            playbook_hash: Some(self.playbook_hash.clone()),
            options: self.options.clone(),
            targets,
            binaries: self.test_binaries(),
            ..known
        }
    }

    /// Returns the binaries of the chosen tests.
    fn test_binaries(&self) -> Vec<TestBinary> {
        let binary = |id: &str| {
            let suite = self.summary.rust_suites.get(&RustBinaryId::new(id))?;
            let path = suite.binary.binary_path.as_std_path();
            Some(TestBinary {
                id: id.to_owned(),
                package: suite.package_name.clone(),
                path: path.to_owned(),
                digest: inventory::binary_digest(path),
            })
        };
        let mut ids: Vec<_> = self.chosen.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(binary).collect()
    }
}

/// Returns the options that decide what is built and what a case is, one word each.
pub(super) fn options(global: &Global, run: &RunArgs) -> Vec<String> {
    let (tests, choosing) = (&run.tests, &run.tests.choosing);
    let mut options: Vec<_> = global
        .set
        .iter()
        .map(|set| format!("--set={set}"))
        .collect();
    if !choosing.scenario.is_empty() {
        options.push(format!("--scenario={}", choosing.scenario.join(",")));
    }
    if tests.all_tests {
        options.push("--all-tests".to_owned());
    }
    if let Some(place) = &choosing.runs_on {
        options.push(format!("--runs-on={}", String::from(place.clone())));
    }
    if choosing.order == Some(OrderArg::Random) {
        options.push("--order=random".to_owned());
    }
    if let Some(scale) = run.time_scale {
        options.push(format!("--time-scale={scale}"));
    }
    // An ignored test is one case among others.
    if !choosing.run_orch.is_empty() || tests.nextest.has("run-ignored") {
        options.push("--run-ignored=all".to_owned());
    }
    let build = tests.nextest.words(Class::Build);
    let build = build.iter().map(|word| word.to_string_lossy().into_owned());
    options.extend(build.filter(|word| {
        let option = word.split('=').next().unwrap_or_default();
        !WITHOUT_EFFECT.contains(&option)
    }));
    options
}
