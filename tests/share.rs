//! Many processes on one pool, from several clones of a workspace: who may hold what, who deploys, who deletes.
//!
//! Machines are sshd, each with a home of its own, or folders of this machine that two scripts make and
//! delete, writing down what they do in a ledger: that is the truth, never the pool's record.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use serde_json::Value;

use crate::support::{Outcome, Project, Sshd, eventually};

/// Tests that each run on both targets; two runs of them make more than 500 leases.
const TESTS: usize = 130;

/// Nobody else is on the host: the file is opened exclusively on it, and removed as the lease's last act.
const WITNESS: &str = r#"
fn witness(target: &Target) -> Result<()> {
    target.run("set -C; echo $$ >$HOME/witness")?;
    target.run("echo lease >>$HOME/leases; rm $HOME/witness")?;
    Ok(())
}
"#;

/// The project of all tests here: it is built once, in two clones.
fn project() -> Project {
    let mut witness = WITNESS.to_owned();
    for number in 0..TESTS {
        let _ = writeln!(
            witness,
            "#[target_test] fn number_{number}(target: &Target) -> Result<()> {{ witness(target) }}"
        );
    }
    let few = (0..6).fold(String::new(), |few, number| {
        few + &format!("#[target_test] fn few_{number}(target: &Target) -> Result<()> {{ target.ping()?; Ok(()) }}\n")
    });
    let waits = "#[target_test] fn waits(target: &Target) -> Result<()> {
        let folder = target.params()[\"params\"][\"folder\"].as_str().unwrap_or_default();
        target.command(\"touch held; until [ -e go ]; do sleep 0.02; done\").current_dir(folder).run()?;
        Ok(())
    }\n";
    let project = Project::new("share")
        .test_file("witness", &witness)
        .test_file("few", &few)
        .test_file("waits", waits);
    fs::create_dir(project.private("host")).expect("the host's folder");
    project
}

/// A playbook of targets on platform `command`, which all write to one ledger.
fn made(project: &Project, targets: &[(&str, u32)]) -> String {
    let folder = project.private("host");
    let script = project.private("machines");
    let text = "#!/bin/sh\nrequest=$(cat)\nfield() { echo \"$request\" | sed \"s/.*\\\"$1\\\":\\\"\\([^\\\"]*\\)\\\".*/\\1/\"; }\n\
        echo \"$(field action) $(field instance)\" >>LEDGER\n\
        echo '{\"host\": \"h\", \"transport\": \"local\"}'\n";
    let ledger = folder.join("ledger");
    fs::write(
        &script,
        text.replace("LEDGER", ledger.to_str().expect("UTF-8")),
    )
    .expect("a script");
    let mut permissions = fs::metadata(&script).expect("a script").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&script, permissions).expect("a program");
    let mut toml = format!(
        "[platforms.command]\ndeploy = {script:?}\ndelete = {script:?}\nparams.folder = {folder:?}\n"
    );
    for (name, count) in targets {
        let _ = write!(
            toml,
            "[[targets]]\nname = {name:?}\nplatform = \"command\"\ncount = {count}\n"
        );
    }
    let playbook = project.private("made.toml");
    fs::write(&playbook, toml).expect("a playbook");
    playbook.to_str().expect("UTF-8").to_owned()
}

/// The number of calls of the scripts, by line (`deploy east-0`), in order of the lines.
fn ledger(project: &Project) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(project.private("host/ledger")).unwrap_or_default();
    text.lines().fold(BTreeMap::new(), |mut ledger, line| {
        *ledger.entry(line.to_owned()).or_default() += 1;
        ledger
    })
}

fn entries<const N: usize>(entries: [(&str, usize); N]) -> BTreeMap<String, usize> {
    entries.map(|(line, count)| (line.to_owned(), count)).into()
}

/// `targets --json`.
fn targets(project: &Project) -> Vec<Value> {
    let printed = project.run(&["targets", "--json"]).code(0).stdout;
    serde_json::from_str(&printed).expect("a JSON list")
}

