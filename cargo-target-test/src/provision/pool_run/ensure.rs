//! Ensures one instance: reuses it, waits for it, recycles it, or deploys it.
//!
//! Makes that decision ([`PoolRun::next`], under `pool.lock`). Must not know the steps of a deploy (`deploy` does).

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{PoolRun, Preparer, deploy::cancelled};
use crate::{
    error::{Error, Result},
    failpoint,
    playbook::{
        Lifecycle, OnDirty, Playbook, PlaybookRole, PlaybookTarget, PoolSettings, RoleMachine,
    },
    provision::{
        WaitNotice, owner,
        platform::{DynPlatform, InstanceSpec, Platforms, Provenance, environment},
        pool::{
            self, Disabled, HeldLock, InstanceFacts, LastHolder, Lifetime, Locked, Record,
            RecordEvent, RecordState, Seen, WhenDirty,
        },
        pool_run::remove::Remover,
    },
};

/// The pause between two checks of a deploy by another process.
const POLL: Duration = Duration::from_millis(25);

/// An instance that a run wants.
#[derive(Clone)]
pub struct Wanted {
    /// The target's name.
    pub target: String,
    /// The index of the instance within the target: 0, 1, ...
    pub index: u32,
    /// Its platform.
    pub platform: Arc<dyn DynPlatform>,
    /// The platform's parameters.
    pub parameters: Value,
    /// The folder of relative paths in the parameters.
    pub directory: PathBuf,
    /// The values that the definition's hash is computed from.
    pub keys: BTreeMap<String, String>,
    /// The definition's hash.
    pub hash: String,
    /// The target's features.
    pub features: Vec<String>,
    /// The recipe, waits, retries, and the treatment of a dirty instance.
    pub lifecycle: Lifecycle,
    /// The roles of an environment; empty for a single machine.
    pub roles: Vec<PlaybookRole>,
    /// True if a snapshot is saved after the preparation, for tests that want the instance restored.
    pub snapshot: bool,
    /// The settings of the pool.
    pub pool: PoolSettings,
    /// The workspace and the playbook of the request, if one run serves several; else those of the run.
    pub origin: Option<(PathBuf, Option<PathBuf>)>,
}

impl Wanted {
    /// The first instance of a target; `origin` is the workspace and the playbook of the request.
    ///
    /// # Errors
    /// Fails if the platform is unknown.
    pub fn of_target(
        playbook: &Playbook,
        target: &PlaybookTarget,
        platforms: &Platforms,
        origin: (PathBuf, Option<PathBuf>),
    ) -> Result<Self> {
        let platform = platforms
            .get(target.platform)
            .ok_or_else(|| Error::other(format!("no platform `{}`", target.platform)))?;
        Ok(Self {
            target: target.name.clone(),
            platform: Arc::clone(platform),
            index: 0,
            keys: target.definition.keys.clone(),
            hash: target.definition.hash.clone(),
            parameters: target.parameters.clone(),
            directory: target.directory.clone(),
            features: target.features.clone(),
            lifecycle: target.lifecycle.clone(),
            roles: target.roles.clone(),
            snapshot: false,
            pool: playbook.pool.clone(),
            origin: Some(origin),
        })
    }

    /// Another instance of the same target.
    #[must_use]
    pub fn at(&self, index: u32) -> Self {
        Self {
            index,
            ..self.clone()
        }
    }

    /// The instance's name: `alpha-0`.
    pub fn instance(&self) -> String {
        format!("{}-{}", self.target, self.index)
    }

    /// True if all machines of the unit can be restored to a snapshot.
    pub fn can_restore(&self, platforms: &Platforms) -> bool {
        let mut roles = self.roles.iter().map(|role| &role.target);
        match self.roles.is_empty() {
            true => self.platform.can_restore(&self.parameters),
            false => roles.all(|target| {
                let platform = platforms.get(target.platform);
                platform.is_some_and(|one| one.can_restore(&target.parameters))
            }),
        }
    }

    /// The lifecycle of one of the unit's machines.
    pub(crate) fn lifecycle_of(&self, machine: &Record) -> &Lifecycle {
        let place = machine.spec.place.as_ref();
        let role = place.and_then(|place| self.roles.iter().find(|role| role.role == place.role));
        role.map_or(&self.lifecycle, |role| &role.target.lifecycle)
    }

    /// True if the record is of this instance, with the same definition.
    fn is(&self, record: &Record) -> bool {
        let spec = &record.spec;
        (&spec.target, spec.index, &record.hash) == (&self.target, self.index, &self.hash)
    }

