//! Finds the instance that a typed name refers to, in the pool's records.
//!
//! Must not lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::is_mine;
use crate::{
    error::{Error, Result},
    playbook,
    provision::{
        Machine,
        pool::{Pool, Record, RecordState, Seen},
        unit,
    },
    run::workspace,
};

/// The instances that a name refers to: one instance, or equal instances of a target.
#[derive(Debug)]
pub(in crate::commands) struct Choice {
    /// At least one instance; the best comes first.
    pub(in crate::commands) all: Vec<Seen>,
    /// The machine of an environment that the name refers to: `gateway` of `lan-0.gateway`.
    machine: Option<String>,
}

impl Choice {
    /// Returns the best instance.
    pub(in crate::commands) fn first(&self) -> &Seen {
        &self.all[0]
    }

    /// Returns the record of the machine that the name refers to, in one of the instances.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the name is that of an environment of several machines.
    pub(in crate::commands) fn machine_of(&self, unit: &Record) -> Result<Record> {
        let machines = unit::machines(unit)?;
        if self.machine.is_none()
            && let [_, _, ..] = &machines[..]
        {
            let name = unit.name();
            let names = playbook::list(machines.iter().map(Record::name));
            let message = format!("`{name}` is an environment of several machines");
            return Err(Error::usage(message).with_hint(format!("name one of them: {names}")));
        }
        let mut machines = machines.into_iter();
        let found = machines.find(|one| self.machine.is_none() || machine(one) == self.machine);
        let gone = || Error::infra(format!("the machine of `{}` was removed", unit.name()));
        found.ok_or_else(gone)
    }

    /// True if the name refers to this machine.
    pub(super) fn is_machine(&self, leased: &Machine) -> bool {
        leased.record().and_then(machine) == self.machine
    }

    /// Returns an instance that this user need not wait for, if any.
    pub(in crate::commands) fn mine(&self) -> Option<&Seen> {
        let mut all = self.all.iter();
        all.find(|seen| seen.holder.as_ref().is_some_and(is_mine))
    }
}

/// Finds the instances that a name refers to, as [`find`], with the definition of the best one.
///
/// # Errors
/// As [`find`].
pub(in crate::commands) fn choose(pool: &Pool, name: &str, all: bool) -> Result<Choice> {
    find(pool, name, all).map(|found| pick(found, name))
}

/// Finds all instances with a name or of a target: in this workspace, or in the only other workspace with such an
/// instance, or with `all` in any workspace. At least one.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an unknown or ambiguous name.
pub(in crate::commands) fn find(pool: &Pool, name: &str, all: bool) -> Result<Vec<Seen>> {
    let workspace = workspace::workspace_by_lock_file()?;
    named(pool.overview()?, name, (!all).then_some(&*workspace))
}

fn named(seen: Vec<Seen>, name: &str, workspace: Option<&Path>) -> Result<Vec<Seen>> {
    let (mut found, others): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| {
        is_named(&seen.record, name) || machine_named(&seen.record, name).is_some()
    });
    if found.is_empty() {
        return Err(unknown(name, &others));
    }
    if let Some(workspace) = workspace {
        let is_ours = |seen: &Seen| seen.record.workspace == workspace;
        if found.iter().any(is_ours) {
            found.retain(is_ours);
        }
        let places: BTreeSet<_> = found.iter().map(|seen| &seen.record.workspace).collect();
        if places.len() > 1 {
            let places: Vec<_> = places.iter().map(|path| path.display()).collect();
            let places: Vec<_> = places.iter().map(|path| format!("`{path}`")).collect();
            let message = format!("`{name}` is an instance of {}", places.join(" and of "));
            return Err(Error::usage(message).with_hint(
                "run in that workspace, use the instance's id (`targets --json`), or add `--all` for any workspace",
            ));
        }
    }
    Ok(found)
}

