//! Converts the playbook's rules and the choosing options of the command line to the inputs of the plan.
//!
//! Must not plan.

use target_fixtures::metadata::ProcessPlace;

use super::scenes::StagedScenarios;
use crate::{
    cli::{ChoosingArgs, OrderArg, TestArgs},
    error::{Error, Result},
    inventory::Inventory,
    plan::{self, Choosing, Order},
    playbook::{self, Expression, Playbook, PlaybookTarget, Rules},
    run::workspace::Workspace,
    ui,
};

/// Parses the expressions of `--criteria`.
pub(super) fn expressions(choosing: &ChoosingArgs) -> Result<Vec<Expression>> {
    let expressions = choosing.criteria.iter();
    expressions
        .map(|text| playbook::parse_expression(text))
        .collect()
}

/// Checks that the playbook has the targets that `--criteria` names. A name may follow a scenario and a slash.
fn check_targets(playbook: &Playbook, expressions: &[Expression]) -> Result<()> {
    let names = playbook.targets.iter().map(|target| target.name.as_str());
    let names: Vec<_> = names.collect();
    let mut named = expressions.iter().flat_map(Expression::targets);
    let is_unknown = |name: &&str| !names.contains(&name.rsplit('/').next().unwrap_or(name));
    match named.find(is_unknown) {
        Some(name) => Err(playbook::unknown_name("target", name, &names)),
        None => Ok(()),
    }
}

/// Returns the inputs of the plan from options and rules.
pub(super) fn choosing<'a>(
    tests: &TestArgs,
    rules: &'a Rules,
    expressions: &'a [Expression],
) -> Choosing<'a> {
    Choosing {
        criteria: &rules.criteria,
        expressions,
        overrides: &rules.overrides,
        variants: &rules.variants,
        prefer: tests.choosing.prefer.unwrap_or_default(),
        order: order(&tests.choosing),
        shared: tests.nextest.has("partition"),
        ..Choosing::default()
    }
}

/// Returns the order of cases. Warns if `--seed` has no effect.
fn order(choosing: &ChoosingArgs) -> Order {
    match (choosing.order, choosing.seed) {
        (Some(OrderArg::Random), Some(seed)) => Order::Random(seed),
        (_, seed) => {
            if seed.is_some() {
                ui::warn("`--seed` has no effect without `--order random`");
            }
            Order::Planned
        }
    }
}

/// Applies the overrides to the tests' metadata. Returns warnings for overrides that match no test.
///
/// # Errors
/// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) if tests lack metadata that the playbook requires.
pub(super) fn declare(inventory: &mut Inventory, rules: &Rules) -> Result<Vec<String>> {
    let idle = plan::change(inventory, &rules.overrides).into_iter();
    let idle = idle.map(|change| {
        let name: String = change.name.clone().into();
        format!("the override for `{name}` matches no test")
    });
    let idle = idle.collect();
    match plan::demands(inventory, rules).as_slice() {
        [] => Ok(idle),
        demands => Err(
            Error::playbook(demands.join("\nerror: ")).with_hint(
                "declare them for a module with `target_defaults!`, or in the playbook with `[[overrides]]`",
            ),
        ),
    }
}

impl Workspace {
    /// Keeps only the targets of the chosen scenarios and of `--on`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a name that is not in the playbook.
    pub(super) fn stage(
        &mut self,
        choosing: &ChoosingArgs,
        expressions: &[Expression],
    ) -> Result<Staged> {
        check_targets(&self.playbook, expressions)?;
        let playbook = &mut self.playbook;
        let all = playbook.rules.scenarios.clone();
        let scenarios = playbook::chosen_scenarios(&all, &choosing.scenario)?;
        if !scenarios.is_empty() {
            playbook.targets = playbook::staged(&playbook.targets, &playbook.recipes, &scenarios)?;
        }
        let mut staged = Staged::default();
        match scenarios.as_slice() {
            [] => {}
            [one] => staged.filterset.clone_from(&one.filterset),
            several => {
                staged.several = Some(StagedScenarios {
                    scenarios: several.iter().copied().cloned().collect(),
                    targets: playbook.targets.clone(),
                });
            }
        }
        let names: Vec<_> = playbook
            .targets
            .iter()
            .map(|one| one.label.as_str())
            .collect();
        for pattern in &choosing.on {
            if !playbook
                .targets
                .iter()
                .any(|target| plan::is_named(pattern, target))
            {
                return Err(playbook::unknown_name("target", pattern, &names));
            }
        }
        let on =
            |target: &PlaybookTarget| choosing.on.iter().any(|one| plan::is_named(one, target));
        playbook
            .targets
            .retain(|target| choosing.on.is_empty() || on(target));
        self.check_option_place(choosing.runs_on.as_ref())?;
        Ok(staged)
    }

    /// Checks that tests can run at the place of `--runs-on` on some target.
    fn check_option_place(&self, place: Option<&ProcessPlace>) -> Result<()> {
        let targets = &self.playbook.targets;
        let is_nowhere =
            |place: &&ProcessPlace| targets.iter().all(|one| one.check_place(place).is_err());
        let Some(place) = place.filter(is_nowhere) else {
            return Ok(());
        };
        let machines: Vec<_> = targets.iter().flat_map(PlaybookTarget::machines).collect();
        let machines = machines.iter().map(String::as_str);
        let known: Vec<_> = ["host", "target"].into_iter().chain(machines).collect();
        let name = String::from(place.clone());
        let message = format!("unknown place `{name}` for `--runs-on`");
        Err(Error::usage(message).with_hint(playbook::nearest_or_all(&name, &known)))
    }
}

/// The selection of the chosen scenarios.
#[derive(Default)]
pub(super) struct Staged {
    /// The filterset of the only scenario, if it has one. nextest evaluates it with the user's selection.
    pub filterset: Option<String>,
    /// The scenarios, if there are several.
    pub several: Option<StagedScenarios>,
}