    /// The platforms and specs of the unit's machines, before the pool has set their unique names.
    ///
    /// # Errors
    /// Fails if a platform is unknown.
    pub fn specs(
        &self,
        platforms: &Platforms,
    ) -> Result<Vec<(Arc<dyn DynPlatform>, InstanceSpec)>> {
        let spec = self.spec("");
        if self.roles.is_empty() {
            return Ok(vec![(Arc::clone(&self.platform), spec)]);
        }
        let machines = environment::machines(&spec, None)?.into_iter();
        let known = |(machine, spec): (RoleMachine, _)| {
            let platform = platforms.known(&machine.platform, None)?;
            Ok((Arc::clone(platform), spec))
        };
        machines.map(known).collect()
    }

    /// The spec for the platform, before the pool has set the unique name and the folder.
    pub fn spec(&self, label: &str) -> InstanceSpec {
        InstanceSpec {
            instance: self.instance(),
            target: self.target.clone(),
            index: self.index,
            label: label.to_owned(),
            parameters: self.parameters.clone(),
            directory: self.directory.clone(),
            ..InstanceSpec::default()
        }
    }
}

/// A ready instance that the run claims.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// The record.
    pub record: Record,
    /// True if this call deployed it.
    pub fresh: bool,
    /// The reason that an older instance was replaced: ``key `port` changed``.
    pub recycled: Option<String>,
}

/// The availability of an instance, best first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Free,
    IfMissing,
    Held,
}

/// The next step for a wanted instance.
enum Next {
    Use(Box<Record>),
    /// A living process has the instance; the text names it.
    Wait(String),
    /// The record is marked as being deleted by this process, for this reason.
    Remove(Box<Record>, HeldLock, Option<String>),
    /// The record is planned by this process.
    Deploy(Box<Record>, HeldLock),
}

impl PoolRun {
    /// Makes the instance ready: takes an existing instance that serves, or deploys one. Waits, and reports the wait,
    /// while another living process deploys, deletes or still leases the instance; takes over the work of a dead
    /// process. The caller must not hold the lease of the instance.
    ///
    /// # Errors
    /// The platform's error, if the instance cannot be deployed or an older one cannot be deleted; a partly created
    /// instance is deleted. The error of the preparation; the instance is then dirty until it is requested again or the
    /// run ends. [`ErrorKind::Infra`](crate::ErrorKind::Infra) if the caller cancelled a wait.
    pub fn ensure(&self, wanted: &Wanted, preparer: &dyn Preparer) -> Result<Ensured> {
        let draft = self.draft(wanted)?;
        let mut recycled = None;
        let mut notice = WaitNotice::on_change();
        loop {
            if preparer.cancelled() {
                return Err(cancelled());
            }
            match self.next(wanted, &draft)? {
                Next::Use(record) => {
                    return Ok(Ensured {
                        record: *record,
                        fresh: false,
                        recycled,
                    });
                }
                Next::Wait(text) => {
                    if notice.is_due(&text) {
                        preparer.progress(&text);
                    }
                    thread::sleep(POLL);
                }
                Next::Remove(record, work, why) => {
                    let removed = self.remover().remove(&record, work);
                    removed.map_err(|error| in_the_way(record.name(), error))?;
                    recycled = recycled.or(why);
                }
                Next::Deploy(record, work) => {
                    let why = recycled.as_deref();
                    let record = self.deploy(wanted, *record, work, (preparer, why))?;
                    return Ok(Ensured {
                        record,
                        fresh: true,
                        recycled,
                    });
                }
            }
        }
    }

    /// Sorts the instances: free ones first, then missing ones, last those with a holder. So a request for one instance
    /// neither waits for a used instance nor deploys while a kept one is free.
    ///
    /// # Errors
    /// Fails if the pool cannot be read.
    pub fn free_first(&self, mut wanted: Vec<Wanted>) -> Result<Vec<Wanted>> {
        let seen = self.pool.overview()?;
        wanted.sort_by_cached_key(|one| self.place(one, &seen));
        Ok(wanted)
    }

    /// The number of these instances that are ready.
    ///
    /// # Errors
    /// Fails if the pool cannot be read.
    pub fn count_ready(&self, wanted: &[Wanted]) -> Result<usize> {
        let state = self.pool.state()?;
        let ready = |one: &&Wanted| {
            let mut records = state.records.values();
            records.any(|record| record.state == RecordState::Ready && one.is(record))
        };
        Ok(wanted.iter().filter(ready).count())
    }

