//! A platform that makes files, and a folder in which a pool and that platform live.
//!
//! A machine is a file in `machines/`; nothing else says what exists.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use cargo_target_test::{
    Error, ErrorKind, Result,
    connect::Reach,
    playbook::Lifecycle,
    provision::{
        DeleteScope, Ensured, PoolRun, Preparer, RunInfo, Wanted, delete_all,
        platform::{
            Deployed, DynPlatform, Footprint, InstanceSpec, Ownership, Platform, Platforms, SpecOf,
        },
        pool::{
            Holder, InstanceFacts, LeaseRequest, Pool, PoolLease, ProcessIdentity, Record,
            TryLease, Want,
        },
    },
    run_event::CleanUp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A platform that creates machines (`made`), or finds hosts (`found`).
pub(crate) struct Fake {
    name: &'static str,
    folder: PathBuf,
}

/// Parameters of both.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct FakeParameters {
    /// The host that a lease excludes others from.
    host: Option<String>,
    /// The duration of a deploy, in milliseconds.
    pause: u64,
    /// Memory in bytes.
    memory: u64,
}

impl Fake {
    fn ask(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }
}

impl Platform for Fake {
    type Parameters = FakeParameters;

    fn name(&self) -> &'static str {
        self.name
    }

    fn exclusive(&self, spec: &SpecOf<Self>) -> Result<Option<String>> {
        Ok(spec.parameters.host.clone())
    }

    fn ownership(&self) -> Ownership {
        match self.name {
            "made" => Ownership::Created,
            _ => Ownership::Existing,
        }
    }

    fn footprint(&self, parameters: &FakeParameters) -> Footprint {
        Footprint {
            memory: parameters.memory,
            ..Footprint::default()
        }
    }

    fn console(&self, _: &InstanceSpec) -> Option<PathBuf> {
        Some(self.folder.join("console"))
    }

    fn deploy(&self, spec: &SpecOf<Self>, _: &dyn Fn(&str)) -> Result<Deployed> {
        fs::write(self.folder.join("machines").join(&spec.unique), "")?;
        fs::write(spec.scratch.join("key"), "")?;
        thread::sleep(Duration::from_millis(spec.parameters.pause));
        if self.ask("deploys-fail") {
            return Err(Error::new(ErrorKind::Infra, "no machines left"));
        }
        Ok(Deployed::new("localhost", Reach::local(&spec.scratch)))
    }

    fn delete(&self, spec: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        if self.ask("deletes-fail") {
            return Err(Error::new(ErrorKind::Infra, "no answer"));
        }
        let _ = fs::remove_file(self.folder.join("machines").join(&spec.unique));
        Ok(())
    }
}

