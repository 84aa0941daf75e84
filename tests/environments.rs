//! Environments: several machines in roles, as one unit.

use std::{fs, os::unix::process::ExitStatusExt};

use crate::support::{Project, container::Engine, feed, here, vm};

/// Tests of an environment.
const LAN: &str = include_str!("crates/environments/lan.rs");

/// Tests of containers on a network.
const BOXES: &str = include_str!("crates/environments/boxes.rs");

/// Tests of machines on a network.
const NET: &str = include_str!("crates/environments/net.rs");

/// A gateway and two testers, beside a single machine.
const PLAYBOOK: &str = r#"
[[targets]]
name = "single"
platform = "local"
count = 1

[recipes.gateway]
steps = [{ run = "echo by the recipe >prepared" }]

[environments.lan]
count = 2
roles.gateway = { platform = "local", recipe = "gateway" }
roles.tester = { target = "single", count = 2 }

[[scenarios]]
name = "labs"
targets = ["lan"]

[[variants]]
name = "vlan7"
test = "vlan"
params = { vlan = 7 }

[[variants]]
name = "vlan93"
test = "vlan"
params = { vlan = 93 }
"#;

const ORCHESTRATION: &str = "[orchestration]\ndescriptions = \"descriptions\"\n";

/// Faults of the links of a machine: the first one ends when it was seen.
const DISTURBS: &str = r#"{
    "test_name": "disturbs",
    "duration": "10m",
    "grace": "1m",
    "fail": "fast",
    "events": [
        { "name": "lose_frames", "params": { "machine": "tester1", "seconds": 600, "share": 1 } },
        { "name": "sees_silence" },
        { "name": "delay_link", "at_startup": false, "at_teardown": true,
          "params": { "machine": "tester1", "seconds": 0.1, "millis": 100 } },
        { "name": "cut_link", "at_startup": false, "at_teardown": true, "params": { "seconds": 0.1 } }
    ]
}"#;

fn project(name: &str) -> Project {
    Project::new(name)
        .file("tests/lan.rs", LAN)
        .playbook(PLAYBOOK)
}

