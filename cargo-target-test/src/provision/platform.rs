//! What a platform is: a way of making instances of a target.
//!
//! Owns the seam between the pool and the ways machines are made. A platform knows neither pool nor
//! playbook: it gets parameters and names, and returns how to reach what it made. One file under
//! `platform/` and one line in [`all`] add a platform.

pub mod command;
pub mod container;
pub mod local;
mod parameters;
pub mod qemu;
mod size;
pub mod ssh;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    connect::Reach,
    error::{Error, ErrorKind, Result},
    secret::Lookup,
};

/// Every platform.
pub fn all() -> Vec<Arc<dyn Platform>> {
    vec![
        Arc::new(local::Local),
        Arc::new(ssh::Ssh),
        Arc::new(command::Command),
        Arc::new(qemu::Qemu),
        Arc::new(container::Container),
    ]
}

/// The platform of this name.
pub fn by_name(name: &str) -> Option<Arc<dyn Platform>> {
    all().into_iter().find(|platform| platform.name() == name)
}

/// A way of making instances. Calls block; the broker makes them on threads of their own.
pub trait Platform: Send + Sync {
    /// The name in playbooks: `ssh`.
    fn name(&self) -> &'static str;

    /// Part of every definition's hash: raised when instances made by an older version of this
    /// platform must not serve any more.
    fn version(&self) -> u32 {
        1
    }

    /// Checks a target's parameters (the platform's defaults, `[platforms.X]` and the target merged,
    /// common keys taken out) and returns them normalised, an object with the defaults filled in.
    /// Paths stay as written.
    ///
    /// # Errors
    /// What toml says, with its span.
    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error>;

    /// The JSON Schema of the parameters (an object schema, kebab-case keys).
    fn schema(&self) -> schemars::Schema;

    /// How many instances these parameters give when the target has no `count`; `None`: 1.
    /// `ssh` has one per host, `local` one per core.
    fn count(&self, _parameters: &Value) -> Option<u32> {
        None
    }

    /// What an instance with these parameters is sure to have, in the words of requirements: `memory` -> `512 MiB`.
    fn capabilities(&self, _parameters: &Value) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What the lease of this instance excludes, for machines that we did not make: `host:port`.
    /// `None`: the record's own lock.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    fn exclusive(&self, _instance: &Order) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether a dirty instance is deleted and deployed again; machines that we did not make are
    /// only cleaned of what the last lease left.
    fn makes_machines(&self) -> bool;

    /// Whether an instance is on a machine that stays as it was left: then a playbook says what happens to a dirty one.
    fn machines_stay(&self) -> bool {
        !self.makes_machines()
    }

    /// Looks for what a deploy would stumble over and that needs no machine to see: files that
    /// are missing, scripts that are not executable. [`Order::scratch`] need not exist.
    ///
    /// # Errors
    /// What is wrong ([`ErrorKind::Playbook`]), the parameter named.
    fn check(&self, _order: &Order) -> Result<()> {
        Ok(())
    }

    /// The values that its parameters only refer to. All are looked up before an instance is deployed or lent, so that
    /// whoever shows something of it knows them.
    ///
    /// # Errors
    /// When a release with other parameters wrote the order.
    fn secrets(&self, _order: &Order) -> Result<Vec<Lookup>> {
        Ok(Vec::new())
    }

    /// Makes (or finds) the instance and returns how it is reached. Called again after an
    /// interrupted call with the same order, it must not make a second machine.
    ///
    /// # Errors
    /// Why there is no such instance; whatever was made is then removed by [`Platform::delete`].
    fn deploy(&self, order: &Order, progress: &dyn Fn(&str)) -> Result<Deployed>;

    /// Deletes the instance; one that does not exist (any more, or not yet) is a success.
    ///
    /// # Errors
    /// Why it may still exist.
    fn delete(&self, order: &Order, deployed: Option<&Deployed>) -> Result<()>;

    /// What one instance takes of this host while it exists: what the capacity guard counts.
    ///
    /// # Errors
    /// When a release with other parameters wrote the order.
    fn demand(&self, _order: &Order) -> Result<Demand> {
        Ok(Demand::default())
    }

    /// Looks from outside whether a deployed instance still lives: its process, its container, its console. Costs
    /// milliseconds and needs no answer of the instance, so that it can be asked every second.
    ///
    /// # Errors
    /// Why it cannot serve any more, for people; the end of its console included.
    fn check_alive(&self, _order: &Order, _deployed: &Deployed) -> Result<()> {
        Ok(())
    }

