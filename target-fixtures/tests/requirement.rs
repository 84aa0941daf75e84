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
        ("~ deb.*12", "debian 12 (bookworm)"),
        ("~ deb(ian|) 1[0-9]$", "debian 12"),
        ("~ fedora|debian", "debian 12"),
        ("~ debian( | )12", "debian 12"),
        ("~ fedora|centos | debian", "debian"),
        ("!~ bian", "debian"),
        ("~ ^.{2,3}b", "debian"),
        ("!~ fedora", "debian"),
        ("!= 4", "four"),
        (">= 2, < 8", "7"),
        ("x86_64 | aarch64", "aarch64"),
        (">= 64 GiB | NVIDIA A100, 40GB", "NVIDIA A100, 40GB"),
        (">= 1 PiB", "2000 TB"),
        ("~ .*bian.*", "debian 12"),
        // What may be several things has to fit with each.
        (">= 8 GiB", ">= 16 GiB"),
        (">= 2", "2 | 4 | 8"),
        (">= 2, < 9", "> 3, <= 8"),
        ("< 4 | >= 4", ">= 1"),
        ("!= 4", "> 4"),
        ("!= arm64", ">= 4"),
        ("~ deb.*", "~ deb.*"),
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
            "needs `>= 8 GiB`, has `9`, which is not a size with a unit",
        ),
        (
            "> 2",
            "many",
            "needs `> 2`, has `many`, which is not a number or version",
        ),
        ("arm64", "x86_64", "needs `arm64`, has `x86_64`"),
        ("!~ .*12", "debian 12", "needs `!~ .*12`, has `debian 12`"),
        ("~ bian", "debian", "needs `~ bian`, has `debian`"),
        (">= 2, < 8", "8", "needs `>= 2, < 8`, has `8`"),
        (">= 8 GiB", ">= 4 GiB", "needs `>= 8 GiB`, has `>= 4 GiB`"),
        (
            "x86_64",
            "x86_64 | aarch64",
            "needs `x86_64`, has `x86_64 | aarch64`",
        ),
        (
            ">= 2",
            "~ deb.*",
            "needs `>= 2`, has `~ deb.*`, which is not a number or version",
        ),
    ];
    for (requirement, capability, reason) in reasons {
        assert_eq!(fits(requirement, capability), Err(reason.to_owned()));
    }
    for bad in [
        "", ">=", "=> 2", "> lots", ">= 8 GiX", "<> 3", ">= 64bit", "a |", ">= 2, <", "~ (a",
        "~ a{2,1}",
    ] {
        assert!(bad.parse::<Requirement>().is_err(), "{bad}");
    }
    let glob = "~ *12".parse::<Requirement>().expect_err("a glob");
    assert!(glob.ends_with("; `.*` matches any text"), "{glob}");
}

#[test]
fn what_nothing_can_be_is_known() {
    for impossible in [
        "> 8, < 2",
        "= 4, != 4",
        ">= 2, <= 8 GiB",
        "x, ~ y",
        "> 3, < 3 | < 1, > 1",
    ] {
        let requirement: Requirement = impossible.parse().expect(impossible);
        let reason = format!("nothing can be `{impossible}`");
        assert_eq!(requirement.impossible(), Some(reason));
    }
    for possible in [
        ">= 8, <= 8",
        "> 8, < 2 | x",
        "!= 4",
        "~ a.*, !~ b",
        ">= 1 PiB",
    ] {
        let requirement: Requirement = possible.parse().expect(possible);
        assert_eq!(requirement.impossible(), None, "{possible}");
    }
}

/// Values close to each other, so that they often meet.
fn number() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(UNITS.to_vec());
    let parts = |parts: Vec<u64>| {
        parts
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(".")
    };
    prop_oneof![
        (0u32..5000, unit).prop_map(|(number, unit)| format!("{number} {unit}")),
        (0u32..4).prop_map(|number| format!("{number} GiB")),
        prop::collection::vec(0u64..3, 1..3).prop_map(parts),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,2}", "[a-z][a-z0-9_]{0,8}"]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![2 => number(), 1 => word()]
}

/// `> 1, != 3 | a`: numbers and words.
fn compared() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec![">=", ">", "<", "<="]);
    let ordered = (sign, number()).prop_map(|(sign, value)| format!("{sign} {value}"));
    let unequal = value().prop_map(|value| format!("!= {value}"));
    let terms = prop::collection::vec(prop_oneof![3 => ordered, 1 => unequal], 1..3);
    alternatives(prop_oneof![2 => terms.prop_map(|terms| terms.join(", ")), 1 => value()])
}

/// `~ a.*, !~ b | a`: words only. A pattern looks at the text, in which equal numbers differ.
fn likened() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec!["~", "!~"]);
    let like = (sign, "[ab.]{1,3}[*?|]?[ab]?").prop_map(|(sign, text)| format!("{sign} {text}"));
    let unequal = word().prop_map(|value| format!("!= {value}"));
    let terms = prop::collection::vec(prop_oneof![3 => like, 1 => unequal], 1..3);
    alternatives(prop_oneof![2 => terms.prop_map(|terms| terms.join(", ")), 1 => word()])
}

fn alternatives(of: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(of, 1..3).prop_map(|any| any.join(" | "))
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![compared(), likened()]
}

fn expressions() -> impl Strategy<Value = Vec<String>> {
    let several = 12;
    prop_oneof![
        prop::collection::vec(compared(), several),
        prop::collection::vec(likened(), several),
    ]
}

proptest! {
    #[test]
    fn all_fits_itself(has in expression()) {
        prop_assert_eq!(fits(&has, &has), Ok(()));
    }

    #[test]
    fn what_fits_what_fits_fits(all in expressions()) {
        let fits = |a: &String, b: &String| fits(a, b).is_ok();
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            if fits(a, b) {
                for c in all.iter().filter(|c| fits(b, c)) {
                    prop_assert!(fits(a, c), "{a:?} <- {b:?} <- {c:?}");
                }
            }
        }
    }

    #[test]
    fn a_value_is_itself_and_nothing_else(has in value()) {
        let other = format!("!= {has}");
        prop_assert!(fits(&other, &has).is_err());
        if !has.starts_with(|c: char| c.is_ascii_lowercase()) {
            prop_assert_eq!(fits(&format!(">= {has}"), &has), Ok(()));
            let more = format!("> {has}");
            prop_assert!(fits(&more, &has).is_err());
        }
    }

    #[test]
    fn more_never_fits_less(a in value(), b in value(), needed in value()) {
        let at_least = format!(">= {needed}");
        if fits(&format!(">= {a}"), &b).is_ok() && fits(&at_least, &a).is_ok() {
            prop_assert_eq!(fits(&at_least, &b), Ok(()));
            prop_assert_eq!(fits(&at_least, &format!("> {b}")), Ok(()));
        }
    }

    #[test]
    fn what_may_be_less_fits_less(requirement in expression(), has in expression(), also in expression()) {
        let wider = format!("{has} | {also}");
        if fits(&requirement, &wider).is_ok() {
            prop_assert_eq!(fits(&requirement, &has), Ok(()));
            prop_assert_eq!(fits(&format!("{requirement} | {also}"), &has), Ok(()));
        }
    }

    #[test]
    fn nothing_fits_what_nothing_can_be(requirement in expression(), has in value()) {
        let parsed: Requirement = requirement.parse().expect("an expression");
        if parsed.impossible().is_some() {
            prop_assert!(fits(&requirement, &has).is_err());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(requirement in ".*", has in ".*") {
        let _ = fits(&requirement, &has);
    }
}
