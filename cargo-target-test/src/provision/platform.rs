//! The platforms: ways of creating instances of a target.
//!
//! Owns the trait [`Platform`] and the data that a platform receives and returns.

// Must not know pools or playbooks.

pub mod command;
pub mod container;
pub(in crate::provision) mod environment;
mod erased;
pub mod local;
pub(super) mod mark;
mod nic;
pub mod qemu;
mod registry;
mod share_mount;
mod size;
pub mod ssh;
mod values;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use target_fixtures::wire::{FaultKind, RolePlace};

pub use self::{
    erased::DynPlatform,
    nic::{Attach, NetworkKind, Nic, Peer},
    registry::Platforms,
    share_mount::ShareMount,
};
use crate::{
    connect::{self, Reach, Transport},
    error::{Error, Result},
    process::{LeftProcess, Remains, SessionLog},
    secret::Lookup,
};

/// The keys of a platform in playbooks: any type with serde's traits and a JSON Schema.
///
/// The doc comments of its fields are the reference that `cargo target-test schema` prints. Keys are kebab-case, and
/// `#[serde(deny_unknown_fields)]` makes a misspelt key an error with a suggestion.
///
/// A crate that does not depend on `serde` and `schemars` itself derives with the re-exports of this crate:
///
/// ```
/// use cargo_target_test::{schemars::JsonSchema, serde::{Deserialize, Serialize}};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(crate = "cargo_target_test::serde", rename_all = "kebab-case", deny_unknown_fields)]
/// #[schemars(crate = "cargo_target_test::schemars")]
/// struct LabParameters {
///     /// The folder with the machines, relative to the playbook.
///     shelf: std::path::PathBuf,
/// }
/// ```
pub trait Parameters: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Parameters for T {}

