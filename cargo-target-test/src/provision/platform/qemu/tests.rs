//! Parameters of platform `qemu`, and the parsing of QEMU's answers.

use super::{super::values::tests::parse, *};

#[test]
fn parameters_have_defaults_and_are_checked() {
    let read = parse(
        QemuPlatform,
        "kernel = \"k\"\nmemory = \"1 GiB\"\ndisks = [\"2 GiB\", \"a.img\"]",
    )
    .unwrap();
    assert_eq!(read["memory"], "1 GiB");
    assert_eq!(read["user"], "root");
    assert_eq!(read["port"], 22);
    assert_eq!(read["accel"], "auto");
    assert_eq!(read["disks"], json!(["2 GiB", "a.img"]));
    for (text, expected) in [
        (
            "memory = \"1 GiB\"",
            "a virtual machine needs `kernel` or `image`",
        ),
        (
            "image = \"a\"\ninitrd = \"b\"",
            "`initrd` requires `kernel`",
        ),
        (
            "kernel = \"a\"\nmemory = \"much\"",
            "invalid value: string \"much\"",
        ),
        ("kernel = \"a\"\naccel = \"warp\"", "unknown variant `warp`"),
        ("kernel = \"a\"\ncores = 0", "invalid value: integer `0`"),
        ("kernl = \"a\"", "unknown field `kernl`"),
    ] {
        let (_, message) = parse(QemuPlatform, text).unwrap_err();
        assert!(message.starts_with(expected), "{text}: {message}");
    }
}

#[test]
fn the_forwarded_port_is_read() {
    let text = "Hub -1 (net):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
                TCP[HOST_FORWARD]  12       127.0.0.1 45123       10.0.2.15    22     0     0\n";
    assert_eq!(read_port(text), Some(45123));
    assert_eq!(read_port(""), None);
}