/// Two machines under five names, in two playbooks: an address, a name that resolves to it, aliases of
/// OpenSSH's configuration. The witness on each machine is never there twice.
#[test]
fn a_host_is_never_held_twice() {
    let project = project();
    let clone = project.cloned("share-clone");
    let sshd = Sshd::start(&["one", "two"]);
    let aliases = project.private("aliases");
    let playbooks = [
        (
            "a.toml",
            [("numbers", "ONE, TWO"), ("names", "second, LOCAL-ONE")],
        ),
        (
            "b.toml",
            [("mixed", "first, LOCAL-TWO"), ("again", "TWO, first")],
        ),
    ];
    let playbooks = playbooks.map(|(file, targets)| {
        let path = project.private(file);
        fs::write(&path, under_aliases(&sshd, &aliases, &targets)).expect("a playbook");
        path
    });
    let ssh = with_aliases(&project, &aliases);
    let arguments = ["--test", "witness", "--playbook"];
    let runs = [
        project
            .tool(arguments)
            .args([&playbooks[0]])
            .env("PATH", &ssh)
            .start(),
        clone
            .tool(arguments)
            .args([&playbooks[1]])
            .env("PATH", &ssh)
            .start(),
    ];
    for run in runs {
        run.wait()
            .code(0)
            .says(&format!("{0} tests run: {0} passed", TESTS * 2 + 4));
    }
    let mut leases = 0;
    for machine in ["one", "two"] {
        let home = sshd.directory().join(machine).join("home");
        assert!(!home.join("witness").exists());
        leases += fs::read_to_string(home.join("leases"))
            .expect("leases")
            .lines()
            .count();
    }
    assert_eq!(leases, 2 * 2 * TESTS);
    assert_eq!(targets(&project), [Value::Null; 0]);
}

/// A playbook whose hosts are written in several ways; all of them are known.
fn under_aliases(sshd: &Sshd, aliases: &Path, targets: &[(&str, &str)]) -> String {
    let setting = |key| sshd.setting("one", key);
    let (user, identity) = (setting("user"), setting("identityfile"));
    let known_hosts = setting("userknownhostsfile");
    let mut known = fs::read_to_string(&known_hosts).expect("known hosts");
    if !known.contains("localhost") {
        known += &known.replace("127.0.0.1", "localhost");
        fs::write(&known_hosts, known).expect("known hosts");
    }
    let mut config = String::new();
    let mut toml = format!(
        "[platforms.ssh]\nuser = {user:?}\nidentity = {identity:?}\nknown-hosts = {known_hosts:?}\n"
    );
    let quoted = |text: String| format!("{text:?}");
    let mut named = vec![
        ("first", quoted("first".to_owned())),
        ("second", quoted("second".to_owned())),
    ];
    for (machine, alias, number, local) in [
        ("one", "first", "ONE", "LOCAL-ONE"),
        ("two", "second", "TWO", "LOCAL-TWO"),
    ] {
        let port = sshd.setting(machine, "port");
        let _ = write!(
            config,
            "Host {alias}\n  HostName 127.0.0.1\n  Port {port}\n"
        );
        named.insert(0, (number, quoted(format!("127.0.0.1:{port}"))));
        named.insert(0, (local, quoted(format!("localhost:{port}"))));
    }
    fs::write(aliases, config).expect("aliases");
    for (name, hosts) in targets {
        let hosts: Vec<_> = hosts
            .split(", ")
            .map(|host| {
                named
                    .iter()
                    .find(|(word, _)| *word == host)
                    .expect("a host")
                    .1
                    .as_str()
            })
            .collect();
        let _ = write!(
            toml,
            "[[targets]]\nname = {name:?}\nplatform = \"ssh\"\nhosts = [{}]\n",
            hosts.join(", ")
        );
    }
    toml
}

/// A search path whose `ssh` reads these aliases: OpenSSH takes the home of its own user, not `HOME`.
fn with_aliases(project: &Project, aliases: &Path) -> String {
    let ssh = which::which("ssh").expect("ssh");
    let bin = project.private("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let text = format!(
        "#!/bin/sh\nexec {} -F {} \"$@\"\n",
        ssh.display(),
        aliases.display()
    );
    let shim = bin.join("ssh");
    fs::write(&shim, text).expect("a script");
    let mut permissions = fs::metadata(&shim).expect("a script").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&shim, permissions).expect("a program");
    format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Instances that one clone keeps are used by another clone without a deploy, and deleted in the end; every process
