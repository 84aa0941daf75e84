//! The records of a pool, and [`PoolState::step`], the only way they change. Pure: no disk, clock, process or platform.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    playbook::{PoolSettings, is_inside, list},
    provision::platform::{Deployed, Footprint, InstanceSpec, Ownership},
};

/// The version of `pool.json` that this code writes, and the newest one that it reads.
pub const VERSION: u32 = 1;

/// The pool: every instance that exists or may exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolState {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// The mark on everything that this pool's platforms create: `tt-` and 128 random bits in base32. 24 bits in base16
    /// in pools of older versions.
    pub label: String,
    /// The number of records that ever existed. Record numbers are never reused.
    pub counter: u64,
    /// The records, by [`Record::id`].
    pub records: BTreeMap<String, Record>,
    /// Ids of records that were lost: their machines may exist, and nothing else is known of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost: BTreeSet<String>,
    /// The instances that must not serve for now, by `disabled_key`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disabled: BTreeMap<String, Disabled>,
}

/// The reason that an instance must not serve for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// The reason, as the user gave it.
    pub reason: String,
    /// The time at which the instance may serve again, in seconds since 1970; `None` if a person enables it.
    pub until: Option<u64>,
}

/// The fate of a dirty instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenDirty {
    /// It is deleted when its run ends.
    #[default]
    Forget,
    /// It is repaired by the next run that needs it.
    Mend,
    /// It stays until the user deletes it.
    Hold,
}

/// Facts that were probed on an instance: `cores`, `memory`, `arch`, `os`, `kernel`, `libc`, `boot-id`.
pub type InstanceFacts = BTreeMap<String, String>;

/// An instance that exists or may exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The same as `unique` of the spec: `tt-1f3a9c-12`.
    pub id: String,
    /// The spec for the platform. Contains the names of the instance and of its target, and its index.
    #[serde(rename = "order")]
    pub spec: InstanceSpec,
    /// The platform's name.
    pub platform: String,
    /// The path of the tool that made the record: only that tool may know the platform. `None` in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The owner of the machine. A flag `made` in older records.
    #[serde(alias = "made")]
    pub ownership: Ownership,
    /// The values that the hash is computed from, to name those that changed.
    pub keys: BTreeMap<String, String>,
    /// The hash of the target's definition. Instances of one target with equal hashes serve the same tests.
    pub hash: String,
    /// The target's features.
    pub features: Vec<String>,
    /// The workspace whose run planned the instance.
    pub workspace: PathBuf,
    /// The playbook of that run; `None` for the embedded one.
    pub playbook: Option<PathBuf>,
    /// The name of the lease: the record's id, or a name shared by all records of the same host.
    pub lease: String,
    /// Its state.
    pub state: RecordState,
    /// The connection data, once the instance is deployed.
    pub deployed: Option<Deployed>,
    /// The memory, disk and cores that the instance occupies on this host.
    #[serde(default)]
    pub demand: Footprint,
    /// The treatment of the instance when it is dirty.
    #[serde(default)]
    pub when_dirty: WhenDirty,
    /// The facts that were probed before the instance became ready.
    #[serde(default)]
    pub facts: InstanceFacts,
    /// True if a run with `--keep-targets` ended. Otherwise the instance is deleted once no living run uses it.
    pub kept: bool,
    /// True after `up`: runs that use the instance do not delete it.
    #[serde(default)]
    pub up: bool,
    /// The time at which the instance was planned, in seconds since 1970.
    pub created: u64,
    /// The time at which the instance became ready, in seconds since 1970.
    pub ready: Option<u64>,
    /// The times for which the instance is not collected.
    #[serde(default)]
    pub lifetime: Lifetime,
}

/// The times after its creation or last renewal for which an instance is not collected, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// Of an instance that no run keeps.
    pub run: u64,
    /// Of a kept instance.
    pub kept: u64,
}

impl From<&PoolSettings> for Lifetime {
    fn from(settings: &PoolSettings) -> Self {
        Self {
            run: settings.lifetime.0.as_secs(),
            kept: settings.keep_for.0.as_secs(),
        }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::from(&PoolSettings::default())
    }
}

/// The state of an instance. A deleted instance has no record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// The platform was not called yet.
    Planned,
    /// The platform was called: a machine may exist.
    Creating,
    /// The machine exists and is being prepared.
    Preparing,
    /// The instance can be leased.
    Ready,
    /// The instance must not serve again.
    Dirty {
        /// The cause.
        cause: String,
    },
    /// The instance is being deleted, or must be.
    Deleting {
        /// The cause of the last failure.
        cause: Option<String>,
    },
}

