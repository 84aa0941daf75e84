//! A host with a boot id of its own: a reboot under a test is a crash, unless the test did it.

use std::fs;

use rustix::process::Signal;

use super::{Lab, UP, ssh::kill_sessions, target};
use crate::support::Sshd;

/// A boot id that differs from every earlier one.
const NEW_ID: &str = "cat /proc/sys/kernel/random/uuid";

/// A target `alpha`, one host whose sessions see the boot id of the file `boot`, and which can reboot. `None` without
/// the right to mount.
fn own_kernel(lab: &Lab) -> Option<Sshd> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped, since only root can mount a file");
        return None;
    }
    let at = lab.path("").display().to_string();
    fs::create_dir(lab.path("bin")).expect("a folder");
    lab.script(
        "bin/reboot",
        &format!("#!/bin/sh\n{NEW_ID} >{at}/boot\nkill -9 $SESSION\n"),
    );
    reboot(lab);
    let sshd = Sshd::with_boot_id(&["one"], &lab.path("boot"), &lab.path("bin"));
    lab.playbook(&sshd.playbook(&[("alpha", &["one"])]));
    Some(sshd)
}

fn reboot(lab: &Lab) {
    let id = fs::read("/proc/sys/kernel/random/uuid").expect("a new id");
    fs::write(lab.path("boot"), id).expect("the boot id");
}

#[test]
fn a_reboot_under_a_test_is_a_crash_even_if_the_test_passes() {
    let lab = Lab::new(1);
    let Some(sshd) = own_kernel(&lab) else { return };
    for (test, reboots) in [("idle", true), ("fails", true), ("idle", false)] {
        let run = lab.start(&[test, "--junit=junit.xml"]);
        let _: [String; 1] = lab.said("held");
        if reboots {
            reboot(&lab);
        }
        kill_sessions(&sshd, "one");
        lab.let_go();
        let run = run.wait().code(if reboots { 100 } else { 0 });
        let crash = format!("target-test: crash: {test}[alpha]: `alpha-0`: it rebooted");
        let report = fs::read_to_string(lab.project.path("junit.xml")).expect("a report");
        if reboots {
            run.line_with(&[&crash]).never_says("target-test: infra: ");
        }
        assert_eq!(report.contains("type=\"crash\""), reboots, "{report}");
        for name in ["held", "go"] {
            fs::remove_file(lab.path(name)).expect("a file");
        }
    }
    // The process that stands for a test on the host does not judge.
    let folder = format!("targets.alpha.env.FAULTS_AT={}", lab.path("").display());
    let run = lab.start(&["fails", "--runs-on", "target", "--set", &folder]);
    let _: [String; 1] = lab.said("held");
    reboot(&lab);
    kill_sessions(&sshd, "one");
    lab.let_go();
    run.wait()
        .code(100)
        .line_with(&["crash: `alpha-0`: it rebooted"])
        .never_says("infra: ");
    for name in ["held", "go"] {
        fs::remove_file(lab.path(name)).expect("a file");
    }
    let infra = "targets.alpha.on-crash=infra";
    let run = lab.start(&["fails", "--set", infra]);
    let _: [String; 1] = lab.said("held");
    reboot(&lab);
    kill_sessions(&sshd, "one");
    lab.let_go();
    run.wait().code(69).never_says("crash: ");
}

/// A machine that is deployed and never answers is the machine's fault, or what is tested.
#[test]
fn a_boot_that_fails_counts_as_the_target_says() {
    let lab = Lab::new(1);
    lab.script("up", &UP.replace("\"transport\": \"local\"", "\"port\": 1"));
    for (counts, code) in [("infra", 69), ("fail", 100)] {
        let keys = format!("ready-timeout = \"1s\"\nretries = 0\non-boot-failure = \"{counts}\"\n");
        lab.playbook(&target("alpha", 1, &keys));
        let run = lab.run(&["quick", "--junit=junit.xml"]).code(code);
        let report = fs::read_to_string(lab.project.path("junit.xml")).expect("a report");
        assert_eq!(report.contains("<error"), code == 69, "{report}");
        assert_eq!(report.contains("type=\"crash\""), code == 100, "{report}");
        let verdict = if code == 69 { "infra" } else { "crash" };
        run.line_with(&[&format!(
            "target-test: {verdict}: quick[alpha]: alpha-0 could not be deployed"
        )])
        .line_with(&["FAIL", "deploy[alpha-0]"]);
    }
    lab.clean("no boot");
}

/// A crash that the test expects is none, and what fails in the midst of it is the test.
#[test]
fn a_crash_on_purpose_is_expected() {
    let lab = Lab::new(1);
    let Some(_sshd) = own_kernel(&lab) else {
        return;
    };
    lab.run(&["dies_on_purpose"]).code(0);
    lab.run(&["dies_in_between"])
        .code(100)
        .says("it should not have died")
        .line_with(&["1 failed, 0 infra"])
        .never_says("target-test: crash: ");
}

/// A host that never comes back: the limit of a boot is that of a reboot, by a test and in a recipe, where Ctrl-C ends it.
#[test]
fn a_reboot_takes_as_long_as_a_boot_may() {
    let lab = Lab::new(1);
    let Some(_sshd) = own_kernel(&lab) else {
        return;
    };
    lab.script("bin/reboot", "#!/bin/sh\nkill -9 $SESSION\n");
    let set = [
        "--set",
        "targets.alpha.ready-timeout=1s",
        "--set",
        "targets.alpha.retries=0",
    ];
    let late = "timed out after 1s waiting for the end of the reboot";
    lab.run(&[&["boots_anew"][..], &set].concat())
        .code(69)
        .says(late);
    let playbook = fs::read_to_string(lab.path("target-test.toml")).expect("the playbook");
    lab.playbook(&format!(
        "{playbook}recipe = \"anew\"\n[recipes.anew]\nsteps = [{{ run = \"touch {}\" }}, {{ reboot = true }}]\n",
        lab.path("before").display()
    ));
    lab.run(&[&["quick"][..], &set].concat())
        .code(69)
        .says(late);
    fs::remove_file(lab.path("before")).expect("a file");
    let mut run = lab.start(&["quick"]);
    run.wait_for("waiting for the end of the reboot");
    run.signal_group(Signal::INT);
    run.wait().code(130).never_says("took too long");
}

/// A reboot of the test's own is none, and one after it is.
#[test]
fn a_reboot_by_the_test_is_expected() {
    let lab = Lab::new(1);
    let Some(sshd) = own_kernel(&lab) else { return };
    for (reboots, code) in [(false, 0), (true, 100)] {
        let run = lab.start(&["boots_anew"]);
        let _: [String; 1] = lab.said("held");
        if reboots {
            reboot(&lab);
            kill_sessions(&sshd, "one");
        }
        lab.let_go();
        run.wait().code(code);
        for name in ["held", "go"] {
            fs::remove_file(lab.path(name)).expect("a file");
        }
    }
}