/// A folder with a pool and a fake platform in it.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        for folder in ["machines", "witness"] {
            fs::create_dir(temporary.path().join(folder)).unwrap();
        }
        Self {
            folder: temporary.path().to_owned(),
            _temporary: Some(temporary),
        }
    }

    /// The world of another process.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            _temporary: None,
        }
    }

    pub(crate) fn pool(&self) -> Pool {
        Pool::open(&self.folder.join("pool")).unwrap()
    }

    fn fake(&self, name: &'static str) -> Fake {
        Fake {
            name,
            folder: self.folder.clone(),
        }
    }

    pub(crate) fn platforms(&self) -> Platforms {
        let made = Platforms::none().with(self.fake("made"));
        made.with(self.fake("found"))
    }

    /// The platforms of a tool that does not know `made`.
    pub(crate) fn other_platforms(&self) -> Platforms {
        Platforms::none().with(self.fake("found"))
    }

    fn platform(&self, name: &str) -> Arc<dyn DynPlatform> {
        Arc::clone(self.platforms().get(name).unwrap())
    }

    /// A run in this workspace.
    pub(crate) fn run(&self, id: &str, workspace: &str) -> PoolRun {
        let run = RunInfo {
            id: id.to_owned(),
            workspace: workspace.into(),
            playbook: None,
            typed_playbook: None,
            is_broker: false,
            platforms: self.platforms(),
        };
        PoolRun::new(self.pool(), run).unwrap()
    }

    pub(crate) fn delete_all(&self) -> CleanUp {
        delete_all(&self.pool(), &self.platforms(), &DeleteScope::All, false).unwrap()
    }

    /// An instance of a machine that is made; its definition is `port`.
    pub(crate) fn wanted(&self, target: &str, index: u32, port: u16) -> Wanted {
        Wanted {
            roles: Vec::new(),
            snapshot: false,
            target: target.to_owned(),
            index,
            platform: self.platform("made"),
            parameters: json!({ "port": port }),
            directory: self.folder.clone(),
            keys: BTreeMap::from([("port".to_owned(), port.to_string())]),
            hash: format!("{port:016x}"),
            features: Vec::new(),
            lifecycle: Lifecycle::default(),
            pool: Default::default(),
            origin: None,
        }
    }

    /// An instance on a host that is there.
    pub(crate) fn found(&self, target: &str, index: u32, host: &str) -> Wanted {
        Wanted {
            platform: self.platform("found"),
            parameters: json!({ "host": host }),
            ..self.wanted(target, index, 22)
        }
    }

    /// The existing machines, by unique name.
    pub(crate) fn machines(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.join("machines")).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = names
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn switch(&self, file: &str, on: bool) {
        if on {
            fs::write(self.folder.join(file), "").unwrap();
        } else {
            fs::remove_file(self.folder.join(file)).unwrap();
        }
    }

    /// Deletes everything, after which nothing is left.
    pub(crate) fn clean(&self, why: &str) {
        let report = self.delete_all();
        assert!(
            report.failed.is_empty() && report.held.is_empty(),
            "{why}: {report:?}"
        );
        self.assert_empty();
    }

    /// Nothing exists, nothing is recorded, and no file of an instance is left.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.machines(), [""; 0]);
        assert_eq!(self.pool().state().unwrap().records.len(), 0);
        let left: Vec<_> = fs::read_dir(self.folder.join("pool/instances"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

pub(crate) fn ensure(run: &PoolRun, wanted: &Wanted) -> Ensured {
    run.ensure(wanted, &Asks::default()).unwrap()
}

/// A caller: remembers what is said, gives up once something was where it is told to, and has nothing to prepare.
#[derive(Default)]
pub(crate) struct Asks {
    pub(crate) said: Mutex<Vec<String>>,
    pub(crate) impatient: bool,
    /// The message with which its preparation fails, if any.
    pub(crate) fails: Option<&'static str>,
    /// The reason of the recycling, if any, for each preparation.
    pub(crate) prepared: Mutex<Vec<Option<String>>>,
}

impl Preparer for Asks {
    fn progress(&self, line: &str) {
        self.said.lock().unwrap().push(line.to_owned());
    }

    fn cancelled(&self) -> bool {
        self.impatient && !self.said.lock().unwrap().is_empty()
    }

    /// Each has one core more than the one before.
    fn prepare(&self, record: &Record, recycled: Option<&str>) -> Result<InstanceFacts> {
        self.prepared
            .lock()
            .unwrap()
            .push(recycled.map(str::to_owned));
        match self.fails {
            Some(cause) => Err(Error::new(ErrorKind::Infra, cause)),
            None => {
                let cores = (record.spec.index + 1).to_string();
                Ok(InstanceFacts::from([("cores".to_owned(), cores)]))
            }
        }
    }
}

pub(crate) fn request(wanted: &Wanted, count: usize, case: &str) -> LeaseRequest {
    let want = Want {
        target: wanted.target.clone(),
        hash: Some(wanted.hash.clone()),
        count,
        ..Want::default()
    };
    let holder = Holder::new(
        ProcessIdentity::current(),
        "run",
        case,
        &format!("lease-{case}"),
    );
    LeaseRequest::new(want, holder)
}

/// A lease that has to be had at once.
pub(crate) fn lease(run: &PoolRun, wanted: &Wanted, count: usize, case: &str) -> PoolLease {
    match run
        .try_lease(&request(wanted, count, case), &mut None)
        .unwrap()
    {
        TryLease::Leased(lease) => lease,
        other => panic!("{other:?}"),
    }
}
