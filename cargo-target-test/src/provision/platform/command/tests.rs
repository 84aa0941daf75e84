//! Platform `command` against real shell scripts.

use std::{cell::RefCell, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json;
use tempfile::TempDir;

use super::{
    super::{
        InstanceSpec,
        erased::{DynPlatform, Erased, recorded},
        values::tests::{parse, spec},
    },
    *,
};

const DELETE: &str = "delete = ['sh', '-c', 'rm -f made']\n";

/// A playbook's folder whose `deploy` is this shell script.
fn book(deploy: &str, more: &str) -> (TempDir, InstanceSpec) {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("deploy = ['sh', '-c', '''{deploy}''']\n{DELETE}{more}");
    let parameters = parse(CommandPlatform, &text).unwrap();
    let spec = spec(directory.path(), parameters);
    (directory, spec)
}

fn deploy(deploy: &str, more: &str) -> Result<Deployed> {
    let (_directory, spec) = book(deploy, more);
    Erased(CommandPlatform).deploy(&spec, &|_| {})
}

#[test]
fn parameters_with_defaults() {
    let text = "deploy = './up'\ndelete = ['sh', 'down']\n[params]\na = [1, 2.5, true]\nb.c = 2020-01-02\n";
    let expected = json!({"deploy": ["./up"], "delete": ["sh", "down"], "timeout": "10m",
        "delete-timeout": "5m", "params": {"a": [1, 2.5, true], "b": {"c": "2020-01-02"}}});
    let parameters = parse(CommandPlatform, text).unwrap();
    assert_eq!(parameters, expected);
    // The recorded form can be parsed again.
    let spec = spec(Path::new("/book"), parameters);
    let read = CommandParameters::deserialize(&spec.parameters).unwrap();
    assert_eq!(recorded(&read).unwrap(), expected);
}

#[test]
fn errors_point_at_their_place() {
    let good = "deploy = 'a'\ndelete = 'b'\n";
    for (text, at, message) in [
        (
            "deploy = 'a'".to_owned(),
            "deploy = 'a'",
            "missing field `delete`",
        ),
        (
            "deploy = 7\ndelete = 'b'".to_owned(),
            "7",
            "invalid type: integer `7`, expected a program such as \"./deploy.sh\" or [\"python3\", \"deploy.py\"]",
        ),
        (
            "deploy = ['a', 7]\ndelete = 'b'".to_owned(),
            "7",
            "invalid type: integer `7`, expected a string",
        ),
        (
            "deploy = []\ndelete = 'b'".to_owned(),
            "[]",
            "the program is empty",
        ),
        (
            "deploy = ' '\ndelete = 'b'".to_owned(),
            "' '",
            "the program is empty",
        ),
        (
            format!("{good}timeout = 'x'"),
            "'x'",
            "invalid value: string \"x\", expected a duration such as \"30s\" or \"10m\"",
        ),
        (
            format!("{good}params = 1"),
            "1",
            "invalid type: integer `1`, expected a map",
        ),
        (
            format!("{good}params = {{ a = [nan] }}"),
            "{ a = [nan] }",
            "`inf` and `nan` are not supported: the programs get `params` as JSON",
        ),
    ] {
        let (found_at, found) = parse(CommandPlatform, &text).unwrap_err();
        assert_eq!((found_at.as_str(), found.as_str()), (at, message), "{text}");
    }
}

#[test]
fn deploy_is_told_and_answers() {
    let script = r#"pwd >&2; echo "$TARGET_TEST_LABEL" >&2; env | grep -c ^TARGET_TEST_ >&2
        printf '{"host": "h", "port": 7, "data": {"told": %s}}' "$(cat)""#;
    let more = "user = 'u'\nport = 8\nidentity = 'id'\nparams = { size = 'big' }";
    let (directory, spec) = book(script, more);
    let lines = RefCell::new(Vec::new());
    let deployed = Erased(CommandPlatform)
        .deploy(&spec, &|line| lines.borrow_mut().push(line.to_owned()))
        .unwrap();
    let here = directory.path().canonicalize().unwrap();
    assert_eq!(*lines.borrow(), [here.to_str().unwrap(), "tt-1f3a9c", "2"]);
    assert_eq!(deployed.host, "h");
    let told = json!({"action": "deploy", "instance": "alpha-0", "target": "alpha", "index": 0,
        "label": "tt-1f3a9c", "unique": spec.unique, "params": {"size": "big"}, "data": null,
        "owner": "", "born": 0, "expires": 0, "pool": ""});
    assert_eq!(deployed.data["told"], told);
    let reach = SshReach {
        host: "h".into(),
        port: Some(7),
        user: Some("u".into()),
        identity: Some(directory.path().join("id")),
        known_hosts: Some(spec.scratch.join("known_hosts")),
        trust_first: true,
        ..SshReach::default()
    };
    assert_eq!(deployed.reach, Reach::Ssh(reach));
}

#[test]
fn known_hosts_of_the_playbook_are_trusted_alone() {
    let deployed = deploy("echo '{\"host\": \"h\"}'", "known-hosts = '/keys'").unwrap();
    let Reach::Ssh(reach) = deployed.reach else {
        panic!("{deployed:?}");
    };
    assert_eq!(reach.known_hosts.as_deref(), Some(Path::new("/keys")));
    assert!(!reach.trust_first);
}

#[test]
fn a_password_and_a_key_are_kept_in_files() {
    let answer = json!({ "host": "h", "password": "lab word 77",
        "identity": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "data": { "told": "lab word 77" } });
    let (directory, spec) = book(&format!("cat <<'E'\n{answer}\nE"), "");
    let deployed = Erased(CommandPlatform).deploy(&spec, &|_| {}).unwrap();
    let recorded = serde_json::to_string(&deployed).unwrap();
    assert!(!recorded.contains("lab word"), "{recorded}");
    let Reach::Ssh(reach) = deployed.reach else {
        panic!("{deployed:?}");
    };
    assert_eq!(reach.password.unwrap().value().unwrap(), "lab word 77");
    let identity = reach.identity.unwrap();
    let key = fs_err::read_to_string(&identity).unwrap();
    assert!(key.ends_with("KEY-----\n"), "{key}");
    for file in [identity, spec.scratch.join("password")] {
        let mode = fs_err::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(directory);

    let answer = "{\"host\": \"h\", \"password\": {\"env\": \"LAB\"}, \"identity\": \"keys/id\"}";
    let deployed = deploy(&format!("echo '{answer}'"), "").unwrap();
    let Reach::Ssh(reach) = deployed.reach else {
        panic!("{deployed:?}");
    };
    assert_eq!(reach.password.unwrap().to_string(), "`LAB`");
    assert!(reach.identity.unwrap().ends_with("keys/id"));

    let answer = "{\"host\": \"h\", \"password\": \"x\", \"transport\": \"local\"}";
    let error = deploy(&format!("echo '{answer}'"), "").unwrap_err();
    assert!(error.to_string().contains("which are for SSH"), "{error}");
    let error = deploy("echo '{\"host\": \"h\", \"password\": \"x y z\"'", "").unwrap_err();
    assert!(
        error
            .chain()
            .ends_with("output: `not shown, since it has a secret`"),
        "{error}"
    );
}

#[test]
fn machines_may_be_local() {
    let deployed = deploy("echo '{\"host\": \"h\", \"transport\": \"local\"}'", "").unwrap();
    assert!(matches!(deployed.reach, Reach::Local(_)));
}

#[test]
fn failures_name_script_instance_and_cause() {
    for (script, message) in [
        ("echo no room >&2; exit 3", "exited with code 3: no room"),
        (
            "echo a >&2; echo b >&2; exit 1",
            "exited with code 1:\na\nb",
        ),
        ("kill -9 $$", "was killed by signal 9"),
        ("exit 0", "printed nothing to standard output"),
    ] {
        let error = deploy(script, "").unwrap_err();
        let expected = format!("`sh -c {script}` for `alpha-0` of target `alpha` {message}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), crate::ErrorKind::Infra);
    }
    let error = deploy("echo made it", "").unwrap_err();
    assert!(error.to_string().contains("output: `made it`"), "{error}");
    assert!(error.hint().unwrap().contains(">&2"), "{error}");
}

#[test]
fn a_deploy_that_hangs_is_killed() {
    let more = "timeout = '300ms'";
    let error = deploy("echo waiting >&2; exec sleep 1000", more).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("did not end within 300ms and was killed: waiting"),
        "{text}"
    );
    assert_eq!(error.hint(), Some("`timeout` sets the time limit"));
    assert_eq!(error.kind(), crate::ErrorKind::Infra);
}

#[test]
fn a_server_may_stay_and_goes_with_an_unfinished_deploy() {
    let script = "sleep 1000 & echo \"{\\\"host\\\": \\\"h\\\", \\\"data\\\": {\\\"pid\\\": $!}}\"";
    let (_directory, spec) = book(script, "");
    let warned = RefCell::new(String::new());
    let deployed = Erased(CommandPlatform)
        .deploy(&spec, &|line| *warned.borrow_mut() = line.to_owned())
        .unwrap();
    assert!(warned.borrow().contains("holds its output"), "{warned:?}");
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", deployed.data["pid"]));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    Erased(CommandPlatform)
        .delete(&spec, Some(&deployed))
        .unwrap();
    assert!(alive());
    // As after `kill -9` of the deploying process, before it noted the answer.
    Erased(CommandPlatform).delete(&spec, None).unwrap();
    assert!(!alive());
}

#[test]
fn delete_is_told_and_may_be_called_again() {
    let (directory, mut spec) = book(
        "touch made; echo '{\"host\": \"h\", \"data\": {\"id\": 7}}'",
        "",
    );
    let deployed = Erased(CommandPlatform).deploy(&spec, &|_| {}).unwrap();
    assert!(directory.path().join("made").exists());
    for deployed in [Some(&deployed), Some(&deployed), None] {
        Erased(CommandPlatform).delete(&spec, deployed).unwrap();
        assert!(!directory.path().join("made").exists());
    }
    spec.parameters["delete"] = json!(["sh", "-c", "cat >told"]);
    Erased(CommandPlatform)
        .delete(&spec, Some(&deployed))
        .unwrap();
    let told = std::fs::read(directory.path().join("told")).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        (&told["action"], &told["data"]),
        (&json!("delete"), &json!({"id": 7}))
    );
    spec.parameters["delete"] = json!(["sh", "-c", "echo busy >&2; exit 1"]);
    let error = Erased(CommandPlatform).delete(&spec, None).unwrap_err();
    assert!(
        error.to_string().ends_with("exited with code 1: busy"),
        "{error}"
    );
}

#[test]
fn restart_is_optional() {
    let (_directory, mut spec) = book("echo '{\"host\": \"h\"}'", "");
    let deployed = Erased(CommandPlatform).deploy(&spec, &|_| {}).unwrap();
    let error = Erased(CommandPlatform)
        .restart(&spec, &deployed)
        .unwrap_err();
    assert_eq!(error.to_string(), "target `alpha` has no `restart`");
    spec.parameters["restart"] = json!(["sh", "-c", "grep -q restart"]);
    Erased(CommandPlatform).restart(&spec, &deployed).unwrap();
}

#[test]
fn missing_scripts_are_found_without_a_machine() {
    let directory = tempfile::tempdir().unwrap();
    let parameters = parse(CommandPlatform, "deploy = ['sh']\ndelete = './none'").unwrap();
    let mut spec = spec(directory.path(), parameters);
    let error = Erased(CommandPlatform).check(&spec).unwrap_err();
    let path = directory.path().join("./none");
    let expected = format!(
        "`delete` of target `alpha`: file not found: `{}`",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.kind(), crate::ErrorKind::Playbook);
    let error = Erased(CommandPlatform).delete(&spec, None).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (crate::ErrorKind::Infra, expected)
    );
    spec.directory = "/no/such/book".into();
    let error = Erased(CommandPlatform).check(&spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`deploy` of target `alpha`: its folder `/no/such/book` does not exist"
    );
}
