//! A lease: the use of machines until it ends.
//!
//! Ends leases: kills remaining processes, then restores, marks dirty or returns the instances. Must not know what a
//! lease is used for.

mod watch;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use target_fixtures::env;

use self::watch::LossWatch;
pub use self::watch::Lost;
use super::{
    After, Machine,
    instances::{Context, InstanceSet, LeasedRecords},
    network::RunningNetwork,
    pool::{self, Record},
    unit,
    wrapped::Seat,
};
use crate::{
    case::{reason::DirtyReason, verdict::Verdict},
    error::{Error, Result},
    process::{self, LeftProcess},
    run_event::RunEventKind,
    sync, ui,
};

/// The time limit for killing the remaining processes of a lease.
const SWEEP: Duration = Duration::from_secs(10);

/// The exclusive use of machines. If dropped without [`Lease::end`], the holder is treated as dead.
pub struct Lease(Arc<LeaseState>);

/// The state of a lease, which the broker and an executor share.
struct LeaseState {
    id: String,
    machines: Vec<Machine>,
    watch: LossWatch,
    /// The networks of the leased environments.
    networks: Vec<RunningNetwork>,
    /// True if a network may have faults.
    disturbed: AtomicBool,
    dirty: OnceLock<DirtyReason>,
    unfinished: AtomicBool,
    /// `None` once the lease has ended.
    hold: Mutex<Option<Hold>>,
}

/// The reason a lease ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeaseEnd {
    /// The work is done. Background processes of a command that exited by itself are kept.
    Done,
    /// The work failed, possibly because of a machine.
    Failed,
    /// The work failed, and its retry needs machines that no test has used: the leased ones are recycled.
    WantFresh,
    /// No work was done. Machines used by an earlier test are recycled, unused ones are returned untouched.
    Unused,
    /// The work was cut off: processes that it started on the machines are killed.
    CutOff,
    /// The holder died: processes that it started on the machines and on this host are killed.
    Abandoned,
}

/// The fate of a lease's machines.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The reason that a machine was lost or could not be cleaned, if any. It does not serve again.
    pub lost: Option<String>,
    /// The records of machines that must not serve again.
    pub dirty: Vec<Record>,
}

/// The source of a lease's machines.
pub(super) enum Hold {
    Pool(Box<PoolHold>),
    #[expect(dead_code, reason = "frees the machines when it is dropped")]
    Wrapped(Seat),
}

/// Instances of a pool.
pub(super) struct PoolHold {
    pub(super) context: Arc<Context>,
    /// The sets of the instances, which deploy replacements; empty if the instances are not from sets.
    pub(super) sets: Vec<Arc<InstanceSet>>,
    pub(super) lease: pool::PoolLease,
    pub(super) after: After,
    pub(super) leased: LeasedRecords,
}

impl Lease {
    /// A lease of machines. Needs a tokio runtime.
    pub(super) fn new(id: String, machines: Vec<Machine>, hold: Hold) -> Self {
        // Watched only if the lease can deploy replacements: each check may start a program.
        let networks: Vec<_> = match &hold {
            Hold::Pool(hold) => hold.units().iter().flat_map(unit::networks).collect(),
            Hold::Wrapped(_) => Vec::new(),
        };
        let watch = match &hold {
            Hold::Pool(hold) if !hold.sets.is_empty() => {
                LossWatch::start(machines.clone(), networks.clone())
            }
            _ => LossWatch::start(Vec::new(), Vec::new()),
        };
        Self(Arc::new(LeaseState {
            id,
            machines,
            watch,
            networks,
            disturbed: AtomicBool::new(false),
            dirty: OnceLock::new(),
            unfinished: AtomicBool::new(false),
            hold: Mutex::new(Some(hold)),
        }))
    }

    /// Returns the same lease. It ends once for all its owners.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// The mark on every process that the lease starts.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The machines, in the order of the wants.
    pub fn machines(&self) -> &[Machine] {
        &self.0.machines
    }

