//! Parameters of platform `qemu`, and the parsing of QEMU's answers.

use std::os::unix::fs::PermissionsExt;

use super::{
    super::{
        Attach, Nic,
        values::tests::{parse, spec},
    },
    *,
};

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

/// A QEMU without `-netdev stream` is refused before a machine with networks is made.
#[test]
fn an_old_qemu_joins_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let qemu = folder.path().join("qemu");
    std::fs::write(&qemu, "#!/bin/sh\ncat \"$0.version\"\n").unwrap();
    std::fs::set_permissions(&qemu, PermissionsExt::from_mode(0o755)).unwrap();
    let mut spec = spec(folder.path(), QemuParameters::default());
    spec.parameters.qemu = qemu.display().to_string();
    let nic = Nic {
        network: "lan".to_owned(),
        mac: String::new(),
        address: None,
        attach: Attach::Socket(PathBuf::new()),
    };
    for (version, has_network, refused) in [
        ("7.1.0", true, true),
        ("7.1.0", false, false),
        ("7.2.22 (Debian 1:7.2)", true, false),
        ("of my own", true, false),
    ] {
        spec.nics = has_network.then(|| nic.clone()).into_iter().collect();
        let said = format!("QEMU emulator version {version}\n");
        std::fs::write(qemu.with_extension("version"), said).unwrap();
        let checked = check_networks(&spec).map_err(|error| error.to_string());
        let expected = format!(
            "`{}` of target `alpha` is version 7.1.0; networks need version 7.2.0 or later",
            qemu.display()
        );
        assert_eq!(
            checked,
            if refused { Err(expected) } else { Ok(()) },
            "{version}"
        );
    }
}
