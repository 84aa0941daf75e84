//! Random faults, one after the other, against one pool; the ledger of the machines is the truth.
//!
//! A few in CI. By hand, more, from a seed: `ATTACK=1000 ATTACK_SEED=7 cargo nextest run -P attack`.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use super::{Lab, ssh::kill_sessions, target};
use crate::support::{SmallDisk, Sshd, Started, Tool, eventually, processes::running};

/// The number of labs at once.
const AT_ONCE: usize = 3;
/// The number of faults in CI.
const FAULTS: u64 = 9;

/// Sometimes slow, and sometimes fails: before there is a machine, or after.
const UP: &str = r#"#!/bin/sh
read -r line
unique=$(printf '%s' "$line" | sed 's/.*"unique":"\([^"]*\)".*/\1/')
instance=$(printf '%s' "$line" | sed 's/.*"instance":"\([^"]*\)".*/\1/')
sleep "0.$(($$ % 20))"
[ $(($$ % 11)) != 0 ] || exit 1
echo "$instance" >"ledger/$unique"
[ $(($$ % 13)) != 0 ] || exit 1
sleep "0.$(($$ % 20))"
echo '{"host": "localhost", "transport": "local"}'
"#;
const DOWN: &str = r#"#!/bin/sh
read -r line
unique=$(printf '%s' "$line" | sed 's/.*"unique":"\([^"]*\)".*/\1/')
sleep "0.$(($$ % 20))"
[ $(($$ % 13)) != 0 ] || exit 1
rm -f "ledger/$unique"
"#;
const PLAYBOOK: &str = "[recipes.two]\nsteps = [{ run = \"sleep 0.05\" }, { run = \"true\" }]\n";

/// One fault.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9` of one process of a run, whichever it is.
    KillAny,
    /// `kill -9` of the tool.
    KillTool,
    /// `kill -9` of the tool's process group.
    KillGroup,
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM to the tool.
    Terminate,
    /// One process of a run stands still for a moment.
    Pause,
    /// Somebody deletes the targets meanwhile.
    Delete,
    /// The pool's state is cut short, by somebody who removes it when told to.
    Tear,
    /// All sessions of an SSH server end.
    HangUp,
    /// The pool's disk is full for a moment.
    FillDisk,
}

const ALL: [Fault; 10] = [
    Fault::KillAny,
    Fault::KillTool,
    Fault::KillGroup,
    Fault::Interrupt,
    Fault::Terminate,
    Fault::Pause,
    Fault::Delete,
    Fault::Tear,
    Fault::HangUp,
    Fault::FillDisk,
];

#[test]
fn nothing_is_lost_or_leased_twice() {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    let faults: u64 = number("ATTACK").unwrap_or(FAULTS);
    let seed = number("ATTACK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    eprintln!("ATTACK={faults} ATTACK_SEED={seed}");
    let (done, passed) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let first = done.fetch_add(3, Ordering::Relaxed);
                    if first >= faults {
                        break;
                    }
                    episode(&mut Rng::with_seed(seed + first), first, &passed);
                }
            });
        }
    });
    assert!(passed.into_inner() > 0, "no test ran");
}

/// A pool, on a disk of its own where that can be, and its machines. The disk is unmounted first.
struct Scene {
    disk: Option<SmallDisk>,
    sshd: Sshd,
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(1);
        lab.script("up", UP);
        lab.script("down", DOWN);
        let sshd = Sshd::start(&["gamma"]);
        let (alpha, beta) = (
            target("alpha", 3, "recipe = \"two\"\n"),
            target("beta", 1, ""),
        );
        let hosts = sshd.playbook(&[("gamma", &["gamma"])]);
        lab.playbook(&format!("{PLAYBOOK}{alpha}{beta}\n{hosts}"));
        fs::create_dir(lab.path("pool")).expect("the pool");
        let disk = SmallDisk::mount(&lab.path("pool"), "16m");
        Self { disk, sshd, lab }
    }
}