    /// The file that gets what the instance says on its console, where there is one.
    fn console(&self, _order: &Order) -> Option<PathBuf> {
        None
    }

    /// Finds everything that carries the pool's label and that this platform could delete, whether or not a record
    /// names it. `like` is an order of a playbook's target (without `unique`), whose parameters may say where to
    /// look; without it, wherever this platform looks by itself.
    ///
    /// # Errors
    /// When it could not look everywhere.
    fn find(&self, _label: &str, _like: Option<&Order>) -> Result<Vec<Found>> {
        Ok(Vec::new())
    }

    /// Whether instances can be put back quickly to how they were: [`Platform::snapshot`] and [`Platform::restore`].
    fn can_restore(&self) -> bool {
        false
    }

    /// Remembers the state of an instance under a name. Called again it remembers the newer one.
    ///
    /// # Errors
    /// When the platform has no such way (the default), or it failed.
    fn snapshot(&self, order: &Order, _deployed: &Deployed, _name: &str) -> Result<()> {
        Err(cannot(self.name(), "remember the state of", order))
    }

    /// Puts an instance back to its remembered state, and returns how it is reached then. After a
    /// death in the midst of it the instance is whatever it is: its lease then tells that its holder died.
    ///
    /// # Errors
    /// When nothing is remembered, the platform has no such way (the default), or it failed.
    fn restore(&self, order: &Order, _deployed: &Deployed, _name: &str) -> Result<Deployed> {
        Err(cannot(self.name(), "restore", order))
    }

    /// Takes one of the instance's network links down, or up again.
    ///
    /// # Errors
    /// When the platform has no such way (the default), there is no such link, or it failed.
    fn link(&self, order: &Order, _deployed: &Deployed, _nic: u32, _up: bool) -> Result<()> {
        Err(cannot(self.name(), "take down a link of", order))
    }

    /// Restarts the instance from outside, as by its power button.
    ///
    /// # Errors
    /// When the platform has no such way (the default), or it failed.
    fn restart(&self, order: &Order, _deployed: &Deployed) -> Result<()> {
        Err(cannot(self.name(), "restart", order))
    }
}

/// The name of the state in which an instance is before its first test.
pub const FIRST_STATE: &str = "prepared";

/// For a platform that makes another machine of a state: who is in the midst of a test would go on with the old one.
fn only_first(platform: &dyn Platform, order: &Order, name: &str) -> Result<()> {
    let what = "remember more than the first state of";
    let other = || cannot(platform.name(), what, order);
    (name == FIRST_STATE).then_some(()).ok_or_else(other)
}

fn cannot(platform: &str, what: &str, order: &Order) -> Error {
    let instance = &order.instance;
    Error::new(
        ErrorKind::Infra,
        format!("platform `{platform}` cannot {what} `{instance}`"),
    )
}

/// Everything a platform needs to make or delete one instance; durable before the first create call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// `alpha-0`.
    pub instance: String,
    /// `alpha`.
    pub target: String,
    /// 0, 1, ... within the target.
    pub index: u32,
    /// The pool's label, for everything made: `tt-1f3a9c`.
    pub label: String,
    /// A name that no other instance of this pool ever had: `tt-1f3a9c-12`.
    pub unique: String,
    /// [`Platform::parameters`]' answer.
    pub parameters: Value,
    /// The folder that relative paths in the parameters start from (the playbook's).
    pub directory: PathBuf,
    /// A private folder for this instance's files; made by the pool, removed with the record.
    pub scratch: PathBuf,
}

/// What an instance takes of this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Demand {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk in the pool's folder.
    pub disk: u64,
    /// Cores.
    pub cores: u32,
}

/// Something that carries a pool's label.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The `unique` of the order it was made by.
    pub unique: String,
    /// What it is, for people: ``container `tt-1f3a9c-12` ``.
    pub what: String,
    /// The parameters with which it can be deleted; null: those of the order that was looked with.
    pub parameters: Value,
    /// What [`Platform::delete`] needs beside the order, where it was told.
    pub deployed: Option<Deployed>,
}

/// An instance that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// Host name or address, for people and tests.
    pub host: String,
    /// SSH port, where there is one.
    pub port: Option<u16>,
    /// Login name, where it is known.
    pub user: Option<String>,
    /// What the platform says of the instance, an object.
    pub data: Value,
    /// How commands and files reach it.
    pub reach: Reach,
}

impl Deployed {
    /// Where it is, for people: the host, and the port where there is one.
    pub fn address(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}
