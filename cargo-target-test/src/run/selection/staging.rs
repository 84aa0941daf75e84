//! Converts the playbook's rules and the choosing options of the command line to the inputs of the plan.
//!
//! Must not plan.

use crate::{
    cli::{ChoosingArgs, OrderArg, PreferArg, TestArgs},
    error::{Error, ErrorKind, Result},
    inventory::Inventory,
    plan::{self, Choosing, Order, Prefer},
    playbook::{self, Expression, Playbook, PlaybookTarget, Rules, Scenario},
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
        prefer: match tests.choosing.prefer {
            Some(PreferArg::Fastest) => Prefer::Fastest,
            Some(PreferArg::Cheapest) | None => Prefer::Cheapest,
        },
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
/// [`ErrorKind::Playbook`] if tests lack metadata that the playbook requires.
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
            Error::new(ErrorKind::Playbook, demands.join("\nerror: ")).with_hint(
                "declare them for a module with `target_defaults!`, or in the playbook with `[[overrides]]`",
            ),
        ),
    }
}

impl Workspace {
    /// Keeps only the targets of the chosen scenarios and of `--on`. Returns the filterset of the scenarios' cases, if
    /// any.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a name that is not in the playbook.
    pub(super) fn stage(
        &mut self,
        choosing: &ChoosingArgs,
        expressions: &[Expression],
    ) -> Result<Option<String>> {
        check_targets(&self.playbook, expressions)?;
        let playbook = &mut self.playbook;
        let all = playbook.rules.scenarios.clone();
        let scenarios = playbook::chosen_scenarios(&all, &choosing.scenario)?;
        if !scenarios.is_empty() {
            playbook.targets = playbook::staged(&playbook.targets, &playbook.recipes, &scenarios)?;
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
        let sets = scenarios
            .iter()
            .any(|scenario| scenario.filterset.is_some());
        Ok(sets.then(|| filterset(&scenarios, &playbook.targets)))
    }
}

/// Returns a filterset that matches the cases of each scenario that the scenario's own filterset matches.
fn filterset(scenarios: &[&Scenario], targets: &[PlaybookTarget]) -> String {
    let cases = |is: &dyn Fn(&PlaybookTarget) -> bool| {
        let labels = targets.iter().filter(|target| is(target));
        let labels: Vec<_> = labels
            .map(|target| regex::escape(&target.label).replace('/', "\\/"))
            .collect();
        match labels.is_empty() {
            true => "none()".to_owned(),
            false => format!(r"test(/\[({})(#\d+)?\]$/)", labels.join("|")),
        }
    };
    let of_one = |scenario: &&Scenario| {
        let filterset = scenario.filterset.as_deref().unwrap_or("all()");
        let is_other = |target: &PlaybookTarget| target.scenario.as_ref() != Some(&scenario.name);
        // Tests without a target belong to every scenario.
        format!("(not {} & ({filterset}))", cases(&is_other))
    };
    scenarios.iter().map(of_one).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing;

    /// A test on the host may have a name such as `x[y]`.
    #[test]
    fn a_scenario_leaves_out_what_is_on_targets_of_others() {
        let of = |name: &str, scenario: &str| PlaybookTarget {
            scenario: Some(scenario.to_owned()),
            ..testing::target(name)
        };
        let scenario = |name: &str| -> Scenario {
            toml::from_str(&format!("name = \"{name}\"\nfilterset = \"test({name})\"")).unwrap()
        };
        let (one, two) = (scenario("one"), scenario("two"));
        let targets = [of("a.b", "one"), of("c", "two")];
        assert_eq!(
            filterset(&[&one, &two], &targets),
            r"(not test(/\[(c)(#\d+)?\]$/) & (test(one))) | (not test(/\[(a\.b)(#\d+)?\]$/) & (test(two)))"
        );
        assert_eq!(
            filterset(&[&one], &targets[..1]),
            "(not none() & (test(one)))"
        );
    }
}
