//! Links that break under an event: an error of its run, or infra if they stay broken.

use std::{fs, net::TcpStream, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Project, Sshd, eventually, feed,
    proxy::{Fate, Proxy},
};

const LINKS: &str = include_str!("../crates/orchestrations/links.rs");

const SETTINGS: &str = "\n[orchestration]\ndescriptions = \"descriptions\"\nlink-grace = \"2s\"\n";

fn description(name: &str, duration: &str) -> String {
    format!(
        "test_name = \"{name}\"\nduration = \"{duration}\"\ngrace = \"2s\"\nevents = [{{ name = \"works\", interval = \"1500ms\" }}]\n"
    )
}

/// A way to a machine that can be cut. Its keys are known there too.
fn proxy_of(sshd: &Sshd, machine: &str) -> Proxy {
    let port = sshd.setting(machine, "port");
    let proxy = Proxy::new(port.parse().expect("a port"), Duration::ZERO, Fate::Lives);
    let known = sshd.directory().join("known_hosts");
    let text = fs::read_to_string(&known).expect("the known hosts");
    let lines = text
        .lines()
        .filter(|line| line.contains(&format!(":{port} ")));
    let lines =
        lines.map(|line| line.replace(&format!(":{port} "), &format!(":{} ", proxy.port())) + "\n");
    let more: String = lines.collect();
    fs::write(&known, text + &more).expect("the known hosts");
    proxy
}

/// Of two orchestrations, one has a link that is cut once, and the other one a server that has gone.
#[test]
fn a_link_that_breaks_costs_a_run_and_a_dead_one_the_orchestration() {
    let sshd = Sshd::start(&["one", "two"]);
    let mut playbook = sshd.playbook(&[("alpha", &["one"]), ("beta", &["two"])]);
    let [alpha, beta] = ["one", "two"].map(|machine| {
        let proxy = proxy_of(&sshd, machine);
        let port = format!(":{}\"", proxy.port());
        playbook = playbook.replace(&format!(":{}\"", sshd.setting(machine, "port")), &port);
        proxy
    });
    let project = Project::new("linked")
        .file("tests/links.rs", LINKS)
        .file("descriptions/linked.toml", &description("linked", "5s"))
        .file("descriptions/lost.toml", &description("lost", "10m"))
        .playbook(&(playbook + SETTINGS));
    let tool = project.tool(["--run-ignored", "all", "linked[alpha]", "lost[beta]"]);
    let started = tool.env("LEDGER", project.private("")).start();
    let second_run = |target: &str| {
        let runs = || fs::read_to_string(project.private(target)).unwrap_or_default();
        // The event sleeps a second after its line.
        eventually("the second run", || runs().lines().count() >= 2);
    };
    second_run("alpha");
    alpha.cut();
    second_run("beta");
    let pid = fs::read_to_string(sshd.directory().join("two/pid")).expect("the pid");
    let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
    kill_process(pid.expect("a pid"), Signal::TERM).expect("a signal");
    let server = sshd.address("two");
    eventually("the server's end", || TcpStream::connect(&server).is_err());
    beta.cut();
    let outcome = started.wait().code(100);
    outcome
        .says("works: link: infra: ")
        .says("runs of `works` cut by a broken link")
        .says("an instance is lost, for which `link-grace` is 2s: ")
        .line_with(&["2 cases: ", "1 failed, 1 infra"]);
    let events = feed::events(&project.path("target-test.toml"));
    let results = feed::results(&events, "linked");
    let cut = results.iter().position(|result| result == "works/infra");
    let after = &results[cut.expect("a cut run")..];
    assert!(after.contains(&"works/pass".to_owned()), "{results:?}");
}
