//! Tables of tests and targets that fit, and the reasons of those that do not.

use serde_json::json;

use super::super::testing::{metadata, target};
use super::*;
use crate::playbook::matches;

#[test]
fn reasons() {
    let mut alpha = target("alpha");
    alpha.features = vec!["gpu".to_owned()];
    alpha.capabilities = [("arch", "x86_64"), ("memory", "2 GiB")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    for (declared, reason) in [
        (json!({}), ""),
        (
            json!({"platform": "local", "targets": ["b", "al*"], "features": ["gpu"], "count": 1}),
            "",
        ),
        (
            json!({"platform": "ssh"}),
            "only on platform `ssh`, `alpha` is on `local`",
        ),
        (json!({"targets": ["beta", "b*"]}), "only on `beta`, `b*`"),
        (
            json!({"features": ["gpu", "kvm"]}),
            "needs feature `kvm`, which `alpha` lacks",
        ),
        (json!({"count": 2}), "needs 2 instances, `alpha` has 1"),
        (json!({"count": 0}), ""),
        (
            json!({"requirements": {"arch": "x86_64", "memory": ">= 1 GiB", "cores": "> 3"}}),
            "",
        ),
        (
            json!({"requirements": {"memory": "> 2 GiB"}}),
            "needs memory > 2 GiB, `alpha` offers 2 GiB",
        ),
        (
            json!({"skip": [{"reason": "not this function's affair"}]}),
            "",
        ),
    ] {
        let got = fits(Some(&metadata(declared.clone())), &alpha)
            .err()
            .map_or_else(String::new, |reason| reason.to_string());
        assert_eq!(got, reason, "{declared}");
    }
    assert_eq!(fits(None, &alpha), Ok(()));

    let fresh = metadata(json!({"fresh": true}));
    assert_eq!(fits(Some(&fresh), &alpha), Ok(()));
    alpha.machines_stay = true;
    let reason = fits(Some(&fresh), &alpha).expect_err("a reason");
    assert!(
        reason.to_string().starts_with("needs a fresh machine, "),
        "{reason}"
    );
    alpha.lifecycle.on_dirty = Some(OnDirty::Reboot);
    assert_eq!(fits(Some(&fresh), &alpha), Ok(()));
}

#[test]
fn a_similar_target_is_named() {
    let targets = [target("alpha"), target("beta")];
    for (patterns, reason) in [
        (&["alhpa"][..], "only on `alhpa`; did you mean `alpha`?"),
        (
            &["x86", "bet"],
            "only on `x86`, `bet`; did you mean `beta`?",
        ),
        (&["alhpa", "b*"], "only on `alhpa`, `b*`"),
        (&["alhpa", "beta"], "only on `alhpa`, `beta`"),
        (&["gamma"], "only on `gamma`"),
    ] {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let got = with_meant(ExclusionReason::Targets(patterns), &targets);
        assert_eq!(got.to_string(), reason);
    }
}

#[test]
fn conditions_hold_where_every_part_does() {
    let mut alpha = target("alpha");
    alpha.features = vec!["gpu".to_owned()];
    for (condition, holds) in [
        (json!({}), true),
        (json!({"platform": "local"}), true),
        (json!({"platform": "ssh"}), false),
        (json!({"target": "alpha", "feature": "gpu"}), true),
        (json!({"target": "a*"}), true),
        (json!({"target": "beta", "feature": "gpu"}), false),
        (json!({"feature": "kvm"}), false),
    ] {
        let mut stated = condition.clone();
        stated["reason"] = "because".into();
        let declared = metadata(json!({"skip": [stated], "expect-fail": [stated]}));
        assert_eq!(
            skip_reason(&declared, Some(&alpha)),
            holds.then_some("because"),
            "{condition}"
        );
        assert_eq!(
            expected_failures(&declared, Some(&alpha)).len(),
            usize::from(holds),
            "{condition}"
        );
    }
}

#[test]
fn stars_match_anything() {
    for (pattern, name, matched) in [
        ("debian", "debian", true),
        ("debian", "debian1", false),
        ("debian*", "debian", true),
        ("*", "", true),
        ("*-arm", "debian-arm", true),
        ("d*a*m", "debian-arm", true),
        ("d*a*x", "debian-arm", false),
        ("a*a", "a", false),
        ("a*b*b", "ab", false),
        ("a**b", "ab", true),
        ("*é*", "caf\u{e9}s", true),
    ] {
        assert_eq!(matches(pattern, name), matched, "{pattern} {name}");
    }
}

#[test]
fn exact_names_of_filtersets() {
    for (filterset, names) in [
        (
            "test(=smoke) | test( =net::a ) & not test(=b c)",
            vec!["smoke", "net::a", "b c"],
        ),
        (
            "test(/^smoke$/) or test(/smoke/) or test(smoke) or package(=x)",
            vec!["smoke"],
        ),
        ("test(~smoke)", vec![]),
    ] {
        assert_eq!(exact_names(filterset), names, "{filterset}");
    }
}
