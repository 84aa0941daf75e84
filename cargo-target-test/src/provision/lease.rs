//! A lease: machines that are somebody's until it ends.
//!
//! Owns the end of a lease: what still runs is killed, then the instances are restored, marked dirty or returned. Must
//! not know why it was given, nor what was done under it.

mod watch;

use std::{sync::Arc, time::Duration};

use target_fixtures::env;

use self::watch::LossWatch;
pub use self::watch::Lost;
use super::{
    After, Machine,
    instances::{Context, InstanceSet, LeasedRecords},
    pool::{self, Record},
    wrapped::Seat,
};
use crate::{
    case::reason::DirtyReason,
    {error::Result, process},
};

/// The limit for killing what a lease left.
const SWEEP: Duration = Duration::from_secs(10);

/// The exclusive use of machines. If dropped without [`Lease::end`], the holder is treated as dead.
pub struct Lease {
    id: String,
    machines: Vec<Machine>,
    watch: LossWatch,
    dirty: Option<DirtyReason>,
    unfinished: bool,
    hold: Hold,
}

/// The reason a lease ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeaseEnd {
    /// The work is done. Background processes of a command that exited by itself are kept.
    Done,
    /// It failed, of which a machine may be the cause.
    Failed,
    /// It failed, and is tried again on machines that no test has used: these are recycled.
    WantFresh,
    /// Nothing was done. Machines that a test used before are recycled, the others returned as they were.
    Unused,
    /// It was cut off: what it started on the machines is killed.
    CutOff,
    /// Its holder died: what it started on the machines and on this host is killed.
    Abandoned,
}

/// The fate of a lease's machines.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The reason a machine was lost, or could not be cleaned, if any. It does not serve again.
    pub lost: Option<String>,
    /// The records of machines that must not serve again.
    pub dirty: Vec<Record>,
}

/// By what right the machines are leased.
enum Hold {
    Pool(Box<PoolHold>),
    #[expect(dead_code, reason = "frees the machines when it is dropped")]
    Wrapped(Seat),
}

/// Instances of a pool.
pub(super) struct PoolHold {
    pub(super) context: Arc<Context>,
    /// The sets that the instances are from; empty: they are from none that would replace them.
    pub(super) sets: Vec<Arc<InstanceSet>>,
    pub(super) lease: pool::PoolLease,
    pub(super) after: After,
    pub(super) leased: LeasedRecords,
}

impl Lease {
    /// A lease of instances of a pool. Within a tokio runtime.
    pub(super) fn of_pool(id: String, machines: Vec<Machine>, hold: PoolHold) -> Self {
        Self::new(id, machines, Hold::Pool(Box::new(hold)))
    }

    /// A lease of wrapped machines. Within a tokio runtime.
    pub(super) fn of_wrapped(id: String, machines: Vec<Machine>, seat: Seat) -> Self {
        Self::new(id, machines, Hold::Wrapped(seat))
    }

    fn new(id: String, machines: Vec<Machine>, hold: Hold) -> Self {
        // Who deployed a machine wants to know; looking may start a program each time.
        let watched = matches!(&hold, Hold::Pool(hold) if !hold.sets.is_empty());
        let watch = if watched { &machines[..] } else { &[] };
        let watch = LossWatch::start(watch.to_vec());
        Self {
            id,
            machines,
            watch,
            dirty: None,
            unfinished: false,
            hold,
        }
    }

    /// The mark on everything that the lease starts anywhere.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The machines, in the order of the wants.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machines in a role.
    pub fn role(&self, role: &str) -> impl Iterator<Item = &Machine> {
        let machines = self.machines.iter();
        machines.filter(move |machine| machine.role() == Some(role))
    }

    /// Tells when a machine is lost.
    pub fn lost(&self) -> Lost {
        self.watch.lost()
    }

    /// The machines must not serve others, for this cause.
    pub fn mark_dirty(&mut self, reason: DirtyReason) {
        self.dirty.get_or_insert(reason);
    }

    /// Something that was started there may still run: it is killed when the lease ends.
    pub fn leave_unfinished(&mut self) {
        self.unfinished = true;
    }

    /// Ends the lease: kills what it still runs, and only then frees the machines. If abandoned, all processes that
    /// carry its mark are killed, also on this host.
    pub async fn end(mut self, end: LeaseEnd) -> Ended {
        let mut ended = Ended::default();
        let is_lost = self.watch.lost().cause().is_some();
        self.watch.stop();
        for machine in &self.machines {
            // One that is seen to be dead need not be asked.
            let well = match is_lost {
                true => machine.check_alive().await,
                false => Ok(()),
            };
            let clean = match well {
                Ok(()) => self.clean(machine, end).await,
                dead => dead,
            };
            let error = clean.err().map(|error| error.chain());
            ended.lost = ended.lost.take().or_else(|| error.clone());
            if let Hold::Pool(hold) = &mut self.hold {
                let dirty = hold.give_back(machine, end, (error, self.dirty.as_ref()));
                ended.dirty.extend(dirty.await);
            }
        }
        if end == LeaseEnd::Abandoned {
            let mark = self.id.clone();
            let sweep = move || process::kill_marked(env::LEASE, &mark);
            let _ = tokio::task::spawn_blocking(sweep).await;
        }
        if let Hold::Pool(hold) = self.hold {
            // Otherwise what may still run there is for the next holder to kill.
            hold.free(ended.lost.is_none());
        }
        ended
    }

    /// Kills what the lease may have left on a machine, and proves that this one is well where that is in doubt.
    async fn clean(&self, machine: &Machine, end: LeaseEnd) -> Result<()> {
        let cut_off = matches!(end, LeaseEnd::Abandoned | LeaseEnd::CutOff);
        if cut_off || self.unfinished {
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
    /// Makes an instance ready for others, or dirty, as the lease ended; its record if it is dirty.
    async fn give_back(
        &mut self,
        machine: &Machine,
        end: LeaseEnd,
        (error, dirty): (Option<String>, Option<&DirtyReason>),
    ) -> Option<Record> {
        let record = machine.record()?;
        if self.sets.is_empty() {
            // What is wrong with it is for the next holder to find out: it may be kept.
            return None;
        }
        let wants_fresh = match end {
            LeaseEnd::WantFresh => true,
            LeaseEnd::Unused => !machine.is_unused(),
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

    /// Makes an instance ready for others, as the request asked for; the reason it cannot serve them, if any.
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

    /// Frees the instances; `swept`: nothing that should be killed runs there.
    fn free(self, swept: bool) {
        let Self {
            context,
            sets,
            mut lease,
            leased,
            ..
        } = self;
        lease.set_swept(swept);
        // Letting go is a few writes; the runtime's one thread can wait for those.
        drop(lease);
        drop(leased);
        // What was spent is replaced beside the tests that run.
        sets.iter().for_each(|set| set.begin_missing(&context));
    }
}
