//! Echoes where the kernel permits them, and where it does not.

use super::*;
use crate::process;

/// Echoes are allowed or refused by network namespace: each case runs this binary in a new namespace.
#[test]
fn an_echo_is_sent_where_that_is_allowed() {
    if !rustix::process::geteuid().is_root() {
        let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
        assert!(!must, "only root makes a network namespace");
        eprintln!("skipped: only root makes a network namespace");
        return;
    }
    for (groups, allowed) in [("0 2147483647", "yes"), ("1 0", "no")] {
        let inside = format!(
            "ip link set lo up && ip address add 10.99.0.1/32 dev lo && \
             echo {groups} >/proc/sys/net/ipv4/ping_group_range && exec \"$@\""
        );
        let mut command = process::command("unshare");
        command.args(["--net", "--", "sh", "-c", &inside, "sh"]);
        command.arg(std::env::current_exe().unwrap());
        let name = concat!(module_path!(), "::inside")
            .split_once("::")
            .unwrap()
            .1;
        command.args(["--exact", name, "--ignored", "--nocapture"]);
        command.env("ECHO_ALLOWED", allowed);
        let output = process::Spawn::new(command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
}

#[test]
#[ignore = "runs in a network namespace that the test above makes"]
fn inside() {
    let allowed = std::env::var("ECHO_ALLOWED").unwrap() == "yes";
    assert_eq!(echo(&("10.99.0.1".to_owned(), 22)).is_some(), allowed);
    assert_eq!(
        echo(&("127.0.0.1".to_owned(), 22)),
        None,
        "that is ourselves"
    );
    assert_eq!(echo(&("no-such-host.invalid".to_owned(), 22)), None);
}
