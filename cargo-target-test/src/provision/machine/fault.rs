//! Faults of a machine: caused for a test, and ended for it, at the latest at the end of the lease.
//!
//! Must not know which faults a test may cause.

use std::time::Duration;

use target_fixtures::wire::{Fault, FaultKind, ShellCommand, Sudo};

use super::Machine;
use crate::{
    connect::{self, own_command, shell},
    error::{Error, Result},
    provision::prepare::{self, PlatformHandle},
    sync::lock,
};

/// The time limit for the commands of a fault, but for filling a disk.
const LIMIT: Duration = Duration::from_secs(60);
/// The time limit for filling a disk.
const FILL: Duration = Duration::from_secs(280);

/// The way to end a fault.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    /// Let the machine go on.
    Resume,
    /// Run a line as root, then set the clock.
    SetClock(String),
    /// Run a line as root.
    Line(String),
}

impl Machine {
    /// Causes a fault. Until it has ended, the machine is down on purpose.
    pub(super) async fn cause(&self, fault: &Fault, limit: Duration) -> Result<()> {
        let kind = fault.kind();
        if lock(&self.shared.faults).contains_key(&kind) {
            return Err(Error::usage(format!("fault `{kind}` lasts already")));
        }
        let undo = match fault {
            Fault::PowerCut => return self.restart(limit).await,
            Fault::Pause => {
                // Known before: a pause that is cut off is ended too.
                self.note_fault(kind, Undo::Resume);
                let pause =
                    |one: &PlatformHandle| one.platform.pause(&one.spec, &one.deployed, true);
                let paused = self.shared.instance.act(pause).await;
                return paused.inspect_err(|_| self.forget_fault(kind));
            }
            Fault::ClockJump { seconds } => {
                let jump = format!("date -u -s @$(( $(date +%s) + {seconds} )) >/dev/null");
                self.as_root(&jump, LIMIT).await?;
                Undo::SetClock("true".to_owned())
            }
            Fault::ClockDrift { every, gains } => {
                let step = if *gains { "+ 1" } else { "- 1" };
                let every = every.max(&1);
                // The first line aligns the clock: each setting drops the part of a second.
                let drift = format!(
                    "date -u -s @$(date +%s) >/dev/null; while sleep {every}; do date -u -s @$(( $(date +%s) {step} )); done"
                );
                Undo::SetClock(self.in_background(&drift).await?)
            }
            Fault::DiskFull { path } => {
                let file =
                    shell::quote(&format!("{}/.target-test-full", path.trim_end_matches('/')));
                self.note_fault(kind, Undo::Line(format!("rm -f {file}")));
                let filled = self.as_root(&fill(&shell::quote(path), &file), FILL).await;
                return filled.inspect_err(|_| self.forget_fault(kind)).map(drop);
            }
            Fault::MemoryPressure { mebibytes } => {
                self.check_memory()?;
                let bytes = u64::from(*mebibytes) << 20;
                let hold = format!(
                    "x=$(head -c {bytes} /dev/zero | tr '\\0' x); while :; do sleep 60; done"
                );
                Undo::Line(self.in_background(&hold).await?)
            }
        };
        self.note_fault(kind, undo);
        Ok(())
    }

    /// Ends a fault. Succeeds if it does not last.
    pub(super) async fn end_fault(&self, kind: FaultKind) -> Result<()> {
        let undo = lock(&self.shared.faults).get(&kind).cloned();
        match undo {
            None => return Ok(()),
            Some(Undo::Resume) => {
                let go_on =
                    |one: &PlatformHandle| one.platform.pause(&one.spec, &one.deployed, false);
                self.shared.instance.act(go_on).await?;
            }
            Some(Undo::SetClock(line)) => {
                self.as_root(&line, LIMIT).await?;
                prepare::set_clock(self.transport()).await;
            }
            Some(Undo::Line(line)) => {
                self.as_root(&line, LIMIT).await?;
            }
        }
        self.forget_fault(kind);
        Ok(())
    }

    /// Ends all faults, a pause first.
    ///
    /// # Errors
    /// Fails with the first fault that could not be ended.
    pub(crate) async fn end_faults(&self) -> Result<()> {
        let kinds: Vec<_> = lock(&self.shared.faults).keys().copied().collect();
        for kind in kinds {
            self.end_fault(kind).await.map_err(|error| {
                let message = format!("failed to end fault `{kind}` of `{}`", self.name());
                Error::infra(message).with_source(error)
            })?;
        }
        Ok(())
    }

    /// The faults that the platform allows.
    pub(crate) fn own_faults(&self) -> &'static [FaultKind] {
        let origin = self.shared.instance.origin.as_ref();
        origin.map_or(&[], |one| one.platform.faults())
    }

    fn note_fault(&self, kind: FaultKind, undo: Undo) {
        if lock(&self.shared.faults).insert(kind, undo).is_none() {
            self.shared
                .going_down
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn forget_fault(&self, kind: FaultKind) {
        if lock(&self.shared.faults).remove(&kind).is_some() {
            self.shared
                .going_down
                .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Refuses to hold memory of this host without a limit.
    fn check_memory(&self) -> Result<()> {
        let origin = self.shared.instance.origin.as_ref();
        let is_bounded = |one: &PlatformHandle| {
            !one.platform.shares_kernel()
                || one
                    .spec
                    .parameters
                    .get("memory")
                    .is_some_and(|size| !size.is_null())
        };
        match origin.is_none_or(is_bounded) {
            true => Ok(()),
            false => Err(Error::usage(format!(
                "`{}` has no limit: set `memory`",
                self.name()
            ))),
        }
    }

    /// Runs a line as root; returns its output.
    async fn as_root(&self, line: &str, limit: Duration) -> Result<String> {
        let command = ShellCommand {
            sudo: Some(Sudo::default()),
            ..own_command(line.to_owned(), Some(limit))
        };
        let running = connect::start(&*self.transport(), &command, &self.mark, None).await?;
        let ended = running.finished().await?.accepted()?;
        Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
    }

    /// Starts a line as root in the background; returns the line that ends it.
    async fn in_background(&self, line: &str) -> Result<String> {
        let line = shell::quote(line);
        let start = format!("setsid sh -c {line} >/dev/null 2>&1 </dev/null & echo $!");
        let pid = self.as_root(&start, LIMIT).await?;
        Ok(format!(
            "kill -9 -{pid} 2>/dev/null || kill -9 {pid} 2>/dev/null || true"
        ))
    }
}

/// Returns the script that fills the file system of a folder. It refuses the file system of this host and large ones.
fn fill(folder: &str, file: &str) -> String {
    format!(
        "set -- $(df -kP {folder} | tail -n 1); \
         case \"$1\" in overlay) echo 'the file system is that of this host' >&2; exit 2;; esac; \
         if [ \"$4\" -gt 16777216 ]; then echo 'more than 16 GiB are free' >&2; exit 2; fi; \
         dd if=/dev/zero of={file} bs=1048576 2>/dev/null; dd if=/dev/zero bs=4096 2>/dev/null >> {file}; true"
    )
}
