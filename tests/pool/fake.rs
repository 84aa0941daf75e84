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
    playbook::Care,
    provision::{
        Caller, Ensured, Provisioner, Report, Run, Scope, Wanted, delete_all,
        platform::{Demand, Deployed, Order, Platform, Reach},
        pool::{Facts, Holder, Lease, LeaseRequest, Pool, Process, Record, TryLease, Want},
    },
};
use serde_json::{Value, json};

/// What its parameters can say: `host` (then it is not made, and exclusive by it), `pause` (milliseconds), `memory`
/// (bytes).
pub(crate) struct Fake {
    name: &'static str,
    folder: PathBuf,
}

impl Fake {
    fn ask(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }
}

impl Platform for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn parameters(&self, _: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        Ok(Value::Null)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::json_schema!({})
    }

    fn exclusive(&self, instance: &Order) -> Result<Option<String>> {
        Ok(instance.parameters["host"].as_str().map(str::to_owned))
    }

    fn makes_machines(&self) -> bool {
        self.name == "made"
    }

    fn demand(&self, order: &Order) -> Result<Demand> {
        let memory = order.parameters["memory"].as_u64().unwrap_or(0);
        Ok(Demand {
            memory,
            ..Demand::default()
        })
    }

    fn deploy(&self, order: &Order, _: &dyn Fn(&str)) -> Result<Deployed> {
        fs::write(self.folder.join("machines").join(&order.unique), "")?;
        fs::write(order.scratch.join("key"), "")?;
        let pause = order.parameters["pause"].as_u64().unwrap_or(0);
        thread::sleep(Duration::from_millis(pause));
        if self.ask("deploys-fail") {
            return Err(Error::new(ErrorKind::Infra, "no machines left"));
        }
        Ok(Deployed {
            host: "localhost".to_owned(),
            port: None,
            user: None,
            data: json!({}),
            reach: Reach::Local {
                directory: order.scratch.clone(),
                env: BTreeMap::new(),
                inherit: None,
                user: None,
            },
        })
    }

    fn delete(&self, order: &Order, _: Option<&Deployed>) -> Result<()> {
        if self.ask("deletes-fail") {
            return Err(Error::new(ErrorKind::Infra, "no answer"));
        }
        let _ = fs::remove_file(self.folder.join("machines").join(&order.unique));
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

    pub(crate) fn platform(&self, name: &'static str) -> Arc<dyn Platform> {
        Arc::new(Fake {
            name,
            folder: self.folder.clone(),
        })
    }

    pub(crate) fn platforms(&self) -> Vec<Arc<dyn Platform>> {
        vec![self.platform("made"), self.platform("found")]
    }

    /// A run in this workspace.
    pub(crate) fn run(&self, id: &str, workspace: &str) -> Provisioner {
        let run = Run {
            id: id.to_owned(),
            workspace: workspace.into(),
            playbook: None,
            platforms: self.platforms(),
        };
        Provisioner::new(self.pool(), run).unwrap()
    }

    pub(crate) fn delete_all(&self) -> Report {
        delete_all(&self.pool(), &self.platforms(), &Scope::All, false).unwrap()
    }

    /// An instance of a machine that is made; its definition is `port`.
    pub(crate) fn wanted(&self, target: &str, index: u32, port: u16) -> Wanted {
        Wanted {
            snapshot: false,
            target: target.to_owned(),
            index,
            platform: self.platform("made"),
            parameters: json!({ "port": port }),
            directory: self.folder.clone(),
            keys: BTreeMap::from([("port".to_owned(), port.to_string())]),
            hash: format!("{port:016x}"),
            features: Vec::new(),
            care: Care::default(),
            max_parallel_deploys: 16,
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

    /// What exists, by its unique name.
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

pub(crate) fn ensure(run: &Provisioner, wanted: &Wanted) -> Ensured {
    run.ensure(wanted, &Asks::default()).unwrap()
}

/// A caller: remembers what is said, gives up once something was where it is told to, and has nothing to prepare.
#[derive(Default)]
pub(crate) struct Asks {
    pub(crate) said: Mutex<Vec<String>>,
    pub(crate) impatient: bool,
    /// What its preparation fails of.
    pub(crate) fails: Option<&'static str>,
    /// Why there was one before, for each preparation.
    pub(crate) prepared: Mutex<Vec<Option<String>>>,
}

impl Caller for Asks {
    fn progress(&self, line: &str) {
        self.said.lock().unwrap().push(line.to_owned());
    }

    fn cancelled(&self) -> bool {
        self.impatient && !self.said.lock().unwrap().is_empty()
    }

    /// Each has one core more than the one before.
    fn prepare(&self, record: &Record, recycled: Option<&str>) -> Result<Facts> {
        self.prepared
            .lock()
            .unwrap()
            .push(recycled.map(str::to_owned));
        match self.fails {
            Some(cause) => Err(Error::new(ErrorKind::Infra, cause)),
            None => {
                let cores = (record.order.index + 1).to_string();
                Ok(Facts::from([("cores".to_owned(), cores)]))
            }
        }
    }
}

pub(crate) fn request(wanted: &Wanted, count: usize, case: &str) -> LeaseRequest {
    let want = Want {
        target: wanted.target.clone(),
        hash: wanted.hash.clone(),
        count,
        ..Want::default()
    };
    let holder = Holder::new(Process::current(), "run", case, &format!("lease-{case}"));
    LeaseRequest::new(want, holder)
}

/// A lease that has to be had at once.
pub(crate) fn lease(run: &Provisioner, wanted: &Wanted, count: usize, case: &str) -> Lease {
    match run
        .try_lease(&request(wanted, count, case), &mut None)
        .unwrap()
    {
        TryLease::Leased(lease) => lease,
        other => panic!("{other:?}"),
    }
}
