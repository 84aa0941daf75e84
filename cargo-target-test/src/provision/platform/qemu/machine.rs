//! A running machine, as seen from this host: its process, found by its mark or by pid and start time, and its console.
//! Must not know how it was started.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::{Provenance, mark::Mark, read_end},
    CONSOLE, Found, QemuSpec, line,
    qmp::Monitor,
};
use crate::{
    bounded,
    error::{Error, PANIC, Result},
    process::StartedProcess,
};

/// The mark of a machine's process.
pub(super) const MARK: Mark = Mark("TARGET_TEST_MACHINE");
/// The file with the console's length at the last reset; older output is ignored.
const FROM: &str = "console.from";
/// The maximum size of the console's end, in bytes.
const END: u64 = 64 << 10;
/// The monitor's word for a machine that has powered down.
const DOWN: &str = "shutdown";
/// The number of last console lines in an error.
const LINES: usize = 15;

/// The process of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct QemuProcess(pub(super) StartedProcess);

/// Kills the machine of this instance, if it runs.
///
/// # Errors
/// Fails if it still runs.
pub(super) fn kill(spec: &QemuSpec) -> Result<()> {
    let what = format!("the virtual machine of `{}`", spec.instance);
    MARK.kill(&spec.unique, &what)
}

/// Returns the machines of this host that `is_wanted` accepts by their label and provenance.
pub(super) fn find(is_wanted: impl Fn(&str, &Provenance) -> bool) -> Vec<Found> {
    let found = MARK.find(is_wanted).into_iter();
    let found = found.map(|(unique, provenance)| {
        let what = format!("virtual machine `{unique}`");
        Found {
            parameters: json!({ "kernel": "-" }),
            provenance,
            ..Found::new(unique, what)
        }
    });
    found.collect()
}

impl QemuProcess {
    /// Checks that the process and its kernel run.
    pub(super) fn check(self, spec: &QemuSpec) -> Result<()> {
        let name = &spec.instance;
        let message = |what: &str| format!("`{name}`: {what}{}", console_end(spec));
        let gone = |what: &str| Err(Error::infra(message(what)));
        let crashed = |what: &str| Err(Error::crash(message(what)));
        // A machine may end after its panic.
        if console(spec).contains(PANIC) {
            return crashed("its kernel panicked");
        }
        if !self.0.lives() {
            return gone("its virtual machine has ended");
        }
        match status(spec).as_deref() {
            Some("guest-panicked") => crashed("its kernel panicked"),
            Some(DOWN) => crashed("it shut itself down"),
            Some(status @ ("internal-error" | "io-error")) => {
                gone(&format!("its virtual machine stopped ({status})"))
            }
            // A monitor that serves another client does not answer; the machine may be healthy.
            _ => Ok(()),
        }
    }

    /// Requests the machine to power down, and waits for at most `limit`.
    pub(super) fn power_down(self, spec: &QemuSpec, limit: Duration) {
        let asked = Monitor::connect(&spec.scratch)
            .and_then(|mut monitor| monitor.ask("system_powerdown", &json!({})));
        let started = Instant::now();
        let runs = || self.0.lives() && status(spec).as_deref() != Some(DOWN);
        while asked.is_ok() && runs() && started.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The monitor's word for the state of the machine, if it answers.
fn status(spec: &QemuSpec) -> Option<String> {
    let mut monitor = Monitor::connect(&spec.scratch).ok()?;
    let answer = monitor.ask("query-status", &json!({})).ok()?;
    Some(answer["status"].as_str()?.to_owned())
}

/// The time limit for saving or loading a snapshot, which is as large as the memory in use.
const STATE_LIMIT: Duration = Duration::from_secs(120);

/// Saves a snapshot of the machine, memory included, in its first disk.
pub(super) fn remember(spec: &QemuSpec, name: &str) -> Result<()> {
    tell(spec, &format!("savevm {name}")).map_err(|error| {
        Error::infra(format!("cannot save a snapshot of `{}`", spec.instance)).with_source(error)
    })
}

/// Loads a snapshot; earlier console output is ignored from then on.
pub(super) fn go_back(spec: &QemuSpec, name: &str) -> Result<()> {
    forget_console(spec)?;
    tell(spec, &format!("loadvm {name}")).map_err(|error| {
        let message = format!("cannot put `{}` back to state `{name}`", spec.instance);
        Error::infra(message).with_source(error)
    })
}

/// Runs a command of the human monitor that prints nothing unless it fails.
fn tell(spec: &QemuSpec, command: &str) -> Result<()> {
    let mut monitor = Monitor::connect(&spec.scratch)?.patient(STATE_LIMIT)?;
    let said = monitor.tell(command)?;
    match said.trim() {
        "" => Ok(()),
        words => {
            // A failed `loadvm` leaves the machine stopped.
            let _ = monitor.ask("cont", &json!({}));
            Err(Error::infra(format!("QEMU: {words}")))
        }
    }
}

/// Takes the network link down or up.
pub(super) fn link(spec: &QemuSpec, nic: u32, up: bool) -> Result<()> {
    let last = spec.nics.len() as u32;
    if nic > last {
        let name = &spec.instance;
        let message = match last {
            0 => format!("`{name}` has one network link, number 0"),
            last => format!("`{name}` has the network links 0 to {last}"),
        };
        return Err(Error::usage(message));
    }
    let mut monitor = Monitor::connect(&spec.scratch)?;
    let link = json!({ "name": line::link(nic), "up": up });
    monitor.ask("set_link", &link).map(drop)
}

fn forget_console(spec: &QemuSpec) -> Result<()> {
    let length = fs::metadata(spec.scratch.join(CONSOLE)).map_or(0, |data| data.len());
    Ok(fs_err::write(spec.scratch.join(FROM), length.to_string())?)
}

/// Resets the machine; earlier console output is ignored from then on.
pub(super) fn reset(spec: &QemuSpec) -> Result<()> {
    let mut monitor = Monitor::connect(&spec.scratch)?;
    forget_console(spec)?;
    monitor.ask("system_reset", &json!({}))?;
    // A panic may have stopped the machine.
    let _ = monitor.ask("cont", &json!({}));
    Ok(())
}

/// The end of the console's output since the last reset.
fn console(spec: &QemuSpec) -> String {
    let from = bounded::read_to_string(&spec.scratch.join(FROM));
    let from = from.ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    read_end(&spec.scratch.join(CONSOLE), from, END).unwrap_or_default()
}

fn console_end(spec: &QemuSpec) -> String {
    let text = console(spec);
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
