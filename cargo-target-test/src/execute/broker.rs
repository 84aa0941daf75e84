//! The broker: holds leases and live connections, requests deploys, and serves runners and tests on a Unix socket.
//!
//! Must not know nextest or the playbook. If the broker dies, the kernel drops its locks, which frees every lease.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::{BrokerRequest, Reply};
use tokio::net::{UnixListener, UnixStream};

use crate::{
    error::{Error, ErrorKind, Result},
    provision::PoolProvisioner,
    run_event::Sink,
};

mod active_lease;
mod case;
pub mod case_table;
mod connection;
mod failed;
mod fixtures;
mod lease_ends;
mod leases;
mod session;
pub mod standalone;
mod sync;
mod tear_down;
mod variables;
mod waits;

use case::{Cases, OutputPaths};
pub use case_table::{CaseTable, LeasingCase, Runnable};
use connection::{ClientConnection, request_failure};
use failed::FailedCases;
use fixtures::SharedFixtures;
use lease_ends::LeaseEnds;
use leases::ActiveLeases;
use session::SessionParts;
use standalone::{CaseLookup, Standalone};
use variables::Variables;
use waits::LeaseWaits;

/// The name of the socket in the broker's folder. The name is short because a socket's path has at most 108 bytes.
const SOCKET: &str = "s";
/// The time limit for leases to end after their holders are gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker.
pub struct Broker {
    server: Arc<Server>,
}

/// The parts of the broker that serve a client.
struct Server {
    provisioner: Arc<PoolProvisioner>,
    leases: Arc<ActiveLeases>,
    ends: Arc<LeaseEnds>,
    sessions: Arc<SessionParts>,
    cases: Cases,
    standalone: Standalone,
    /// The number of running operations that may hold or get a lease.
    serving: AtomicU64,
}

/// Counts an operation that may hold or get a lease, until dropped.
struct Serving<'a>(&'a Server);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
        self.0.provisioner.changed().notify_waiters();
    }
}

impl Broker {
    /// Binds the socket in `directory`, a private folder with a short path, and starts to serve. Must be called in a
    /// tokio runtime.
    ///
    /// # Errors
    /// Fails if the socket cannot be bound.
    pub fn start(
        directory: &Path,
        provisioner: Arc<PoolProvisioner>,
        table: CaseTable,
        lookup: Option<Box<CaseLookup>>,
        sink: Sink,
    ) -> Result<Self> {
        let socket = Self::socket_in(directory);
        let listener = UnixListener::bind(&socket).map_err(|error| {
            let message = format!("failed to listen on `{}`", socket.display());
            Error::new(ErrorKind::Other, message).with_source(error)
        })?;
        let variables = Variables {
            socket,
            ssh_config: Self::ssh_config_in(directory),
            stays: table.holds_failed(),
        };
        let server = Arc::new(Server::new(provisioner, table, lookup, variables, sink));
        tokio::spawn(accept(Arc::clone(&server), listener));
        Ok(Self { server })
    }

    /// Returns the socket's path in a broker's folder.
    pub fn socket_in(directory: &Path) -> PathBuf {
        directory.join(SOCKET)
    }

    /// Returns the file for `ssh -F` in a broker's folder.
    pub fn ssh_config_in(directory: &Path) -> PathBuf {
        directory.join("ssh_config")
    }

    /// Cancels deploys and waits, because the run is over.
    pub fn cancel(&self) {
        self.server.provisioner.cancel();
    }

    /// Waits until leases of tests that were just killed have ended, ends the remaining leases, and tears down all
    /// shared fixtures.
    pub async fn end_leases(&self) {
        self.until(|| self.serving() == 0).await;
        self.server.ends.end_on_instances().await;
        // Instances that no case needs may still be torn down; fixtures of the run are the last.
        self.until(|| self.clients() == 0).await;
        self.server.ends.end_of_run().await;
        self.server.provisioner.disconnect();
    }

    /// Opens a shell on each instance of the failed cases, one after the other, in this terminal, and ends their
    /// leases. Without a terminal, only ends the leases.
    pub async fn open_shells(&self) {
        self.until(|| self.clients() == 0).await;
        let Server { cases, ends, .. } = &*self.server;
        cases.failed.open_shells(ends).await;
    }

    /// Waits, up to a limit, until operations have ended: the end of nextest's last case may not have arrived yet.
    async fn until(&self, have_ended: impl Fn() -> bool) {
        let ended = async {
            loop {
                let changed = self.server.provisioner.changed().notified();
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
        let busy = u64::from(self.server.provisioner.is_busy());
        self.serving() + busy
    }
}

impl Server {
    fn new(
        provisioner: Arc<PoolProvisioner>,
        table: CaseTable,
        lookup: Option<Box<CaseLookup>>,
        variables: Variables,
        sink: Sink,
    ) -> Self {
        let variables = Arc::new(variables);
        let leases = Arc::new(ActiveLeases::new(Arc::clone(&provisioner)));
        let fixtures = Arc::new(SharedFixtures::new(sink.clone()));
        let sessions = Arc::new(SessionParts {
            fixtures: Arc::clone(&fixtures),
            sink: sink.clone(),
            ssh_config: variables.ssh_config.clone(),
        });
        let ends = Arc::new(LeaseEnds {
            provisioner: Arc::clone(&provisioner),
            leases: Arc::clone(&leases),
            fixtures,
            variables: Arc::clone(&variables),
            sink: sink.clone(),
            releases: table.releases(),
        });
        let waits = Arc::new(LeaseWaits::new(
            Arc::clone(&provisioner),
            Arc::clone(&leases),
            table.captured(),
        ));
        let standalone = Standalone {
            lookup: lookup.map(Arc::from),
            waits: Arc::clone(&waits),
            ends: Arc::clone(&ends),
            sessions: Arc::clone(&sessions),
        };
        let cases = Cases {
            provisioner: Arc::clone(&provisioner),
            waits,
            ends: Arc::clone(&ends),
            failed: FailedCases::new(Arc::clone(&provisioner), Arc::clone(&variables)),
            variables,
            output: OutputPaths::new(table.output()),
            table,
            sink,
        };
        Self {
            provisioner,
            leases,
            ends,
            sessions,
            cases,
            standalone,
            serving: AtomicU64::new(0),
        }
    }

    async fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let pid = stream.peer_cred()?.pid().unwrap_or(0).cast_unsigned();
        let mut connection = ClientConnection::accept(stream).await?;
        let request = connection.requests.recv().await;
        let _serving = self.serving();
        match request {
            Some((request @ BrokerRequest::Start { .. }, _)) => {
                self.cases.serve(&mut connection, pid, request).await
            }
            Some((BrokerRequest::Attach { lease }, _)) => {
                let Some(held) = self.leases.get(&lease) else {
                    let failure = request_failure("the lease has ended");
                    return connection.replies.send(&Reply::Refused(failure)).await;
                };
                let leased = Reply::Leased {
                    lease,
                    instances: held.instances.clone(),
                    expect_fail: None,
                };
                connection.replies.send(&leased).await?;
                session::serve(&self.sessions, &mut connection, &held).await
            }
            Some((request @ BrokerRequest::Acquire { .. }, _)) => {
                self.standalone.serve(&mut connection, pid, request).await
            }
            Some(_) => {
                let failure = request_failure("the first request must be start, attach or acquire");
                connection.replies.send(&Reply::Refused(failure)).await
            }
            None => Ok(()),
        }
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