#[test]
fn a_test_leases_all_machines_by_role() {
    let project = project("environments-roles");
    let ledger = project.private("ledger");
    let run = project.tool(["--keep-targets"]).env("LEDGER", &ledger);
    run.run()
        .code(0)
        .line_with(&["PASS", "deploy[lan-0]"])
        .line_with(&["PASS", "meets[lan]"])
        .line_with(&["PASS", "takes_all[lan]"])
        .line_with(&["PASS", "misspells_a_role[lan]"])
        .line_with(&["PASS", "vlan[lan/vlan7]"])
        .line_with(&["PASS", "vlan[lan/vlan93]"])
        .line_with(&["PASS", "alone[single]"])
        .line_with(&["PASS", "runs_there[lan]"])
        .line_with(&["PASS", "finds_the_lab[lan]"])
        .says("10 cases: 8 passed, 2 skipped")
        .line_with(&["lan", "6", "1", "2"])
        .says("needs gateway.cores >= 4096, `lan-0` has ")
        .never_says("alone[lan]");
    let torn = fs::read_to_string(&ledger).expect("a tear-down");
    let torn: Vec<_> = torn
        .split(' ')
        .filter_map(|name| name.split_once('.'))
        .collect();
    let roles: Vec<_> = torn.iter().map(|(_, role)| *role).collect();
    assert_eq!(roles, ["gateway", "tester1", "tester2"]);
    for (machine, shown) in [("lan-0.gateway", "/gateway"), ("lan.tester1", "/tester1")] {
        project
            .run(&["exec", machine, "--", "pwd"])
            .code(0)
            .says(shown);
    }
    let named = "name one of them: `lan-0.gateway`, `lan-0.tester1`, `lan-0.tester2`";
    project
        .run(&["exec", "lan-0", "--", "true"])
        .code(2)
        .says(named);
    let listed = project.run(&["targets"]).code(0);
    let listed = listed.line_with(&["lan-0 ", "environment", "3 machines", "ready"]);
    listed.line_with(&["lan-0.tester2", "local", "localhost"]);
    // An environment is leased and deleted as a whole.
    project
        .run(&["lease", "lan-0", "--for", "1m"])
        .code(0)
        .says("lan-0 (3 machines) is yours until ")
        .says("`cargo target-test shell lan-0.gateway`; release it with `cargo target-test release lan-0`");
    project
        .run(&["release", "lan-0.gateway"])
        .code(0)
        .says("released lan-0\n");
    for verb in [
        &["down", "lan-0.gateway"][..],
        &["pool", "forget", "--yes", "lan-0.gateway"],
    ] {
        project
            .run(verb)
            .code(2)
            .says("`lan-0.gateway` is one machine of `lan-0`, which is deleted or forgotten as a whole")
            .says("for all of its machines, write `lan-0`");
    }
    project
        .run(&["down", "lna-0"])
        .code(2)
        .says("did you mean `lan-0`?")
        .says("`lan-0` (`lan-0.gateway`, `lan-0.tester1`, `lan-0.tester2`)");
    // Environments are chosen by their names.
    for chosen in [
        ["--on", "lan"],
        ["--scenario", "labs"],
        ["--criteria", "target = lan"],
    ] {
        let list = project.run(&[&["list"], &chosen[..]].concat()).code(0);
        let cases = list.stdout.split("left out:").next().unwrap_or_default();
        assert!(
            cases.contains("meets[lan]") && !cases.contains("[single]"),
            "{list:?}"
        );
    }
    // Kept environments serve the next run, and go as one.
    let again = project.run(&["meets", "takes_all"]).code(0);
    again.says("kept").never_says("recipe `gateway`");
    project.run(&["targets"]).code(0).never_says("lan-");
    // A role that is not there is found before anything is deployed.
    for (role, why, hint) in [
        (
            "gatway",
            "unknown place `gatway`",
            "did you mean `gateway`?",
        ),
        (
            "tester",
            "unknown place `tester`",
            "did you mean `tester1`?",
        ),
        (
            "gateway",
            "`alone[single]`: `runs-on` needs role `gateway`, `single` is not an environment",
            "`--on` selects environments",
        ),
    ] {
        let refused = project.run(&["--runs-on", role]).code(2);
        refused.says(why).says(hint).never_says("deploy");
    }
}

/// Three machines and two networks, used by tests that put them back and by one that reboots a machine.
#[test]
fn virtual_machines_are_one_unit_on_networks_of_their_own() {
    let Some(images) = here(vm::Images::build()) else {
        return;
    };
    let roles = "[environments.net]\nnetworks = { lan = {}, bare = { configure = false } }\n\
                 roles.gateway = { target = \"it\", networks = [\"lan\", \"bare\"] }\n\
                 roles.tester = { target = \"it\", count = 2, networks = [\"lan\", \"bare\"] }\n";
    let project = Project::new("environments-net")
        .file("tests/net.rs", NET)
        .file("descriptions/disturbs.json", DISTURBS)
        .playbook(&format!("{}{roles}{ORCHESTRATION}", images.target("it")));
    let run = |args: &[&str]| project.tool(args).patience(vm::PATIENCE).run();
    run(&["--keep-targets", "-E", "test(restored)"])
        .code(0)
        .says("saving a snapshot")
        .line_with(&["instance-seconds: net "])
        .never_says("instances)");
    let faulty = [
        "--keep-targets",
        "--run-ignored",
        "all",
        "-E",
        "test(dies_cut) + test(disturbs)",
    ];
    run(&faulty)
        .code(100)
        .line_with(&["2 cases: ", "2 failed", "0 infra"])
        .says("ended by the first error after")
        .says("sees_silence: no frame arrives")
        .says("cut_link: failed to choose a machine of the environment: `params` need `machine`");
    let events = feed::events(&project.path("target-test.toml"));
    let results = feed::results(&events, "disturbs");
    let ends = [
        "sees_silence/fail",
        "lose_frames/pass",
        "delay_link/pass",
        "cut_link/fail",
    ];
    assert_eq!(results, ends);
    let run = run(&["reaches", "is_bare", "is_slow", "has_faults_of_links"]).code(0);
    run.line_with(&["Target", "net", "kept"])
        .never_says("recycled");
    project.run(&["targets"]).says("no targets");
    // A tool that dies between two machines leaves networks and machines, all of which are accounted for.
    let died = project
        .tool(["is_bare"])
        .env("TARGET_TEST_FAULT", "environment-machine-deployed");
    let died = died.patience(vm::PATIENCE).run();
    assert_eq!(died.status.signal(), Some(9), "{died:?}");
    let deleted = project.run(&["--delete-targets"]).code(0);
    deleted.says("net-0");
    project.run(&["gc"]).code(0).says("no orphans found");
}

