//! A running machine, as seen from this host.
//!
//! Owns the process, found by its mark or by number and start time, and what its console says of the kernel. Must not
//! know how it was made.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CONSOLE, Order, qmp::Monitor};
use crate::{
    error::{Error, ErrorKind, Result},
    process,
};

/// In the environment of every machine: its `unique`.
const MARK: &str = "TARGET_TEST_MACHINE";
/// In the environment of everything that a platform starts: the pool's label.
const LABEL: &str = "TARGET_TEST_LABEL";
/// Where the console of a machine that was reset begins to count.
const FROM: &str = "console.from";
/// How much of a console's end is looked at, in bytes.
const END: u64 = 64 << 10;
/// How many lines of it an error repeats.
const LINES: usize = 15;

/// The process of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) pid: i32,
    /// In clock ticks since the host's boot.
    pub(super) started: Option<u64>,
}

/// Marks a program that becomes a machine.
pub(super) fn mark(command: &mut std::process::Command, order: &Order) {
    command.env(LABEL, &order.label).env(MARK, &order.unique);
}

/// Kills the machine of this order, if there is one, whoever made it.
pub(super) fn kill(order: &Order) {
    process::kill_marked(MARK, &order.unique);
}

/// The `unique` of every machine that carries the label.
pub(super) fn labelled(label: &str) -> Vec<String> {
    process::marked_values(MARK, (LABEL, label))
}

impl Machine {
    pub(super) fn of(pid: i32) -> Self {
        let started = Pid::from_raw(pid).and_then(process::start_time);
        Self { pid, started }
    }

    fn lives(self) -> bool {
        Pid::from_raw(self.pid).is_some_and(|pid| {
            process::start_time(pid) == self.started && process::name_if_alive(pid).is_some()
        })
    }

    /// Whether it runs, and its kernel does.
    pub(super) fn check(self, order: &Order) -> Result<()> {
        let name = &order.instance;
        let gone = |what: &str| {
            let message = format!("`{name}`: {what}{}", console_end(order));
            Err(Error::new(ErrorKind::Infra, message))
        };
        if !self.lives() {
            return gone("its virtual machine has ended");
        }
        if console(order).contains("Kernel panic - not syncing") {
            return gone("its kernel panicked");
        }
        let status = Monitor::connect(&order.scratch)
            .and_then(|mut monitor| monitor.ask("query-status", &json!({})));
        match status
            .as_ref()
            .ok()
            .and_then(|answer| answer["status"].as_str())
        {
            Some("guest-panicked") => gone("its kernel panicked"),
            Some(status @ ("internal-error" | "io-error" | "shutdown")) => {
                gone(&format!("its virtual machine stopped ({status})"))
            }
            // A monitor that is busy with somebody else says nothing about the machine.
            _ => Ok(()),
        }
    }

    /// Lets it power down, for at most this long.
    pub(super) fn power_down(self, order: &Order, limit: Duration) {
        let asked = Monitor::connect(&order.scratch)
            .and_then(|mut monitor| monitor.ask("system_powerdown", &json!({})));
        let started = Instant::now();
        while asked.is_ok() && self.lives() && started.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How long remembering a state, or going back to it, may take: it is as large as the memory in use.
const STATE_LIMIT: Duration = Duration::from_secs(120);

/// Remembers the state of the whole machine, its memory included, in its first disk.
pub(super) fn remember(order: &Order, name: &str) -> Result<()> {
    tell(order, &format!("savevm {name}")).map_err(|error| {
        let message = format!("cannot remember the state of `{}`", order.instance);
        Error::new(ErrorKind::Infra, message).with_source(error)
    })
}

/// Goes back to that; what its console said since counts no more.
pub(super) fn go_back(order: &Order, name: &str) -> Result<()> {
    forget_console(order)?;
    tell(order, &format!("loadvm {name}")).map_err(|error| {
        let message = format!("cannot put `{}` back to state `{name}`", order.instance);
        Error::new(ErrorKind::Infra, message).with_source(error)
    })
}

/// These commands of the monitor print nothing unless they fail.
fn tell(order: &Order, command: &str) -> Result<()> {
    let mut monitor = Monitor::connect(&order.scratch)?.patient(STATE_LIMIT)?;
    let said = monitor.tell(command)?;
    match said.trim() {
        "" => Ok(()),
        words => {
            // Who cannot go back is left standing still.
            let _ = monitor.ask("cont", &json!({}));
            Err(Error::new(ErrorKind::Infra, format!("QEMU: {words}")))
        }
    }
}

/// Takes the network link down, or up again.
pub(super) fn link(order: &Order, nic: u32, up: bool) -> Result<()> {
    if nic != 0 {
        let message = format!("`{}` has one network link, number 0", order.instance);
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let mut monitor = Monitor::connect(&order.scratch)?;
    let link = json!({ "name": "net", "up": up });
    monitor.ask("set_link", &link).map(drop)
}

fn forget_console(order: &Order) -> Result<()> {
    let length = fs::metadata(order.scratch.join(CONSOLE)).map_or(0, |data| data.len());
    Ok(fs_err::write(order.scratch.join(FROM), length.to_string())?)
}

/// Resets it; what its console said before counts no more.
pub(super) fn reset(order: &Order) -> Result<()> {
    let mut monitor = Monitor::connect(&order.scratch)?;
    forget_console(order)?;
    monitor.ask("system_reset", &json!({}))?;
    // Where a panic stopped it.
    let _ = monitor.ask("cont", &json!({}));
    Ok(())
}

/// The end of what the console said since the last reset.
fn console(order: &Order) -> String {
    let from = fs::read_to_string(order.scratch.join(FROM));
    let from = from.ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    read_end(&order.scratch.join(CONSOLE), from).unwrap_or_default()
}

fn read_end(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(END))))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn console_end(order: &Order) -> String {
    let text = console(order);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    match &lines[lines.len().saturating_sub(LINES)..] {
        [] => String::new(),
        last => format!("; its console ends:\n{}", last.join("\n")),
    }
}