    /// Leaves out the instances that must not serve for now, unless that leaves none.
    ///
    /// # Errors
    /// Fails if the pool cannot be read, or if a host cannot be resolved.
    pub fn enabled(&self, wanted: Vec<Wanted>) -> Result<Vec<Wanted>> {
        let mut enabled = Vec::new();
        for one in &wanted {
            if self.disabled(one)?.is_none() {
                enabled.push(one.clone());
            }
        }
        Ok(if enabled.is_empty() { wanted } else { enabled })
    }

    /// The error of an instance that must not serve for now.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) with the reason that the user gave.
    pub fn refuse_disabled(&self, wanted: &Wanted) -> Result<()> {
        let Some(Disabled { reason, until }) = self.disabled(wanted)? else {
            return Ok(());
        };
        let until = until.map_or(String::new(), |until| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
            format!(" until {}", humantime::format_rfc3339_seconds(at))
        });
        let name = wanted.instance();
        let message = format!("`{name}` is disabled{until}: {reason}");
        let hint = format!("`cargo target-test pool enable {name}` lets it serve again");
        Err(Error::infra(message).with_hint(hint))
    }

    fn disabled(&self, wanted: &Wanted) -> Result<Option<Disabled>> {
        let state = self.pool.state()?;
        if state.disabled.is_empty() {
            return Ok(None);
        }
        Ok(state.disabled(&self.draft(wanted)?, pool::now()).cloned())
    }

    fn place(&self, one: &Wanted, seen: &[Seen]) -> Place {
        let held = || seen.iter().filter(|seen| seen.holder.is_some());
        let is_held = |lease: &str| held().any(|seen| seen.record.lease == lease);
        // An existing machine may be held under another name. A machine that cannot be found has no holder.
        let stays = held().next().is_some() && !one.platform.ownership().is_created();
        let host = stays.then(|| self.draft(one).ok()).flatten();
        match seen
            .iter()
            .map(|seen| &seen.record)
            .find(|record| one.is(record))
        {
            _ if host.is_some_and(|host| is_held(&host.lease)) => Place::Held,
            Some(record) if is_held(&record.lease) => Place::Held,
            Some(record) if !matches!(record.state, RecordState::Dirty { .. }) => Place::Free,
            _ => Place::IfMissing,
        }
    }

    /// The record as it would be planned, without its id.
    pub(crate) fn draft(&self, wanted: &Wanted) -> Result<Record> {
        let mut spec = wanted.spec(&self.pool.state()?.label);
        // Called here and not under `pool.lock`: it may start a program.
        let exclusive = wanted.platform.exclusive(&spec)?;
        let (workspace, playbook) = match &wanted.origin {
            Some(origin) => origin.clone(),
            None => (self.run.workspace.clone(), self.run.playbook.clone()),
        };
        let (lifetime, born) = (Lifetime::from(&wanted.pool), pool::now());
        spec.provenance = Provenance {
            owner: owner::of(&wanted.pool, &workspace),
            born,
            expires: born + lifetime.run,
            pool: self.pool.directory().to_owned(),
        };
        Ok(Record {
            id: String::new(),
            demand: wanted.platform.footprint(&spec)?,
            spec,
            platform: wanted.platform.name().to_owned(),
            tool: self.run.platforms.tool(),
            ownership: wanted.platform.ownership(),
            keys: wanted.keys.clone(),
            hash: wanted.hash.clone(),
            features: wanted.features.clone(),
            workspace,
            playbook,
            lease: exclusive
                .map(|key| pool::shared_lease(&key))
                .unwrap_or_default(),
            state: RecordState::Planned,
            deployed: None,
            when_dirty: match wanted.lifecycle.on_dirty {
                None => WhenDirty::Forget,
                Some(OnDirty::Hold) => WhenDirty::Hold,
                Some(OnDirty::Reboot | OnDirty::Clean(_)) => WhenDirty::Mend,
            },
            facts: InstanceFacts::new(),
            kept: false,
            up: false,
            created: pool::now(),
            ready: None,
            lifetime,
        })
    }

    fn next(&self, wanted: &Wanted, draft: &Record) -> Result<Next> {
        let mut locked = self.pool.lock()?;
        let records = || locked.state().records.values();
        if let Some(record) = records().find(|record| record.serves_as(draft)).cloned() {
            return self.next_of_same(&mut locked, wanted, draft, record);
        }
        let outdated = records()
            .filter(|record| {
                record.spec.instance == draft.spec.instance
                    && record.workspace == draft.workspace
                    && self.run.platforms.get(&record.platform).is_some()
                    && !matches!(record.state, RecordState::Deleting { .. })
            })
            .cloned()
            .collect::<Vec<_>>();
        let remover = self.remover();
        for record in outdated {
            // A run that uses the older instance keeps it: the new one is deployed beside it.
            if remover.in_use(&locked, &record)?.is_none()
                && let Some(work) = locked.work(&record.id)?
            {
                let why = Some(record.changed(&draft.keys));
                let last = pool::last_holder(&locked, &record)?;
                return end(&mut locked, record, work, (why, &last));
            }
        }
        self.plan(&mut locked, draft)
    }

    /// Decides about a record of the wanted instance, in any state.
    fn next_of_same(
        &self,
        locked: &mut Locked<'_>,
        wanted: &Wanted,
        draft: &Record,
        record: Record,
    ) -> Result<Next> {
        let own_lease = draft.lease.is_empty() && record.lease == record.id;
        let same_host = own_lease || record.lease == draft.lease;
        let last = pool::last_holder(locked, &record)?;
        let why = match (&record.state, &last) {
            (RecordState::Ready, _) if !same_host => {
                Some("its name now refers to another host".to_owned())
            }
            // Without `on-dirty`, only leftover processes on an existing host are killed.
            (RecordState::Ready, LastHolder::Dead(holder))
                if record.ownership.is_created() || wanted.lifecycle.on_dirty.is_some() =>
            {
                Some(pool::cause_of_death(holder))
            }
            (RecordState::Ready, _) => {
                self.claim(&record.id)?;
                return Ok(Next::Use(Box::new(record)));
            }
            (RecordState::Deleting { .. }, _) => None,
            (RecordState::Dirty { cause }, _) => Some(cause.clone()),
            _ => Some("its deploy was interrupted".to_owned()),
        };
        let Some(work) = locked.work(&record.id)? else {
            let (worker, verb) = (locked.worker(&record.id)?, verb(&record.state));
            return Ok(Next::Wait(format!(
                "{worker} is {verb} `{}`",
                record.name()
            )));
        };
        if let LastHolder::Living(holder) = &last {
            let (name, state, holder) = (record.name(), &record.state, holder.describe());
            return Ok(Next::Wait(format!(
                "`{name}` is {state} and leased ({holder})"
            )));
        }
        end(locked, record, work, (why, &last))
    }

    fn plan(&self, locked: &mut Locked<'_>, draft: &Record) -> Result<Next> {
        let id = locked.state().next_id();
        let mut record = draft.clone();
        record.spec.label.clone_from(&locked.state().label);
        record.spec.unique.clone_from(&id);
        record.spec.scratch = self.pool.scratch(&id);
        if record.lease.is_empty() {
            record.lease.clone_from(&id);
        }
        record.id = id;
        let work = locked.plan(record.clone())?;
        self.claim(&record.id)?;
        failpoint::point("record-planned");
        Ok(Next::Deploy(Box::new(record), work))
    }

    pub(super) fn remover(&self) -> Remover<'_> {
        Remover {
            pool: &self.pool,
            platforms: &self.run.platforms,
            run: Some(self),
        }
    }
}

