//! Hosts as users write them.

use proptest::prelude::*;

use super::*;

#[test]
fn every_form() {
    for (text, user, name, port) in [
        ("lab7", None, "lab7", None),
        ("root@lab7", Some("root"), "lab7", None),
        (
            "root@rack.example:2222",
            Some("root"),
            "rack.example",
            Some(2222),
        ),
        ("a@b.c@lab7:22", Some("a@b.c"), "lab7", Some(22)),
        ("10.0.0.1:65535", None, "10.0.0.1", Some(65535)),
        ("[::1]:2222", None, "::1", Some(2222)),
        ("root@[::1]", Some("root"), "::1", None),
        ("[fe80::1%eth0]:22", None, "fe80::1%eth0", Some(22)),
        ("fe80::1", None, "fe80::1", None),
        ("größe", None, "größe", None),
    ] {
        let host: SshHost = text.parse().unwrap();
        assert_eq!(host.user.as_deref(), user, "{text}");
        assert_eq!(host.name, name, "{text}");
        assert_eq!(host.port.map(NonZeroU16::get), port, "{text}");
    }
}

#[test]
fn what_is_no_host() {
    for (text, problem) in [
        ("", "the host is empty"),
        (
            "-oProxyCommand=x",
            "the host `-oProxyCommand=x` starts with `-`",
        ),
        ("root@-x", "the host `-x` starts with `-`"),
        ("a b", "the host \"a b\" contains white space"),
        ("@lab7", "`@lab7` has no user before its `@`"),
        ("root@", "the host is empty"),
        ("lab7:", "`lab7:` has no port from 1 to 65535 after its `:`"),
        (
            "lab7:0",
            "`lab7:0` has no port from 1 to 65535 after its `:`",
        ),
        (
            "lab7:65536",
            "`lab7:65536` has no port from 1 to 65535 after its `:`",
        ),
        (
            "a:b:c",
            "`a:b:c` has more than one `:` and is not an IPv6 address",
        ),
        ("[::1", "`[::1` has a `[` without `]`"),
        (
            "[lab7]:22",
            "`[lab7]:22` has no IPv6 address in its brackets",
        ),
        ("[::1]22", "`[::1]22` goes on after its `]`"),
    ] {
        assert_eq!(text.parse::<SshHost>().unwrap_err(), problem);
    }
    assert!("ssh://lab7".parse::<SshHost>().is_err());
}

proptest! {
    #[test]
    fn never_panics(text in ".*") {
        let _ = text.parse::<SshHost>();
    }

    #[test]
    fn near_misses_never_panic(text in r"[-a@:\[\]%/0-9é ]{0,12}") {
        if let Ok(host) = text.parse::<SshHost>() {
            prop_assert!(!host.name.is_empty() && !host.name.starts_with('-'));
        }
    }
}
