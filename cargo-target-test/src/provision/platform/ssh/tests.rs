//! Platform `ssh` with made-up hosts and `ssh_config` files.

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{
    super::{
        InstanceSpec,
        erased::{DynPlatform, Erased},
        values::tests::{parse, spec},
    },
    *,
};
use crate::playbook::PlatformSyntax;

#[test]
fn parameters_with_defaults() {
    let short = parse(SshPlatform, "hosts = ['lab7', 'root@rack:2222']").unwrap();
    assert_eq!(short, json!({"hosts": ["lab7", "root@rack:2222"]}));
    assert_eq!(Erased(SshPlatform).count(&short), Some(2));
    let text = "hosts = ['a']\nuser = 'u'\nport = 2\nidentity = 'id'\nknown-hosts = 'k'\nconnect-timeout = '1m 30s'";
    let full = json!({"hosts": ["a"], "user": "u", "port": 2, "identity": "id",
        "known-hosts": "k", "connect-timeout": "1m 30s"});
    assert_eq!(parse(SshPlatform, text).unwrap(), full);
}

#[test]
fn errors_point_at_their_place() {
    let a_duration = "expected a duration such as \"30s\" or \"10m\"";
    let a_host = "expected a host such as \"lab7\" or \"root@rack:2222\"";
    for (text, at, message) in [
        ("user = 'u'", "user = 'u'", "missing field `hosts`".to_owned()),
        (
            "hosts = 'lab7'",
            "'lab7'",
            "invalid type: string \"lab7\", expected an array of hosts such as [\"lab7\", \"root@rack:2222\"]".to_owned(),
        ),
        ("hosts = []", "[]", "invalid length 0, expected at least one host".to_owned()),
        ("hosts = ['a', 7]", "7", format!("invalid type: integer `7`, {a_host}")),
        ("hosts = ['a', '-b']", "'-b'", "the host `-b` starts with `-`".to_owned()),
        ("hosts = ['a', 'b', 'a']", "'a'", "`a` is listed twice".to_owned()),
        ("hosts = ['a', 'u@A']", "'u@A'", "`u@A` is the same machine as `a`".to_owned()),
        (
            "hosts = ['a']\nport = 0",
            "0",
            "invalid value: integer `0`, expected a nonzero u16".to_owned(),
        ),
        (
            "hosts = ['a']\nport = 70000",
            "70000",
            "invalid value: integer `70000`, expected a nonzero u16".to_owned(),
        ),
        ("hosts = ['a']\nuser = ''", "''", "the user is empty".to_owned()),
        (
            "hosts = ['a']\nconnect-timeout = 'soon'",
            "'soon'",
            format!("invalid value: string \"soon\", {a_duration}"),
        ),
        (
            "hosts = ['a']\nconnect-timeout = 10",
            "10",
            format!("invalid type: integer `10`, {a_duration}"),
        ),
        (
            "hosts = ['a']\nconnect-timeout = '0s'",
            "'0s'",
            "duration must be greater than zero".to_owned(),
        ),
    ] {
        let (found_at, found) = parse(SshPlatform, text).unwrap_err();
        assert_eq!((found_at.as_str(), found), (at, message), "{text}");
    }
    let (at, message) = parse(SshPlatform, "hosts = ['a']\nknown_hosts = 'k'").unwrap_err();
    assert_eq!(at, "known_hosts");
    assert!(message.contains("`known-hosts`"), "{message}");
}

fn one(host: &str) -> InstanceSpec {
    let parameters = parse(SshPlatform, &format!("hosts = ['{host}']\nport = 2222")).unwrap();
    spec(Path::new("/book"), parameters)
}

#[test]
fn one_machine_has_one_name() {
    for (host, machine) in [
        ("127.0.0.1", "127.0.0.1:2222"),
        ("localhost", "127.0.0.1:2222"),
        ("::1", "127.0.0.1:2222"),
        ("[::ffff:127.0.0.1]:2222", "127.0.0.1:2222"),
        ("root@127.0.0.1:2223", "127.0.0.1:2223"),
        ("fd00::7", "[fd00::7]:2222"),
    ] {
        assert_eq!(
            Erased(SshPlatform).exclusive(&one(host)).unwrap().unwrap(),
            machine,
            "{host}"
        );
    }
    let error = Erased(SshPlatform)
        .exclusive(&one("no-such-host.invalid"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot resolve host `no-such-host.invalid`"
    );
    assert_eq!(error.kind(), crate::ErrorKind::Infra);
}

#[test]
fn behind_a_jump_names_are_not_resolved() {
    let host = SshReach {
        host: "Inner.invalid".into(),
        port: Some(22),
        ..SshReach::default()
    };
    let mut config = ssh_config::resolve(&host).unwrap();
    config.proxy_jump = Some("root@jump".into());
    assert_eq!(machine(&config).unwrap(), "root@jump>inner.invalid:22");
}

#[test]
fn deploy_only_looks_up() {
    let text = "hosts = ['a', 'root@127.0.0.1:7']\nidentity = 'id'\nuser = 'u'\nconnect-timeout = '1m 30s'";
    let mut spec = spec(Path::new("/book"), parse(SshPlatform, text).unwrap());
    spec.index = 1;
    let deployed = Erased(SshPlatform).deploy(&spec, &|_| {}).unwrap();
    assert_eq!(
        (deployed.host.as_str(), deployed.port),
        ("127.0.0.1", Some(7))
    );
    assert_eq!(deployed.user.as_deref(), Some("root"));
    let Reach::Ssh(reach) = deployed.reach else {
        panic!("{deployed:?}");
    };
    assert_eq!(reach.identity.as_deref(), Some(Path::new("/book/id")));
    assert_eq!(reach.connect_timeout, Some(Duration::from_secs(90)));
    let error = Erased(SshPlatform).check(&spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`identity` of target `alpha`: file not found: `/book/id`"
    );
    spec.index = 2;
    let error = Erased(SshPlatform).check(&spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        "target `alpha` has 2 host(s), none for `alpha-0`"
    );
    Erased(SshPlatform).delete(&spec, None).unwrap();
}
