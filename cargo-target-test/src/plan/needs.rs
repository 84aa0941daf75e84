//! Matching of a test's requirements with a target's capabilities and an instance's facts.
//!
//! Must not know where facts come from.

use std::collections::BTreeMap;

use target_fixtures::{
    metadata::{COUNTS, Metadata, SIZES},
    requirement::{Misfit, Requirement},
};

use crate::{
    case::reason::ExclusionReason,
    playbook::{PlaybookTarget, is_inside},
};

/// Facts that every instance reports. If a target does not declare one of these, the instance is asked.
const PROBED: [&str; 7] = ["arch", "cores", "disk", "kernel", "memory", "nics", "os"];

/// Requirements by capability: `memory` -> `>= 1 GiB`.
pub type Needs = BTreeMap<String, String>;

/// Checks that the declared capabilities of a target meet the requirements. Facts that only an instance can report
/// are not checked.
///
/// # Errors
/// The requirement that is not met: ``needs memory >= 8 GiB, `debian` offers 2 GiB``.
pub(super) fn offered(metadata: &Metadata, target: &PlaybookTarget) -> Result<(), ExclusionReason> {
    let name = &target.name;
    for (capability, wanted) in &needs_on(metadata, target) {
        let requirement: Requirement = wanted.parse().map_err(ExclusionReason::Unreadable)?;
        let needed = needed(capability, wanted);
        let kind = kind(capability);
        if let Some(why) = impossible(kind, &requirement) {
            return Err(ExclusionReason::Impossible { needed, why });
        }
        let found = match target.capabilities.get(capability) {
            Some(offer) => match requirement.fits(offer) {
                Ok(()) => continue,
                Err(misfit) => format!("`{name}` offers {offer}{}", remark(&misfit)),
            },
            None if PROBED.contains(&kind) => continue,
            None => format!("`{name}` declares no `{capability}`"),
        };
        return Err(ExclusionReason::Requirement { needed, found });
    }
    Ok(())
}

/// The requirements of a test on a target. On an environment, each holds for every machine whose role the test names,
/// as `gateway.memory`.
fn needs_on(metadata: &Metadata, target: &PlaybookTarget) -> Needs {
    let needs = &metadata.requirements;
    if target.roles.is_empty() {
        return needs.clone();
    }
    let names_machine = |capability: &str| {
        let mut machines = target.machines();
        machines.any(|machine| is_inside(capability, &machine))
    };
    let needs = needs.clone().into_iter();
    let (of_one, of_all): (Needs, Needs) = needs.partition(|(one, _)| names_machine(one));
    let machines = metadata.roles.iter();
    let machines = machines.flat_map(|role| target.machines_of(role));
    let of_machine = |machine: String| {
        let needs = of_all.iter();
        needs.map(move |(one, wanted)| (format!("{machine}.{one}"), wanted.clone()))
    };
    machines.flat_map(of_machine).chain(of_one).collect()
}

/// The capability without the name of a machine: `memory` of `gateway.memory`.
fn kind(capability: &str) -> &str {
    capability.rsplit('.').next().unwrap_or(capability)
}

/// Returns the reason nothing can meet a requirement, if any.
fn impossible(capability: &str, requirement: &Requirement) -> Option<String> {
    let no_value = match capability {
        size if SIZES.contains(&size) => requirement.no_size(),
        count if COUNTS.contains(&count) => requirement.no_count(),
        _ => None,
    };
    let no_value = no_value.map(|why| format!("nothing can be `{requirement}`: {why}"));
    no_value.or_else(|| requirement.impossible())
}

/// Returns the requirements of a test to check on an instance of the target: all except those that its platform assures.
pub fn asked(metadata: &Metadata, target: &PlaybookTarget) -> Needs {
    let mut asked = needs_on(metadata, target);
    asked.retain(|capability, _| {
        PROBED.contains(&kind(capability)) && !target.assured.contains(capability)
    });
    asked
}

/// Checks that the facts of an instance meet the requirements. The kernel and the file system reserve some memory and
/// disk, so the reported sizes may be up to a tenth too small. An `os` (`debian 12`) also matches without its version.
///
/// # Errors
/// The requirement that is not met: ``needs memory >= 8 GiB, `debian-0` has 2 GiB``.
pub fn met(needs: &Needs, instance: &str, facts: &BTreeMap<String, String>) -> Result<(), String> {
    for (capability, wanted) in needs {
        let (requirement, needed): (Requirement, _) = (wanted.parse()?, needed(capability, wanted));
        let Some(fact) = facts.get(capability) else {
            return Err(format!("needs {needed}, `{instance}` does not report it"));
        };
        let Err(misfit) = requirement.fits(fact) else {
            continue;
        };
        let other = match kind(capability) {
            size if SIZES.contains(&size) => whole(fact),
            "os" => fact.split_once(' ').map(|(name, _)| name.to_owned()),
            _ => None,
        };
        if other.is_none_or(|other| requirement.fits(&other).is_err()) {
            let remark = remark(&misfit);
            return Err(format!("needs {needed}, `{instance}` has {fact}{remark}"));
        }
    }
    Ok(())
}

