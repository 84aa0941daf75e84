//! Faults: what a test does to its instance on purpose, and takes back.
//!
//! Must not know how a fault is caused.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Result, Target, UP};
use crate::{
    Environment,
    error::{ErrorKind, Placed, TargetError, skip},
    wire::{Act, Fault, FaultKind},
};

/// The faults of this process's targets.
static LASTING: Mutex<LastingFaults> = Mutex::new(LastingFaults {
    count: 0,
    last_end: None,
});

#[derive(Debug)]
struct LastingFaults {
    /// The number of those that last.
    count: usize,
    last_end: Option<Instant>,
}

fn lasting() -> MutexGuard<'static, LastingFaults> {
    LASTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a fault as lasting, until dropped.
#[derive(Debug)]
struct Lasting;

impl Lasting {
    fn begin() -> Self {
        lasting().count += 1;
        Self
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        let mut lasting = lasting();
        lasting.count -= 1;
        lasting.last_end = Some(Instant::now());
    }
}

/// True if a fault lasts, or lasted after `start`.
pub(crate) fn fault_lasted_since(start: Instant) -> bool {
    let lasting = lasting();
    lasting.count > 0 || lasting.last_end.is_some_and(|end| end >= start)
}

/// The faults of a target: see [`Target::faults`].
#[derive(Clone, Copy, Debug)]
pub struct Faults<'a>(&'a Target);

/// A fault that lasts until this value is dropped, or [ended](Self::end). What it causes, such as silence or a reboot, is
/// neither infra nor a crash meanwhile.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct ActiveFault {
    target: Target,
    kind: FaultKind,
    has_ended: bool,
    _lasting: Lasting,
}

impl Target {
    /// The faults that the instance can have. On `qemu` all of them; on `container` a pause, disk and memory within the
    /// container's own limits, and the cut of its links. On other platforms only those that the target of the playbook names:
    /// `faults = ["pause"]`. Any other fault skips the test.
    ///
    /// The broker ends each fault at the end of the lease, even if the test was killed; an instance whose fault cannot be
    /// ended is dirty.
    ///
    /// ```no_run
    /// use target_fixtures::prelude::*;
    ///
    /// #[target_test]
    /// fn survives_a_pause(target: &Target) -> Result<()> {
    ///     let paused = target.faults().pause()?;
    ///     std::thread::sleep(Duration::from_secs(5));
    ///     paused.end()?;
    ///     target.ping()?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn faults(&self) -> Faults<'_> {
        Faults(self)
    }
}

impl Faults<'_> {
    /// Stops the machine, as if the whole of it stood still. Commands wait for the end of the pause.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the platform fails; a [skip](fn@crate::skip) if the target cannot have this fault.
    #[track_caller]
    pub fn pause(&self) -> Result<ActiveFault> {
        self.begin(Fault::Pause).placed()
    }

    /// Cuts the power, without any warning to the system, and waits until the machine is up again.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    #[track_caller]
    pub fn power_cut(&self) -> Result<()> {
        let _lasting = Lasting::begin();
        self.cause(Fault::PowerCut).placed()
    }

    /// Sets the clock forward, or back if `seconds` is negative. Its end sets the clock to that of this host.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    #[track_caller]
    pub fn clock_jump(&self, seconds: i64) -> Result<ActiveFault> {
        self.begin(Fault::ClockJump { seconds }).placed()
    }

    /// Lets the clock gain a second in every `every` seconds, or lose one if not `gains`, from 1.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    #[track_caller]
    pub fn clock_drift(&self, every: u32, gains: bool) -> Result<ActiveFault> {
        self.begin(Fault::ClockDrift { every, gains }).placed()
    }

    /// Fills the file system of a folder with a file, of at most 16 GiB.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); [`ErrorKind::Request`] if the file system is too large, or is that of this host.
    #[track_caller]
    pub fn disk_full(&self, folder: impl Into<String>) -> Result<ActiveFault> {
        let path = folder.into();
        self.begin(Fault::DiskFull { path }).placed()
    }

    /// Holds memory in a process.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); [`ErrorKind::Request`] for a container without a limit of its own.
    #[track_caller]
    pub fn memory_pressure(&self, mebibytes: u32) -> Result<ActiveFault> {
        self.begin(Fault::MemoryPressure { mebibytes }).placed()
    }

    /// Cuts the links of the machine to all networks of its environment: no frame passes. The management link, by which
    /// commands and files pass, stays as it is, and so for the other faults of links. One network alone has faults of its
    /// own: see [`Network`](crate::Network).
    ///
    /// # Errors
    /// As [`pause`](Self::pause). It skips the test if the machine is not on a network of an environment.
    #[track_caller]
    pub fn link_cut(&self) -> Result<ActiveFault> {
        self.begin(Fault::LinkCut).placed()
    }

    /// Delays each frame to and from the machine on the networks of its environment, beside the delay of the network.
    ///
    /// # Errors
    /// As [`link_cut`](Self::link_cut).
    #[track_caller]
    pub fn link_delay(&self, delay: Duration) -> Result<ActiveFault> {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.begin(Fault::LinkDelay { micros }).placed()
    }

    /// Loses this share of the frames to and from the machine on the networks of its environment, from 0 to 1, at random.
    ///
    /// # Errors
    /// As [`link_cut`](Self::link_cut); [`ErrorKind::Request`] for another number.
    #[track_caller]
    pub fn link_loss(&self, share: f64) -> Result<ActiveFault> {
        self.begin(Fault::LinkLoss { share }).placed()
    }

    fn begin(&self, fault: Fault) -> Result<ActiveFault> {
        let (kind, lasting) = (fault.kind(), Lasting::begin());
        self.cause(fault)?;
        Ok(ActiveFault {
            target: self.0.clone(),
            kind,
            has_ended: false,
            _lasting: lasting,
        })
    }

    fn cause(&self, fault: Fault) -> Result<()> {
        let (target, kind) = (self.0, fault.kind());
        if kind.is_of_links() && target.instance.links.is_empty() {
            let name = target.name();
            let reason = format!(
                "fault `{kind}` needs a network of an environment: target `{name}` has only its management link"
            );
            return Err(skip(reason));
        }
        if !target.allows(kind) {
            let (name, platform) = (target.name(), target.platform());
            let reason = format!(
                "fault `{kind}` is not allowed on target `{name}` of platform `{platform}`: `faults = [\"{kind}\"]` allows it"
            );
            return Err(skip(reason));
        }
        target.act(Act::Fault { fault }, UP)
    }
}

