//! One run in time: the broker serves, nextest runs, signals arrive, things are cleaned up.
//!
//! Owns the runtime and what Ctrl-C means: the first lets nextest finish its way and cleans up within a
//! bound; the second leaves the pool as it is, for the next start to finish. Must not know what runs.

pub(crate) mod signals;
mod witness;

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Runtime, signal::unix::SignalKind, time::Instant};

use super::broker::{Broker, CaseTable, standalone::Lookup};
use crate::{
    case::verdict::EXIT_INTERRUPTED,
    error::{Error, ErrorKind, Result},
    process,
    provision::{PoolProvisioner, Report},
    run_event::Sink,
    ui,
};
use signals::Signals;
use witness::Witness;

/// How long cleaning up may take after an interrupt.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// A run under way.
pub struct Session {
    /// One thread, the process's first: nextest dies with the thread that starts it.
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    directory: PathBuf,
    provisioner: Arc<PoolProvisioner>,
}

/// How nextest ended.
pub struct NextestEnd {
    /// Its exit status.
    pub status: ExitStatus,
    /// How often the user interrupted.
    pub interrupts: u32,
}

impl Session {
    /// Starts the runtime; the broker's socket will be in `directory`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn start(directory: &Path, provisioner: Arc<PoolProvisioner>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            directory: directory.to_owned(),
            provisioner,
        })
    }

    /// The run's instances.
    pub fn provisioner(&self) -> &PoolProvisioner {
        &self.provisioner
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn broker(&self, names: CaseTable, sink: Sink) -> Result<Broker> {
        let _inside = self.runtime().enter();
        let provisioner = Arc::clone(&self.provisioner);
        Broker::start(&self.directory, provisioner, names, None, sink)
    }

    /// Starts a broker for tests that come by themselves.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn serve(&self, lookup: Box<Lookup>) -> Result<Broker> {
        let _inside = self.runtime().enter();
        Broker::start(
            &self.directory,
            Arc::clone(&self.provisioner),
            CaseTable::default(),
            Some(lookup),
            Sink::discard(),
        )
    }

    /// Waits for something that the broker does.
    pub fn wait_for<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime().block_on(what)
    }

    /// Runs nextest to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, broker: &Broker, command: Command) -> Result<NextestEnd> {
        self.runtime().block_on(async {
            let mut signals = Signals::catch()?;
            let mut witness = Witness::new();
            let mut child = process::Spawn::new(command)
                .dies_with_parent()
                .start_async()?;
            let mut interrupts = 0;
            loop {
                tokio::select! {
                    status = child.wait() => return Ok(NextestEnd { status: status?, interrupts }),
                    number = signals.next() => {
                        interrupts += counted(number, interrupts);
                        broker.cancel();
                        if !witness.saw_it().await {
                            pass_on(child.id(), number);
                        }
                    }
                }
            }
        })
    }

    /// Ends the leases, then deletes what this run used and need not keep, and what dead runs left.
    ///
    /// # Errors
    /// What the pool says; or that it was given up, exit code 130.
    pub fn clean_up(&self, broker: &Broker, keep: bool, interrupts: &mut u32) -> Result<Report> {
        // Nobody waits for what is still being deployed.
        broker.cancel();
        process::kill_scripts();
        self.runtime().block_on(async {
            let mut signals = Signals::catch()?;
            let work = self.delete(broker, keep, *interrupts == 0);
            tokio::pin!(work);
            let mut limit = until(*interrupts);
            let left = loop {
                if *interrupts > 1 {
                    break "interrupted twice: instances stay".to_owned();
                }
                tokio::select! {
                    done = &mut work => return done,
                    number = signals.next() => {
                        if counted(number, *interrupts) == 0 {
                            continue;
                        }
                        *interrupts += 1;
                        limit = until(*interrupts);
                        ui::note("interrupted: still cleaning up; once more to leave instances behind");
                    }
                    () = tokio::time::sleep_until(limit) => {
                        break format!("cleaning up took over {} s", CLEAN_UP.as_secs());
                    }
                }
            };
            process::kill_scripts();
            Err(Error::new(ErrorKind::Infra, left)
                .with_hint("`cargo target-test --delete-targets` deletes what is left")
                .with_exit_code(EXIT_INTERRUPTED.into()))
        })
    }

    async fn delete(&self, broker: &Broker, keep: bool, reconcile: bool) -> Result<Report> {
        broker.end_leases().await;
        self.provisioner.clean_up(keep, reconcile).await
    }

    #[expect(clippy::expect_used, reason = "it is there until the drop")]
    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("a runtime")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The socket goes with the run; a deploy that does not listen must not hold up the exit.
        let _ = std::fs::remove_file(Broker::socket_in(&self.directory));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Until when cleaning up may go on.
fn until(interrupts: u32) -> Instant {
    // Long enough for anything, short enough for the arithmetic.
    const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    Instant::now() + if interrupts > 0 { CLEAN_UP } else { FOREVER }
}

/// How much a signal adds to so many: a terminal that is closed is told by the kernel and by the shell, and is no
/// one who asks twice.
fn counted(signal: SignalKind, interrupts: u32) -> u32 {
    u32::from(interrupts == 0 || signal != SignalKind::hangup())
}

fn pass_on(child: Option<u32>, signal: SignalKind) {
    let pid = child.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    let signal = rustix::process::Signal::from_named_raw(signal.as_raw_value());
    if let (Some(pid), Some(signal)) = (pid, signal) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}
