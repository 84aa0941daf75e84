//! Tests that declare everything that can be declared.

use target_fixtures::prelude::*;
/// Everything that can be said.
///
/// With a second paragraph.
#[target_test(
    platform = "local", targets = ["h*"], category = "functional", area = "deploy", priority = 0, tags = ["a", "b"],
    owner = "me", features = ["x"], memory = ">= 2 GiB", requires("cpu.model" = "~ .*EPYC"), reuse = false,
    timeout = "30s", retries = 2,
)]
fn everything(_: &Target) {}

#[target_test(count = 2)]
fn pair(targets: &[Target]) {
    assert_eq!(targets.len(), 2);
}

#[target_test(memory = ">= 8 GiB")]
fn large(_: &Target) {}

/// Known to fail where there is an x.
#[target_test(expect_fail("bug 7", feature = "x"))]
fn known_bug(target: &Target) {
    assert!(!target.has_feature("x"));
}

#[target_test(expect_fail("bug 8", platform = "local"))]
fn fixed_bug(_: &Target) {}

#[target_test(skip("never mind"))]
fn never(_: &Target) {
    panic!("ran");
}

#[target_test]
fn at_run_time(target: &Target) -> Result<()> {
    if target.has_feature("x") {
        Err(skip("has an x"))
    } else {
        Ok(())
    }
}

mod net {
    use target_fixtures::prelude::*;

    target_defaults! { area = "net", tags = ["slow"], skip("no route", platform = "command") }

    #[target_test(tags = ["own"])]
    fn inherits(target: &Target) {
        assert_eq!(target.platform(), "local");
    }

    mod deeper {
        use target_fixtures::prelude::*;

        #[target_test(area = "deep", skip("not on this one", target = "he*"))]
        fn nowhere(_: &Target) {
            panic!("ran");
        }
    }
}

/// As rstest makes it: a function with the attribute, and its cases in a module of its name.
#[target_test(targets = ["here"])]
#[allow(dead_code)]
fn frames(_: &Target) {}

mod frames {
    #[test]
    fn case_1_small() {
        assert_eq!(std::env::var("TARGET_TEST_NAME").as_deref(), Ok("here"));
    }

    mod deep {
        #[test]
        fn case_2_f_0() {
            assert_eq!(std::env::var("TARGET_TEST_NAME").as_deref(), Ok("here"));
        }
    }
}

#[test]
fn ordinary() {
    assert!(std::env::var("TARGET_TEST_NAME").is_err());
}
