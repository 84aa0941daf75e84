//! Leases instances for a request: waits, leases, and checks that they answer.
//!
//! Must not know who requests.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustix::process::Pid;

use super::{Context, InstanceSet};
use crate::{
    case::reason::DirtyReason,
    connect::LiveConnection,
    error::{Error, Result},
    process,
    provision::{
        IfMissing, Lease, LeaseEnd, Machine, Notice, Request, WaitNotice, Want, existing,
        lease::{Hold, PoolHold},
        pool::{
            self, Holder, LeaseRequest, LeasedInstance, ProcessIdentity, Record, Ticket, TryLease,
            WaitReason,
        },
        unit,
    },
    sync,
};

/// The pause between two requests to the pool while instances are deployed.
const PAUSE: Duration = Duration::from_millis(25);
/// The time until the first notice about a wait; each further notice comes after twice the time.
const QUIET: Duration = Duration::from_secs(1);
/// The text of a wait that a deploy entry of the run shows already.
const DEPLOYED: &str = "being deployed";
/// The length of a wait that is shown to every user.
const LONG: Duration = Duration::from_secs(3);
/// The time limit for killing the processes of dead holders.
const SWEEP: Duration = Duration::from_secs(10);

/// The origin of the instances of a request.
pub(crate) enum Source {
    /// Sets that deploy missing instances: one set for each want.
    Sets(Vec<Arc<InstanceSet>>),
    /// Existing records of one target and one definition.
    Existing(Vec<Record>),
}

/// The reason a request waits.
pub(crate) struct Waits {
    pub(crate) text: String,
    /// The pause before the next try.
    pub(crate) again: Duration,
}

/// A request that waits for its lease.
struct Acquiring<'a> {
    context: &'a Arc<Context>,
    source: &'a Source,
    request: &'a Request,
    mark: String,
    /// The ancestors of the requester's process.
    ancestors: OnceLock<Vec<Pid>>,
}

impl Context {
    /// Leases the requested machines.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        source: &Source,
        request: &Request,
    ) -> Result<Lease> {
        if request.wants.is_empty() {
            return Err(Error::usage("the request is empty"));
        }
        self.start_renewing();
        let acquiring = Acquiring {
            context: self,
            source,
            request,
            mark: self.new_mark(),
            ancestors: OnceLock::new(),
        };
        let mut notice = match source {
            Source::Sets(_) => WaitNotice::doubling(QUIET),
            Source::Existing(_) => existing::notice(),
        };
        let mut ticket = None;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            acquiring.attend()?;
            let (answer, kept) = acquiring.try_lease(ticket.take()).await?;
            ticket = kept;
            let waits = match answer {
                TryLease::Leased(lease) => match acquiring.grant(lease).await? {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
                TryLease::Wait { reason, again } => {
                    acquiring.check_not_for_itself(&reason)?;
                    Waits {
                        text: reason.describe(),
                        again,
                    }
                }
                TryLease::NoneReady => acquiring.shortage().await?,
            };
            acquiring.tell(&mut notice, &waits).await?;
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(waits.again) => {}
            }
        }
    }
}