/// A change of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordEvent {
    /// The record is added.
    Plan(Box<Record>),
    /// The platform will be called next.
    Create,
    /// The platform has created the instance.
    Deployed(Box<Deployed>),
    /// The instance can serve: the time (seconds since 1970), and its facts.
    Ready(u64, InstanceFacts),
    /// The instance must not serve again, for this cause. A dirty record keeps its first cause.
    MarkDirty(String),
    /// The connection data changed.
    Moved(Box<Deployed>),
    /// A run with `--keep-targets` ended.
    Keep,
    /// The instance stays when runs that use it end.
    Up,
    /// The instance is not collected before this time, in seconds since 1970.
    Renew(u64),
    /// The instance must be deleted.
    Delete,
    /// The delete failed, for this cause.
    DeleteFailed(String),
    /// The platform has confirmed that the instance does not exist.
    Gone,
    /// The instance must not serve for now. The id is a `disabled_key`, here and for `Enable`.
    Disable(Disabled),
    /// The instance may serve again.
    Enable,
}

/// The refusal of an event that does not apply to a record's state. The record is unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The record's id.
    pub id: String,
    /// The record's state and the refused change.
    pub reason: String,
}

impl PoolState {
    /// An empty pool.
    pub fn new(label: String) -> Self {
        Self {
            version: VERSION,
            label,
            counter: 0,
            records: BTreeMap::new(),
            lost: BTreeSet::new(),
            disabled: BTreeMap::new(),
        }
    }

    /// The id that the next planned record must have.
    pub fn next_id(&self) -> String {
        format!("{}-{}", self.label, self.counter + 1)
    }

    /// The reason that this instance must not serve at this time, if any.
    pub fn disabled(&self, record: &Record, now: u64) -> Option<&Disabled> {
        let disabled = self.disabled.get(&disabled_key(record))?;
        disabled
            .until
            .is_none_or(|until| now < until)
            .then_some(disabled)
    }

    /// The pool without these records and, if a time is given, without those that are disabled then.
    pub(super) fn without(
        self: &Arc<Self>,
        set_aside: &BTreeSet<String>,
        disabled_at: Option<u64>,
    ) -> Arc<Self> {
        let disabled_at = disabled_at.filter(|_| !self.disabled.is_empty());
        if set_aside.is_empty() && disabled_at.is_none() {
            return Arc::clone(self);
        }
        let is_disabled =
            |record: &Record| disabled_at.is_some_and(|now| self.disabled(record, now).is_some());
        let mut serving = Self::clone(self);
        serving
            .records
            .retain(|id, record| !set_aside.contains(id) && !is_disabled(record));
        Arc::new(serving)
    }

    /// The labels of machines of this pool: its own, and those of lost records.
    pub fn labels(&self) -> BTreeSet<String> {
        let lost = self.lost.iter().map(|id| label_of(id).to_owned());
        lost.chain([self.label.clone()]).collect()
    }

    /// Applies `event` to the record `id`.
    ///
    /// # Errors
    /// Fails if the event does not apply to the record's state; the record is then unchanged.
    pub fn step(&mut self, id: &str, event: RecordEvent) -> Result<(), Refused> {
        if let RecordEvent::Plan(record) = event {
            return self.plan(id, *record);
        }
        match event {
            RecordEvent::Disable(disabled) => {
                self.disabled.insert(id.to_owned(), disabled);
                return Ok(());
            }
            RecordEvent::Enable => {
                self.disabled.remove(id);
                return Ok(());
            }
            _ => {}
        }
        let Some(record) = self.records.get_mut(id) else {
            if event == RecordEvent::Gone && self.lost.remove(id) {
                return Ok(());
            }
            return Err(refused(id, "the record does not exist"));
        };
        use RecordState::{Creating, Deleting, Dirty, Planned, Preparing, Ready};
        match (&record.state, event) {
            (Planned, RecordEvent::Create) => record.state = Creating,
            (Creating, RecordEvent::Deployed(deployed)) => {
                record.deployed = Some(*deployed);
                record.state = Preparing;
            }
            (Preparing, RecordEvent::Ready(at, facts)) => {
                record.ready = Some(at);
                record.facts = facts;
                record.state = Ready;
            }
            (Preparing | Ready, RecordEvent::MarkDirty(cause)) => record.state = Dirty { cause },
            (Dirty { .. }, RecordEvent::MarkDirty(_)) => {}
            (Ready, RecordEvent::Moved(deployed)) => record.deployed = Some(*deployed),
            (Ready, RecordEvent::Keep) => record.kept = true,
            (Ready, RecordEvent::Up) => record.up = true,
            (Ready, RecordEvent::Renew(expires)) => record.spec.provenance.expires = expires,
            (Deleting { .. }, RecordEvent::Delete) => {}
            (_, RecordEvent::Delete) => record.state = Deleting { cause: None },
            (Deleting { .. }, RecordEvent::DeleteFailed(cause)) => {
                record.state = Deleting { cause: Some(cause) };
            }
            (Deleting { .. }, RecordEvent::Gone) => {
                self.records.remove(id);
            }
            (state, event) => {
                return Err(refused(
                    id,
                    &format!("it is {state} and cannot {}", event.verb()),
                ));
            }
        }
        Ok(())
    }

