//! Networks of virtual machines: the example of a gateway, and switches whose tool or whose process is killed.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_target_test::failpoint;
use rustix::process::{Pid, Signal, kill_process};

use super::Lab;
use crate::support::{
    Outcome, Project, examples, here,
    processes::{Running, running},
    repository,
    vm::{Images, PATIENCE},
};

/// The cases of the example.
const CASES: [&str; 5] = [
    "a_vlan_is_apart",
    "blocked_ports_are_silent",
    "clients_are_hidden",
    "links_fail",
    "ports_are_redirected",
];

/// Four virtual machines in two networks, from one command.
#[test]
fn the_gateway_of_the_example_is_tested() {
    let Some(images) = here(Images::of_gateway()) else {
        return;
    };
    let text = fs::read_to_string(repository().join("examples/gateway/target-test.toml"));
    let text = text.expect("a playbook").replace(
        "../../target/gateway",
        images.file("").to_str().expect("UTF-8"),
    );
    let project = examples();
    let playbook = project.private("gateway.toml");
    fs::write(&playbook, text).expect("a playbook");
    let playbook = playbook.to_str().expect("UTF-8");
    let tool = project.tool(["-p", "gateway", "--playbook", playbook]);
    let run = tool.patience(PATIENCE).run().code(0);
    for case in CASES {
        let passed = run.lines_with(&["PASS", &format!("{case}[site]")]);
        assert_eq!(passed, 1, "{case}: {run:?}");
    }
    let capture = capture_of(&project, &run).expect("a capture");
    let shown = Command::new("tcpdump").arg("-nr").arg(capture).output();
    let shown = String::from_utf8(shown.expect("tcpdump").stdout).expect("UTF-8");
    assert!(shown.matches("ICMP echo request").count() >= 3, "{shown}");
}

/// The file with the frames of the example's inner network, in the folder of a run.
fn capture_of(project: &Project, run: &Outcome) -> Option<PathBuf> {
    let report = run
        .stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix("Report "))?;
    let output = project.path(report.trim()).parent()?.join("output");
    let folders = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let tests = folders(&output).flat_map(|binary| folders(&binary.path()));
    let mut files = tests.map(|attempt| attempt.path().join("inside.pcap"));
    files.find(|file| file.exists())
}

/// The processes of a lab's pool: machines, and the switches between them.
struct Remains {
    machines: usize,
    switches: Vec<Pid>,
}

impl Remains {
    fn of(lab: &Lab) -> Self {
        let folder = format!("TARGET_TEST_FOLDER={}/", lab.path("pool").display());
        let ours = running(|one| one.has_variable(&folder));
        let (switches, machines): (Vec<_>, Vec<_>) = ours
            .into_iter()
            .partition(|pid| Running(*pid).has_variable("TARGET_TEST_NETWORK="));
        Self {
            machines: machines.len(),
            switches,
        }
    }

    fn assert_none(&self, when: &str) {
        assert_eq!((self.machines, self.switches.len()), (0, 0), "{when}");
    }
}

/// A tool that is killed, and a switch that is killed, leave nothing that is unknown to the next call.
#[test]
fn no_switch_is_forgotten() {
    let Some(images) = here(Images::build()) else {
        return;
    };
    let roles = "[environments.net]\nnetworks = { lan = {}, wan = {} }\n\
                 roles.a = { target = \"it\", networks = [\"lan\", \"wan\"] }\n\
                 roles.b = { target = \"it\", networks = [\"lan\", \"wan\"] }\n";
    let lab = Lab::new(&format!("{}{roles}", images.target("it")));
    let dies = |args: &[&str], fault: &str| {
        let died = lab.tool(args).env("TARGET_TEST_FAULT", fault).run();
        assert_eq!(died.status.signal(), Some(9), "{fault}: {died:?}");
    };
    for point in failpoint::ENVIRONMENT_POINTS {
        for fault in [(*point).to_owned(), format!("{point}#2")] {
            if point.ends_with("deleted") || point.ends_with("down") {
                dies(&["up", "net"], "platform-deployed");
                dies(&["--delete-targets"], &fault);
            } else {
                dies(&["up", "net"], &fault);
            }
            lab.run(&["--delete-targets"]).code(0);
            Remains::of(&lab).assert_none(&fault);
            let files = fs::read_dir(lab.path("pool/instances")).expect("a folder");
            assert_eq!(files.count(), 0, "{fault}");
        }
    }
    // Two deploys at once have one environment.
    let other = lab.tool(&["up", "net"]).start();
    lab.run(&["up", "net"]).code(0);
    other.wait().code(0);
    let before = Remains::of(&lab).switches;
    kill_process(before[0], Signal::KILL).expect("a switch");
    lab.run(&["up", "net"])
        .code(0)
        .says("the switch of network `");
    let after = Remains::of(&lab).switches;
    assert!(before.len() == 2 && after.len() == 2 && after != before);
    // A pool that lost its records.
    let pool = lab.path("pool/pool.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&pool).unwrap()).unwrap();
    state["records"] = serde_json::json!({});
    fs::write(&pool, state.to_string()).unwrap();
    lab.run(&["gc"]).code(0).says("the switch of network `");
    Remains::of(&lab).assert_none("after `gc`");
}