/// Deletes an instance that cannot serve, unless it is dirty and to be held for the user. A changed playbook does not
/// make it dirty.
fn end(
    locked: &mut Locked<'_>,
    record: Record,
    work: HeldLock,
    (why, last): (Option<String>, &LastHolder),
) -> Result<Next> {
    let is_dirty = record.state != RecordState::Ready || matches!(last, LastHolder::Dead(_));
    let is_held = is_dirty && record.when_dirty == WhenDirty::Hold;
    if let Some(cause) = why.as_ref().filter(|_| is_held) {
        let name = record.name().to_owned();
        if matches!(record.state, RecordState::Preparing | RecordState::Ready) {
            locked.commit([(record.id, RecordEvent::MarkDirty(cause.clone()))])?;
        }
        let message = format!("`{name}` is on hold because it is dirty: {cause}");
        return Err(Error::infra(message)
            .with_hint("examine it, then free it with `cargo target-test --delete-targets`"));
    }
    locked.commit([(record.id.clone(), RecordEvent::Delete)])?;
    failpoint::point("record-deleting");
    Ok(Next::Remove(Box::new(record), work, why))
}

fn verb(state: &RecordState) -> &'static str {
    match state {
        RecordState::Deleting { .. } => "deleting",
        _ => "deploying",
    }
}

fn in_the_way(name: &str, error: Error) -> Error {
    Error::infra(format!("cannot delete the older `{name}`")).with_source(error)
}