    fn plan(&mut self, id: &str, record: Record) -> Result<(), Refused> {
        if id != record.id || id != self.next_id() {
            return Err(refused(id, "its number is not the next one"));
        }
        if self.records.values().any(|other| other.serves_as(&record)) {
            return Err(refused(id, "the pool has the same instance already"));
        }
        self.counter += 1;
        self.records.insert(record.id.clone(), record);
        Ok(())
    }
}

impl Record {
    /// The instance's name: `alpha-0`.
    pub fn name(&self) -> &str {
        &self.spec.instance
    }

    /// The name of the instance in the pool: that of its environment for one of its machines.
    pub fn unit_name(&self) -> &str {
        let place = self.spec.place.as_ref();
        place.map_or(self.name(), |place| &place.environment)
    }

    /// True if the instance is dirty and stays so until it is repaired or deleted.
    pub fn stays_dirty(&self) -> bool {
        self.when_dirty != WhenDirty::Forget && matches!(self.state, RecordState::Dirty { .. })
    }

    /// The later expiry of a created instance of which less than half of its lifetime is left, in seconds since 1970.
    pub(crate) fn renewal(&self, now: u64) -> Option<u64> {
        let provenance = &self.spec.provenance;
        let lifetime = match self.kept {
            true => self.lifetime.kept,
            false => self.lifetime.run,
        };
        let is_due = provenance.expires < now + lifetime / 2;
        let has_owner = self.ownership.is_created() && !provenance.owner.is_empty();
        (has_owner && is_due).then_some(now + lifetime)
    }

    /// True if the record is the same instance of the same definition as `other`.
    pub fn serves_as(&self, other: &Record) -> bool {
        self.spec.target == other.spec.target
            && self.spec.index == other.spec.index
            && self.hash == other.hash
    }

    /// Names the keys of the definition that differ: ``key `port` changed``.
    pub fn changed(&self, keys: &BTreeMap<String, String>) -> String {
        let names: BTreeSet<&String> = self.keys.keys().chain(keys.keys()).collect();
        let differ: Vec<&String> = names
            .into_iter()
            .filter(|name| self.keys.get(*name) != keys.get(*name))
            .collect();
        // A table that was empty before or is empty now is a key.
        let is_table = |name: &str| differ.iter().any(|other| is_inside(other, name));
        let changed = differ.iter().filter(|name| !is_table(name));
        match changed.clone().count() {
            0 => "its definition changed".to_owned(),
            1 => format!("key {} changed", list(changed)),
            _ => format!("keys {} changed", list(changed)),
        }
    }
}

impl RecordState {
    /// The state in one word: `ready`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Creating => "creating",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Dirty { .. } => "dirty",
            Self::Deleting { .. } => "deleting",
        }
    }

    /// The reason that the instance is dirty, or not deleted yet.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Dirty { cause } => Some(cause),
            Self::Deleting { cause } => cause.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self.cause() {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl RecordEvent {
    fn verb(&self) -> &'static str {
        match self {
            Self::Plan(_) => "be planned",
            Self::Create => "be created",
            Self::Deployed(_) => "be prepared",
            Self::Ready(..) => "become ready",
            Self::MarkDirty(_) => "become dirty",
            Self::Moved(_) => "change its address",
            Self::Keep | Self::Up => "be kept",
            Self::Renew(_) => "be renewed",
            Self::Delete | Self::DeleteFailed(_) => "be deleted",
            Self::Gone => "be gone",
            Self::Disable(_) => "be disabled",
            Self::Enable => "be enabled",
        }
    }
}

/// The name under which an instance is disabled: its host, if it is an existing machine, else its workspace and name.
/// Records come and go; the name stays.
pub(crate) fn disabled_key(record: &Record) -> String {
    match record.ownership.is_created() || record.lease.is_empty() || record.lease == record.id {
        true => format!("{}#{}", record.workspace.display(), record.name()),
        false => record.lease.clone(),
    }
}

/// The label in the id of a record: `tt-1f3a9c` of `tt-1f3a9c-12`.
pub(crate) fn label_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(label, _)| label)
}

fn refused(id: &str, reason: &str) -> Refused {
    Refused {
        id: id.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
