//! What the pool knows, and which changes of it make sense.
//!
//! Owns the records and [`State::step`], the only way they change. Pure: must not know disk, clock,
//! processes or platforms.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::provision::platform::{Deployed, Footprint, InstanceSpec, Ownership};

/// The version of `pool.json` that this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The pool: every instance that exists or may exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Of the file's format: [`VERSION`].
    pub version: u32,
    /// Marks everything that this pool's platforms make: `tt-1f3a9c`.
    pub label: String,
    /// How many records there ever were; numbers are never used twice.
    pub counter: u64,
    /// By [`Record::id`].
    pub records: BTreeMap<String, Record>,
}

/// What happens to a dirty instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenDirty {
    /// Its record ends with its run.
    #[default]
    Forget,
    /// Who wants it next mends it.
    Mend,
    /// It serves nobody until somebody deletes it by hand.
    Hold,
}

/// What an instance says of itself: `cores`, `memory`, `arch`, `os`, `kernel`, `boot-id`.
pub type Facts = BTreeMap<String, String>;

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The same as its order's `unique`: `tt-1f3a9c-12`.
    pub id: String,
    /// What makes and deletes it; names the instance, its target and its index.
    pub order: InstanceSpec,
    /// The platform's name.
    pub platform: String,
    /// The path of the tool that made the record: only that tool may know the platform. `None` in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Who owns the machine. A flag `made` in older records.
    #[serde(alias = "made")]
    pub ownership: Ownership,
    /// What the hash is made of, for saying what changed.
    pub keys: BTreeMap<String, String>,
    /// Instances of one target with equal hashes serve each other's tests.
    pub hash: String,
    /// The target's features.
    pub features: Vec<String>,
    /// The workspace that had it made.
    pub workspace: PathBuf,
    /// The playbook that had it made; `None`: the embedded one.
    pub playbook: Option<PathBuf>,
    /// The name of its lease's lock file: its own id, or one shared with every record of the same host.
    pub lease: String,
    /// Where it is in its life.
    pub state: RecordState,
    /// How it is reached, once it is deployed.
    pub deployed: Option<Deployed>,
    /// What it takes of this host.
    #[serde(default)]
    pub demand: Footprint,
    /// What is to happen when it is dirty, which must not be forgotten at the end of a run.
    #[serde(default)]
    pub when_dirty: WhenDirty,
    /// What was found on it when it was ready.
    #[serde(default)]
    pub facts: Facts,
    /// A run ended with `--keep-targets`. Without it, and without a living run, nobody wants it.
    pub kept: bool,
    /// When it was planned, in seconds since 1970.
    pub created: u64,
    /// When it became ready, in seconds since 1970.
    pub ready: Option<u64>,
}

/// Where an instance is in its life; `gone` is having no record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// Nothing was asked of the platform yet.
    Planned,
    /// The platform was asked: there may be a machine.
    Creating,
    /// There is a machine; its recipe runs.
    Preparing,
    /// It serves.
    Ready,
    /// It must not serve again.
    Dirty {
        /// Why.
        cause: String,
    },
    /// It is being deleted, or has to be.
    Deleting {
        /// Why the last try failed.
        cause: Option<String>,
    },
}

/// What can happen to a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It comes into being.
    Plan(Box<Record>),
    /// The platform is about to be asked.
    Create,
    /// The platform made it.
    Deployed(Box<Deployed>),
    /// It can serve, at this time (seconds since 1970), and is so.
    Ready(u64, Facts),
    /// It must not serve again; says why. The first cause stays.
    Spoil(String),
    /// It is reached so from now on.
    Moved(Box<Deployed>),
    /// A run with `--keep-targets` left it.
    Keep,
    /// It is to be deleted.
    Delete,
    /// That failed; says why.
    DeleteFailed(String),
    /// The platform confirmed that it does not exist.
    Gone,
}

/// An event that makes no sense for a record; nothing changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The record.
    pub id: String,
    /// What it should have become, and what it is.
    pub reason: String,
}

