//! One live session against `ssh` and `scp` over a live master, and against fabric: what a test does to a target. Each
//! row's time, in microseconds, goes to the file of its name in `$TIMES`.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use target_fixtures::prelude::*;

fn var(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// Runs something, and notes how long it took unless this is the round that warms up.
fn measure(warm: bool, row: &str, what: impl FnOnce()) {
    let started = Instant::now();
    what();
    let line = format!("{}\n", started.elapsed().as_micros());
    if warm {
        let path = Path::new(&var("TIMES")).join(row);
        File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }
}

fn sh(line: &str) {
    let status = Command::new("sh")
        .args(["-c", line])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{line}");
}

/// Runs work in fabric, in the process that was started for it.
fn fabric(work: &str) -> impl FnOnce(bool) {
    let python = var("FABRIC");
    let work = work.to_owned();
    move |warm| {
        if python.is_empty() {
            return;
        }
        let output = Command::new(python)
            .args([&var("FABRIC_SCRIPT"), &work])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let micros = String::from_utf8(output.stdout).unwrap();
        if warm {
            let path = Path::new(&var("TIMES")).join(format!("{work}-fabric"));
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .unwrap()
                .write_all(micros.as_bytes())
                .unwrap();
        }
    }
}

#[target_test]
fn rounds(target: &Target) -> Result<()> {
    let at = PathBuf::from(var("AT"));
    let there = target.run("mktemp -d")?.stdout.trim().to_owned();
    let small = at.join("small");
    fs::create_dir_all(&small)?;
    for number in 0..1000 {
        fs::write(small.join(format!("{number}")), vec![b'x'; 1024])?;
    }
    let noise: Vec<u8> = (0..16_u32 << 20)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(at.join("large"), noise)?;
    let (mux, large, back) = (var("MUX"), at.join("large"), at.join("back"));
    let rounds: usize = var("ROUNDS").parse()?;
    for round in 0..=rounds {
        let warm = round > 0;
        let fresh = format!("{there}/{round}");
        target.run(format!("mkdir {fresh}"))?;
        measure(warm, "true-ours", || {
            (0..1000).for_each(|_| drop(target.command("true").quiet().run().unwrap()))
        });
        measure(warm, "true-master", || {
            (0..1000).for_each(|_| {
                assert!(
                    Command::new("ssh")
                        .args(["-F", &mux, "alpha-0", "true"])
                        .status()
                        .unwrap()
                        .success()
                );
            })
        });
        fabric("true")(warm);
        measure(warm, "small-ours", || {
            target.put(&small, format!("{fresh}/ours")).unwrap()
        });
        measure(warm, "small-master", || {
            sh(&format!(
                "tar -C {} -c . | ssh -F {mux} alpha-0 'mkdir {fresh}/tar && tar -C {fresh}/tar -x'",
                small.display()
            ))
        });
        measure(warm, "again-ours", || {
            target.put(&small, format!("{fresh}/ours")).unwrap()
        });
        measure(warm, "put-ours", || {
            target.put(&large, format!("{fresh}/large")).unwrap()
        });
        measure(warm, "put-master", || {
            sh(&format!(
                "scp -q -F {mux} {} alpha-0:{fresh}/scp",
                large.display()
            ))
        });
        measure(warm, "get-ours", || {
            target.get(format!("{fresh}/large"), &back).unwrap()
        });
        measure(warm, "get-master", || {
            sh(&format!(
                "scp -q -F {mux} alpha-0:{fresh}/large {}",
                back.display()
            ))
        });
        measure(warm, "sleep-ours", || {
            let all: Vec<_> = (0..10)
                .map(|_| target.command("sleep 0.3").quiet().spawn().unwrap())
                .collect();
            all.into_iter().for_each(|one| drop(one.wait().unwrap()));
        });
        measure(warm, "sleep-master", || {
            let start = |_| {
                Command::new("ssh")
                    .args(["-F", &mux, "alpha-0", "sleep 0.3"])
                    .spawn()
                    .unwrap()
            };
            let all: Vec<_> = (0..10).map(start).collect();
            all.into_iter()
                .for_each(|mut one| assert!(one.wait().unwrap().success()));
        });
        fabric("sleep")(warm);
        let first = || {
            let this = std::env::current_exe().unwrap();
            let mut child = Command::new(this);
            child.args(["--exact", "first", "--nocapture", "--include-ignored"]);
            child
                .env("TARGET_TEST_LEASED_TEST", "all::first")
                .stdout(Stdio::null());
            assert!(child.status().unwrap().success());
        };
        measure(warm, "first-ours", first);
        measure(warm, "first-master", || {
            sh(&format!("exec ssh -F {mux} alpha-0 true"))
        });
        measure(warm, "first-fresh", || {
            sh(&format!("exec ssh -F {} alpha-0 true", var("FRESH")))
        });
        target.run(format!("rm -r {fresh}"))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    target.run(format!("rm -r {there}"))?;
    Ok(())
}

#[target_test]
#[ignore = "a process that `rounds` starts"]
fn first(target: &Target) -> Result<()> {
    target.command("true").quiet().run()?;
    Ok(())
}