/// Three faults on one pool; then everything is deleted and accounted for.
fn episode(random: &mut Rng, number: u64, passed: &AtomicU64) {
    let scene = Scene::new();
    let lab = &scene.lab;
    for step in number..number + 3 {
        let runs: Vec<_> = (0..random.u32(1..=2))
            .map(|_| run(lab, random).start())
            .collect();
        let fault = ALL[random.usize(..ALL.len())];
        thread::sleep(Duration::from_millis(random.u64(..1500)));
        eprintln!("{step}: {fault:?} with {} runs", runs.len());
        cause(&scene, random, fault, &runs);
        for run in runs {
            let ended = run.wait();
            let passes = ended.lines_with(&["PASS", "exclusive"]) as u64;
            passed.fetch_add(passes, Ordering::Relaxed);
            let shown = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!shown.contains("panicked at"), "{step}: {fault:?}: {shown}");
        }
    }
    account(lab, number);
}

/// A run of a few tests, sometimes with too few descriptors.
fn run(lab: &Lab, random: &mut Rng) -> Tool {
    let tests = ["exclusive", "quick", "daemon"];
    let mut args = vec!["exclusive", tests[random.usize(..tests.len())]];
    args.extend(random.bool().then_some("--keep-targets"));
    if random.u32(..6) > 0 {
        return lab.tool(&args);
    }
    let limit = format!("--nofile={}", random.u32(8..40));
    let tool = env!("CARGO_BIN_EXE_cargo-target-test");
    let limited = lab.program("prlimit").args([limit.as_str(), tool]);
    limited.args(args)
}

fn cause(scene: &Scene, random: &mut Rng, fault: Fault, runs: &[Started]) {
    let Scene { disk, sshd, lab } = scene;
    let victim = &runs[random.usize(..runs.len())];
    let mut any = || {
        let all = processes(&lab.path(""));
        (!all.is_empty()).then(|| all[random.usize(..all.len())])
    };
    match fault {
        Fault::KillAny => {
            if let Some(pid) = any() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        Fault::KillTool => victim.signal(Signal::KILL),
        Fault::KillGroup => victim.signal_group(Signal::KILL),
        Fault::Interrupt => victim.signal_group(Signal::INT),
        Fault::Terminate => victim.signal(Signal::TERM),
        Fault::Pause => {
            if let Some(pid) = any() {
                let _ = kill_process(pid, Signal::STOP);
                thread::sleep(Duration::from_millis(random.u64(..800)));
                let _ = kill_process(pid, Signal::CONT);
            }
        }
        Fault::Delete => {
            let code = lab.run(&["--delete-targets"]).status.code();
            assert!(matches!(code, Some(0 | 69)), "{code:?}");
        }
        Fault::HangUp => kill_sessions(sshd, "gamma"),
        Fault::FillDisk => {
            if let Some(disk) = disk {
                disk.fill();
                thread::sleep(Duration::from_millis(random.u64(..1500)));
                disk.empty();
            }
        }
        Fault::Tear => {
            let file = lab.path("pool/pool.json");
            if let Ok(text) = fs::read(&file) {
                fs::write(&file, &text[..text.len() / 2]).expect("pool.json");
                let refused = lab.run(&["targets"]);
                if refused.status.code() == Some(73) {
                    let _ = fs::remove_file(&file);
                }
            }
        }
    }
}

/// Nothing exists without a record, nothing was leased twice, nothing runs.
fn account(lab: &Lab, number: u64) {
    let deleted = (0..5).any(|_| lab.run(&["--delete-targets"]).status.code() == Some(0));
    let left = lab.ledger();
    assert!(deleted && left.is_empty(), "{number}: {left:?}");
    assert!(!lab.path("twice").exists(), "{number}: leased twice");
    eventually("the end of all processes", || {
        processes(&lab.path("")).is_empty()
    });
}

/// The processes of a lab: its folder is in their environment.
fn processes(lab: &Path) -> Vec<Pid> {
    let mark = format!("FAULTS_AT={}", lab.display());
    running(|one| one.has_variable(&mark))
}
