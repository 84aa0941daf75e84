//! Wrong arguments and forms of `#[target_test]`: each error, at its place.

#[test]
fn errors_point_at_what_is_wrong() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
