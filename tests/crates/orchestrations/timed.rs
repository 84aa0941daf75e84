//! Orchestrations: what events take, how they end, and what they leave.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
};

use serde::Deserialize;
use target_fixtures::{
    orchestration::{EventReport, ReportContent, ReportTransfer},
    prelude::*,
};

orchestration!("works", area = "timed");
orchestration!("panics", area = "timed");
orchestration!("fails_fast", area = "timed");
orchestration!("hangs", area = "timed");
orchestration!("late", area = "timed");
orchestration!("exits", area = "timed");
orchestration!("lasts", area = "timed");
orchestration!("spreads", area = "timed", roles = ["server", "client"]);

/// An ordinary test, which the user's limit ends.
#[target_test]
#[ignore = "has no end"]
fn has_no_end(target: &Target) -> Result<()> {
    target.run("true")?;
    loop {
        std::thread::park();
    }
}

fn ledger(line: &str) -> Result<()> {
    let path = std::env::var_os("LEDGER").ok_or("no LEDGER")?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

/// A value that two events take.
#[target_fixture(tear_down = put_away)]
fn device(target: &Target) -> Result<String> {
    target.run("true")?;
    ledger("up device")?;
    Ok("device".to_owned())
}

fn put_away(_target: &Target, _device: &str) -> Result<()> {
    ledger("down device")
}

/// A value made of another one.
#[target_fixture(tear_down = close)]
fn player(device: &str) -> Result<String> {
    ledger("up player")?;
    Ok(device.to_owned())
}

fn close(_target: &Target, _player: &str) -> Result<()> {
    ledger("down player")
}

/// Comes up after the time limit of its test, which is duration and three times `grace` in whole seconds: 4 s.
#[target_fixture(tear_down = forget)]
fn slow_device(target: &Target) -> Result<String> {
    ledger("sets up slow_device")?;
    std::thread::sleep(Duration::from_millis(4200));
    Ok(target.name().to_owned())
}

fn forget(_target: &Target, _device: &str) -> Result<()> {
    ledger("down slow_device")
}

/// Replaces the queue of the library.
#[target_fixture]
fn report_queue() -> ReportQueue {
    let (send, receive) = mpsc::channel();
    ReportQueue::new(Channel {
        send,
        receive: Mutex::new(receive),
    })
}

/// A queue that tells what it takes.
struct Channel {
    send: Sender<EventReport>,
    receive: Mutex<Receiver<EventReport>>,
}

impl ReportTransfer for Channel {
    fn push(&self, report: EventReport) {
        let _ = ledger(&format!("queued {}", report.event));
        let _ = self.send.send(report);
    }

    fn pop(&self, timeout: Duration) -> Option<EventReport> {
        self.receive.lock().ok()?.recv_timeout(timeout).ok()
    }
}

/// Replaces the reporter of the library.
#[target_fixture]
fn result_reporter(report_queue: &ReportQueue) -> Reporter {
    Reporter::new(report_queue, |report: &EventReport| {
        if let ReportContent::Info(text) = &report.content {
            let _ = ledger(&format!("reported {}: {text}", report.event));
        }
    })
}

/// A type of the author's.
#[derive(Deserialize)]
struct Window {
    width: u32,
    title: Option<String>,
}

/// Takes arguments of many types.
#[expect(clippy::too_many_arguments, reason = "the subject of the test")]
#[target_event]
fn takes(
    device: &str,
    targets: &[Target],
    path: PathBuf,
    count: u32,
    rate: f64,
    name: String,
    loud: bool,
    list: Vec<i64>,
    missing: Option<u8>,
    window: Window,
    result_reporter: &Reporter,
) -> Result<()> {
    assert_eq!(targets.len(), 1);
    let given = format!("{path:?} {count} {rate} {name} {loud} {list:?} {missing:?}");
    let window = format!("{} {:?}", window.width, window.title);
    result_reporter.info(format!("{device} {given} {window}"));
    result_reporter.record("count", count.into(), "");
    Ok(())
}

/// Lasts until it must end.
#[target_event]
fn plays(target: &Target, player: &str, kill_switch: &KillSwitch) -> Result<()> {
    ledger(&format!("plays {player}"))?;
    while !kill_switch.wait(Duration::from_millis(50)) {
        target.command("true").quiet().run()?;
    }
    ledger("played")
}

#[target_event]
fn collects(kill_switch: &KillSwitch) -> Result<()> {
    assert!(!kill_switch.is_set(), "a switch of its own");
    ledger("collected")
}

/// Takes all machines of an environment.
#[target_event]
fn meets(env: &Environment) -> Result<()> {
    env["server"].run("true")?;
    env["client"].run("true")?;
    ledger(&format!("{} machines", env.machines().len()))
}

#[target_event]
fn breaks() {
    panic!("broken on purpose");
}

#[target_event]
fn exits_the_process() {
    std::process::exit(0);
}

#[target_event]
fn reports(result_reporter: &Reporter) {
    result_reporter.error("a frame is missing");
}

#[target_event]
fn is_late(slow_device: &str) {
    assert_eq!(slow_device, "here");
}

#[target_event]
fn never_ends(device: &str) {
    assert_eq!(device, "device");
    loop {
        std::thread::park();
    }
}
