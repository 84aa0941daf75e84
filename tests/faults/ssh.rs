//! SSH servers that never speak, fall silent in the middle, or die between two leases.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use rustix::process::Signal;

use super::{Lab, alive, target};
use crate::support::{
    Sshd, eventually,
    proxy::{Fate, Proxy},
};

/// Signals an sshd and everything that works for it.
fn signal(sshd: &Sshd, name: &str, signal: &str) {
    let pid = fs::read_to_string(sshd.directory().join(name).join("pid")).expect("a pid");
    tree(pid.trim(), signal);
}

/// Kills what works for an sshd, but not the server.
pub(super) fn kill_sessions(sshd: &Sshd, name: &str) {
    let pid = fs::read_to_string(sshd.directory().join(name).join("pid")).expect("a pid");
    children(pid.trim())
        .iter()
        .for_each(|child| tree(child, "KILL"));
}

fn children(pid: &str) -> Vec<String> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(file).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

fn tree(pid: &str, signal: &str) {
    // Read before: those of a dead process are somebody else's.
    let children = children(pid);
    let _ = Command::new("kill").args(["-s", signal, pid]).status();
    children.iter().for_each(|child| tree(child, signal));
}

#[test]
fn a_host_that_never_speaks_is_infra_and_spares_the_others() {
    let lab = Lab::new(1);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let mute = format!(
        "[[targets]]\nname = \"mute\"\nplatform = \"ssh\"\nhosts = [\"{address}\"]\nconnect-timeout = \"1s\"\n"
    );
    lab.playbook(&(target("alpha", 1, "") + &mute));
    let run = lab.run(&["quick", "other"]).code(69);
    run.says("within 1s")
        .line_with(&["PASS", "quick[alpha]"])
        .line_with(&["PASS", "other[alpha]"])
        .line_with(&["infra: other[mute], quick[mute]: mute-0 could not be deployed"]);
}

/// A host is disabled by its address, whether or not it is in the pool; `targets -v` names its client, and why.
#[test]
fn a_host_is_disabled_by_its_address_and_its_client_is_named() {
    let (sshd, lab) = (Sshd::start(&["one"]), Lab::new(1));
    let (playbook, address) = (sshd.playbook(&[("lab", &["one"])]), sshd.address("one"));
    lab.playbook(&playbook);
    let disable = ["pool", "disable", &address, "--reason", "fan broken"];
    lab.run(&disable).code(0);
    lab.run(&["quick"]).code(69).says("is disabled: fan broken");
    lab.run(&["pool", "enable", &address]).code(0);
    let platform = "platform = \"ssh\"";
    for (client, named) in [
        ("built-in", "lab-0: SSH client: built-in"),
        ("openssh", "lab-0: SSH client: OpenSSH, because of "),
    ] {
        let client = format!("{platform}\nclient = \"{client}\"");
        lab.playbook(&playbook.replace(platform, &client));
        lab.run(&["up", "lab"]).code(0);
        lab.run(&["targets", "-v"]).code(0).says(named);
    }
    lab.run(&disable).code(0);
    lab.run(&["targets"]).code(0).says("disabled (fan broken)");
    lab.run(&["down", "lab"]).code(0).says("released lab-0");
}

/// One case, two hosts, the first of them dead: the case runs on the other, and the dead one is told.
#[test]
fn a_dead_host_is_told_and_another_serves() {
    let sshd = Sshd::start(&["one", "two"]);
    let lab = Lab::new(1);
    lab.playbook(&sshd.playbook(&[("alpha", &["one", "two"])]));
    signal(&sshd, "one", "KILL");
    lab.run(&["quick"])
        .code(69)
        .line_with(&["FAIL", "deploy[alpha-0]"])
        .line_with(&["PASS", "quick[alpha]"])
        .never_says("infra: quick");
    assert!(lab.path("quick-alpha-1").exists());
    signal(&sshd, "two", "KILL");
    lab.run(&["quick"])
        .code(69)
        .line_with(&["infra: quick[alpha]: ", "could not be deployed"]);
}