/// True if the name is that of the record, of its target, or its id.
fn is_named(record: &Record, name: &str) -> bool {
    [record.name(), &record.spec.target, &record.id].contains(&name)
}

/// Checks that a name is not that of one machine of an environment, whose record is of all its machines.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for the name of a machine.
pub(in crate::commands) fn check_whole(found: &[Seen], name: &str) -> Result<()> {
    let mut units = found.iter().map(|seen| &seen.record);
    let Some(unit) = units.find(|unit| machine_named(unit, name).is_some()) else {
        return Ok(());
    };
    let unit = unit.name();
    let message =
        format!("`{name}` is one machine of `{unit}`, which is deleted or forgotten as a whole");
    Err(Error::usage(message).with_hint(format!("for all of its machines, write `{unit}`")))
}

/// The machine of an environment with this name: `lan-0.gateway`, or `lan.gateway` in any of the instances.
fn machine_named(unit: &Record, name: &str) -> Option<String> {
    let machines = unit::machines(unit).unwrap_or_default();
    let mut machines = machines.iter();
    let found = machines.find(|one| [one.name(), &one.spec.target].contains(&name));
    found.and_then(machine)
}

fn machine(record: &Record) -> Option<String> {
    let place = record.spec.place.as_ref();
    place.map(|place| place.machine.clone())
}

fn pick(mut found: Vec<Seen>, name: &str) -> Choice {
    found.sort_by_key(|seen| (rank(seen), std::cmp::Reverse(seen.record.created)));
    // Instances with a different definition cannot replace the best one.
    let hash = found[0].record.hash.clone();
    found.retain(|seen| seen.record.hash == hash);
    found.sort_by_key(|seen| (rank(seen), seen.record.spec.index));
    let machine = machine_named(&found[0].record, name);
    Choice {
        all: found,
        machine,
    }
}

/// Returns the rank of an instance; a lower rank is available sooner.
fn rank(seen: &Seen) -> u8 {
    match (&seen.record.state, &seen.holder) {
        (_, Some(holder)) if is_mine(holder) => 0,
        (RecordState::Ready, None) => 1,
        (RecordState::Ready, Some(_)) => 2,
        (RecordState::Planned | RecordState::Creating | RecordState::Preparing, _) => 3,
        (RecordState::Dirty { .. } | RecordState::Deleting { .. }, _) => 4,
    }
}

fn unknown(name: &str, others: &[Seen]) -> Error {
    let message = format!("instance `{name}` not found");
    let records = || others.iter().map(|seen| &seen.record);
    let machines: Vec<_> = records()
        .filter_map(|record| unit::machines(record).ok())
        .flatten()
        .collect();
    let instances: BTreeMap<&str, String> = records()
        .map(|record| (record.name(), listed(record)))
        .collect();
    let targets = records().map(|record| record.spec.target.as_str());
    let names = instances.keys().copied().chain(targets);
    let names: Vec<&str> = names.chain(machines.iter().map(Record::name)).collect();
    let listed = instances.values().map(String::as_str);
    let listed = listed.collect::<Vec<_>>().join(", ");
    let hint = match (listed, playbook::did_you_mean(name, &names)) {
        (listed, _) if listed.is_empty() => {
            "the pool is empty; deploy an instance with `cargo target-test up TARGET`, or keep those of a run with \
             `cargo target-test --keep-targets`"
                .to_owned()
        }
        (listed, Some(near)) => format!("{near} There are {listed}"),
        (listed, None) => format!("there are {listed}"),
    };
    Error::usage(message).with_hint(hint)
}

