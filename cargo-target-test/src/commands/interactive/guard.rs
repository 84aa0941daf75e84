//! Access of an interactive verb to an instance, under a lease or beside its holder, and the end of the access.
//!
//! Must not know what is done on the instance.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use target_fixtures::env;

use super::{Choice, choose};
use crate::{
    cli::{Global, InstanceArgs},
    commands::{delete, up},
    error::{Error, ErrorKind, Result},
    execute::clean_up::Signals,
    provision::{
        self, Existing, Lease, LeaseEnd, Machine, Notices, Provisioner, Request, Requester,
        RunInfo, Want, describe,
        platform::{Deployed, Platforms},
        pool::{Pool, Record, RecordState, Seen, WhenDirty},
        unit,
    },
    run::{runtime, workspace},
    ui,
};

/// The time limit for an instance to answer.
const PROOF: Duration = Duration::from_secs(15);
/// The time limit for killing remaining processes on the instance.
const SWEEP: Duration = Duration::from_secs(10);
/// The time limit for the end of a lease; `LOOK` is the polling interval.
const ENDING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// The exit codes of a killed process and of an `ssh` whose session was killed.
const KILLED: [u8; 2] = [128 + 9, 255];

/// A request for access to an instance.
pub(in crate::commands) struct AccessRequest<'a> {
    pub(in crate::commands) platforms: &'a Platforms,
    pub(in crate::commands) global: &'a Global,
    pub(in crate::commands) on: &'a InstanceArgs,
    /// True for access beside the holder, without a lease.
    pub(in crate::commands) now: bool,
    /// The text that others read while the lease is held: `shell`.
    pub(in crate::commands) what: &'a str,
}

/// Access to a machine. Must be ended by [`MachineGuard::leave`].
pub(in crate::commands) struct MachineGuard {
    pub(in crate::commands) machine: Machine,
    pub(in crate::commands) record: Record,
    place: Access,
}

/// The kind of access.
enum Access {
    /// Under a separate lease.
    Leased(Box<(Lease, Existing)>),
    /// Beside the holder.
    Beside,
    /// Under an existing lease of this user. Other sessions of the user have the same mark.
    Mine(Box<Pool>),
}

impl AccessRequest<'_> {
    /// Does `work` on the machine and ends the access. Returns the exit code. Work that failed counts as cut off.
    pub(in crate::commands) fn run(
        &self,
        work: impl AsyncFnOnce(&MachineGuard, &mut Signals) -> Result<(u8, LeaseEnd)>,
    ) -> Result<u8> {
        runtime::block_on(async {
            let (guard, mut signals) = MachineGuard::enter(self).await?;
            let done = work(&guard, &mut signals).await;
            if let Ok((code, _)) = &done {
                guard.explain(*code).await;
            }
            let end = done.as_ref().map_or(LeaseEnd::CutOff, |(_, end)| *end);
            guard.leave(end).await?;
            done.map(|(code, _)| code)
        })
    }
}

impl MachineGuard {
    /// Gets access to the instance: at once with `now` or if this user holds the instance, else after leasing it. A
    /// signal ends the wait, and leaves the instance as it is; those that come later are the caller's.
    async fn enter(ask: &AccessRequest<'_>) -> Result<(Self, Signals)> {
        // A wait for the pool's lock blocks this thread: until the pool is open, a signal ends the process.
        let pool = Pool::open(&workspace::pool_directory(ask.global)?)?;
        let choice = choose(&pool, &ask.on.instance, ask.on.all);
        let choice = choice.map_err(|error| up::hint(ask, error))?;
        let mut signals = Signals::catch()?;
        tokio::select! {
            biased;
            signal = signals.next() => {
                let message = format!("interrupted while waiting for `{}`", ask.on.instance);
                Err(Error::other(message).with_exit_code(signal.code().into()))
            }
            guard = Self::access(ask, pool, choice) => Ok((guard?, signals)),
        }
    }

    async fn access(ask: &AccessRequest<'_>, pool: Pool, choice: Choice) -> Result<Self> {
        let beside = match choice.mine() {
            Some(mine) => Some(mine),
            None => ask.now.then(|| choice.first()),
        };
        if let Some(seen) = beside {
            let record = choice.machine_of(&seen.record)?;
            check_alive(ask.platforms, &record)?;
            let mine = choice.mine().and_then(|seen| seen.holder.as_ref());
            let (mark, place) = match mine {
                // Processes that are started under a lease end with it.
                Some(holder) => (holder.lease.clone(), Access::Mine(Box::new(pool))),
                None => (new_mark(), Access::Beside),
            };
            return Self::beside(ask.platforms, &record, &mark, place).await;
        }
        choice.machine_of(&choice.first().record)?;
        let notices = Notices::new(|notice| {
            ui::note(format!("{}; `--now` works beside the holder", notice.text));
        });
        let requester = Requester::this_process(ask.what);
        Self::lease(ask.platforms, pool, choice, requester, notices).await
    }