/// Returns the actual size of the memory or disk that a machine reports as `said`.
fn whole(said: &str) -> Option<String> {
    let mib: u64 = said.strip_suffix(" MiB")?.parse().ok()?;
    Some(format!("{} MiB", mib + mib / 10))
}

/// Formats a requirement: `memory >= 1 GiB`, `arch = x86_64`.
fn needed(capability: &str, wanted: &str) -> String {
    let bare = !wanted.trim_start().starts_with(['=', '!', '<', '>', '~']);
    format!("{capability} {}{wanted}", if bare { "= " } else { "" })
}

fn remark(misfit: &Misfit) -> String {
    let remark = misfit.remark.as_ref();
    remark.map_or_else(String::new, |remark| format!(", {remark}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{self, target};

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn metadata(requirements: &[(&str, &str)]) -> Metadata {
        Metadata {
            requirements: map(requirements),
            ..Metadata::default()
        }
    }

    #[test]
    fn a_requirement_holds_for_each_machine_that_a_test_names() {
        let mut lan = testing::environment("lan");
        let mut needs = metadata(&[("memory", ">= 1 GiB"), ("gateway.cores", ">= 2")]);
        needs.roles = vec!["tester".to_owned()];
        let each = [
            ("gateway.cores", ">= 2"),
            ("tester1.memory", ">= 1 GiB"),
            ("tester2.memory", ">= 1 GiB"),
        ];
        assert_eq!(asked(&needs, &lan), map(&each));
        assert_eq!(offered(&needs, &lan), Ok(()));
        lan.capabilities = map(&[("tester2.memory", "512 MiB")]);
        let reason = offered(&needs, &lan).unwrap_err().to_string();
        assert_eq!(
            reason,
            "needs tester2.memory >= 1 GiB, `lan` offers 512 MiB"
        );
        let facts = map(&[("tester1.memory", "990 MiB")]);
        assert_eq!(met(&map(&each[1..2]), "lan-0", &facts), Ok(()));
    }

    #[test]
    fn a_target_offers_what_it_declares() {
        let mut alpha = target("alpha");
        alpha.capabilities = map(&[("arch", "x86_64"), ("memory", "2 GiB"), ("gpu", "a100")]);
        for (needs, reason) in [
            (
                &[
                    ("arch", "x86_64"),
                    ("memory", ">= 1 GiB"),
                    ("gpu", "~ a[0-9]+|b"),
                ][..],
                "",
            ),
            (&[("cores", ">= 64"), ("kernel", ">= 6.1")], ""),
            (
                &[("memory", ">= 8 GiB")],
                "needs memory >= 8 GiB, `alpha` offers 2 GiB",
            ),
            (
                &[("arch", "aarch64")],
                "needs arch = aarch64, `alpha` offers x86_64",
            ),
            (
                &[("memory", "> 2")],
                "needs memory > 2: nothing can be `> 2`: a size has one of the units B, kB, MB, GB, TB, PB, KiB, \
                 MiB, GiB, TiB or PiB",
            ),
            (
                &[("disk", "8 gib")],
                "needs disk = 8 gib: nothing can be `8 gib`: a size has one of the units B, kB, MB, GB, TB, PB, KiB, \
                 MiB, GiB, TiB or PiB",
            ),
            (
                &[("fpga", ">= 1")],
                "needs fpga >= 1, `alpha` declares no `fpga`",
            ),
            (
                &[("cores", "> 8, < 2")],
                "needs cores > 8, < 2: nothing can be `> 8, < 2`",
            ),
        ] {
            let got = offered(&metadata(needs), &alpha).err();
            assert_eq!(got.map(|got| got.to_string()).unwrap_or_default(), reason);
        }
    }

    #[test]
    fn an_instance_is_asked_for_what_its_platform_does_not_see_to() {
        let needs = &[("memory", ">= 1 GiB"), ("cores", "> 1"), ("gpu", "a100")];
        let mut alpha = target("alpha");
        alpha.assured.insert("memory".to_owned());
        assert_eq!(asked(&metadata(needs), &alpha), map(&[("cores", "> 1")]));
        let facts = map(&[("cores", "2"), ("memory", "1967 MiB"), ("os", "debian 12")]);
        for (needs, reason) in [
            (&[("cores", ">= 2"), ("memory", ">= 2 GiB")][..], ""),
            (&[("memory", "< 2 GiB"), ("os", "debian")], ""),
            (&[("os", "debian 12")], ""),
            (
                &[("memory", ">= 4 GiB")],
                "needs memory >= 4 GiB, `a-0` has 1967 MiB",
            ),
            (&[("cores", ">= 4")], "needs cores >= 4, `a-0` has 2"),
            (&[("nics", "2")], "needs nics = 2, `a-0` does not report it"),
        ] {
            let got = met(&map(needs), "a-0", &facts).err().unwrap_or_default();
            assert_eq!(got, reason);
        }
    }
}
