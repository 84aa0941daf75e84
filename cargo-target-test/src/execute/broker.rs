//! The broker: holds leases and live connections, requests deploys, and serves runners and tests on a Unix socket.
//!
//! If the broker dies, the kernel drops its locks, which frees every lease.

// Must not know nextest or the playbook.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::{BrokerRequest, Reply};
use tokio::net::{UnixListener, UnixStream};

use crate::{
    error::{Error, Result},
    execute::Executor,
    provision::{PoolProvisioner, Provisioner},
    run_event::Sink,
};

mod active_lease;
mod artifacts;
mod case;
pub mod case_table;
mod connection;
mod failed;
mod fixtures;
mod lease_ends;
mod leases;
mod on_host;
mod place;
mod previous;
mod session;
pub mod standalone;
mod tear_down;
mod waits;

pub(super) use active_lease::ActiveLease;
pub use artifacts::CaseArtifacts;
pub use case_table::{CaseTable, LeasingCase, Runnable, TestStart};
pub(in crate::execute) use connection::failure_of;
use connection::{ClientConnection, request_failure};
use failed::FailedCase;
use fixtures::SharedFixtures;
pub use leases::ActiveLeases;
use on_host::OnHost;
pub use place::BrokerPlace;
pub use previous::{PreviousLookup, PreviousOf};
pub(in crate::execute) use session::told;
use standalone::CaseLookup;
use waits::WaitNotices;

/// The time limit for leases to end after their holders are gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker.
pub struct Broker {
    server: Arc<Server>,
}

/// The state of a broker. The files of this room add what it does.
struct Server {
    setup: BrokerSetup,
    fixtures: SharedFixtures,
    /// The running tests on the host.
    on_host: Arc<OnHost>,
    notices: WaitNotices,
    /// The failed cases whose instances are kept.
    failed: Mutex<Vec<FailedCase>>,
    /// The number of running operations that may hold or get a lease.
    serving: AtomicU64,
}

/// Counts an operation that may hold or get a lease, until dropped.
struct Serving<'a>(&'a Server);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
        self.0.setup.pool.changed().notify_waiters();
    }
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
    /// Finds values of earlier runs; `None` outside a run.
    pub previous: Option<Arc<PreviousLookup>>,
    /// Receives the run's events.
    pub sink: Sink,
}

/// The processes that may ask a broker for a lease.
pub enum Clients {
    /// Runners, whose cases the executor runs.
    Runners(Arc<dyn Executor>),
    /// Tests without a runner, whose cases the lookup finds.
    Tests(Arc<CaseLookup>),
}

impl Broker {
    /// Binds the socket and starts to serve. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Fails if the socket cannot be bound.
    pub fn start(setup: BrokerSetup) -> Result<Self> {
        let socket = BrokerPlace::socket_in(&setup.place.folder);
        let listener = UnixListener::bind(&socket).map_err(|error| {
            let message = format!("failed to listen on `{}`", socket.display());
            Error::other(message).with_source(error)
        })?;
        let server = Arc::new(Server {
            fixtures: SharedFixtures::new(setup.sink.clone()),
            on_host: Arc::default(),
            notices: WaitNotices::default(),
            failed: Mutex::default(),
            serving: AtomicU64::new(0),
            setup,
        });
        tokio::spawn(accept(Arc::clone(&server), listener));
        Ok(Self { server })
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
                keeps_failed: false,
            },
            pool: Arc::clone(pool),
            leases_from: Arc::<PoolProvisioner>::clone(pool),
            leases: Arc::default(),
            table: Arc::default(),
            clients: Clients::Tests(lookup.into()),
            previous: None,
            sink: Sink::discard(),
        })
    }

    /// Cancels deploys and waits, because a user interrupted the run.
    pub fn interrupt(&self) {
        self.server.setup.pool.interrupt();
    }

    /// Cancels deploys and waits, because the run is over.
    pub fn cancel(&self) {
        self.server.setup.pool.cancel();
    }

    /// Waits until leases of tests that were just killed have ended, ends the remaining leases, and tears down all
    /// shared fixtures.
    pub async fn end_leases(&self) {
        self.until(|| self.serving() == 0).await;
        self.server.end_on_instances().await;
        // Instances that no case needs may still be torn down; fixtures of the run are the last.
        self.until(|| self.clients() == 0).await;
        self.server.end_of_run().await;
        self.server.setup.pool.disconnect();
    }

    /// Opens a shell on each instance of the failed cases, one after the other, in this terminal, and ends their
    /// leases. Without a terminal, only ends the leases.
    pub async fn open_shells(&self) {
        self.until(|| self.clients() == 0).await;
        self.server.open_shells().await;
    }

    /// Waits, up to a limit, until operations have ended: the end of nextest's last case may not have arrived yet.
    async fn until(&self, have_ended: impl Fn() -> bool) {
        let ended = async {
            loop {
                let changed = self.server.setup.pool.changed().notified();
                if have_ended() {
                    break;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, ended).await;
    }

    /// Returns the number of clients that are being served.
    fn serving(&self) -> u64 {
        self.server.serving.load(Ordering::Relaxed)
    }

    /// Returns the number of clients that are being served and of operations that they started.
    pub fn clients(&self) -> u64 {
        let busy = u64::from(self.server.setup.pool.is_busy());
        self.serving() + busy
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nobody accepts connections any more.
        let _ = std::fs::remove_file(BrokerPlace::socket_in(&self.server.setup.place.folder));
    }
}

impl Server {
    async fn serve(self: &Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let pid = stream.peer_cred()?.pid().unwrap_or(0).cast_unsigned();
        let mut connection = ClientConnection::accept(stream).await?;
        let request = connection.requests.recv().await;
        let _serving = self.serving();
        let refused = match (request, &self.setup.clients) {
            (None, _) => return Ok(()),
            (Some((BrokerRequest::Start(request), _)), Clients::Runners(executor)) => {
                return self
                    .serve_runner(&**executor, &mut connection, pid, request)
                    .await;
            }
            (Some((BrokerRequest::Acquire(request), _)), Clients::Tests(lookup)) => {
                return self.serve_test(lookup, &mut connection, pid, request).await;
            }
            (Some((BrokerRequest::Attach { lease }, _)), _) => {
                let held = self.setup.leases.get(&lease);
                let on_host = self.on_host.get(&lease);
                let leased = Reply::Leased {
                    lease,
                    instances: (held.as_ref()).map_or(Vec::new(), |held| held.instances.clone()),
                    expect_fail: Vec::new(),
                };
                match (held, on_host) {
                    (Some(held), _) => {
                        connection.replies.send(&leased).await?;
                        return session::serve(self, &mut connection, &held).await;
                    }
                    (None, Some(attempt)) => {
                        connection.replies.send(&leased).await?;
                        return self.serve_on_host(&mut connection, &attempt).await;
                    }
                    (None, None) => "the lease has ended",
                }
            }
            (Some((BrokerRequest::Start(_), _)), _) => "this broker serves tests without a runner",
            (Some((BrokerRequest::Acquire(_), _)), _) => "this broker serves one run only",
            _ => "the first request must be start, attach or acquire",
        };
        let refused = Reply::Refused(request_failure(refused));
        connection.replies.send(&refused).await
    }

    fn serving(&self) -> Serving<'_> {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(self)
    }
}

async fn accept(server: Arc<Server>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                // Errors of a client that disconnected early are ignored.
                tokio::spawn(async move { server.serve(stream).await });
            }
            // For example out of descriptors: retry when others are closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
