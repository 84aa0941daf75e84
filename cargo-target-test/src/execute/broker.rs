//! The broker: holds leases and live connections, has instances deployed, serves runners and tests.
//!
//! Owns one Unix socket in a private folder and everything that lives as long as it. Must not know
//! nextest or the playbook. Dying in any way frees every lease, since the kernel drops the locks.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use target_fixtures::wire::{Failure, FailureKind, Reply, Request};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinSet,
};

use crate::{
    connect::{LiveConnection, ssh_file::SshHosts},
    error::{Error, ErrorKind, Result},
    provision::{Provisioner, Report},
    run_event::{Attempt, Sink},
    ui,
};

mod case;
pub mod case_table;
mod connection;
mod demand;
mod failed;
mod fixtures;
mod held;
mod lending;
mod make;
mod release;
mod restore;
mod session;
pub mod standalone;
pub mod supply;
mod usage;

pub use case_table::{CaseTable, LeasingCase, Runnable};
use connection::{Connection, request_failure};
use failed::Failed;
use held::{End, Held};
pub use supply::Supply;
pub use usage::Used;

/// The name of the socket in the broker's folder: short, since a socket's path has at most 108 bytes.
const SOCKET: &str = "s";
/// How long leases whose holders are gone may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing more is said of what waits for one target.
const WAITS_APART: Duration = Duration::from_secs(30);

/// A running broker.
pub struct Broker {
    core: Arc<Core>,
}

/// Counts something that may have, or get, a lease, for as long as it is under way.
struct Serving(Arc<Core>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

/// What its tasks share.
pub(crate) struct Core {
    provisioner: Arc<Provisioner>,
    directory: PathBuf,
    run: String,
    names: CaseTable,
    /// What happens is told here.
    pub(crate) sink: Sink,
    /// The attempts that have a lease, by lease.
    attempts: Mutex<HashMap<String, Attempt>>,
    lookup: Option<Box<standalone::Lookup>>,
    lines: Mutex<HashMap<String, Arc<LiveConnection>>>,
    leases: Mutex<HashMap<String, Arc<Held>>>,
    /// When it is next worth a word that cases wait for a target.
    waiting: Mutex<HashMap<String, Instant>>,
    ssh_hosts: SshHosts,
    counter: AtomicU64,
    /// How much is under way that may have, or get, a lease.
    serving: AtomicU64,
    /// A lease ended, an instance came up or not, something is not under way any more.
    changed: Notify,
    cancelled: AtomicBool,
    /// Whether instances that no remaining case needs go at once.
    releases: bool,
    /// What became of those.
    released: Mutex<Report>,
    /// Cases whose instances stay for somebody to look at.
    failed: Mutex<Vec<Failed>>,
    /// What tests share, in the order in which it was set up.
    fixtures: Mutex<Vec<fixtures::Entry>>,
}

impl Broker {
    /// Binds the socket in `directory` (private, short) and starts to serve. Within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub fn start(
        directory: &Path,
        provisioner: Arc<Provisioner>,
        names: CaseTable,
        lookup: Option<Box<standalone::Lookup>>,
        sink: Sink,
    ) -> Result<Self> {
        let releases = names.releases();
        let core = Arc::new(Core {
            run: provisioner.run().id.clone(),
            provisioner,
            directory: directory.to_owned(),
            names,
            sink,
            attempts: Mutex::default(),
            lookup,
            lines: Mutex::default(),
            leases: Mutex::default(),
            waiting: Mutex::default(),
            ssh_hosts: SshHosts::default(),
            counter: AtomicU64::new(0),
            serving: AtomicU64::new(0),
            changed: Notify::new(),
            cancelled: AtomicBool::new(false),
            releases,
            released: Mutex::default(),
            failed: Mutex::default(),
            fixtures: Mutex::default(),
        });
        let listener = UnixListener::bind(core.socket()).map_err(|error| {
            let path = core.socket().display().to_string();
            Error::new(ErrorKind::Other, format!("cannot listen on `{path}`")).with_source(error)
        })?;
        tokio::spawn(accept(Arc::clone(&core), listener));
        Ok(Self { core })
    }

    /// The socket's path in a broker's folder.
    pub fn socket_in(directory: &Path) -> PathBuf {
        directory.join(SOCKET)
    }

    /// Starts deploying now what would otherwise be asked for first by a case, and waits for it.
    ///
    /// # Errors
    /// Why an instance could not be had.
    pub async fn prepare(&self, supply: &Arc<Supply>, count: u32) -> Result<()> {
        for index in 0..count as usize {
            let ready = supply.ready(&self.core, index).await;
            ready.map_err(|failure| Error::new(ErrorKind::Infra, failure.message))?;
        }
        Ok(())
    }

    /// Has everything deployed without waiting for it: nextest needs a while to come to its first entry.
    /// Within a tokio runtime.
    pub fn deploy_ahead<'a>(&self, supplies: impl IntoIterator<Item = &'a Arc<Supply>>) {
        for supply in supplies {
            supply.ask_for_all(&self.core);
        }
    }

    /// Deploys and waits give up: the run is over.
    pub fn cancel(&self) {
        self.core.cancelled.store(true, Ordering::Relaxed);
        self.core.changed.notify_waiters();
    }

    /// Waits until the leases have ended (of tests that were killed a moment ago), so that nothing is in
    /// use, and ends those that do not by themselves.
    pub async fn end_leases(&self) {
        self.all_served().await;
        let leases: Vec<_> = lock(&self.core.leases).values().cloned().collect();
        // Each may have much to tear down, and none waits for another.
        let mut ends = JoinSet::new();
        for held in leases {
            let core = Arc::clone(&self.core);
            ends.spawn(async move { held.end(&core, End::Abandoned).await });
        }
        ends.join_all().await;
        self.core.end_all_fixtures().await;
        lock(&self.core.lines).clear();
    }

    /// Waits, within a bound, until what is under way is over: who ended nextest's last case may not have been heard.
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

    /// How many clients are being served.
    pub fn clients(&self) -> u64 {
        self.core.serving.load(Ordering::Relaxed)
    }

    /// What became of the instances that no case needed any more; taken.
    pub fn take_released(&self) -> Report {
        std::mem::take(&mut lock(&self.core.released))
    }
}