/// The command's end is never heard of: an error after a time of silence, and the next case gets the other machine.
#[test]
fn a_server_that_falls_silent_is_lost_and_not_lent_again() {
    let sshd = Sshd::start(&["one", "two"]);
    let lab = Lab::new(1);
    lab.playbook(&sshd.playbook(&[("alpha", &["one", "two"])]));
    let run = lab.start(&["endless_alone", "quick", "-j1"]);
    let [remote] = lab.said("remote");
    signal(&sshd, "one", "STOP");
    let run = run.wait();
    signal(&sshd, "one", "CONT");
    // Nobody leases this machine again, who would end what runs there.
    tree(&remote, "KILL");
    let run = run
        .code(69)
        .line_with(&["FAIL", "endless_alone[alpha]"])
        .line_with(&["lost the connection to `alpha-0`", "no data received for"])
        .line_with(&["infra: endless_alone[alpha]: ", "alpha-0"])
        .line_with(&["PASS", "quick[alpha]"]);
    let verdicts = run.stderr.matches("    infra: ").count();
    assert_eq!(verdicts, 1, "{run:?}");
    assert!(lab.path("quick-alpha-1").exists());
}

/// As Debian's sshd accepts variables.
#[test]
fn what_a_tests_own_ssh_started_ends_with_a_killed_test() {
    let sshd = Sshd::with(&["one"], "AcceptEnv LANG LC_*");
    let lab = Lab::new(1);
    lab.playbook(&sshd.playbook(&[("alpha", &["one"])]));
    let run = lab.start(&["endless_by_ssh"]);
    let [remote] = lab.said("remote");
    run.signal(Signal::INT);
    run.wait().code(130);
    eventually("the end of the command", || !alive(&remote));
}

/// Two addresses of one server, with either client and in targets that are kept from an earlier run; `known_hosts` has a
/// line for each address.
#[test]
fn two_addresses_of_one_machine_are_refused_unless_allowed() {
    let sshd = Sshd::with(&["one"], "ListenAddress 127.0.0.2");
    let lab = Lab::new(1);
    let first = sshd.address("one");
    let second = first.replace("127.0.0.1", "127.0.0.2");
    let known = sshd.setting("one", "userknownhostsfile");
    let text = fs::read_to_string(&known).expect("known hosts");
    fs::write(
        &known,
        text.clone() + &text.replace("127.0.0.1", "127.0.0.2"),
    )
    .expect("a file");
    let playbook = |options: &str| {
        let twin = format!(
            "\n[[targets]]\nname = \"beta\"\nplatform = \"ssh\"\nhosts = [\"{second}\"]\n{options}\n"
        );
        lab.playbook(&(sshd.playbook(&[("alpha", &["one"])]) + &twin));
    };
    playbook("same-machine = \"allow\"");
    lab.run(&["quick", "--keep-targets"]).code(0);
    for client in ["built-in", "openssh"] {
        playbook(&format!("client = \"{client}\""));
        let run = lab.run(&["quick", "--keep-targets"]).code(69);
        run.line_with(&["is the same machine as", &first, &second])
            .line_with(&["infra: quick["])
            .line_with(&["PASS", "quick["])
            .says("same-machine = \"allow\"");
    }
    lab.run(&["--delete-targets"]).code(0);
}