impl State {
    /// An empty pool.
    pub fn new(label: String) -> Self {
        Self {
            version: VERSION,
            label,
            counter: 0,
            records: BTreeMap::new(),
        }
    }

    /// The id that the next planned record must have.
    pub fn next_id(&self) -> String {
        format!("{}-{}", self.label, self.counter + 1)
    }

    /// Has `event` happen to the record `id`.
    ///
    /// # Errors
    /// When it makes no sense for the record as it is; then nothing changed.
    pub fn step(&mut self, id: &str, event: Event) -> Result<(), Refused> {
        if let Event::Plan(record) = event {
            return self.plan(id, *record);
        }
        let Some(record) = self.records.get_mut(id) else {
            return Err(refused(id, "it does not exist (any more)"));
        };
        use RecordState::{Creating, Deleting, Dirty, Planned, Preparing, Ready};
        match (&record.state, event) {
            (Planned, Event::Create) => record.state = Creating,
            (Creating, Event::Deployed(deployed)) => {
                record.deployed = Some(*deployed);
                record.state = Preparing;
            }
            (Preparing, Event::Ready(at, facts)) => {
                record.ready = Some(at);
                record.facts = facts;
                record.state = Ready;
            }
            (Preparing | Ready, Event::Spoil(cause)) => record.state = Dirty { cause },
            (Dirty { .. }, Event::Spoil(_)) => {}
            (Ready, Event::Moved(deployed)) => record.deployed = Some(*deployed),
            (Ready, Event::Keep) => record.kept = true,
            (Deleting { .. }, Event::Delete) => {}
            (_, Event::Delete) => record.state = Deleting { cause: None },
            (Deleting { .. }, Event::DeleteFailed(cause)) => {
                record.state = Deleting { cause: Some(cause) };
            }
            (Deleting { .. }, Event::Gone) => {
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
            return Err(refused(id, "there is one like it"));
        }
        self.counter += 1;
        self.records.insert(record.id.clone(), record);
        Ok(())
    }
}

impl Record {
    /// The instance's name: `alpha-0`.
    pub fn name(&self) -> &str {
        &self.order.instance
    }

    /// Whether it stays dirty until something was done about it.
    pub fn stays_dirty(&self) -> bool {
        self.when_dirty != WhenDirty::Forget && matches!(self.state, RecordState::Dirty { .. })
    }

    /// Whether one of the two is enough.
    pub fn serves_as(&self, other: &Record) -> bool {
        self.order.target == other.order.target
            && self.order.index == other.order.index
            && self.hash == other.hash
    }

    /// Which keys of the definition differ: ``key `port` changed``.
    pub fn changed(&self, keys: &BTreeMap<String, String>) -> String {
        let names: BTreeSet<&String> = self.keys.keys().chain(keys.keys()).collect();
        let differ: Vec<&String> = names
            .into_iter()
            .filter(|name| self.keys.get(*name) != keys.get(*name))
            .collect();
        // A table that was empty, or is now, is a key of its own.
        let is_table = |name: &str| {
            let inside = |other: &String| {
                other
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            differ.iter().any(|other| inside(other))
        };
        let changed: Vec<String> = differ
            .iter()
            .filter(|name| !is_table(name))
            .map(|name| format!("`{name}`"))
            .collect();
        match changed.len() {
            0 => "its definition changed".to_owned(),
            1 => format!("key {} changed", changed[0]),
            _ => format!("keys {} changed", changed.join(", ")),
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

    /// Why it is dirty, or still not deleted.
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

impl Event {
    fn verb(&self) -> &'static str {
        match self {
            Self::Plan(_) => "be planned",
            Self::Create => "be created",
            Self::Deployed(_) => "be prepared",
            Self::Ready(..) => "become ready",
            Self::Spoil(_) => "become dirty",
            Self::Moved(_) => "be reached otherwise",
            Self::Keep => "be kept",
            Self::Delete | Self::DeleteFailed(_) => "be deleted",
            Self::Gone => "be gone",
        }
    }
}

fn refused(id: &str, reason: &str) -> Refused {
    Refused {
        id: id.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(crate) mod tests;