impl Acquiring<'_> {
    /// Deploys missing instances, unless the run is over. A request for existing instances is served even then.
    fn attend(&self) -> Result<()> {
        if self.request.if_missing == IfMissing::Refuse {
            return Ok(());
        }
        if self.context.is_closed() {
            return Err(super::interrupted());
        }
        if let Source::Sets(sets) = self.source {
            sets.iter().for_each(|set| set.begin_missing(self.context));
        }
        Ok(())
    }

    /// Tries to lease on this thread, which takes a few system calls. If another process holds `pool.lock`, waits for
    /// it on another thread.
    async fn try_lease(&self, mut ticket: Option<Ticket>) -> Result<(TryLease, Option<Ticket>)> {
        let request = self.lease_request()?;
        let run = &self.context.run;
        if let Some(answer) = run.try_lease_at_once(&request, &mut ticket)? {
            return Ok((answer, ticket));
        }
        // If the request was dropped meanwhile, the answer is dropped here; until then the wait counts as busy.
        let (context, busy) = (Arc::clone(self.context), self.context.busy());
        let asked = tokio::task::spawn_blocking(move || {
            let answer = context.run.try_lease(&request, &mut ticket)?;
            Ok((answer, ticket, busy))
        });
        match asked.await {
            Ok(answer) => answer.map(|(answer, ticket, _)| (answer, ticket)),
            Err(_) => Err(super::interrupted()),
        }
    }

    /// Fails if too few instances remain besides those that the requester's own ancestors hold: a run inside a test
    /// would wait for that test's end.
    fn check_not_for_itself(&self, reason: &WaitReason) -> Result<()> {
        let total = match self.source {
            Source::Sets(sets) => sets[0].wanted.len().max(reason.total),
            Source::Existing(_) => reason.total,
        };
        let ancestors = self.ancestors.get_or_init(|| {
            let requester = Pid::from_raw(self.request.requester.pid.cast_signed());
            requester.map(process::ancestors).unwrap_or_default()
        });
        let is_ancestor = |holder: &&Holder| {
            let pid = Pid::from_raw(holder.process.pid.cast_signed());
            pid.is_some_and(|pid| ancestors.contains(&pid))
                && holder.process == ProcessIdentity::of(holder.process.pid)
        };
        let held: Vec<_> = reason.busy.iter().filter(is_ancestor).collect();
        let needed: usize = self.request.wants.iter().map(|want| want.count).sum();
        match held.first() {
            Some(holder) if needed + held.len() > total => {
                let (target, who) = (self.name(), holder.who());
                let message = format!(
                    "this would wait for itself: it runs inside {who}, which holds `{target}`"
                );
                Err(Error::infra(message).with_hint(
                    "give the target a larger `count`, or use another target inside the test",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Converts the request for the pool, which leases instances of one target at a time.
    fn lease_request(&self) -> Result<LeaseRequest> {
        let [want] = &self.request.wants[..] else {
            return Err(Error::usage(format!(
                "{} wants in one request are not supported",
                self.request.wants.len()
            )));
        };
        let definition = match self.source {
            Source::Sets(sets) => sets[0].definition(),
            Source::Existing(records) => {
                let first = records.first();
                first.map(|first| (first.spec.target.clone(), first.hash.clone()))
            }
        };
        let none = || Error::other("a request needs an instance");
        let (target, hash) = definition.ok_or_else(none)?;
        let requester = &self.request.requester;
        let by_hand = requester.by_hand.as_ref().map(|ask| ask());
        let case = by_hand.as_ref().map_or(&requester.case, |one| &one.case);
        let process = ProcessIdentity::of(requester.pid);
        let mut holder = Holder::new(process, &self.context.run.run().id, case, &self.mark);
        holder.manual = by_hand.map(|one| one.manual);
        let set_aside = match self.source {
            Source::Sets(sets) => sets[0].set_aside(want),
            Source::Existing(_) => BTreeSet::new(),
        };
        let want = Want {
            target,
            hash: Some(hash),
            ..want.clone()
        };
        Ok(LeaseRequest {
            // A person leases an instance to repair it.
            even_disabled: matches!(self.source, Source::Existing(_)),
            set_aside,
            ..LeaseRequest::new(want, holder)
        })
    }

    /// The name of the requested target or instance.
    fn name(&self) -> String {
        match self.source {
            Source::Sets(sets) => sets[0].target().to_owned(),
            Source::Existing(records) => existing::name(records),
        }
    }

    /// Reacts to a request for which too few instances are ready.
    async fn shortage(&self) -> Result<Waits> {
        let sets = match self.source {
            Source::Existing(records) => {
                let (context, records) = (Arc::clone(self.context), records.clone());
                return sync::blocking(move || existing::coming(&context.run, &records)).await;
            }
            Source::Sets(sets) => sets,
        };
        for (want, set) in self.request.wants.iter().zip(sets) {
            if self.request.if_missing == IfMissing::Refuse {
                let name = want.instance.as_deref().unwrap_or(set.target());
                return Err(Error::infra(format!("`{name}` is not ready")));
            }
            set.resolve_shortage(self.context, want)?;
        }
        Ok(Waits {
            text: DEPLOYED.to_owned(),
            again: PAUSE,
        })
    }

    /// Makes the pool's lease usable: kills a dead holder's commands on each instance, and checks that it answers.
    /// `None` if an instance does not answer or is not fresh; it is not leased again.
    async fn grant(&self, lease: pool::PoolLease) -> Result<Option<Lease>> {
        let (mut machines, mut is_stale) = (Vec::new(), false);
        let mut left: Vec<_> = self.request.wants.iter().map(|want| want.count).collect();
        for leased in &lease.instances {
            match self.prove(leased).await {
                Ok(proved) => {
                    let want = self.want_of(&leased.record, &mut left);
                    let is_used = proved.iter().any(|machine| !machine.is_unused());
                    is_stale |= is_used && want.is_some_and(|want| want.fresh);
                    let role = want.and_then(|want| want.role.as_deref());
                    let marked = |machine: Machine| {
                        let own = machine.place_name();
                        machine.marked(&self.mark, own.as_deref().or(role))
                    };
                    machines.extend(proved.into_iter().map(marked));
                }
                Err(error) => {
                    let Source::Sets(sets) = self.source else {
                        drop(lease);
                        existing::leave(self.context).await?;
                        return Err(error);
                    };
                    let record = &leased.record;
                    self.context
                        .progress(&format!("{}: {}", record.name(), error.chain()));
                    let reason = DirtyReason::Lost(error.chain());
                    self.context.mark_dirty(record, reason).await;
                    sets.iter().for_each(|set| set.lost(&record.id));
                    return Ok(None);
                }
            }
        }
        let lease = self.hold(lease, machines);
        if is_stale {
            // Must complete even if the request was dropped: it gives the instances back as they are.
            let ending = lease.end(LeaseEnd::Unused);
            let _ = tokio::spawn(ending).await;
            return Ok(None);
        }
        Ok(Some(lease))
    }

    /// The want that an instance is leased for. `left` holds the number of instances that each want still lacks.
    fn want_of(&self, record: &Record, left: &mut [usize]) -> Option<&Want> {
        let fits = |number: usize| match self.source {
            Source::Sets(sets) => sets[number].target() == record.spec.target,
            Source::Existing(_) => true,
        };
        let number = (0..left.len()).find(|number| left[*number] > 0 && fits(*number))?;
        left[number] -= 1;
        self.request.wants.get(number)
    }

    fn hold(&self, mut lease: pool::PoolLease, machines: Vec<Machine>) -> Lease {
        // From here on the lease counts as used: if it is dropped without its end, its holder is treated as dead.
        lease.set_swept(false);
        let records = lease.instances.iter().map(|one| one.record.id.clone());
        let hold = PoolHold {
            context: Arc::clone(self.context),
            sets: match self.source {
                Source::Sets(sets) => sets.clone(),
                Source::Existing(_) => Vec::new(),
            },
            leased: self.context.lease(records.collect()),
            lease,
            after: self.request.after.clone(),
        };
        Lease::new(self.mark.clone(), machines, Hold::Pool(Box::new(hold)))
    }

    /// Returns the machines of a leased unit, after killing leftover processes and checking that they answer.
    async fn prove(&self, leased: &LeasedInstance) -> Result<Vec<Machine>> {
        unit::check_networks(&leased.record)?;
        let networks = unit::networks(&leased.record);
        let mut machines = Vec::new();
        for record in unit::machines(&leased.record)? {
            let instance = self.context.instance(&record)?;
            let connection = self.context.connection(&record, &instance);
            sweep(&connection, leased).await?;
            connection.prove().await?;
            // Only the lock file knows if a test used the instance.
            let unused = leased.idle.is_none();
            let machine = Machine::new(instance, connection, Some(record), unused);
            machines.push(machine.on_networks(&networks));
        }
        Ok(machines)
    }

    /// Sends a notice about the wait, if one is due.
    async fn tell(&self, notice: &mut WaitNotice, waits: &Waits) -> Result<()> {
        let (target, key, text) = match self.source {
            Source::Sets(sets) => (sets[0].target().to_owned(), None, waits.text.clone()),
            Source::Existing(_) if !notice.is_time() => return Ok(()),
            Source::Existing(records) => {
                let (context, all, text) = (
                    Arc::clone(self.context),
                    records.clone(),
                    waits.text.clone(),
                );
                let words = move || existing::words(&context.run, &all, &text);
                let (key, text) = sync::blocking(words).await?;
                (existing::name(records), Some(key), text)
            }
        };
        let is_long = notice.waited() > LONG && waits.text != DEPLOYED;
        let text = format!("waiting for {target}: {text}");
        if notice.is_due(&key.unwrap_or_else(|| format!("{is_long} {text}"))) {
            let notice = Notice {
                target,
                text,
                is_long,
            };
            self.request.notices.hear(&notice);
        }
        Ok(())
    }
}

/// Kills the processes of dead holders on the instance.
async fn sweep(connection: &LiveConnection, leased: &LeasedInstance) -> Result<()> {
    if let Some(holder) = &leased.died {
        for mark in holder.marks() {
            connection.transport().sweep(mark, SWEEP).await?;
        }
    }
    Ok(())
}