    /// Waits for and leases one of the chosen instances.
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
            several => several[0].spec.target.clone(),
        };
        let run = RunInfo::new(&wanted[0].workspace, None, platforms);
        let provisioner = Existing::new(pool, run, wanted)?;
        let request = Request {
            wants: vec![Want::of(&name)],
            requester,
            notices,
            ..Request::default()
        };
        let lease = provisioner.acquire(request).await;
        let lease = lease.map_err(|error| no_use(error, &name))?;
        let mut machines = lease.machines().iter();
        let machine = machines.find(|machine| choice.is_machine(machine));
        // A lease by hand is of a whole environment.
        let machine = machine.unwrap_or(&lease.machines()[0]).clone();
        let record = machine.record().cloned();
        let gone = || Error::other("a leased instance has no record");
        let record = record.ok_or_else(gone)?;
        provisioner.leave_others(&record.id).await?;
        Ok(Self {
            record,
            machine,
            place: Access::Leased(Box::new((lease, provisioner))),
        })
    }

    /// Gets access beside the holder, after checking that the machine answers.
    async fn beside(
        platforms: &Platforms,
        record: &Record,
        mark: &str,
        place: Access,
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

    /// Returns the deployment of the instance.
    pub(in crate::commands) fn deployed(&self) -> Result<&Deployed> {
        deployed(&self.record)
    }

    /// Returns the environment that a test on the instance would have.
    pub(in crate::commands) fn environment(&self) -> BTreeMap<String, String> {
        let described = describe::describe(&self.record);
        let mut all = describe::environment(&self.record.spec.target, &[described]);
        all.insert(env::LEASE.to_owned(), self.machine.mark().to_owned());
        all
    }

    /// Prints a note if the process was killed because this user's lease ended.
    pub(in crate::commands) async fn explain(&self, code: u8) {
        let Access::Mine(pool) = &self.place else {
            return;
        };
        let since = Instant::now();
        while KILLED.contains(&code) && since.elapsed() < ENDING {
            let seen = pool.overview().unwrap_or_default();
            let mut holders = seen.iter().filter_map(|seen| seen.holder.as_ref());
            if !holders.any(|holder| holder.lease == self.machine.mark()) {
                let name = self.record.name();
                return ui::note(format!(
                    "the lease of {name} ended, which killed the processes under it"
                ));
            }
            // The lease ends after its processes are killed.
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the access, and reports the deletion of an instance that is not kept.
    pub(in crate::commands) async fn leave(self, end: LeaseEnd) -> Result<()> {
        let (lease, provisioner) = match (self.place, end) {
            (Access::Leased(leased), _) => *leased,
            (_, LeaseEnd::Done) => return Ok(()),
            (place, _) => {
                let clean = match place {
                    // The transport kills cut-off commands before it answers again.
                    Access::Mine(_) => self.machine.probe(SWEEP).await,
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

/// Returns the instances that are or will be usable. Fails with the first reason if there are none.
fn able(platforms: &Platforms, choice: &Choice) -> Result<Vec<Record>> {
    let (mut able, mut why) = (Vec::new(), None);
    for Seen { record, .. } in &choice.all {
        let checked = match &record.state {
            RecordState::Dirty { .. } | RecordState::Deleting { .. } => {
                let message = format!("`{}` is {}", record.name(), record.state);
                let then = match record.when_dirty {
                    WhenDirty::Hold => "delete it with `cargo target-test --delete-targets`",
                    WhenDirty::Mend => "the next run repairs it",
                    WhenDirty::Forget => "the next run replaces it",
                };
                let hint = format!("access it anyway with `--now`; {then}");
                Err(Error::infra(message).with_hint(hint))
            }
            RecordState::Ready => {
                let mut machines = unit::machines(record)?.into_iter();
                machines.try_for_each(|machine| check_alive(platforms, &machine))
            }
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

/// Fails if the platform reports that the instance is not alive.
fn check_alive(platforms: &Platforms, record: &Record) -> Result<()> {
    let platform = provision::platform_of(platforms, record)?;
    let alive = platform.check_alive(&record.spec, deployed(record)?);
    alive.map_err(|error| no_use(error, record.name()))
}

/// Adds a hint for an unusable instance.
fn no_use(error: Error, name: &str) -> Error {
    match (error.kind(), error.hint()) {
        (ErrorKind::Infra | ErrorKind::Timeout, None) => {
            let hint = format!(
                "the next run replaces `{name}`; `cargo target-test --delete-targets` deletes it"
            );
            let message = error.chain();
            Error::infra(message).with_hint(hint)
        }
        _ => error,
    }
}

fn deployed(record: &Record) -> Result<&Deployed> {
    record.deployed.as_ref().ok_or_else(|| {
        let message = format!(
            "`{}` is {}: it cannot be reached",
            record.name(),
            record.state
        );
        Error::infra(message)
    })
}

/// Returns a unique mark.
fn new_mark() -> String {
    format!("{}-0", provision::RunInfo::new_id())
}
