//! Faults of a machine: caused for a test, and ended for it, at the latest at the end of the lease.
//!
//! Must not know which faults a test may cause.

use std::time::Duration;

use target_fixtures::wire::{Fault, FaultKind, ShellCommand, Sudo};

use super::Machine;
use crate::{
    connect::{self, own_command, shell},
    error::{Error, Result},
    provision::{
        network::{LinkFault, NetworkFault},
        prepare::{self, PlatformHandle},
    },
    sync::{self, lock},
};

/// The time limit for the commands of a fault, but for filling a disk or memory.
const LIMIT: Duration = Duration::from_secs(60);
/// The time limit for filling a disk or memory.
const FILL: Duration = Duration::from_secs(280);

/// Says in a line in the background that the fault is in place.
const IN_PLACE: &str = "echo in place >&3 && exec 3>&-";

/// The way to end a fault.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    /// Let the machine go on.
    Resume,
    /// Run a line as root, then set the clock.
    SetClock(String),
    /// Run a line as root.
    Line(String),
    /// Set the links to networks back.
    Links(LinkFault),
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
                    "date -u -s @$(date +%s) && {IN_PLACE} && while sleep {every}; do date -u -s @$(( $(date +%s) {step} )); done"
                );
                Undo::SetClock(
                    self.in_background(&drift, "the clock cannot be set")
                        .await?,
                )
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
                // `tail` keeps this much of its input, and no more, until the input ends.
                let hold = format!(
                    "{{ head -c {bytes} /dev/zero && {IN_PLACE} && while :; do sleep 60; done; }} | \
                     tail -c {bytes} 3>&- & exec 3>&-; wait"
                );
                Undo::Line(self.in_background(&hold, "less memory is free").await?)
            }
            Fault::LinkCut => return self.disturb_links(kind, LinkFault::Cut(true)).await,
            Fault::LinkDelay { micros } => {
                let delay = LinkFault::Delay(Duration::from_micros(*micros));
                return self.disturb_links(kind, delay).await;
            }
            Fault::LinkLoss { share } => {
                return self.disturb_links(kind, LinkFault::Loss(*share)).await;
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
            Some(Undo::Links(none)) => self.set_links(none).await?,
        }
        self.forget_fault(kind);
        Ok(())
    }

    /// Causes a fault of the links to all networks of the environment.
    async fn disturb_links(&self, kind: FaultKind, fault: LinkFault) -> Result<()> {
        if self.networks.is_empty() {
            let message = format!("`{}` is not on a network of an environment", self.name());
            return Err(Error::usage(message));
        }
        // Known before: a fault of some links is ended too.
        self.note_fault(kind, Undo::Links(fault.none()));
        let disturbed = self.set_links(fault).await;
        if disturbed.is_err() {
            // Where this fails too, the end of the lease tries again.
            let _ = self.end_fault(kind).await;
        }
        disturbed
    }

    async fn set_links(&self, fault: LinkFault) -> Result<()> {
        let networks = self.networks.clone();
        let Some(machine) = self.place_name() else {
            return Ok(());
        };
        sync::blocking(move || {
            let fault = NetworkFault::Link(machine, fault);
            networks.iter().try_for_each(|one| one.add(fault.clone()))
        })
        .await
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

    /// Starts a line as root in the background, and waits until it has run [`IN_PLACE`]. Returns the line that ends it.
    /// `otherwise` is the reason if the line ends before.
    async fn in_background(&self, line: &str, otherwise: &str) -> Result<String> {
        let line = shell::quote(line);
        // The substitution ends once the third descriptor is closed.
        let start =
            format!("echo $(setsid sh -c {line} 3>&1 >/dev/null 2>&1 </dev/null & echo $!)");
        let said = self.as_root(&start, FILL).await?;
        match said.split_once(' ') {
            Some((pid, _)) => Ok(format!(
                "kill -9 -{pid} 2>/dev/null || kill -9 {pid} 2>/dev/null || true"
            )),
            None => Err(Error::usage(otherwise)),
        }
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