impl Core {
    fn socket(&self) -> PathBuf {
        Broker::socket_in(&self.directory)
    }

    fn ssh_config(&self) -> PathBuf {
        self.directory.join("ssh_config")
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// A mark that no other lease ever had.
    fn new_lease(&self) -> String {
        format!(
            "{}-{}",
            self.run,
            self.counter.fetch_add(1, Ordering::Relaxed)
        )
    }

    fn serving(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    fn remember(&self, held: &Arc<Held>) {
        lock(&self.leases).insert(held.id.clone(), Arc::clone(held));
    }

    /// The lease has ended: whoever waits may look again.
    fn forget(&self, held: &Held) {
        lock(&self.leases).remove(&held.id);
        self.changed.notify_waiters();
    }

    /// What a case waits for, once in a while for each target.
    fn waiting(&self, target: &str, text: &str) {
        let mut said = lock(&self.waiting);
        let now = Instant::now();
        if self.names.captured() && said.get(target).is_none_or(|next| now >= *next) {
            said.insert(target.to_owned(), now + WAITS_APART);
            ui::passing(text);
        }
    }

    /// What long deploys say while they go on.
    fn progress(&self, line: &str) {
        ui::live(line);
    }
}

async fn accept(core: Arc<Core>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let core = Arc::clone(&core);
                // A client that went away in the middle is its own affair.
                tokio::spawn(async move { serve(&core, stream).await });
            }
            // Out of descriptors, say: others will close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(core: &Arc<Core>, stream: UnixStream) -> io::Result<()> {
    let pid = stream.peer_cred()?.pid().unwrap_or(0).cast_unsigned();
    let mut connection = Connection::accept(stream).await?;
    let request = connection.requests.recv().await;
    let _serving = core.serving();
    match request {
        Some((request @ Request::Start { .. }, _)) => {
            case::serve(core, &mut connection, pid, request).await
        }
        Some((Request::Attach { lease }, _)) => {
            let held = lock(&core.leases).get(&lease).cloned();
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
        Some((request @ Request::Acquire { .. }, _)) => {
            standalone::serve(core, &mut connection, pid, request).await
        }
        Some(_) => {
            let failure = request_failure("the first request must be start, attach or acquire");
            connection.replies.send(&Reply::Refused(failure)).await
        }
        None => Ok(()),
    }
}

/// What a client is told of an error.
fn infra(error: &Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Timeout => FailureKind::Timeout,
        ErrorKind::Usage => FailureKind::Request,
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
