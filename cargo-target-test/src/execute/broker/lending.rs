//! From asking for instances to holding them: wait, lease, prove alive.
//!
//! Owns the loop in which a case gets its lease. Must not know runners or test processes.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::{Failure, FailureKind};
use tokio::sync::mpsc;

use super::{
    Core,
    fixtures::Maker,
    held::{End, Held, Reached},
    infra,
    line::Line,
    supply::Supply,
};
use crate::{
    error::{Error, Result},
    execute::instance,
    plan::Needs,
    provision::pool::{
        Holder, Lease, LeaseRequest, LeasedInstance, Process, Ticket, TryLease, Want,
    },
};

/// How often the pool is asked again while instances are being deployed.
const PAUSE: Duration = Duration::from_millis(25);
/// How often, at most, all instances are looked at again since too few of them could be leased.
const ROUNDS: u32 = 20;
/// Waiting for less is not worth a word; the next is worth one after twice the time.
const QUIET: Duration = Duration::from_secs(1);
/// What is waited for has a deploy entry of its own.
const DEPLOYED: &str = "being deployed";
/// Waiting for more is worth a word in the midst of nextest's lines.
const LONG: Duration = Duration::from_secs(3);

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// The process that the lease is for.
    pub(super) pid: u32,
    /// What for: `smoke[alpha]`.
    pub(super) case: String,
    /// The new lease's mark.
    pub(super) lease: String,
    /// What becomes of the instances after it.
    pub(super) after: After,
    /// Whether only instances will do that no test has used.
    pub(super) fresh: bool,
    /// The one instance that will do, where that is so.
    pub(super) only: Option<String>,
    /// How what it sets up is torn down.
    pub(super) maker: Maker,
}

/// What becomes of instances before others get them.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// Nothing.
    Reuse,
    /// They end, for this cause.
    Spend(String),
    /// They are put back to how they were before their first test; where that cannot be, they end for this cause.
    Restore(String),
}

