//! Being on an instance: the lease, or a place beside its holder, and the way there.
//!
//! Owns what is said of the wait, and how a visit ends. Must not know what is done on the instance.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use target_fixtures::env;

use super::{Choice, choose};
use crate::{
    cli::{Global, InstanceArgs},
    commands::delete,
    error::{Error, ErrorKind, Result},
    provision::{
        self, Existing, Lease, LeaseEnd, Machine, Notices, Provisioner, Request, Requester, Run,
        Want, describe,
        platform::{Deployed, Platforms},
        pool::{Pool, Record, RecordState, Seen, WhenDirty},
    },
    run::workspace,
    ui,
};

/// The limit for an instance to answer.
const PROOF: Duration = Duration::from_secs(15);
/// The limit for killing what is left there.
const SWEEP: Duration = Duration::from_secs(10);
/// The limit for the end of a lease, and the pause between two looks for it.
const ENDING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// The exit codes of what was killed, and of an `ssh` whose session was.
const KILLED: [u8; 2] = [128 + 9, 255];

/// A request to be on an instance.
pub(in crate::commands) struct Ask<'a> {
    pub(in crate::commands) platforms: &'a Platforms,
    pub(in crate::commands) global: &'a Global,
    pub(in crate::commands) on: &'a InstanceArgs,
    /// Beside whoever holds it, without a lease.
    pub(in crate::commands) now: bool,
    /// The text that others read while it is held: `shell`.
    pub(in crate::commands) what: &'a str,
}

/// A machine that somebody is on. To be ended by [`MachineGuard::leave`].
pub(in crate::commands) struct MachineGuard {
    pub(in crate::commands) machine: Machine,
    pub(in crate::commands) record: Record,
    place: Place,
}

/// By what right somebody is there.
enum Place {
    /// By a lease of their own.
    Leased(Box<(Lease, Existing)>),
    /// Beside whoever holds it.
    Beside,
    /// Under a lease that is theirs already, whose mark others of their sessions have too.
    Mine(Box<Pool>),
}

impl MachineGuard {
    /// Comes onto the instance: at once with `now`, or where this user has it already; else when its lease is free.
    pub(in crate::commands) async fn enter(ask: &Ask<'_>) -> Result<Self> {
        let pool = Pool::open(&workspace::pool_directory(ask.global)?)?;
        let choice = choose(&pool, &ask.on.instance, ask.on.all)?;
        let beside = match choice.mine() {
            Some(mine) => Some(mine),
            None => ask.now.then(|| choice.first()),
        };
        if let Some(seen) = beside {
            check_alive(ask.platforms, &seen.record)?;
            let mine = choice.mine().and_then(|seen| seen.holder.as_ref());
            let (mark, place) = match mine {
                // What is started under a lease goes when that ends.
                Some(holder) => (holder.lease.clone(), Place::Mine(Box::new(pool))),
                None => (new_mark(), Place::Beside),
            };
            return Self::beside(ask.platforms, &seen.record, &mark, place).await;
        }
        let notices = Notices::new(|notice| {
            ui::note(format!("{}; `--now` goes beside it", notice.text));
        });
        let requester = Requester::this_process(ask.what);
        Self::lease(ask.platforms, pool, choice, requester, notices).await
    }

    /// Leases one of these, waiting for it.
    pub(in crate::commands) async fn lease(
        platforms: &Platforms,
        pool: Pool,
        choice: Choice,
        requester: Requester,
        notices: Notices,
    ) -> Result<Self> {
        let wanted = able(platforms, &choice)?;
        let name = match &wanted[..] {
            [one] => one.name().to_owned(),
            several => several[0].order.target.clone(),
        };
        let run = Run {
            id: provision::Run::new_id(),
            workspace: wanted[0].workspace.clone(),
            playbook: None,
            platforms: platforms.clone(),
        };
        let provisioner = Existing::new(pool, run, wanted)?;
        let request = Request {
            wants: vec![Want::of(&name)],
            requester,
            notices,
            ..Request::default()
        };
        let lease = provisioner.acquire(request).await;
        let lease = lease.map_err(|error| no_use(error, &name))?;
        let machine = lease.machines()[0].clone();
        let record = machine.record().cloned();
        let gone = || Error::new(ErrorKind::Other, "a leased instance has no record");
        Ok(Self {
            record: record.ok_or_else(gone)?,
            machine,
            place: Place::Leased(Box::new((lease, provisioner))),
        })
    }

    /// Beside whoever holds it, once it answers.
    async fn beside(
        platforms: &Platforms,
        record: &Record,
        mark: &str,
        place: Place,
    ) -> Result<Self> {
        let machine = Machine::beside(record, platforms)?.marked(mark, None);
        let answers = machine.probe(PROOF).await;
        answers.map_err(|error| no_use(error, record.name()))?;
        Ok(Self {
            machine,
            record: record.clone(),
            place,
        })
    }

