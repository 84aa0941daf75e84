//! The state that all instance sets of a run share: the pool, live connections, and the progress of the run.
//!
//! Must not decide anything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    case::reason::DirtyReason,
    connect::{LiveConnection, ssh_file::SshHosts},
    error::Result,
    provision::{
        PoolRun,
        platform::pool_id,
        pool::Record,
        prepare::{DeployedInstance, Machines},
        unit,
    },
    run_event::{CleanUp, RunEventKind},
    secret::redacted,
    sync,
};

/// The state that all instance sets of a run share.
pub(crate) struct Context {
    pub(crate) run: PoolRun,
    /// The file for `ssh -F` in which every ready instance is a host, and its hosts.
    ssh_config: PathBuf,
    ssh_hosts: SshHosts,
    pub(super) machines: Machines,
    /// The connections to machines, by unique name.
    connections: Mutex<HashMap<String, Arc<LiveConnection>>>,
    /// Records leased by this run, with the number of leases.
    leased: Mutex<BTreeMap<String, usize>>,
    /// The report on instances that were deleted because no case needed them any more.
    pub(crate) released: Mutex<CleanUp>,
    progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Notified when a lease ends, a deploy ends, or a background task ends.
    pub(crate) changed: Arc<Notify>,
    /// True if deploys and waits must stop.
    cancelled: AtomicBool,
    /// True if waits must stop.
    closed: AtomicBool,
    marks: AtomicU64,
    /// The number of background tasks that no caller waits for.
    busy: AtomicU64,
    /// True if a task moves the expiry of the run's instances.
    renewing: AtomicBool,
}

/// The time between two checks of the expiry of the run's instances.
const RENEWALS: Duration = Duration::from_secs(10 * 60);

/// Counts as a background task until it is dropped.
pub(crate) struct Busy(Arc<Context>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

/// Counts the records of a lease until it is dropped.
pub(crate) struct LeasedRecords {
    context: Arc<Context>,
    records: Vec<String>,
}

impl Drop for LeasedRecords {
    fn drop(&mut self) {
        let mut leased = self.context.leased();
        for record in &self.records {
            if let Some(count) = leased.get_mut(record) {
                *count -= 1;
            }
        }
        leased.retain(|_, count| *count > 0);
        drop(leased);
        self.context.changed.notify_waiters();
    }
}

impl Context {
    pub(crate) fn new(
        run: PoolRun,
        ssh_config: &Path,
        progress: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self {
            run,
            ssh_config: ssh_config.to_owned(),
            ssh_hosts: SshHosts::default(),
            machines: Machines::default(),
            connections: Mutex::default(),
            leased: Mutex::default(),
            released: Mutex::default(),
            progress,
            changed: Arc::default(),
            cancelled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            marks: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            renewing: AtomicBool::new(false),
        }
    }

    /// Shows a line about a long step or a problem.
    pub(crate) fn progress(&self, line: &str) {
        (self.progress)(line);
        self.emit(RunEventKind::Progress {
            message: redacted(line).into_owned(),
        });
    }

    /// Emits an event of the run, if anything receives events.
    pub(crate) fn emit(&self, kind: RunEventKind) {
        self.run.emit(kind);
    }

    /// Stops deploys and waits.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Stops waits.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Completes when deploys are no longer needed.
    pub(super) async fn cancelled(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_cancelled() || self.closed.load(Ordering::Relaxed)
    }

    /// Returns a mark that no other lease has.
    pub(crate) fn new_mark(&self) -> String {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.run.run().id)
    }

    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Starts to move the expiry of the run's instances where it is due, as long as the run lives.
    pub(super) fn start_renewing(self: &Arc<Self>) {
        if self.renewing.swap(true, Ordering::Relaxed) {
            return;
        }
        let run = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWALS).await;
                let Some(context) = run.upgrade() else {
                    return;
                };
                let renewing = Arc::clone(&context);
                if let Err(error) = sync::blocking(move || renewing.run.renew_used()).await {
                    context.progress(&format!("failed to renew an instance: {}", error.chain()));
                }
            }
        });
    }

    /// Counts records as leased.
    pub(super) fn lease(self: &Arc<Self>, records: Vec<String>) -> LeasedRecords {
        let mut leased = self.leased();
        for record in &records {
            *leased.entry(record.clone()).or_default() += 1;
        }
        drop(leased);
        let context = Arc::clone(self);
        LeasedRecords { context, records }
    }

    /// The records that this run leases.
    pub(super) fn leased_records(&self) -> BTreeSet<String> {
        self.leased().keys().cloned().collect()
    }

    /// Adds the machines of a unit to the hosts of the file for `ssh -F`. Blocks.
    pub(super) fn add_ssh_host(&self, record: &Record) -> Result<()> {
        if self.ssh_config.as_os_str().is_empty() {
            return Ok(());
        }
        for machine in unit::machines(record)? {
            let instance = self.instance(&machine)?;
            self.ssh_hosts
                .add(&self.ssh_config, &instance.name, &instance.reach)?;
        }
        Ok(())
    }

    /// The live connection to a machine; created on first use.
    pub(super) fn connection(
        &self,
        record: &Record,
        instance: &DeployedInstance,
    ) -> Arc<LiveConnection> {
        let mut connections = self.connections();
        let connection = connections
            .entry(record.spec.unique.clone())
            .or_insert_with(|| Arc::new(LiveConnection::new(instance.connect())));
        Arc::clone(connection)
    }

    /// Keeps the connection that prepared a machine.
    pub(super) fn keep_connection(&self, record: &Record, connection: LiveConnection) {
        self.connections()
            .insert(record.spec.unique.clone(), Arc::new(connection));
    }

    /// Marks the instance dirty: it must not serve again before it is recycled.
    pub(crate) async fn mark_dirty(self: &Arc<Self>, record: &Record, reason: DirtyReason) {
        self.disconnect(&record.id);
        let (context, failed) = (Arc::clone(self), reason.is_failure());
        let (dirty, cause) = (record.clone(), reason.to_string());
        self.emit(RunEventKind::Dirty {
            instance: record.name().to_owned(),
            reason,
        });
        let marked = tokio::task::spawn_blocking(move || {
            if failed {
                context.run.save_console(&dirty);
            }
            context.run.mark_dirty(&dirty.id, &cause)
        });
        if let Ok(Err(error)) = marked.await {
            self.progress(&error.chain());
        }
    }

    /// Closes the connections to the machines of a record.
    pub(super) fn disconnect(&self, record: &str) {
        self.connections()
            .retain(|unique, _| pool_id(unique) != record);
    }

    /// Closes all connections.
    pub(crate) fn disconnect_all(&self) {
        self.connections().clear();
    }

    /// The instance of a machine's record, with its platform.
    pub(crate) fn instance(&self, record: &Record) -> Result<DeployedInstance> {
        let platform = self.run.run().platforms.get(&record.platform);
        DeployedInstance::of(record, platform)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<String, Arc<LiveConnection>>> {
        sync::lock(&self.connections)
    }

    fn leased(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        sync::lock(&self.leased)
    }
}