    /// The machines in a role; the machine of this name in an environment.
    pub fn role(&self, role: &str) -> impl Iterator<Item = &Machine> {
        let machines = self.0.machines.iter();
        machines.filter(move |machine| machine.role() == Some(role))
    }

    /// A network of a leased environment, to add faults to: they are healed when the lease ends.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the environment has no such network.
    pub fn network(&self, environment: &str, name: &str) -> Result<&RunningNetwork> {
        let mut networks = self.0.networks.iter();
        let found = networks.find(|one| (one.environment(), one.name()) == (environment, name));
        self.0
            .disturbed
            .fetch_or(found.is_some(), Ordering::Relaxed);
        found.ok_or_else(|| Error::usage(format!("network `{name}` of `{environment}` not found")))
    }

    /// Ends the faults of all networks.
    async fn heal(&self) -> Result<()> {
        if !self.0.disturbed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let networks = self.0.networks.clone();
        sync::blocking(move || networks.iter().try_for_each(RunningNetwork::heal)).await
    }

    /// A handle that reports the loss of a machine.
    pub fn lost(&self) -> Lost {
        self.0.watch.lost()
    }

    /// Marks the machines dirty, for this reason.
    pub fn mark_dirty(&self, reason: DirtyReason) {
        // The first reason stays.
        let _ = self.0.dirty.set(reason);
    }

    /// Notes the verdict of the work. A machine with several infra verdicts in a row is set aside for the run, while
    /// another machine of its target serves.
    pub(crate) fn judged(&self, verdict: &Verdict) {
        let hold = sync::lock(&self.0.hold);
        let Some(Hold::Pool(hold)) = hold
            .as_ref()
            .filter(|_| !matches!(verdict, Verdict::Skip(_)))
        else {
            return;
        };
        for record in self.0.machines.iter().filter_map(Machine::record) {
            if !verdict.is_final() {
                hold.context.run.note_failed(record);
            }
            let aside = hold
                .sets
                .iter()
                .flat_map(|set| set.judged(record.name(), verdict));
            for instance in aside {
                hold.context.emit(RunEventKind::SetAside { instance });
            }
        }
    }

    /// Keeps the machines for later runs, even if this run keeps no others. Dirty machines are deleted all the same.
    pub(crate) fn keep_machines(&self) {
        if let Some(Hold::Pool(hold)) = &*sync::lock(&self.0.hold) {
            let records = self.0.machines.iter().filter_map(Machine::record);
            records.for_each(|record| hold.context.run.pin(&record.id));
        }
    }

    /// Notes that a process may still run on the machines; it is killed when the lease ends.
    pub fn leave_unfinished(&self) {
        self.0.unfinished.store(true, Ordering::Relaxed);
    }

    /// Ends the lease: kills what it still runs, and only then frees the machines. If abandoned, all processes that
    /// carry its mark are killed, also on this host.
    pub async fn end(self, end: LeaseEnd) -> Ended {
        let (mut ended, mut errors) = (Ended::default(), BTreeMap::new());
        let hold = sync::lock(&self.0.hold);
        let Some(mut hold) = { hold }.take() else {
            return ended;
        };
        let is_lost = self.0.watch.lost().loss().is_some();
        self.0.watch.stop();
        if let Err(error) = self.heal().await {
            self.mark_dirty(DirtyReason::Lost(error.chain()));
        }
        for machine in &self.0.machines {
            // A machine that is known to be dead is not asked.
            let well = match is_lost {
                true => machine.check_alive().await,
                false => Ok(()),
            };
            let clean = match well {
                Ok(()) => self.clean(machine, end).await,
                dead => dead,
            };
            if let Err(error) = clean {
                let record = machine.record().map(|record| record.id.clone());
                errors.entry(record).or_insert_with(|| error.chain());
            }
        }
        ended.lost = errors.values().next().cloned();
        if let Hold::Pool(hold) = &mut hold {
            for record in hold.units() {
                let error = errors.remove(&Some(record.id.clone()));
                let is_used = |machine: &&Machine| {
                    let of = machine.record().map(|record| &record.id);
                    of == Some(&record.id) && !machine.is_unused()
                };
                let is_used = self.0.machines.iter().any(|machine| is_used(&machine));
                let dirty = hold.give_back(&record, (end, is_used), (error, self.0.dirty.get()));
                ended.dirty.extend(dirty.await);
            }
        }
        if end == LeaseEnd::Abandoned {
            let mark = self.0.id.clone();
            let sweep = move || process::kill_marked(env::LEASE, &mark);
            let left = tokio::task::spawn_blocking(sweep).await.unwrap_or_default();
            if !left.is_empty() {
                let left = LeftProcess::list(&left);
                ui::live(&format!("failed to kill {left}, left by an abandoned test"));
            }
        }
        if let Hold::Pool(hold) = hold {
            // If cleaning failed, the next holder must kill the remaining processes.
            hold.free(ended.lost.is_none());
        }
        ended
    }