/// A way of creating instances.
///
/// Methods may block; the tool calls them on separate threads. A platform keeps no state between calls: another process
/// may delete an instance that this one deployed. State goes into [`Deployed::data`] or [`InstanceSpec::scratch`].
///
/// [`InstanceSpec::unique`] names the machine: no two instances of a pool have the same, and it starts with the pool's
/// label. [`Deployed::new`] and [`Found::new`] create the results. An error of kind
/// [`ErrorKind::Infra`](crate::ErrorKind::Infra) says that a machine is unavailable. Relative paths in the parameters
/// start at [`InstanceSpec::directory`].
///
/// [`Tool::platform`](crate::Tool::platform) adds a platform to a tool; `examples/platform` is a crate to copy.
pub trait Platform: Send + Sync + 'static {
    /// The platform's keys in a target's table.
    type Parameters: Parameters;

    /// The name in playbooks: `ssh`.
    fn name(&self) -> &'static str;

    /// Creates the instance, or finds it, and returns its connection data. `progress` shows a line to the user.
    ///
    /// A second call with the same `spec`, after an interruption, must not create a second machine.
    ///
    /// # Errors
    /// The reason that there is no instance. [`Platform::delete`] is called next and must delete whatever was created.
    fn deploy(&self, spec: &SpecOf<Self>, progress: &dyn Fn(&str)) -> Result<Deployed>;

    /// Deletes the instance. Succeeds if the instance does not exist. `deployed` is `None` if [`Platform::deploy`]
    /// failed or was interrupted.
    ///
    /// # Errors
    /// The reason that the instance may still exist.
    fn delete(&self, spec: &SpecOf<Self>, deployed: Option<&Deployed>) -> Result<()>;

    /// Part of every definition's hash. Increase it if instances of an older version must not be used.
    fn version(&self) -> u32 {
        1
    }

    /// The owner of the machines. [`Ownership::Created`] by default.
    fn ownership(&self) -> Ownership {
        Ownership::Created
    }

    /// True if the instances use the kernel of this host, so that checks of a kernel say nothing about them. False by default.
    fn shares_kernel(&self) -> bool {
        false
    }

    /// Checks the parameters together: for example, keys that exclude or require each other.
    ///
    /// # Errors
    /// The message of the playbook's error.
    fn validate(&self, _parameters: &Self::Parameters) -> Result<(), String> {
        Ok(())
    }

    /// The number of instances of a target without `count`; `None` for 1. `ssh` has one per host, `local` one per core.
    fn count(&self, _parameters: &Self::Parameters) -> Option<u32> {
        None
    }

    /// The capabilities of every instance: for example the value `512 MiB` for the requirement `memory`. Empty by default.
    fn capabilities(&self, _parameters: &Self::Parameters) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Finds problems that would make a deploy fail and that can be seen without a machine: missing files, programs not
    /// in PATH. [`InstanceSpec::scratch`] need not exist. Finds nothing by default.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook). The message is shown as it is: name the target and the
    /// parameter.
    fn check(&self, _spec: &SpecOf<Self>) -> Result<()> {
        Ok(())
    }

    /// Checks that [`Platform::delete`] can start, for example that its program exists. Touches no machine. By default
    /// it can.
    ///
    /// # Errors
    /// Says what is missing.
    fn check_delete(&self, _spec: &SpecOf<Self>) -> Result<()> {
        Ok(())
    }

    /// The name of the existing machine that the instance is: `host:port`. Instances with the same name exclude each
    /// other. `None` (the default) if each instance is a machine of its own.
    ///
    /// # Errors
    /// Fails if the machine's name cannot be resolved.
    fn exclusive(&self, _spec: &SpecOf<Self>) -> Result<Option<String>> {
        Ok(None)
    }

    /// The secrets that the parameters refer to. They are looked up before an instance is deployed or leased, so that
    /// they are redacted from then on. None by default.
    fn secrets(&self, _spec: &SpecOf<Self>) -> Result<Vec<Lookup>> {
        Ok(Vec::new())
    }

    /// The digests of the files or images that instances with these parameters are made from, by parameter. They are facts
    /// of the instance: `digest.image`. Called during each deploy. None by default.
    fn digests(&self, _spec: &SpecOf<Self>) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The kind of networks that the instances can join by [`InstanceSpec::nics`]. `None` (the default) if they cannot.
    fn network_kind(&self) -> Option<NetworkKind> {
        None
    }

    /// Memory, disk and cores that an instance occupies on this host. Nothing by default.
    fn footprint(&self, _parameters: &Self::Parameters) -> Footprint {
        Footprint::default()
    }

    /// Connects to the instance, lazily. The default covers every kind of [`Reach`] but [`Reach::ByPlatform`], which
    /// is for platforms that connect here.
    fn connect(&self, spec: &InstanceSpec, deployed: &Deployed) -> Arc<dyn Transport> {
        connect::connect_logged(&spec.instance, &deployed.reach, spec.sessions())
    }

    /// Checks from outside that a deployed instance is alive: its process, its container, its console. Called every
    /// second, so it must take milliseconds and not wait for the instance. Succeeds by default.
    ///
    /// # Errors
    /// The reason that the instance cannot serve any more, with the end of its console: [`Error::crash`] if the system
    /// under test crashed, such as by a kernel panic, which is a finding of the test that runs there.
    fn check_alive(&self, _spec: &SpecOf<Self>, _deployed: &Deployed) -> Result<()> {
        Ok(())
    }

    /// The file that the instance's console is written to; `None` (the default) if there is none.
    fn console(&self, _spec: &InstanceSpec) -> Option<PathBuf> {
        None
    }

    /// Returns the output so far of the program that the instance was started with, for the reports of a run in which the
    /// instance failed; `None` (the default) if there is none. Asked where [`Platform::console`] names no file.
    ///
    /// # Errors
    /// Fails if the output cannot be read.
    fn output(&self, _spec: &SpecOf<Self>) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns the address at which other instances of the same target reach the instance on a network of the platform.
    /// `None` (the default) if there is none: then tests reach it through this host.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the instance cannot be reached through this host either.
    fn address(&self, _spec: &SpecOf<Self>, _deployed: &Deployed) -> Result<Option<IpAddr>> {
        Ok(None)
    }

    /// Finds all resources that carry the pool's label and that this platform could delete, with or without a record:
    /// used by `gc`, which then calls [`Platform::delete`] with `like` and [`Found::unique`]. `like` describes a target
    /// of the playbook, whose parameters may say where to search; its `unique` is empty. Finds nothing by default.
    ///
    /// # Errors
    /// Fails if the search is incomplete.
    fn find(&self, _label: &str, _like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        Ok(Vec::new())
    }

    /// Finds all resources whose [`Provenance`] [is of](Provenance::is_of) this owner, of any pool, and sets
    /// [`Found::provenance`]: used by `gc --owner`. Otherwise as [`Platform::find`].
    ///
    /// # Errors
    /// Fails if the search is incomplete.
    fn find_owned(&self, _owner: &str, _like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        Ok(Vec::new())
    }

    /// Writes a later [`Provenance::expires`] of the spec on the instance. The pool's record has it already: by default
    /// nothing is written.
    ///
    /// # Errors
    /// Fails if the instance keeps its earlier expiry.
    fn renew(&self, _spec: &SpecOf<Self>, _deployed: Option<&Deployed>) -> Result<()> {
        Ok(())
    }

    /// The folders of this host that the tool mounts in the instance after each boot. None by default.
    fn mounts(&self, _spec: &InstanceSpec, _deployed: &Deployed) -> Vec<ShareMount> {
        Vec::new()
    }

    /// True if [`Platform::snapshot`] and [`Platform::restore`] work, and take less time than a new deploy.
    fn can_restore(&self, _parameters: &Self::Parameters) -> bool {
        false
    }

    /// Saves a snapshot of the instance under a name; replaces an earlier snapshot of that name.
    ///
    /// # Errors
    /// Fails by default: the platform does not support it.
    fn snapshot(&self, spec: &SpecOf<Self>, _deployed: &Deployed, _name: &str) -> Result<()> {
        Err(cannot(self.name(), "save a snapshot of", spec))
    }

    /// Restores the instance to a snapshot, and returns its connection data. An interrupted call may leave the instance
    /// in any state; its lease then shows that the holder died.
    ///
    /// # Errors
    /// Fails if the snapshot does not exist. By default: the platform does not support it.
    fn restore(&self, spec: &SpecOf<Self>, _deployed: &Deployed, _name: &str) -> Result<Deployed> {
        Err(cannot(self.name(), "restore", spec))
    }

    /// Takes network link number `nic` of the instance down or up: 0 is the link by which the tool reaches the instance,
    /// the others are [`InstanceSpec::nics`].
    ///
    /// # Errors
    /// Fails if the link does not exist. By default: the platform does not support it.
    fn link(&self, spec: &SpecOf<Self>, _deployed: &Deployed, _nic: u32, _up: bool) -> Result<()> {
        Err(cannot(self.name(), "take down a link of", spec))
    }

    /// The kinds of faults that a test may cause on an instance, since they harm nothing else. None by default.
    fn faults(&self) -> &'static [FaultKind] {
        &[]
    }

    /// Stops the instance as a whole (`paused`), or lets it go on.
    ///
    /// # Errors
    /// Fails by default: the platform does not support it.
    fn pause(&self, spec: &SpecOf<Self>, _deployed: &Deployed, _paused: bool) -> Result<()> {
        Err(cannot(self.name(), "pause", spec))
    }

    /// Writes to the instance's console, as a keyboard would, and returns when the instance has read it.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if the instance does not read it. By default: the platform does not
    /// support it.
    fn type_text(&self, _spec: &SpecOf<Self>, _deployed: &Deployed, _text: &str) -> Result<()> {
        let name = self.name();
        Err(Error::usage(format!(
            "the console of platform `{name}` takes no input"
        )))
    }

    /// Deletes what the platform keeps on this host for later instances of the pool with this label, such as imported
    /// images. Called when the pool has no instance any more, for every platform and for every target that had one.
    /// Keeps nothing by default.
    ///
    /// # Errors
    /// Fails if something could not be deleted.
    fn clean_up(&self, _label: &str, _like: Option<&SpecOf<Self>>) -> Result<()> {
        Ok(())
    }

    /// Restarts the instance from outside, as its power button would.
    ///
    /// # Errors
    /// Fails by default: the platform does not support it.
    fn restart(&self, spec: &SpecOf<Self>, _deployed: &Deployed) -> Result<()> {
        Err(cannot(self.name(), "restart", spec))
    }
}

