//! Matching of a test's requirements with a target's capabilities and an instance's facts.
//!
//! Must not know where facts come from.

use std::collections::{BTreeMap, BTreeSet};

use target_fixtures::{
    metadata::{COUNTS, SIZES},
    requirement::{Misfit, Requirement},
};

use crate::{case::reason::ExclusionReason, playbook::PlaybookTarget};

/// Facts that every instance reports. If a target does not declare one of these, the instance is asked.
const PROBED: [&str; 7] = ["arch", "cores", "disk", "kernel", "memory", "nics", "os"];

/// Requirements by capability: `memory` -> `>= 1 GiB`.
pub type Needs = BTreeMap<String, String>;

/// Checks that the declared capabilities of a target meet the requirements. Facts that only an instance can report
/// are not checked.
///
/// # Errors
/// The requirement that is not met: ``needs memory >= 8 GiB, `debian` offers 2 GiB``.
pub(super) fn offered(needs: &Needs, target: &PlaybookTarget) -> Result<(), ExclusionReason> {
    let name = &target.name;
    for (capability, wanted) in needs {
        let requirement: Requirement = wanted.parse().map_err(ExclusionReason::Unreadable)?;
        let needed = needed(capability, wanted);
        if let Some(why) = impossible(capability, &requirement) {
            return Err(ExclusionReason::Impossible { needed, why });
        }
        let found = match target.capabilities.get(capability) {
            Some(offer) => match requirement.fits(offer) {
                Ok(()) => continue,
                Err(misfit) => format!("`{name}` offers {offer}{}", remark(&misfit)),
            },
            None if PROBED.contains(&capability.as_str()) => continue,
            None => format!("`{name}` declares no `{capability}`"),
        };
        return Err(ExclusionReason::Requirement { needed, found });
    }
    Ok(())
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

/// Returns the requirements to check on an instance of the target: all except those that its platform assures.
pub fn asked(needs: &Needs, assured: &BTreeSet<String>) -> Needs {
    let asked = needs.iter().filter(|(capability, _)| {
        PROBED.contains(&capability.as_str()) && !assured.contains(*capability)
    });
    asked
        .map(|(capability, wanted)| (capability.clone(), wanted.clone()))
        .collect()
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
        let other = match capability.as_str() {
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
    use crate::plan::testing::target;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
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
            let got = offered(&map(needs), &alpha).err();
            assert_eq!(got.map(|got| got.to_string()).unwrap_or_default(), reason);
        }
    }

    #[test]
    fn an_instance_is_asked_for_what_its_platform_does_not_see_to() {
        let needs = map(&[("memory", ">= 1 GiB"), ("cores", "> 1"), ("gpu", "a100")]);
        let assured = BTreeSet::from(["memory".to_owned()]);
        assert_eq!(asked(&needs, &assured), map(&[("cores", "> 1")]));
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
