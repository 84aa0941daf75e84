//! Platforms through their public face: schemas, programs on disk, and what becomes of a running `deploy`
//! when it, or the process that waits for it, is killed. Must not know the pool.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use cargo_target_test::{
    ErrorKind,
    connect::Reach,
    process::kill_scripts,
    provision::platform::{DynPlatform, InstanceSpec, Platforms},
};
use serde_json::{Value, json};

use crate::support::eventually;

/// Tells the helper below which folder to deploy in.
const DIRECTORY: &str = "PLATFORM_TEST_DIRECTORY";

/// Says its own process number and its child's, then hangs.
const HANGS: &str = "#!/bin/sh\nsleep 1000 &\necho $$ $! >pids.new\nmv pids.new pids\nwait\n";

#[test]
fn every_parameter_is_described() {
    let platforms = Platforms::default();
    let names: Vec<_> = platforms.all().iter().map(|one| one.name()).collect();
    assert_eq!(names, ["local", "ssh", "command", "qemu", "container"]);
    assert!(platforms.get("shh").is_none());
    for one in platforms.all() {
        assert_eq!(platforms.get(one.name()).unwrap().name(), one.name());
        let schema = one.schema().to_value();
        assert_eq!(schema["additionalProperties"], false, "{schema:#}");
        assert!(schema["description"].is_string(), "{schema:#}");
        for (key, property) in schema["properties"].as_object().unwrap() {
            assert!(!key.contains(['_', ' ']), "{key}");
            assert!(property["description"].is_string(), "{key}: {property:#}");
        }
    }
}

#[test]
fn programs_beside_the_playbook() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = "read line; echo \"$line\" >>ledger";
    let deploy =
        "echo up >&2; echo '{\"host\": \"h\", \"transport\": \"local\", \"data\": {\"a\": 1}}'";
    program(
        directory.path(),
        "up",
        &format!("#!/bin/sh\n{ledger}\n{deploy}\n"),
    );
    program(directory.path(), "down", &format!("#!/bin/sh\n{ledger}\n"));
    let order = order(directory.path());
    let platform = command();
    platform.check(&order).unwrap();
    let deployed = platform
        .deploy(&order, &|line| assert_eq!(line, "up"))
        .unwrap();
    assert!(matches!(deployed.reach, Reach::Local(_)));
    platform.delete(&order, Some(&deployed)).unwrap();
    platform.delete(&order, None).unwrap();
    let ledger = fs::read_to_string(directory.path().join("ledger")).unwrap();
    let told: Vec<Value> = ledger
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<_> = told
        .iter()
        .map(|one| (&one["action"], &one["data"]))
        .collect();
    let expected = [
        (&json!("deploy"), &Value::Null),
        (&json!("delete"), &json!({"a": 1})),
        (&json!("delete"), &Value::Null),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_killed_script_is_an_error_and_delete_clears_up() {
    let (directory, order) = hanging();
    let platform = command();
    thread::scope(|scope| {
        let deploy = scope.spawn(|| platform.deploy(&order, &|_| {}).unwrap_err());
        let [script, child] = pids(directory.path());
        signal(&script, "KILL");
        let error = deploy.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Infra);
        let text = error.to_string();
        assert!(
            text.contains("alpha-0") && text.ends_with("was killed by signal 9"),
            "{text}"
        );
        platform.delete(&order, None).unwrap();
        assert!(!alive(&child));
    });
}

#[test]
fn a_script_dies_with_the_process_that_waits_for_it() {
    let (directory, order) = hanging();
    let mut waiting = helper("platform::waits_for_a_deploy", directory.path());
    let [script, child] = pids(directory.path());
    waiting.0.kill().unwrap();
    waiting.0.wait().unwrap();
    eventually("the script's end", || !alive(&script));
    // Its child lives on, until the next process that has to do with the instance.
    assert!(alive(&child));
    command().delete(&order, None).unwrap();
    assert!(!alive(&child));
}

#[test]
fn all_running_scripts_can_be_killed() {
    let (directory, _) = hanging();
    let mut killing = helper("platform::kills_its_deploy", directory.path());
    assert!(killing.0.wait().unwrap().success());
    for pid in pids(directory.path()) {
        eventually("its child's end", || !alive(&pid));
    }
}

#[test]
#[ignore = "started by a_script_dies_with_the_process_that_waits_for_it"]
fn waits_for_a_deploy() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let order = order(Path::new(&directory));
    let _ = command().deploy(&order, &|_| {});
}

/// In a process of its own, since this concerns every running program of the process.
#[test]
#[ignore = "started by all_running_scripts_can_be_killed"]
fn kills_its_deploy() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let order = order(Path::new(&directory));
    thread::scope(|scope| {
        let deploy = scope.spawn(|| command().deploy(&order, &|_| {}));
        pids(Path::new(&directory));
        kill_scripts();
        let error = deploy.join().unwrap().unwrap_err();
        assert!(
            error.to_string().ends_with("was killed by signal 9"),
            "{error}"
        );
    });
}

fn command() -> Arc<dyn DynPlatform> {
    Arc::clone(Platforms::default().get("command").unwrap())
}

/// A playbook's folder whose `deploy` hangs.
fn hanging() -> (tempfile::TempDir, InstanceSpec) {
    let directory = tempfile::tempdir().unwrap();
    program(directory.path(), "up", HANGS);
    program(directory.path(), "down", "#!/bin/sh\n");
    let order = order(directory.path());
    (directory, order)
}

fn order(directory: &Path) -> InstanceSpec {
    let scratch = directory.join("scratch");
    fs::create_dir_all(&scratch).unwrap();
    InstanceSpec {
        provenance: Default::default(),
        instance: "alpha-0".into(),
        target: "alpha".into(),
        index: 0,
        label: "tt-1f3a9c".into(),
        unique: directory.file_name().unwrap().to_str().unwrap().into(),
        parameters: json!({"deploy": ["./up"], "delete": ["./down"], "timeout": "10m",
            "delete-timeout": "1m", "params": {}}),
        directory: directory.to_owned(),
        scratch,
        nics: Vec::new(),
        peers: Vec::new(),
        place: None,
    }
}

/// Writes a program; another process does, since one that we have open for writing while another
/// thread forks cannot be started ("text file busy").
fn program(directory: &Path, name: &str, content: &str) {
    let path = directory.join(name);
    let from = directory.join(format!("{name}.txt"));
    fs::write(&from, content).unwrap();
    let copied = Command::new("cp").arg(&from).arg(&path).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A process that ends with the test.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one of the ignored tests above in a process of its own.
fn helper(test: &str, directory: &Path) -> Helper {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null());
    Helper(command.spawn().unwrap())
}

/// The process ids that the hanging script wrote.
fn pids(directory: &Path) -> [String; 2] {
    let file = directory.join("pids");
    eventually("the script that hangs", || file.exists());
    let text = fs::read_to_string(file).unwrap();
    let mut pids = text.split_whitespace().map(str::to_owned);
    std::array::from_fn(|_| pids.next().unwrap())
}

fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill").args(["-s", name, pid]).status();
    assert!(sent.unwrap().success());
}

/// Neither gone nor a zombie: an orphan may wait for a reaper that never comes.
fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