/// The owner of an instance's machine, which decides what happens to a dirty instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", from = "WrittenOwnership")]
pub enum Ownership {
    /// The platform creates machines: a dirty one is deleted and deployed again.
    Created,
    /// Machines exist before and after: on a dirty one, leftover processes are killed, then `on-dirty` applies.
    Existing,
    /// An instance consists only of files and processes of this host: a dirty one is deleted and deployed again.
    Ephemeral,
}

impl Ownership {
    /// True if the platform creates the machines.
    pub fn is_created(self) -> bool {
        self == Self::Created
    }
}

/// An [`Ownership`] in `pool.json`, where older versions wrote a flag.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenOwnership {
    Created,
    Existing,
    Ephemeral,
    #[serde(untagged)]
    Made(bool),
}

impl From<WrittenOwnership> for Ownership {
    fn from(written: WrittenOwnership) -> Self {
        match written {
            WrittenOwnership::Created | WrittenOwnership::Made(true) => Self::Created,
            WrittenOwnership::Existing | WrittenOwnership::Made(false) => Self::Existing,
            WrittenOwnership::Ephemeral => Self::Ephemeral,
        }
    }
}

/// The name of the snapshot that is saved before the first test.
pub const FIRST_STATE: &str = "prepared";

fn cannot<P>(platform: &str, what: &str, spec: &InstanceSpec<P>) -> Error {
    let instance = &spec.instance;
    Error::infra(format!("platform `{platform}` cannot {what} `{instance}`"))
}