/// An instance, an environment with its machines: `` `lan-0` (`lan-0.gateway`, `lan-0.tester`) ``.
fn listed(record: &Record) -> String {
    let machines = unit::machines(record).unwrap_or_default();
    match machines.as_slice() {
        [first, ..] if first.spec.place.is_some() => {
            let machines = playbook::list(machines.iter().map(Record::name));
            format!("`{}` ({machines})", record.name())
        }
        _ => format!("`{}`", record.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::pool::{Holder, Manual, record_for_tests as record};

    fn seen(name: &str, index: u32, workspace: &str, hash: &str) -> Seen {
        let mut record = record(&format!("tt-{name}-{index}-{hash}"), name, index, hash);
        record.state = RecordState::Ready;
        record.workspace = workspace.into();
        Seen {
            record,
            holder: None,
            users: Vec::new(),
            disabled: None,
        }
    }

    fn held(mut seen: Seen, manual: Option<Manual>) -> Seen {
        seen.holder = Some(Holder {
            manual,
            ..Holder::default()
        });
        seen
    }

    #[track_caller]
    fn names(seen: &[Seen], name: &str, workspace: Option<&str>) -> Vec<String> {
        let choice = named(seen.to_vec(), name, workspace.map(Path::new))
            .map(|found| pick(found, name))
            .unwrap();
        let all = choice.all.iter();
        all.map(|seen| {
            format!(
                "{} of {}",
                seen.record.name(),
                seen.record.workspace.display()
            )
        })
        .collect()
    }

    #[test]
    fn names_of_this_workspace_go_first() {
        let all = [
            seen("a", 0, "/w", "h"),
            seen("a", 1, "/w", "h"),
            seen("a", 0, "/v", "h"),
            seen("b", 0, "/v", "h"),
            seen("c", 0, "/v", "h"),
            seen("c", 0, "/u", "h"),
        ];
        assert_eq!(names(&all, "a-0", Some("/w")), ["a-0 of /w"]);
        assert_eq!(names(&all, "a", Some("/w")), ["a-0 of /w", "a-1 of /w"]);
        assert_eq!(names(&all, "b-0", Some("/w")), ["b-0 of /v"]);
        assert_eq!(names(&all, "tt-c-0-h", None).len(), 2);
        let error = named(all.to_vec(), "c-0", Some(Path::new("/w"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`c-0` is an instance of `/u` and of `/v`"
        );
        assert_eq!(names(&all, "c-0", None).len(), 2);
    }

    #[test]
    fn what_is_mine_or_free_goes_first_and_what_differs_not_at_all() {
        let other = Manual {
            uid: super::super::me() + 1,
            until: 0,
        };
        let mine = Manual {
            uid: super::super::me(),
            until: 0,
        };
        let mut all = vec![
            held(seen("a", 0, "/w", "h"), None),
            held(seen("a", 1, "/w", "h"), Some(other)),
            seen("a", 2, "/w", "h"),
            held(seen("a", 3, "/w", "g"), None),
        ];
        let order = ["a-2 of /w", "a-0 of /w", "a-1 of /w"];
        assert_eq!(names(&all, "a", Some("/w")), order);
        all[1] = held(all[1].clone(), Some(mine));
        let choice = named(all, "a", None).map(|found| pick(found, "a")).unwrap();
        assert_eq!(choice.mine().unwrap().record.name(), "a-1");
        assert_eq!(choice.first().record.name(), "a-1");
    }

    #[test]
    fn a_slip_is_told_with_what_there_is() {
        let error = named(Vec::new(), "a", None).unwrap_err();
        assert!(error.hint().unwrap().contains("the pool is empty"));
        let all = [seen("ubuntu", 0, "/w", "h"), seen("lab", 0, "/w", "h")];
        let error = named(all.to_vec(), "unbuntu-0", None).unwrap_err();
        assert_eq!(error.to_string(), "instance `unbuntu-0` not found");
        let hint = "did you mean `ubuntu-0`? There are `lab-0`, `ubuntu-0`";
        assert_eq!(error.hint(), Some(hint));
        let error = named(all.to_vec(), "zebra", None).unwrap_err();
        assert_eq!(error.hint(), Some("there are `lab-0`, `ubuntu-0`"));
    }
}
