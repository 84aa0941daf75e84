//! The broker: holds leases and live connections, requests deploys, and serves runners and tests on a Unix socket.
//!
//! Must not know nextest or the playbook. If the broker dies, the kernel drops its locks, which frees every lease.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::{BrokerRequest, Failure, FailureKind, Reply};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinSet,
};

use crate::{
    error::{Error, ErrorKind, Result, one_line},
    execute::Executor,
    provision::{InstanceSet, LeaseEnd, Notice, PoolProvisioner, Provisioner, WaitNotice},
    run_event::{Attempt, Sink},
    ui,
};

mod active_lease;
mod case;
pub mod case_table;
mod connection;
mod failed;
mod fixtures;
mod session;
pub mod standalone;

pub(super) use active_lease::ActiveLease;
pub use active_lease::ActiveLeases;
pub use case::BrokerPlace;
pub(super) use case::environment;
pub use case_table::{CaseTable, LeasingCase, Runnable, TestStart};
use connection::{ClientConnection, request_failure};
use failed::Failed;

/// The name of the socket in the broker's folder. The name is short because a socket's path has at most 108 bytes.
const SOCKET: &str = "s";
/// The time limit for leases to end after their holders are gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// The minimum interval between two notices of cases that wait for the same target.
const WAITS_APART: Duration = Duration::from_secs(30);

/// A running broker.
pub struct Broker {
    core: Arc<Core>,
}