    /// Kills the remaining processes of the lease on a machine, and checks that the machine is healthy if that is in
    /// doubt.
    async fn clean(&self, machine: &Machine, end: LeaseEnd) -> Result<()> {
        let cut_off = matches!(end, LeaseEnd::Abandoned | LeaseEnd::CutOff);
        if cut_off || self.0.unfinished.load(Ordering::Relaxed) {
            machine.sweep(SWEEP).await?;
        }
        if end == LeaseEnd::Failed {
            machine.connection().doubt();
        }
        if machine.connection().is_in_doubt() {
            machine.connection().prove().await?;
        }
        Ok(())
    }
}

impl PoolHold {
    /// The records of the leased instances and environments.
    fn units(&self) -> Vec<Record> {
        let instances = self.lease.instances.iter();
        instances.map(|one| one.record.clone()).collect()
    }

    /// Makes an instance ready for the next lease, or marks it dirty. Returns the record if it is dirty.
    async fn give_back(
        &mut self,
        record: &Record,
        (end, is_used): (LeaseEnd, bool),
        (error, dirty): (Option<String>, Option<&DirtyReason>),
    ) -> Option<Record> {
        if self.sets.is_empty() {
            // The next holder finds out if the instance is healthy: it may be kept.
            return None;
        }
        let wants_fresh = match end {
            LeaseEnd::WantFresh => true,
            LeaseEnd::Unused => is_used,
            _ => false,
        };
        let reason = match (error, dirty) {
            (Some(error), _) => Some(DirtyReason::Lost(error)),
            (None, Some(dirty)) => Some(dirty.clone()),
            (None, None) if wants_fresh => Some(DirtyReason::FreshWanted),
            (None, None) if end == LeaseEnd::Unused => {
                self.lease.set_unused(record.id.clone());
                None
            }
            (None, None) => self.renew(record).await,
        };
        self.context.mark_dirty(record, reason?).await;
        self.sets.iter().for_each(|set| set.lost(&record.id));
        Some(record.clone())
    }

    /// Makes an instance ready for the next lease, as the request says. Returns the reason if it cannot serve.
    async fn renew(&self, record: &Record) -> Option<DirtyReason> {
        let not_restored = |case: &String, error| DirtyReason::NotRestored {
            case: case.clone(),
            error,
        };
        match &self.after {
            After::Reuse => None,
            After::Spend(reason) => Some(reason.clone()),
            After::Restore(case) => match self.context.restore(record).await {
                Ok(true) => None,
                Ok(false) => Some(not_restored(case, None)),
                Err(error) => Some(not_restored(case, Some(error.chain()))),
            },
        }
    }

    /// Frees the instances. `swept` is true if no process remains that must be killed.
    fn free(mut self, swept: bool) {
        self.lease.set_swept(swept);
        // Freeing takes a few writes, for which the runtime's only thread may block.
        drop(self.lease);
        drop(self.leased);
        // Replacements of spent instances are deployed while other tests run.
        let begin = |set: &Arc<InstanceSet>| set.begin_missing(&self.context);
        self.sets.iter().for_each(begin);
    }
}