/// Containers on a network of their engine, which has a network namespace of its own.
#[test]
fn containers_are_one_unit_on_a_network_of_their_engine() {
    let Some(engine) = here(Engine::with_glibc().and_then(Engine::in_namespace)) else {
        return;
    };
    let roles = "[[overrides]]\nname = \"overridden\"\nruns-on = \"other2\"\n\n\
                 [environments.net]\ncount = 2\nruns-on = \"one\"\nnetworks.lan = {}\n\
                 roles.one = { target = \"it\", networks = [\"lan\"] }\n\
                 roles.other = { target = \"it\", count = 2, networks = [\"lan\"] }\n";
    let target = engine.target("it");
    let target = target.replace("network = \"none\"\n", "");
    let project = Project::new("environments-containers")
        .file("tests/boxes.rs", BOXES)
        .playbook(&format!("{target}{roles}"));
    let run = |more: &[&str]| {
        let words = [&["--keep-targets", "--success-output=immediate"], more].concat();
        project.run(&words).code(0)
    };
    run(&[])
        .line_with(&["PASS", "links_fail[net]"])
        .line_with(&["PASS", "names_survive[net]"])
        .line_with(&["is_on_a_machine runs on", ".one"])
        .line_with(&["is_overridden runs on", ".other2"]);
    run(&["--runs-on", "other1", "is_"])
        .line_with(&["is_on_a_machine runs on", ".other1"])
        .line_with(&["is_overridden runs on", ".other1"]);
    // A test's own role is a target.
    run(&["--runs-on", "target", "is_on_a_machine"]).line_with(&["runs on", ".one"]);
    // Two environments side by side, with networks and names of their own.
    assert_eq!(engine.networks().len(), 2);
    project.run(&["--delete-targets"]).code(0).says("net-1");
    assert_eq!(engine.networks(), [""; 0]);
}

/// Networks that the platforms of their machines do not have.
#[test]
fn wrong_networks_are_found_before_a_run() {
    for (platform, network, place, message) in [
        (
            "platform = \"local\"",
            "",
            "3:46",
            "platform `local` has no networks",
        ),
        (
            "platform = \"container\", image = \"x\"",
            "rate = 1000",
            "2:16",
            "network `lan` of environment `net`: `delay`, `loss` and `rate` are for virtual machines",
        ),
        (
            "platform = \"container\", image = \"x\", network = \"none\"",
            "",
            "3:62",
            "role `one` of environment `net`: `network = \"none\"` cannot be combined with `networks`",
        ),
    ] {
        let project = Project::new("environments-wrong").playbook(&format!(
            "[environments.net]\nnetworks.lan = {{ {network} }}\n\
             roles.one = {{ {platform}, networks = [\"lan\"] }}\n"
        ));
        let checked = project.run(&["check"]).code(78);
        checked
            .says(message)
            .says(&format!("target-test.toml:{place}\n"));
    }
}
