//! Benchmarks of leases: the time for an uncontended lease, and for 64 processes that share a pool of 16 instances, the
//! leases per second and the longest wait.
//!
//! Starts the processes and checks them; the pool is real, its machines are files. Fails if two processes hold one
//! instance at once, or if a process waits more than ten times as long as the others. `benches/run` calls it.

#[path = "../../tests/pool/fake.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "what the tests use beside it"
)]
mod fake;

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use cargo_target_test::provision::{
    PoolRun, Wanted,
    pool::{PoolLease, TryLease},
};
use fake::{World, ensure, request};

const PROCESSES: usize = 64;
const INSTANCES: u32 = 16;
const LASTS: Duration = Duration::from_secs(10);
/// The number of uncontended leases.
const FREE: usize = 1000;
/// The time for which each lease is held.
const USE: Duration = Duration::from_millis(5);
const FOLDER: &str = "LEASE_BENCH_FOLDER";

fn main() -> ExitCode {
    match std::env::var_os(FOLDER) {
        Some(folder) => {
            child(&World::at(Path::new(&folder)));
            ExitCode::SUCCESS
        }
        None => {
            alone();
            parent()
        }
    }
}

/// Leases and returns one free instance repeatedly.
fn alone() {
    let world = World::new();
    let run = world.run("run-alone", "/bench");
    let wanted = world.found("bench", 0, "host");
    ensure(&run, &wanted);
    let once = |_| {
        let asked = Instant::now();
        lease(&run, &wanted).release();
        asked.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..FREE).map(once).collect();
    times.sort_by(f64::total_cmp);
    let (median, longest) = (times[FREE / 2], times[FREE - 1]);
    println!(
        "| one process, one instance that is free, leased and given back | {:.0} | {median:.2} | {longest:.2} | {:.1} |",
        1e3 / median,
        longest / median
    );
}

/// Starts the children, and sums up the times they waited for each lease, in microseconds.
fn parent() -> ExitCode {
    let world = World::new();
    let start = |_| {
        let mut command = Command::new(std::env::current_exe().expect("ourselves"));
        command.env(FOLDER, &world.folder).stdout(Stdio::piped());
        command.spawn().expect("a process")
    };
    let children: Vec<Child> = (0..PROCESSES).map(start).collect();
    let mut waits = Vec::new();
    let mut well = true;
    for child in children {
        let output = child.wait_with_output().expect("its end");
        well &= output.status.success();
        let text = String::from_utf8_lossy(&output.stdout);
        waits.extend(text.lines().filter_map(|line| line.parse::<u64>().ok()));
    }
    waits.sort_unstable();
    let (Some(longest), true) = (waits.last(), well) else {
        eprintln!("a process failed: was an instance leased twice?");
        return ExitCode::FAILURE;
    };
    let median = waits[waits.len() / 2];
    let rate = waits.len() as f64 / LASTS.as_secs_f64();
    let (median, longest) = (median as f64 / 1e3, *longest as f64 / 1e3);
    println!(
        "| {PROCESSES} processes, {INSTANCES} instances, each lease used for {} ms | {rate:.0} | {median:.1} | {longest:.1} | {:.1} |",
        USE.as_millis(),
        longest / median
    );
    match longest <= 10.0 * median {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("somebody starves: the longest wait is more than ten times the median");
            ExitCode::FAILURE
        }
    }
}

/// Leases one instance after the other.
fn child(world: &World) {
    let run = world.run(&format!("run-{}", std::process::id()), "/bench");
    let wanted: Vec<Wanted> = (0..INSTANCES)
        .map(|index| world.found("bench", index, &format!("host-{index}")))
        .collect();
    wanted.iter().for_each(|one| drop(ensure(&run, one)));
    // All children begin at the same time.
    fs::write(world.folder.join(format!("up-{}", std::process::id())), "").expect("a file");
    let up = || {
        let names = fs::read_dir(&world.folder).expect("the folder").flatten();
        names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("up-"))
            .count()
    };
    while up() < PROCESSES {
        thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    while started.elapsed() < LASTS {
        let asked = Instant::now();
        let lease = lease(&run, &wanted[0]);
        println!("{}", asked.elapsed().as_micros());
        let witness = world
            .folder
            .join("witness")
            .join(&lease.instances[0].record.lease);
        fs::File::create_new(&witness).expect("nobody else has the instance");
        thread::sleep(USE);
        fs::remove_file(witness).expect("our own witness");
        lease.release();
    }
}

fn lease(run: &PoolRun, wanted: &Wanted) -> PoolLease {
    let mut ticket = None;
    loop {
        match run.try_lease(&request(wanted, 1, "bench"), &mut ticket) {
            Ok(TryLease::Leased(lease)) => return lease,
            Ok(TryLease::Wait { again, .. }) => thread::sleep(again),
            other => panic!("{other:?}"),
        }
    }
}
