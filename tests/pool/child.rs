//! This test binary as another process, which can be killed.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use cargo_target_test::provision::{
    PoolRun, Wanted,
    pool::{PoolLease, Ticket, TryLease},
};

use super::fake::{Asks, World, ensure, lease, request};
use crate::support::PATIENCE;

const MODE: &str = "POOL_CHILD";
const FOLDER: &str = "POOL_CHILD_FOLDER";

/// The other process's main function; nothing in an ordinary run of the tests.
#[test]
fn main() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    let world = World::at(Path::new(&std::env::var_os(FOLDER).unwrap()));
    let words: Vec<&str> = mode.split(' ').collect();
    match words[..] {
        ["hold", target, kind] => hold(&world, target, kind),
        ["wait", target] => wait(&world, target),
        ["life", keep] => life(&world, keep == "keep"),
        ["leases", target, counts, turns, threads] => {
            leases(
                &world,
                target,
                counts,
                turns.parse().unwrap(),
                threads.parse().unwrap(),
            );
        }
        ["churn", turns] => churn(&world, turns.parse().unwrap()),
        ["deploy", pause] => deploy(&world, pause.parse().unwrap()),
        _ => panic!("`{mode}`?"),
    }
}

pub(crate) struct ChildProcess(Child);

/// Starts another process; with a failpoint, it dies there.
pub(crate) fn start(world: &World, mode: &str, fault: Option<&str>) -> ChildProcess {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["pool::child::main", "--exact", "--nocapture"])
        .env(MODE, mode)
        .env(FOLDER, &world.folder)
        .env_remove("TARGET_TEST_FAULT")
        .stdout(Stdio::null());
    if let Some(fault) = fault {
        command.env("TARGET_TEST_FAULT", fault);
    }
    ChildProcess(command.spawn().unwrap())
}

impl ChildProcess {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(world: &World) -> PoolRun {
    world.run(&format!("run-{}", std::process::id()), "/child")
}

/// Says in a file that the other process is where it was sent to.
fn say(world: &World, word: &str) {
    fs::write(world.folder.join(word), "").unwrap();
}

fn forever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Holds a lease. On `found`, the target's name is an alias of the one host.
fn hold(world: &World, target: &str, kind: &str) {
    let wanted = if kind == "found" {
        world.found(target, 0, "host:22")
    } else {
        world.wanted(target, 0, 22)
    };
    let run = run(world);
    ensure(&run, &wanted);
    let _lease = lease(&run, &wanted, 1, "held[x]");
    say(world, "held");
    forever()
}

/// Waits for a lease that somebody else has, and does not ask again.
fn wait(world: &World, target: &str) {
    let wanted = world.wanted(target, 0, 22);
    let run = run(world);
    ensure(&run, &wanted);
    let mut ticket = None;
    let answer = run
        .try_lease(&request(&wanted, 1, "waits"), &mut ticket)
        .unwrap();
    assert!(matches!(answer, TryLease::Wait { .. }));
    say(world, "waiting");
    forever()
}

fn deploy(world: &World, pause: u64) {
    let mut wanted = world.wanted("alpha", 0, 22);
    wanted.parameters = serde_json::json!({ "pause": pause });
    let _ = run(world).ensure(&wanted, &Asks::default());
}

/// Everything that a run does, once.
fn life(world: &World, keep: bool) {
    let run = run(world);
    let wanted = [world.wanted("alpha", 0, 22), world.wanted("alpha", 1, 22)];
    let both = wanted.each_ref().map(|wanted| ensure(&run, wanted));
    lease(&run, &wanted[0], 2, "both").release();
    run.mark_dirty(&both[0].record.id, "spoilt").unwrap();
    ensure(&run, &wanted[0]);
    lease(&run, &wanted[0], 1, "one").release();
    assert!(run.reconcile().unwrap().failed.is_empty());
    assert!(run.finish(keep).unwrap().failed.is_empty());
}

/// Run after run on machines that are made, and deleted by whichever run is the last to use them.
fn churn(world: &World, turns: usize) {
    let wanted: Vec<Wanted> = (0..2)
        .map(|index| world.wanted("alpha", index, 22))
        .collect();
    for turn in 0..turns {
        let run = world.run(&format!("run-{}-{turn}", std::process::id()), "/child");
        ensure(&run, &wanted[turn % 2]);
        let lease = wait_for(&run, &wanted, 1 + turn % 2);
        for instance in &lease.instances {
            let machines = world.machines();
            assert!(
                machines.contains(&instance.record.id),
                "leased, and deleted"
            );
        }
        drop(lease);
        assert!(run.finish(turn % 5 == 0).unwrap().failed.is_empty());
        assert!(run.reconcile().unwrap().failed.is_empty());
    }
}

/// Takes leases of all these counts in turn, in each thread, with a witness that nobody else has the hosts.
fn leases(world: &World, target: &str, counts: &str, turns: usize, threads: usize) {
    let run = run(world);
    let wanted: Vec<Wanted> = (0..4)
        .map(|index| world.found(target, index, &format!("host-{index}")))
        .collect();
    let counts: Vec<usize> = counts
        .split(',')
        .map(|count| count.parse().unwrap())
        .collect();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for turn in 0..turns {
                    lease_once(world, &run, &wanted, counts[turn % counts.len()]);
                }
            });
        }
    });
}

fn lease_once(world: &World, run: &PoolRun, wanted: &[Wanted], count: usize) {
    let lease = wait_for(run, wanted, count);
    let witness = lease.instances.iter().map(|instance| {
        let file = world.folder.join("witness").join(&instance.record.lease);
        if instance.died.is_some() {
            let _ = fs::remove_file(&file);
        }
        fs::File::create_new(&file).expect("the host is leased twice");
        file
    });
    let witness: Vec<_> = witness.collect();
    let mut log = fs::File::options()
        .create(true)
        .append(true)
        .open(world.folder.join("log"))
        .unwrap();
    log.write_all(format!("{count}\n").as_bytes()).unwrap();
    witness
        .iter()
        .for_each(|file| fs::remove_file(file).unwrap());
    lease.release();
}

fn wait_for(run: &PoolRun, wanted: &[Wanted], count: usize) -> PoolLease {
    let mut ticket: Option<Ticket> = None;
    let started = Instant::now();
    loop {
        match run
            .try_lease(&request(&wanted[0], count, "case"), &mut ticket)
            .unwrap()
        {
            TryLease::Leased(lease) => return lease,
            TryLease::NoneReady => wanted.iter().for_each(|wanted| drop(ensure(run, wanted))),
            TryLease::Wait { reason, again } => {
                let waits = reason.describe();
                assert!(started.elapsed() < PATIENCE, "starved: {waits}");
                thread::sleep(again);
            }
        }
    }
}