/// The specification of an instance with the parameters of platform `P`.
pub type SpecOf<P> = InstanceSpec<<P as Platform>::Parameters>;

/// The specification of one instance to create or delete. Durable before the platform's first call for the instance.
///
/// The pool records the parameters as JSON; a platform's methods receive them as its own type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceSpec<P = Value> {
    /// The instance's name: `alpha-0`. A recycled instance keeps it; its `unique` changes.
    pub instance: String,
    /// The target's name: `alpha`.
    pub target: String,
    /// The instance's number within the target, from 0.
    pub index: u32,
    /// The pool's label, which everything that the platform creates must carry: `tt-` and 26 letters and digits, or
    /// `tt-1f3a9c` in a pool of an older version.
    pub label: String,
    /// A name that no other instance of the pool ever had; it starts with the label: `tt-1f3a9c-12`.
    pub unique: String,
    /// The platform's parameters, defaults filled in.
    pub parameters: P,
    /// The folder of the playbook that has the target, absolute: relative paths in the parameters start there.
    pub directory: PathBuf,
    /// A private folder for the instance's files. The pool creates it, and removes it with the record.
    pub scratch: PathBuf,
    /// The origin of the instance, which everything that the platform creates should carry.
    #[serde(default)]
    pub provenance: Provenance,
    /// The place of the machine in its environment; `None` for an instance of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<RolePlace>,
    /// The links to the networks of its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// The machines of its environment, itself included, by the names under which it finds them on these networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

/// The origin of what a platform creates, by which it is collected without its pool. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The owner: a user and a repository (`ann@lab/widget`), or a CI job. Empty if unknown.
    pub owner: String,
    /// The time at which the instance was planned.
    pub born: u64,
    /// The time after which it may be collected.
    pub expires: u64,
    /// The folder of its pool, on the host that created it.
    pub pool: PathBuf,
}

impl Provenance {
    /// True if the owner is known and equals `owner`, in which a `*` at the end stands for any text.
    pub fn is_of(&self, owner: &str) -> bool {
        let is_it = match owner.strip_suffix('*') {
            Some(start) => self.owner.starts_with(start),
            None => self.owner == owner,
        };
        is_it && !self.owner.is_empty()
    }
}

impl<P> InstanceSpec<P> {
    /// The same specification with other parameters.
    pub(super) fn with<Q>(&self, parameters: Q) -> InstanceSpec<Q> {
        InstanceSpec {
            instance: self.instance.clone(),
            target: self.target.clone(),
            index: self.index,
            label: self.label.clone(),
            unique: self.unique.clone(),
            parameters,
            directory: self.directory.clone(),
            scratch: self.scratch.clone(),
            provenance: self.provenance.clone(),
            place: self.place.clone(),
            nics: self.nics.clone(),
            peers: self.peers.clone(),
        }
    }

    /// The file that lists the sessions of the instance's programs and commands on this host; `None` without a pool.
    pub(crate) fn sessions(&self) -> Option<SessionLog> {
        let folder = self.scratch.parent().filter(|folder| folder.is_dir())?;
        let name = self.scratch.file_name()?.to_string_lossy();
        Some(SessionLog(folder.join(format!("{name}.sessions"))))
    }

    /// Removes the list of sessions with the instance.
    pub(crate) fn forget_sessions(&self) {
        if let Some(log) = self.sessions() {
            // Of an instance without commands there is no file; an old file does no harm.
            let _ = std::fs::remove_file(log.0);
        }
    }
}

/// Memory, disk and cores that an instance occupies on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Footprint {
    /// Memory in bytes.
    pub memory: u64,
    /// Disk space in the pool's folder, in bytes.
    pub disk: u64,
    /// Number of cores.
    pub cores: u32,
}