    /// Its address.
    pub(in crate::commands) fn deployed(&self) -> Result<&Deployed> {
        deployed(&self.record)
    }

    /// The environment that a test on it would have.
    pub(in crate::commands) fn environment(&self) -> BTreeMap<String, String> {
        let described = describe::describe(&self.record);
        let mut all = describe::environment(&self.record.order.target, &[described]);
        all.insert(env::LEASE.to_owned(), self.machine.mark().to_owned());
        all
    }

    /// Says that what ran here under a lease of theirs was killed because that ended, if so.
    pub(in crate::commands) async fn explain(&self, code: u8) {
        let Place::Mine(pool) = &self.place else {
            return;
        };
        let since = Instant::now();
        while KILLED.contains(&code) && since.elapsed() < ENDING {
            let seen = pool.overview().unwrap_or_default();
            let mut holders = seen.iter().filter_map(|seen| seen.holder.as_ref());
            if !holders.any(|holder| holder.lease == self.machine.mark()) {
                let name = self.record.name();
                return ui::note(format!(
                    "the lease of {name} ended, and with it what ran there"
                ));
            }
            // It ends once all that it left is killed.
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the visit, which came to its end or was cut off, and says what becomes of an instance that nobody keeps.
    pub(in crate::commands) async fn leave(self, end: LeaseEnd) -> Result<()> {
        let (lease, provisioner) = match (self.place, end) {
            (Place::Leased(leased), _) => *leased,
            (_, LeaseEnd::Done) => return Ok(()),
            (place, _) => {
                let clean = match place {
                    // What was cut off is killed by the transport, and that before it answers again.
                    Place::Mine(_) => self.machine.probe(SWEEP).await,
                    _ => self.machine.sweep(SWEEP).await,
                };
                clean.unwrap_or_else(|error| ui::warn(error.chain()));
                return Ok(());
            }
        };
        lease.end(end).await.lost.iter().for_each(ui::warn);
        let report = provisioner.finish(true).await?;
        let gone = [
            report.deleted.len(),
            report.released.len(),
            report.failed.len(),
        ];
        if gone.iter().any(|count| *count > 0) {
            delete::lines(&report).iter().for_each(ui::note);
        }
        Ok(())
    }
}

/// Those that can serve, or will; where none can, why.
fn able(platforms: &Platforms, choice: &Choice) -> Result<Vec<Record>> {
    let (mut able, mut why) = (Vec::new(), None);
    for Seen { record, .. } in &choice.all {
        let checked = match &record.state {
            RecordState::Dirty { .. } | RecordState::Deleting { .. } => {
                let message = format!("`{}` is {}", record.name(), record.state);
                let then = match record.when_dirty {
                    WhenDirty::Hold => "`cargo target-test --delete-targets` frees it",
                    WhenDirty::Mend => "the next run mends it",
                    WhenDirty::Forget => "the next run replaces it",
                };
                let hint = format!("`--now` looks at it all the same; {then}");
                Err(Error::new(ErrorKind::Infra, message).with_hint(hint))
            }
            RecordState::Ready => check_alive(platforms, record),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => able.push(record.clone()),
            Err(error) => drop(why.get_or_insert(error)),
        }
    }
    match why {
        Some(why) if able.is_empty() => Err(why),
        _ => Ok(able),
    }
}

/// Fails if its platform sees that it does not live.
fn check_alive(platforms: &Platforms, record: &Record) -> Result<()> {
    let platform = provision::platform_of(platforms, record)?;
    let alive = platform.check_alive(&record.order, deployed(record)?);
    alive.map_err(|error| no_use(error, record.name()))
}

/// The error with what can be done about an instance that is no use.
fn no_use(error: Error, name: &str) -> Error {
    match (error.kind(), error.hint()) {
        (ErrorKind::Infra | ErrorKind::Timeout, None) => {
            let hint = format!(
                "the next run replaces `{name}`; `cargo target-test --delete-targets` deletes it"
            );
            let message = error.chain();
            Error::new(ErrorKind::Infra, message).with_hint(hint)
        }
        _ => error,
    }
}

fn deployed(record: &Record) -> Result<&Deployed> {
    record.deployed.as_ref().ok_or_else(|| {
        let message = format!(
            "`{}` is {}: there is no way to it",
            record.name(),
            record.state
        );
        Error::new(ErrorKind::Infra, message)
    })
}

/// A mark that nobody else has.
fn new_mark() -> String {
    format!("{}-0", provision::Run::new_id())
}