/// Counts an operation that may hold or get a lease, until dropped.
struct Serving(Arc<Core>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

/// State shared by the broker's tasks.
pub(crate) struct Core {
    place: BrokerPlace,
    provisioner: Arc<PoolProvisioner>,
    /// Grants the leases of tests.
    leases_from: Arc<dyn Provisioner>,
    names: Arc<CaseTable>,
    clients: Clients,
    /// Receives the run's events.
    pub(crate) sink: Sink,
    /// Attempts that hold a lease, by lease id.
    attempts: Mutex<HashMap<String, Attempt>>,
    leases: Arc<ActiveLeases>,
    /// Throttles the notices that cases wait for a target, by target.
    waiting: Mutex<HashMap<String, WaitNotice>>,
    /// The number of running operations that may hold or get a lease.
    serving: AtomicU64,
    /// Notified when a lease ends, a deploy ends or an operation ends.
    changed: Arc<Notify>,
    /// Failed cases whose instances are kept for inspection.
    failed: Mutex<Vec<Failed>>,
    /// Shared fixtures, in setup order.
    fixtures: Mutex<Vec<fixtures::SharedFixture>>,
}

/// The parts that a broker connects.
pub struct BrokerSetup {
    /// The folder of the socket, which is private and has a short path, and the treatment of failed cases.
    pub place: BrokerPlace,
    /// The provisioner, whose deploys the broker shows and ends.
    pub pool: Arc<PoolProvisioner>,
    /// The source of leases.
    pub leases_from: Arc<dyn Provisioner>,
    /// The leases of running tests.
    pub leases: Arc<ActiveLeases>,
    /// The cases of the run.
    pub table: Arc<CaseTable>,
    /// The processes that may ask for a lease.
    pub clients: Clients,
    /// Receives the run's events.
    pub sink: Sink,
}

/// The processes that may ask a broker for a lease.
pub enum Clients {
    /// Runners, whose cases the executor runs.
    Runners(Arc<dyn Executor>),
    /// Tests without a runner, whose cases the lookup finds.
    Tests(Box<standalone::CaseLookup>),
}

impl Broker {
    /// Binds the socket and starts to serve. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Fails if the socket cannot be bound.
    pub fn start(setup: BrokerSetup) -> Result<Self> {
        let core = Arc::new(Core {
            changed: Arc::clone(setup.pool.changed()),
            place: setup.place,
            provisioner: setup.pool,
            leases_from: setup.leases_from,
            names: setup.table,
            clients: setup.clients,
            sink: setup.sink,
            leases: setup.leases,
            attempts: Mutex::default(),
            waiting: Mutex::default(),
            serving: AtomicU64::new(0),
            failed: Mutex::default(),
            fixtures: Mutex::default(),
        });
        let listener = UnixListener::bind(core.socket()).map_err(|error| {
            let path = core.socket().display().to_string();
            Error::new(ErrorKind::Other, format!("failed to listen on `{path}`")).with_source(error)
        })?;
        tokio::spawn(accept(Arc::clone(&core), listener));
        Ok(Self { core })
    }

    /// Starts a broker for tests without a runner. See [`Broker::start`].
    ///
    /// # Errors
    /// Fails if the socket cannot be bound.
    pub fn standalone(
        folder: &Path,
        pool: &Arc<PoolProvisioner>,
        lookup: Box<standalone::CaseLookup>,
    ) -> Result<Self> {
        Self::start(BrokerSetup {
            place: BrokerPlace {
                folder: folder.to_owned(),
                holds_failed: false,
            },
            pool: Arc::clone(pool),
            leases_from: Arc::<PoolProvisioner>::clone(pool),
            leases: Arc::default(),
            table: Arc::default(),
            clients: Clients::Tests(lookup),
            sink: Sink::discard(),
        })
    }

    /// Returns the socket's path in a broker's folder.
    pub fn socket_in(directory: &Path) -> PathBuf {
        directory.join(SOCKET)
    }

    /// Returns the file for `ssh -F` in a broker's folder.
    pub fn ssh_config_in(directory: &Path) -> PathBuf {
        directory.join("ssh_config")
    }

    /// Cancels deploys and waits, because a user interrupted the run.
    pub fn interrupt(&self) {
        self.core.provisioner.interrupt();
    }

    /// Cancels deploys and waits, because the run is over.
    pub fn cancel(&self) {
        self.core.provisioner.cancel();
    }

    /// Waits until leases of tests that were just killed have ended, and ends the remaining leases.
    pub async fn end_leases(&self) {
        self.all_served().await;
        let leases = self.core.leases.all();
        // Tear-downs may be slow, so leases end in parallel.
        let mut ends = JoinSet::new();
        for held in leases {
            let core = Arc::clone(&self.core);
            ends.spawn(async move { core.end_lease(&held, LeaseEnd::Abandoned).await });
        }
        ends.join_all().await;
        self.core.end_all_fixtures().await;
        self.core.provisioner.disconnect();
    }

    /// Waits, up to a limit, until all operations have ended: the end of nextest's last case may not have arrived yet.
    async fn all_served(&self) {
        let served = async {
            loop {
                let changed = self.core.changed.notified();
                if self.clients() == 0 {
                    break;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, served).await;
    }

    /// Returns the number of clients that are being served and of operations that they started.
    pub fn clients(&self) -> u64 {
        let busy = u64::from(self.core.provisioner.is_busy());
        self.core.serving.load(Ordering::Relaxed) + busy
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nobody accepts connections any more.
        let _ = std::fs::remove_file(self.core.socket());
    }
}

impl Core {
    fn socket(&self) -> PathBuf {
        Broker::socket_in(&self.place.folder)
    }

    fn ssh_config(&self) -> PathBuf {
        Broker::ssh_config_in(&self.place.folder)
    }

    fn serving(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// Prints a notice that a case waits, at most once per interval and target.
    fn waiting(&self, notice: &Notice) {
        if !notice.is_long || !self.names.captured() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let apart = waiting
            .entry(notice.target.clone())
            .or_insert_with(|| WaitNotice::even(Duration::ZERO, WAITS_APART));
        if apart.is_due(&notice.text) {
            ui::transient(&notice.text);
        }
    }

    /// Returns the failure as the log of a case shows it. If a deploy entry of the run shows the failed deploy in full,
    /// the case shows one line. A deploy entry covers only the first deploy of an instance, not its replacement.
    fn told(&self, set: &InstanceSet, failure: &Failure) -> Failure {
        let first = set.failed_at_first(&failure.message);
        let entry = first.and_then(|instance| self.names.deploy_of(&instance));
        match entry {
            Some(entry) => Failure {
                message: one_line(&failure.message),
                hint: Some(format!("see `{entry}` for details")),
                ..failure.clone()
            },
            None => failure.clone(),
        }
    }
}

async fn accept(core: Arc<Core>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let core = Arc::clone(&core);
                // Errors of a client that disconnected early are ignored.
                tokio::spawn(async move { serve(&core, stream).await });
            }
            // For example out of descriptors: retry when others are closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(core: &Arc<Core>, stream: UnixStream) -> io::Result<()> {
    let pid = stream.peer_cred()?.pid().unwrap_or(0).cast_unsigned();
    let mut connection = ClientConnection::accept(stream).await?;
    let request = connection.requests.recv().await;
    let _serving = core.serving();
    match request {
        Some((request @ BrokerRequest::Start { .. }, _)) => match &core.clients {
            Clients::Runners(executor) => {
                case::serve(core, &**executor, &mut connection, pid, request).await
            }
            Clients::Tests(_) => {
                let failure = request_failure("this broker serves tests without a runner");
                connection.replies.send(&Reply::Refused(failure)).await
            }
        },
        Some((BrokerRequest::Attach { lease }, _)) => {
            let held = core.leases.get(&lease);
            let Some(held) = held else {
                let failure = request_failure("the lease has ended");
                return connection.replies.send(&Reply::Refused(failure)).await;
            };
            let instances = held.instances.clone();
            connection
                .replies
                .send(&Reply::Leased {
                    lease,
                    instances,
                    expect_fail: None,
                })
                .await?;
            session::serve(core, &mut connection, &held).await
        }
        Some((request @ BrokerRequest::Acquire { .. }, _)) => {
            standalone::serve(core, &mut connection, pid, request).await
        }
        Some(_) => {
            let failure = request_failure("the first request must be start, attach or acquire");
            connection.replies.send(&Reply::Refused(failure)).await
        }
        None => Ok(()),
    }
}

/// Converts an error to the failure that a client receives.
fn infra(error: &Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Timeout => FailureKind::Timeout,
        ErrorKind::Usage => FailureKind::Request,
        ErrorKind::Unfit => FailureKind::Skip,
        _ => FailureKind::Infra,
    };
    Failure {
        kind,
        message: error.chain(),
        hint: error.hint().map(str::to_owned),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