/// Leases `count` instances; `notes` hears what it waits for.
pub(super) async fn lease(
    core: &Arc<Core>,
    (supply, count, needs): (&Arc<Supply>, u32, &Needs),
    asker: &Asker,
    notes: &mpsc::UnboundedSender<String>,
) -> Result<Arc<Held>, Failure> {
    let mut says = Says::new(notes);
    let (mut ticket, mut rounds) = (None, 0);
    loop {
        let mut changed = pin!(core.changed.notified());
        changed.as_mut().enable();
        attend(core, supply, asker)?;
        let mut pause = PAUSE;
        let (answer, kept) = try_lease(core, (supply, count, needs), asker, ticket.take()).await?;
        ticket = kept;
        let waits_for = match answer {
            TryLease::Leased(lease) => match hold(core, supply, lease, asker).await {
                Some(held) if asker.fresh && held.is_used() => {
                    held.end(core, End::Refused).await;
                    continue;
                }
                Some(held) => return Ok(held),
                None => continue,
            },
            TryLease::Wait { reason, again } => {
                pause = again;
                reason.describe()
            }
            TryLease::NoneReady => match supply.hopeless(count as usize, needs) {
                Some(failure) => return Err(failure),
                None if rounds > ROUNDS => return Err(too_few(supply, count)),
                None => {
                    if asker.only.is_none() {
                        supply.ask_for_another(core, count as usize, needs);
                    }
                    // One that was ready may have become dirty since: its holder died, elsewhere perhaps.
                    rounds += u32::from(supply.look_again());
                    DEPLOYED.to_owned()
                }
            },
        };
        says.maybe(core, supply, waits_for);
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Has instances made, unless the run is over. Who tears down does so also then, and on what is there.
fn attend(core: &Arc<Core>, supply: &Arc<Supply>, asker: &Asker) -> Result<(), Failure> {
    if asker.only.is_none() {
        if core.is_cancelled() || core.has_failed() {
            return Err(interrupted());
        }
        supply.ask_for_all(core);
    }
    Ok(())
}

/// What is said of a wait: more seldom, the longer it takes.
struct Says<'a> {
    notes: &'a mpsc::UnboundedSender<String>,
    started: Instant,
    quiet: Duration,
    /// What was said last, and whether to all.
    said: (String, bool),
}

impl<'a> Says<'a> {
    fn new(notes: &'a mpsc::UnboundedSender<String>) -> Self {
        Self {
            notes,
            started: Instant::now(),
            quiet: QUIET,
            said: (String::new(), false),
        }
    }

    fn maybe(&mut self, core: &Core, supply: &Supply, waits_for: String) {
        let waited = self.started.elapsed();
        let text = format!("waiting for {}: {waits_for}", supply.target());
        let says = (text, waited > LONG && waits_for != DEPLOYED);
        if says == self.said || waited <= self.quiet {
            return;
        }
        self.quiet = waited * 2;
        if says.1 {
            core.waiting(supply.target(), &says.0);
        }
        let _ = self.notes.send(says.0.clone());
        self.said = says;
    }
}

/// Leasing is a few system calls, less work than having another thread make them. Where somebody has `pool.lock`,
/// which may take long, another thread waits for it.
async fn try_lease(
    core: &Arc<Core>,
    (supply, count, needs): (&Supply, u32, &Needs),
    asker: &Asker,
    mut ticket: Option<Ticket>,
) -> Result<(TryLease, Option<Ticket>), Failure> {
    let Some(wanted) = supply.wanted.first() else {
        return Ok((TryLease::NoneReady, None));
    };
    let want = Want {
        target: wanted.target.clone(),
        hash: wanted.hash.clone(),
        instance: asker.only.clone().or_else(|| supply.instance.clone()),
        needs: needs.clone(),
        count: count as usize,
        ..Want::default()
    };
    let holder = Holder::new(Process::of(asker.pid), &core.run, &asker.case, &asker.lease);
    let request = LeaseRequest::new(want, holder);
    let failed = |error: Error| infra(&error);
    let at_once = core.provisioner.try_lease_at_once(&request, &mut ticket);
    if let Some(answer) = at_once.map_err(failed)? {
        return Ok((answer, ticket));
    }
    // Whoever asked may be gone when the answer comes: then it is dropped here, still counted.
    let (core, serving) = (Arc::clone(core), core.serving());
    let asked = tokio::task::spawn_blocking(move || {
        let answer = core.provisioner.try_lease(&request, &mut ticket)?;
        Ok((answer, ticket, serving))
    });
    match asked.await {
        Ok(answer) => answer
            .map(|(answer, ticket, _)| (answer, ticket))
            .map_err(failed),
        Err(_) => Err(interrupted()),
    }
}

/// Turns the pool's lease into one that works: each instance swept of a dead holder's commands and
/// proved alive. `None`: one was not, and is not lent again.
async fn hold(
    core: &Arc<Core>,
    supply: &Arc<Supply>,
    mut lease: Lease,
    asker: &Asker,
) -> Option<Arc<Held>> {
    let (mut reached, mut instances) = (BTreeMap::new(), Vec::new());
    for leased in &lease.instances {
        let record = &leased.record;
        match prove(core, leased).await {
            Ok(line) => {
                let record = record.clone();
                let first = supply.begin_use(&record.id);
                // The lease of a machine that stays is older than what it was prepared for.
                let unused = match record.made {
                    true => leased.idle.is_none(),
                    false => first,
                };
                let name = record.name().to_owned();
                reached.insert(
                    name,
                    Reached {
                        line,
                        record,
                        unused,
                    },
                )
            }
            Err(error) => {
                core.progress(&format!("{}: {}", record.name(), error.chain()));
                core.spoil(record, &error.chain()).await;
                supply.forget(&record.id);
                return None;
            }
        };
        instances.push(instance::describe(record));
    }
    // From here on it is used: one that is dropped without its end counts as a dead holder's.
    lease.set_swept(false);
    let supply = Arc::clone(supply);
    let held = Held::new(asker, instances, reached, supply, lease);
    let held = Arc::new(held);
    core.remember(&held);
    tokio::spawn(Arc::clone(&held).watch(Arc::clone(core)));
    Some(held)
}

/// The line to an instance, swept and alive.
async fn prove(core: &Core, leased: &LeasedInstance) -> Result<Arc<Line>> {
    let line = core.line(&leased.record)?;
    sweep(&line, leased).await?;
    line.prove().await?;
    Ok(line)
}

/// Kills what dead holders left.
async fn sweep(line: &Line, leased: &LeasedInstance) -> Result<()> {
    if let Some(holder) = &leased.died {
        for mark in holder.marks() {
            line.transport()
                .sweep(mark, Duration::from_secs(10))
                .await?;
        }
    }
    Ok(())
}

fn too_few(supply: &Supply, count: u32) -> Failure {
    let target = supply.target();
    Failure {
        kind: FailureKind::Infra,
        message: format!("`{target}` never had {count} instances ready at once"),
        hint: Some(format!(
            "are several instances of `{target}` the same machine?"
        )),
    }
}

pub(super) fn interrupted() -> Failure {
    Failure {
        kind: FailureKind::Infra,
        message: "the run was interrupted".to_owned(),
        hint: None,
    }
}
