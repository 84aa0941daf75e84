//! The runtime of one run: starts the broker and nextest, handles signals and cleans up.
//!
//! The first Ctrl-C lets nextest end and limits the time of the clean-up. The second Ctrl-C stops the clean-up and
//! leaves the pool to the next run.

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

use super::broker::{Broker, CaseTable, standalone::CaseLookup};
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

/// The time limit of the clean-up after an interrupt.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// An active run.
pub struct Session {
    /// A runtime on the main thread: nextest is killed when the thread that started it ends. `None` only during the
    /// drop.
    runtime: Option<Runtime>,
    directory: PathBuf,
    provisioner: Arc<PoolProvisioner>,
}

/// The end of nextest.
pub struct NextestEnd {
    /// nextest's exit status.
    pub status: ExitStatus,
    /// The number of interrupts by the user.
    pub interrupts: u32,
}

impl Session {
    /// Starts the runtime. The broker's socket will be in `directory`.
    ///
    /// # Errors
    /// Fails if the runtime cannot be created.
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

    /// Returns the provisioner of the run's instances.
    pub fn provisioner(&self) -> &PoolProvisioner {
        &self.provisioner
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// See [`Broker::start`].
    pub fn broker(&self, names: CaseTable, sink: Sink) -> Result<Broker> {
        let _inside = self.runtime().enter();
        let provisioner = Arc::clone(&self.provisioner);
        Broker::start(&self.directory, provisioner, names, None, sink)
    }

    /// Starts a broker for tests without a runner.
    ///
    /// # Errors
    /// See [`Broker::start`].
    pub fn serve(&self, lookup: Box<CaseLookup>) -> Result<Broker> {
        let _inside = self.runtime().enter();
        Broker::start(
            &self.directory,
            Arc::clone(&self.provisioner),
            CaseTable::default(),
            Some(lookup),
            Sink::discard(),
        )
    }

    /// Waits for a future of the broker.
    pub fn wait_for<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime().block_on(what)
    }

    /// Runs nextest until it ends.
    ///
    /// # Errors
    /// Fails if nextest cannot be started.
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

    /// Ends the leases, then deletes instances that this run does not keep and leftovers of dead runs.
    ///
    /// # Errors
    /// Errors of the pool; or an interrupted clean-up, with exit code 130.
    pub fn clean_up(&self, broker: &Broker, keep: bool, interrupts: &mut u32) -> Result<Report> {
        // Running deploys are no longer needed.
        broker.cancel();
        process::kill_scripts();
        self.runtime().block_on(async {
            let mut signals = Signals::catch()?;
            let work = self.delete(broker, keep, *interrupts == 0);
            tokio::pin!(work);
            let mut limit = until(*interrupts);
            let left = loop {
                if *interrupts > 1 {
                    break "interrupted twice: instances remain".to_owned();
                }
                tokio::select! {
                    done = &mut work => return done,
                    number = signals.next() => {
                        if counted(number, *interrupts) == 0 {
                            continue;
                        }
                        *interrupts += 1;
                        limit = until(*interrupts);
                        ui::note("interrupted: cleaning up; interrupt again to leave the instances behind");
                    }
                    () = tokio::time::sleep_until(limit) => {
                        break format!("timed out after {} s cleaning up", CLEAN_UP.as_secs());
                    }
                }
            };
            process::kill_scripts();
            Err(Error::new(ErrorKind::Infra, left)
                .with_hint("`cargo target-test --delete-targets` deletes the remaining instances")
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
        // A deploy that ignores the cancellation must not delay the exit.
        let _ = std::fs::remove_file(Broker::socket_in(&self.directory));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the deadline of the clean-up.
fn until(interrupts: u32) -> Instant {
    // Practically unlimited, without overflow.
    const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    Instant::now() + if interrupts > 0 { CLEAN_UP } else { FOREVER }
}

/// Returns the number of interrupts that a signal adds. Closing a terminal sends SIGHUP twice (kernel and shell), so a
/// SIGHUP never counts as a second interrupt.
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
