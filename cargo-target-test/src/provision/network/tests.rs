//! Networks of containers, with an engine that notes its calls.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

/// An engine whose networks and connections are files in its folder.
const ENGINE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
case "$*" in
version*) echo 4.3.1 ;;
'network create'*) for name; do :; done; mkdir "$name"; echo "$*" >calls ;;
'network ls'*) ls -d net* 2>/dev/null; true ;;
'network rm'*) rm -r "$3" ;;
*--mac-address*) echo 'unknown flag: --mac-address' >&2; exit 1 ;;
'network connect'*) echo "$4" >"$5/$6" ;;
'network disconnect'*) rm "$3/$4" ;;
inspect*) for name; do :; done; for one in net*; do [ ! -e "$one/$name" ] || printf '%s ' "$one"; done ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;

fn spec(folder: &Path) -> NetworkSpec {
    let engine = folder.join("engine");
    fs::write(&engine, ENGINE).unwrap();
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let member = |name: &str, number: u32| NetworkMember {
        name: name.to_owned(),
        unique: format!("tt-1-{name}"),
        address: Some(format!("10.9.0.{number}/24")),
    };
    NetworkSpec {
        name: "lab".to_owned(),
        kind: NetworkKind::Container,
        engine: Some(engine.to_string_lossy().into_owned()),
        subnet: Some("10.9.0.0/24".to_owned()),
        members: vec![member("a", 2), member("b", 3), member("c", 4)],
        conditions: Conditions::default(),
        place: InstanceSpec {
            label: "tt-1".to_owned(),
            unique: "net-1".to_owned(),
            ..InstanceSpec::default()
        },
    }
}

fn partition(one: &[&str], other: &[&str]) -> NetworkFault {
    let group = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NetworkFault::Partition(group(one), group(other))
}

fn cut(machine: &str, is_cut: bool) -> NetworkFault {
    NetworkFault::Link(machine.to_owned(), LinkFault::Cut(is_cut))
}

#[test]
fn a_container_is_separated_from_all_others_and_returns_to_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path());
    spec.up().unwrap();
    let network = spec.up().unwrap();
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    let expected = "network create --internal --label cargo-target-test=tt-1 --label cargo-target-test.unique=net-1 ";
    assert!(calls.starts_with(expected), "{calls}");
    assert!(
        calls.ends_with("--subnet 10.9.0.0/24 --gateway 10.9.0.254 net-1\n"),
        "{calls}"
    );
    let attach = Attach::Network("net-1".to_owned());
    assert_eq!(network.nic("a").unwrap().attach, attach);
    let connected = || {
        let mut names: Vec<_> = fs::read_dir(folder.path().join("net-1"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    network.heal().unwrap();
    assert_eq!(connected(), ["tt-1-a", "tt-1-b", "tt-1-c"]);
    for fault in [
        partition(&["b", "c"], &["a"]),
        partition(&["a"], &["c", "b"]),
        cut("a", true),
    ] {
        network.add(fault).unwrap();
        assert_eq!(connected(), ["tt-1-b", "tt-1-c"]);
    }
    network.heal().unwrap();
    let address = || fs::read_to_string(folder.path().join("net-1/tt-1-a")).unwrap();
    assert_eq!(address(), "10.9.0.2\n");
    network.add(cut("a", true)).unwrap();
    network.add(cut("a", false)).unwrap();
    assert_eq!(address(), "10.9.0.2\n");
    spec.down().unwrap();
    spec.down().unwrap();
}

#[test]
fn faults_that_containers_cannot_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path());
    let network = spec.up().unwrap();
    for (fault, expected) in [
        (
            partition(&["a"], &["b"]),
            "does not support a partition of groups",
        ),
        (
            partition(&["a", "b"], &["c", "a"]),
            "does not support a partition of groups",
        ),
        (
            partition(&["x"], &["a", "b", "c"]),
            "machine `x` not found in network `lab`: it has a, b, c",
        ),
        (
            NetworkFault::Loss(0.1),
            "does not support delay, loss and rate",
        ),
        (
            NetworkFault::Link("a".to_owned(), LinkFault::Loss(0.1)),
            "does not support delay, loss and rate",
        ),
        (cut("x", true), "machine `x` not found in network `lab`"),
    ] {
        let error = network.add(fault).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = network.capture(Path::new("/x.pcap")).unwrap_err();
    assert!(
        error.to_string().ends_with("does not support capture"),
        "{error}"
    );
}

#[test]
fn the_host_has_the_last_address_that_no_machine_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path());
    for (subnet, expected) in [
        ("10.9.0.0/24", Some("10.9.0.254")),
        ("10.9.0.0/29", Some("10.9.0.6")),
        ("10.9.0.1/29", Some("10.9.0.6")),
        ("10.9.0.4/31", None),
        ("10.9.0.4/32", None),
    ] {
        let gateway = spec.gateway(subnet).ok().map(|one| one.to_string());
        assert_eq!(gateway.as_deref(), expected, "{subnet}");
    }
    // Machines have 2 to 4: one is left, until a machine has it too.
    assert!(spec.gateway("10.9.0.0/30").is_ok());
    spec.members[2].address = Some("10.9.0.1/30".to_owned());
    spec.subnet = Some("10.9.0.0/30".to_owned());
    let full = spec.up().unwrap_err().to_string();
    assert_eq!(
        full,
        "subnet `10.9.0.0/30` of network `lab` has no address for this host"
    );
}