/// A test that has its own way to the machine fails when that is dead: not the test's fault, which nextest hears too.
#[test]
fn a_failure_on_a_dead_machine_is_infra() {
    let sshd = Sshd::start(&["one"]);
    let lab = Lab::new(1);
    lab.playbook(&sshd.playbook(&[("alpha", &["one"])]));
    let run = lab.start(&["fails"]);
    let _: [String; 1] = lab.said("held");
    lab.let_go();
    run.wait().code(100).never_says("infra: ");
    for name in ["held", "go"] {
        fs::remove_file(lab.path(name)).expect("a file");
    }
    let run = lab.start(&["fails"]);
    let _: [String; 1] = lab.said("held");
    signal(&sshd, "one", "KILL");
    lab.let_go();
    run.wait()
        .code(69)
        .line_with(&["exit code 69"])
        .line_with(&["    infra: ", "alpha-0"])
        .line_with(&["target-test: infra: fails[alpha]: ", "alpha-0"]);
}

/// An instance that nothing was heard of for 2 s is proved alive when it is leased.
#[test]
fn a_server_that_died_between_two_leases_costs_no_attempt() {
    let sshd = Sshd::start(&["one", "two"]);
    let lab = Lab::new(1);
    lab.playbook(&sshd.playbook(&[("alpha", &["one", "two"])]));
    let run = lab.start(&["idle", "quick", "-j1"]);
    let [_, _, instance] = lab.said("held");
    assert_eq!(instance, "alpha-0");
    signal(&sshd, "one", "KILL");
    lab.let_go();
    let run = run.wait().code(0);
    run.line_with(&["PASS", "idle[alpha]"])
        .line_with(&["PASS", "quick[alpha]"])
        .never_says("infra: quick");
    assert!(lab.path("quick-alpha-1").exists());
}

/// Two hosts, two terminals with one case each: the second takes the host that is free.
#[test]
fn a_run_takes_a_free_host_rather_than_wait() {
    let sshd = Sshd::start(&["one", "two"]);
    let lab = Lab::new(1);
    lab.playbook(&sshd.playbook(&[("alpha", &["one", "two"])]));
    let run = lab.start(&["holds"]);
    let [_, _, instance, _] = lab.said("held");
    assert_eq!(instance, "alpha-0");
    lab.run(&["quick"])
        .code(0)
        .line_with(&["PASS", "deploy[alpha-1]"])
        .line_with(&["PASS", "quick[alpha]"]);
    assert!(lab.path("quick-alpha-1").exists());
    lab.let_go();
    run.wait().code(0);
}

/// A server behind a link with this delay each way, and a playbook that reaches it by that.
fn behind(delay: Duration) -> (Lab, Sshd, Proxy) {
    let sshd = Sshd::start(&["one"]);
    let port = sshd.setting("one", "port");
    let proxy = Proxy::new(port.parse().expect("a port"), delay, Fate::Lives);
    let known = sshd.directory().join("known_hosts");
    let text = fs::read_to_string(&known).expect("the known hosts");
    let line = text.replace(&format!(":{port} "), &format!(":{} ", proxy.port()));
    fs::write(&known, text + &line).expect("the known hosts");
    let lab = Lab::new(1);
    let playbook = sshd.playbook(&[("alpha", &["one"])]);
    lab.playbook(&playbook.replace(&format!(":{port}"), &format!(":{}", proxy.port())));
    (lab, sshd, proxy)
}

/// Behind a slow link, of a case's time most is what it asks its target for: leasing, proving and sweeping cost little.
#[test]
fn a_slow_link_costs_a_case_few_round_trips() {
    let (lab, _sshd, proxy) = behind(Duration::from_millis(50));
    lab.run(&["quick", "-j1"]).code(0);
    let one = proxy.trips();
    lab.run(&["quick", "other", "-j1"]).code(0);
    let two = proxy.trips() - one;
    eprintln!("a run of one case: {one} round trips; of two: {two}");
    assert!(two <= one + 4, "{one} and {two} round trips");
}

/// Who waits for a large file hears how far it is.
#[test]
fn a_long_transfer_tells_how_far_it_is() {
    let (lab, _sshd, _proxy) = behind(Duration::from_millis(200));
    let run = lab
        .run(&["sends_much", "--success-output", "final"])
        .code(0);
    run.line_with(&["alpha-0: put `", "MiB so far"]);
}
