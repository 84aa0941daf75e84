//! Units of the pool: the record of an instance stands for one machine, that of an environment for several.
//!
//! The only place that derives the records of machines. All machines of a unit have its id, its lease and its state.

use super::{
    network::RunningNetwork,
    platform::{Deployed, environment},
    pool::{InstanceFacts, Record},
};
use crate::{error::Result, playbook::ENVIRONMENT};

/// Returns the records of the machines of a unit, in the order of the roles; the record itself if it is no environment.
///
/// # Errors
/// Fails if the record is of another release.
pub(crate) fn machines(unit: &Record) -> Result<Vec<Record>> {
    if unit.platform != ENVIRONMENT {
        return Ok(vec![unit.clone()]);
    }
    let machines = environment::machines(&unit.spec, unit.deployed.as_ref())?.into_iter();
    let of = |deployed: &Deployed, name: &str| environment::deployed_of(deployed, name);
    let machines = machines.map(|(machine, spec)| Record {
        spec,
        deployed: unit
            .deployed
            .as_ref()
            .and_then(|all| of(all, &machine.name)),
        facts: facts_of(&unit.facts, &machine.name),
        features: machine.features,
        platform: machine.platform,
        ..unit.clone()
    });
    Ok(machines.collect())
}

/// The networks of a unit; none of an instance that is no environment.
pub(crate) fn networks(unit: &Record) -> Vec<RunningNetwork> {
    let deployed = unit.deployed.as_ref();
    let deployed = deployed.filter(|_| unit.platform == ENVIRONMENT);
    deployed
        .map(environment::running_networks)
        .unwrap_or_default()
}

/// Checks that the networks of a unit carry frames.
///
/// # Errors
/// Names the network that does not.
pub(crate) fn check_networks(unit: &Record) -> Result<()> {
    networks(unit)
        .iter()
        .try_for_each(RunningNetwork::check_alive)
}

/// The facts of a machine, as facts of its unit: `memory` of an instance, `gateway.memory` of an environment.
pub(crate) fn facts_in_unit(machine: &Record, facts: InstanceFacts) -> InstanceFacts {
    match &machine.spec.place {
        None => facts,
        Some(place) => {
            let of = |(key, value)| (format!("{}.{key}", place.machine), value);
            facts.into_iter().map(of).collect()
        }
    }
}

/// The data of a unit after that of one of its machines has changed.
pub(crate) fn moved(unit: &Deployed, machine: &Record, deployed: Deployed) -> Deployed {
    match &machine.spec.place {
        None => deployed,
        Some(place) => environment::with_deployed(unit, &place.machine, deployed),
    }
}

fn facts_of(facts: &InstanceFacts, machine: &str) -> InstanceFacts {
    let of_machine = |(key, value): (&String, &String)| {
        let key = key.strip_prefix(machine)?.strip_prefix('.')?;
        Some((key.to_owned(), value.clone()))
    };
    facts.iter().filter_map(of_machine).collect()
}