impl ActiveFault {
    /// Ends the fault.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if it cannot be ended: the instance is dirty then.
    #[track_caller]
    pub fn end(mut self) -> Result<()> {
        self.finish().placed()
    }

    fn finish(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.has_ended, true) {
            true => Ok(()),
            false => self.target.act(Act::EndFault { kind: self.kind }, UP),
        }
    }
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        // The broker tries again at the end of the lease.
        if let Err(error) = self.finish() {
            eprintln!("failed to end fault `{}`: {error}", self.kind);
        }
    }
}

/// Defines ready-made events that cause faults on a target of an orchestration. A description gives their `params`:
///
/// | event | `params`, beside `machine` and `seconds` |
/// |---|---|
/// | `pause_target` | |
/// | `cut_power` | not `seconds` |
/// | `jump_clock` | `by`: seconds |
/// | `drift_clock` | `every`: seconds, `gains`: true or false |
/// | `fill_disk` | `folder` |
/// | `press_memory` | `mebibytes` |
/// | `cut_link` | |
/// | `delay_link` | `millis` |
/// | `lose_frames` | `share`: from 0 to 1 |
///
/// `machine` is a machine of the environment, and can be left out if the orchestration has one target. `seconds` is the time
/// that the fault lasts.
#[macro_export]
macro_rules! fault_events {
    () => {
        /// Cuts the power.
        #[$crate::target_event]
        fn cut_power(targets: &[$crate::Target], machine: Option<String>) -> $crate::Result<()> {
            let target = $crate::__private::machine_of(targets, machine.as_deref())?;
            Ok(target.faults().power_cut()?)
        }

        $crate::fault_events! { @lasting
            /// Stops the machine for a time.
            pause_target() |faults| faults.pause();
            /// Sets the clock for a time.
            jump_clock(by: i64) |faults| faults.clock_jump(by);
            /// Lets the clock drift for a time.
            drift_clock(every: u32, gains: bool) |faults| faults.clock_drift(every, gains);
            /// Fills a disk for a time.
            fill_disk(folder: String) |faults| faults.disk_full(folder);
            /// Holds memory for a time.
            press_memory(mebibytes: u32) |faults| faults.memory_pressure(mebibytes);
            /// Cuts the links to networks for a time.
            cut_link() |faults| faults.link_cut();
            /// Delays frames for a time.
            delay_link(millis: u64) |faults| {
                faults.link_delay(::core::time::Duration::from_millis(millis))
            };
            /// Loses frames for a time.
            lose_frames(share: f64) |faults| faults.link_loss(share);
        }
    };
    (@lasting $($(#[$doc:meta])* $name:ident($($param:ident: $type:ident),*) $cause:expr;)*) => { $(
        $(#[$doc])*
        #[$crate::target_event]
        fn $name(
            targets: &[$crate::Target],
            kill_switch: &$crate::orchestration::KillSwitch,
            machine: Option<String>,
            seconds: f64,
            $($param: $type),*
        ) -> $crate::Result<()> {
            let target = $crate::__private::machine_of(targets, machine.as_deref())?;
            $crate::__private::cause_for(seconds, kill_switch, target.faults(), $cause)
        }
    )* };
}

/// Returns the machine of a ready-made event: the one of this name in the environment, or the only one.
///
/// # Errors
/// [`ErrorKind::Request`] for an unknown name, or if there are several machines and no name.
pub fn machine_of(targets: &[Target], name: Option<&str>) -> Result<Target> {
    match (name, targets) {
        (Some(name), _) => Environment::new(targets).role(name).cloned(),
        (None, [only]) => Ok(only.clone()),
        (None, _) => {
            let message = "choose a machine of the environment: `params` need `machine`";
            Err(TargetError::new(ErrorKind::Request, message.to_owned()))
        }
    }
}

/// Causes the fault of a ready-made event for a time, or until the event must end.
///
/// # Errors
/// As those of the fault; [`ErrorKind::Request`] for an invalid time.
pub fn cause_for<'t>(
    seconds: f64,
    kill_switch: &crate::orchestration::KillSwitch,
    faults: Faults<'t>,
    cause: impl FnOnce(Faults<'t>) -> Result<ActiveFault>,
) -> crate::Result<()> {
    let time = Duration::try_from_secs_f64(seconds).map_err(|error| {
        let message = format!("wait for {seconds} seconds: {error}");
        TargetError::new(ErrorKind::Request, message)
    })?;
    let fault = cause(faults)?;
    kill_switch.wait(time);
    Ok(fault.end()?)
}