/// sees the holders.
#[test]
fn kept_instances_serve_every_clone() {
    let project = project();
    let clone = project.cloned("share-clone");
    let playbook = made(&project, &[("east", 1)]);
    let base = ["--playbook", &playbook, "--test"];
    let kept = project
        .tool(base)
        .args(["few", "--keep-targets", "few_0"])
        .run()
        .code(0);
    kept.says("Kept east-0")
        .line_with(&["PASS", "deploy[east-0]"]);
    let shown = targets(&project);
    let [kept] = shown.as_slice() else {
        panic!("{shown:#?}")
    };
    assert_eq!(
        (&kept["name"], &kept["state"], &kept["host"]),
        (&"east-0".into(), &"ready".into(), &"h".into())
    );
    assert_eq!(
        (&kept["kept"], &kept["holder"]),
        (&true.into(), &Value::Null)
    );

    let using = clone
        .tool(base)
        .args(["waits", "--success-output", "final"])
        .start();
    eventually("the clone's lease", || {
        project.private("host/held").exists()
    });
    let shown = targets(&project);
    assert_eq!(
        (&shown[0]["state"], &shown[0]["holder"]["case"]),
        (&"leased".into(), &"waits[east]".into()),
        "{shown:#?}"
    );
    let pid = shown[0]["holder"]["pid"].as_u64().expect("a process");
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    project.run(&["targets"]).code(0).line_with(&[
        "east-0",
        "command",
        "h",
        "leased",
        "waits[east]",
    ]);
    // It is in use, by another clone's run.
    project.run(&["--delete-targets"]).code(69).says("east-0");
    fs::write(project.private("host/go"), "").expect("a file");
    using
        .wait()
        .code(0)
        .says("east-0: kept from an earlier run, answers");

    assert_eq!(
        ledger(&project),
        entries([("deploy east-0", 1), ("delete east-0", 1)])
    );
    assert_eq!(targets(&project), [Value::Null; 0]);
}

/// A run without `--keep-targets` deletes what it used; what it did not use stays, and is named.
#[test]
fn kept_instances_stay_until_used_without_keeping() {
    let project = project();
    let playbook = made(&project, &[("east", 1), ("west", 1)]);
    let run = |arguments: &[&str]| {
        project
            .tool(["--playbook", &playbook, "--test", "few"])
            .args(arguments)
            .run()
            .code(0)
    };
    run(&["--keep-targets", "few_0"])
        .says("Kept east-0")
        .says("Kept west-0");
    run(&["few_0[east]"])
        .says("kept earlier and not used by this run: west-0")
        .never_says("east-0, west-0");
    let once = entries([
        ("deploy east-0", 1),
        ("deploy west-0", 1),
        ("delete east-0", 1),
    ]);
    assert_eq!(ledger(&project), once);
    run(&["--keep-targets", "few_1[west]"]).says("Kept west-0");
    for _ in 0..2 {
        project.run(&["--delete-targets"]).code(0);
    }
    let all = entries([
        ("deploy east-0", 1),
        ("deploy west-0", 1),
        ("delete east-0", 1),
        ("delete west-0", 1),
    ]);
    assert_eq!(ledger(&project), all);
}

/// Shards in several processes: every case once, every instance deployed once.
#[test]
fn shards_share_one_pool() {
    let project = project();
    let clone = project.cloned("share-clone");
    let playbook = made(&project, &[("east", 2), ("west", 2)]);
    let arguments = [
        "--playbook",
        &playbook,
        "--test",
        "few",
        "--keep-targets",
        "--partition",
    ];
    let shards = [
        project.tool(arguments).args(["count:1/2"]).start(),
        clone.tool(arguments).args(["count:2/2"]).start(),
    ];
    let mut cases = shards.map(|shard| passed(&shard.wait().code(0))).concat();
    cases.sort();
    let mut expected: Vec<_> = (0..6)
        .flat_map(|number| ["east", "west"].map(|target| format!("few_{number}[{target}]")))
        .collect();
    expected.sort();
    assert_eq!(cases, expected);
    for (line, count) in ledger(&project) {
        assert_eq!(count, 1, "{line}");
    }
    assert_eq!(targets(&project).len(), 4);
    project.run(&["--delete-targets", "--all"]).code(0);
    assert!(ledger(&project).values().all(|count| *count == 1) && ledger(&project).len() == 8);
}

/// The cases that nextest said passed.
fn passed(run: &Outcome) -> Vec<String> {
    let lines = run
        .stderr
        .lines()
        .filter(|line| line.contains("PASS") && !line.contains("deploy["));
    lines
        .filter_map(|line| line.rsplit(' ').next())
        .map(str::to_owned)
        .collect()
}
