//! Links that break under an event: an error of its run, or infra if they stay broken.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    Outcome, Project, Sshd, eventually, feed,
    proxy::{Fate, Proxy},
};

const LINKS: &str = include_str!("../crates/orchestrations/links.rs");

fn description(duration: &str) -> String {
    format!(
        "test_name = \"linked\"\nduration = \"{duration}\"\ngrace = \"2s\"\nevents = [{{ name = \"works\", interval = \"1500ms\" }}]\n"
    )
}

/// Runs an orchestration over a link, and does something to it once the event has run twice.
fn run(duration: &str, act: impl FnOnce(&Sshd, &Proxy)) -> (Outcome, Vec<String>) {
    let sshd = Sshd::start(&["one"]);
    let port = sshd.setting("one", "port");
    let proxy = Proxy::new(port.parse().expect("a port"), Duration::ZERO, Fate::Lives);
    let known = sshd.directory().join("known_hosts");
    let text = fs::read_to_string(&known).expect("the known hosts");
    let line = text.replace(&format!(":{port} "), &format!(":{} ", proxy.port()));
    fs::write(&known, text + &line).expect("the known hosts");
    let playbook = sshd.playbook(&[("alpha", &["one"])]);
    let playbook = playbook.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let settings = "\n[orchestration]\ndescriptions = \"descriptions\"\nlink-grace = \"2s\"\n";
    let project = Project::new("linked")
        .file("tests/links.rs", LINKS)
        .file("descriptions/linked.toml", &description(duration))
        .playbook(&(playbook + settings));
    let ledger = project.private("ledger");
    let tool = project.tool(["--run-orch", "linked"]);
    let started = tool.env("LEDGER", &ledger).start();
    let runs = || {
        fs::read_to_string(&ledger)
            .unwrap_or_default()
            .lines()
            .count()
    };
    // The event sleeps a second after its line.
    eventually("the second run", || runs() == 2);
    act(&sshd, &proxy);
    let outcome = started.wait();
    let events = feed::events(&project.path("target-test.toml"));
    let verdict = |event: &&Value| {
        let verdict = event["result"]["verdict"].as_str();
        verdict.unwrap_or_default().to_owned()
    };
    let results = feed::of_kind(&events, "sub-result");
    let results = results.iter().map(verdict).collect();
    (outcome, results)
}

#[test]
fn a_link_that_breaks_costs_a_run_and_a_dead_one_the_orchestration() {
    let (outcome, results) = run("5s", |_, proxy| proxy.cut());
    let cut = results
        .iter()
        .position(|verdict| verdict == "infra")
        .expect("a cut run");
    assert!(
        results[cut..].iter().any(|verdict| verdict == "pass"),
        "{results:?}"
    );
    outcome
        .code(100)
        .says("works: link: infra: ")
        .says("runs of `works` cut by a broken link")
        .line_with(&["1 failed, 0 infra"]);

    let (outcome, _) = run("10m", |sshd, proxy| {
        let pid = fs::read_to_string(sshd.directory().join("one/pid")).expect("the pid");
        let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
        kill_process(pid.expect("a pid"), Signal::TERM).expect("the server ends");
        proxy.cut();
    });
    outcome.code(69).line_with(&["0 failed, 1 infra"]);
}