/// A resource that carries the pool's label.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// [`InstanceSpec::unique`] of the instance that the resource belongs to.
    pub unique: String,
    /// A description for the user: ``container `tt-1f3a9c-12` ``.
    pub what: String,
    /// The parameters for [`Platform::delete`]. Null: the parameters of the target that the resource was found with.
    pub parameters: Value,
    /// The argument for [`Platform::delete`], if anything is known.
    pub deployed: Option<Deployed>,
    /// The origin, if it was read.
    pub provenance: Provenance,
}

impl Found {
    /// A resource that can be deleted with the parameters of the target it was found with.
    pub fn new(unique: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            unique: unique.into(),
            what: what.into(),
            parameters: Value::Null,
            deployed: None,
            provenance: Provenance::default(),
        }
    }
}

/// A deployed instance, as the pool records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// The host name or address, for the user and for tests.
    pub host: String,
    /// The SSH port, if any.
    pub port: Option<u16>,
    /// The login name, if known.
    pub user: Option<String>,
    /// The platform's own data about the instance, an object. Tests can read it; it must not contain secrets.
    pub data: Value,
    /// The address for commands and files.
    pub reach: Reach,
}

impl Deployed {
    /// An instance without data; port and login name are those of `reach`.
    pub fn new(host: impl Into<String>, reach: Reach) -> Self {
        let (port, user) = match &reach {
            Reach::Ssh(ssh) => (ssh.port, ssh.user.clone()),
            _ => (None, None),
        };
        Self {
            host: host.into(),
            port,
            user,
            data: json!({}),
            reach,
        }
    }

    /// The host, and the port if any.
    pub fn address(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Returns a line for a shell of this host that opens a shell on the instance; the address if no such line is known.
    pub(crate) fn shell_line(&self) -> String {
        self.reach.shell_line().unwrap_or_else(|| self.address())
    }
}

/// The time limit for the end of an interrupted program's processes that cannot be killed.
const REMAINS: Duration = Duration::from_secs(20);

/// The folder of the instance with this unique name, in the folder of the pool's instances. That of a machine of an
/// environment is in the folder of the environment.
pub(in crate::provision) fn scratch_in(instances: &Path, unique: &str) -> PathBuf {
    let id = pool_id(unique);
    let machine = unique
        .strip_prefix(id)
        .and_then(|rest| rest.strip_prefix('-'));
    match machine {
        Some(machine) => instances.join(id).join(machine),
        None => instances.join(id),
    }
}

/// The id of the record in the unique name of an instance or of a machine of an environment: `tt-1f3a9c-12` of
/// `tt-1f3a9c-12-gateway`.
pub(in crate::provision) fn pool_id(unique: &str) -> &str {
    let end = unique.match_indices('-').nth(2);
    end.map_or(unique, |(end, _)| &unique[..end])
}

/// Kills what `what` has left on this host, and waits for what cannot be killed, such as `sudo`. `notice` receives a line
/// about a wait.
///
/// # Errors
/// Fails if a process still works after 20 s, and names it.
pub(super) fn end_remains(
    remains: Remains,
    what: &str,
    instance: &str,
    notice: &dyn Fn(&str),
) -> Result<()> {
    let left = remains.kill(REMAINS, &|left| {
        let left = LeftProcess::list(left);
        notice(&format!("{instance}: waiting for {left}, left by {what}"));
    });
    if left.is_empty() {
        return Ok(());
    }
    let (left, limit) = (LeftProcess::list(&left), REMAINS.as_secs());
    let message = format!("{what} of `{instance}` still works after {limit} s: {left}");
    Err(Error::infra(message).with_hint("wait for its end or end it, then delete again"))
}

/// Reads the end of a console: at most `most` bytes, and none before the offset `from`.
pub(super) fn read_end(console: &Path, from: u64, most: u64) -> std::io::Result<String> {
    let mut file = File::open(console)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(most))))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a console from the offset `from`, at most `most` bytes and without a character that is incomplete at the end.
/// Returns the text and the offset after it.
pub(super) fn read_from(console: &Path, from: u64, most: u64) -> std::io::Result<(String, u64)> {
    let mut file = match File::open(console) {
        // The file is created when the machine first writes to its console.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((String::new(), 0));
        }
        opened => opened?,
    };
    let from = from.min(file.metadata()?.len());
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let last = bytes.utf8_chunks().last();
    let last = last.map_or(&[][..], |chunk| chunk.invalid());
    if std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none()) {
        bytes.truncate(bytes.len() - last.len());
    }
    let end = from + bytes.len() as u64;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), end))
}

#[cfg(test)]
mod tests;
