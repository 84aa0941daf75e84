//! The parameters of platform `container`; the contract tests containers.

use super::{super::values::tests::parse, *};

#[test]
fn parameters_are_checked() {
    assert_eq!(
        parse(ContainerPlatform, "image = \"a\"").unwrap()["transport"],
        "exec"
    );
    for (text, expected) in [
        ("", "a container needs `image` or `rootfs`"),
        (
            "image = \"a\"\nrootfs = \"b\"",
            "`image` and `rootfs` cannot be combined",
        ),
        (
            "image = \"a\"\nport = 22",
            "`port` and `identity` require `transport = \"ssh\"`",
        ),
        (
            "image = \"a\"\nmounts = [\"/a\"]",
            "a mount must be `host:inside`",
        ),
        ("image = \"a\"\npull = \"often\"", "unknown variant `often`"),
        ("imag = \"a\"", "unknown field `imag`"),
    ] {
        let (_, message) = parse(ContainerPlatform, text).unwrap_err();
        assert!(message.starts_with(expected), "{text}: {message}");
    }
}
