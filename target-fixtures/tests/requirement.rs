//! Requirements against capabilities: a table of cases and the laws that hold for all.

use proptest::prelude::*;

use target_fixtures::requirement::{Requirement, fits};

const UNITS: [&str; 10] = [
    "B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB",
];

#[test]
fn holds_a_capability_against_a_requirement() {
    let fitting = [
        (">= 8 GiB", "8 GiB"),
        (">= 8GB", "8 GiB"),
        ("< 1 GiB", "1023.5 MiB"),
        ("= 1024 KiB", "1 MiB"),
        ("> 2", "3"),
        (">= 6.9", "6.10.2-rc1"),
        ("6.1", "6.1.0"),
        ("x86_64", "x86_64"),
        ("!= arm64", "x86_64"),
        ("~ deb*12", "debian 12 (bookworm)"),
        ("!~ fedora", "debian"),
        ("!= 4", "four"),
    ];
    for (requirement, capability) in fitting {
        assert_eq!(
            fits(requirement, capability),
            Ok(()),
            "{requirement} on {capability}"
        );
    }
}

#[test]
fn says_why_not() {
    let reasons = [
        (">= 8 GiB", "4 GiB", "needs `>= 8 GiB`, has `4 GiB`"),
        (
            ">= 8 GiB",
            "9",
            "needs `>= 8 GiB`, has `9`, which is no size with a unit",
        ),
        (
            "> 2",
            "many",
            "needs `> 2`, has `many`, which is no number or version",
        ),
        ("arm64", "x86_64", "needs `arm64`, has `x86_64`"),
        ("!~ *12", "debian 12", "needs `!~ *12`, has `debian 12`"),
    ];
    for (requirement, capability, reason) in reasons {
        assert_eq!(fits(requirement, capability), Err(reason.to_owned()));
    }
    for bad in ["", ">=", "=> 2", "> lots", ">= 8 GiX", "<> 3", ">= 64bit"] {
        assert!(bad.parse::<Requirement>().is_err(), "{bad}");
    }
}

fn capability() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(UNITS.to_vec());
    prop_oneof![
        (0u32..5000, unit).prop_map(|(number, unit)| format!("{number} {unit}")),
        prop::collection::vec(0u64..50, 1..4).prop_map(|parts| parts
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(".")),
        "[a-z][a-z0-9_]{0,8}",
    ]
}

proptest! {
    #[test]
    fn a_capability_fits_itself(has in capability()) {
        prop_assert_eq!(fits(&has, &has), Ok(()));
        let other = format!("!= {has}");
            prop_assert!(fits(&other, &has).is_err());
        if !has.starts_with(|c: char| c.is_ascii_lowercase()) {
            prop_assert_eq!(fits(&format!(">= {has}"), &has), Ok(()));
            let more = format!("> {has}");
                prop_assert!(fits(&more, &has).is_err());
        }
    }

    #[test]
    fn more_never_fits_less(a in capability(), b in capability(), needed in capability()) {
        let at_least = format!(">= {needed}");
        if fits(&format!(">= {a}"), &b).is_ok() && fits(&at_least, &a).is_ok() {
            prop_assert_eq!(fits(&at_least, &b), Ok(()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(requirement in ".*", has in ".*") {
        let _ = fits(&requirement, &has);
    }
}
