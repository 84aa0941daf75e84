//! Finds the target and instances for a test that was started without `cargo target-test`.
//!
//! Must not serve tests.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use target_fixtures::{
    env,
    metadata::{Metadata, MetadataRecord, ProcessPlace},
    wire::{AcquireRequest, OrchestrationPlan},
};

use crate::{
    case::{CaseInfo, RunsOn},
    cli::Global,
    error::{Error, Result},
    execute::{
        broker::{CaseArtifacts, LeasingCase, TestStart, standalone::FoundCase},
        programs::{CargoBuild, CasePrograms, DeclaringTest, Programs},
    },
    inventory, plan,
    playbook::{self, Descriptions, PlaybookTarget},
    provision::{InstanceSet, PoolProvisioner, platform::Platforms},
    run::workspace::Workspace,
    sync,
};

/// A target's name, the hash of its definition, and the requested instance, if any.
type Key = (String, String, Option<String>);

/// Targets that tests requested before.
pub(super) struct Known {
    platforms: Platforms,
    provisioner: Arc<PoolProvisioner>,
    instance_sets: Mutex<HashMap<Key, Arc<InstanceSet>>>,
    programs: Mutex<Option<ProgramsOfProcess>>,
}

/// The programs for the tests of one process. A later process may find other sources.
struct ProgramsOfProcess {
    pid: u32,
    programs: Arc<Programs>,
}

impl Known {
    pub(super) fn new(provisioner: &Arc<PoolProvisioner>) -> Self {
        Self {
            platforms: provisioner.run().run().platforms.clone(),
            provisioner: Arc::clone(provisioner),
            instance_sets: Mutex::default(),
            programs: Mutex::default(),
        }
    }

    pub(super) fn find(&self, pid: u32, ask: &AcquireRequest) -> Result<FoundCase> {
        let global = Global {
            playbook: ask.playbook.clone().map(PathBuf::from),
            ..Global::default()
        };
        let workspace = Workspace::of_package(&self.platforms, &global, Path::new(&ask.directory))?;
        let records = inventory::metadata_of(Path::new(&ask.binary))?;
        let metadata = declared(
            &workspace,
            inventory::effective(&records, &ask.test),
            &ask.test,
        );
        let (mut reasons, mut skipped) = (Vec::new(), None);
        for (number, target) in workspace.playbook.targets.iter().enumerate() {
            let instance = match wanted_of(ask, target) {
                Some(Ok(instance)) => instance,
                Some(Err(reason)) => {
                    reasons.push(reason);
                    continue;
                }
                None => continue,
            };
            let skip = metadata
                .as_ref()
                .and_then(|metadata| plan::skip_reason(metadata, Some(target)));
            match (plan::fits(metadata.as_ref(), target), skip) {
                (Ok(()), None) => {
                    let programs =
                        self.programs(pid, ask, metadata.as_ref(), (&workspace, target))?;
                    let instance_set = self.instance_set(&workspace, number, instance)?;
                    let orchestration = orchestration(&workspace, metadata.as_ref(), &records)?;
                    let case = LeasingCase {
                        programs,
                        orchestration,
                        ..case(ask, metadata, target, instance_set)
                    };
                    return Ok(FoundCase::Case(Arc::new(case)));
                }
                (Ok(()), Some(reason)) => skipped = Some(reason.to_owned()),
                (Err(reason), _) => reasons.push(reason.to_string()),
            }
        }
        let unfit = || no_target(ask, &workspace.playbook.targets, &reasons);
        skipped.map(FoundCase::Skip).ok_or_else(unfit)
    }

    /// Returns the programs that a test can start on a target.
    fn programs(
        &self,
        pid: u32,
        ask: &AcquireRequest,
        metadata: Option<&Metadata>,
        (workspace, target): (&Workspace, &PlaybookTarget),
    ) -> Result<CasePrograms> {
        let declared = metadata.map_or(&[][..], |metadata| &metadata.programs);
        if declared.is_empty() {
            return Ok(CasePrograms::default());
        }
        let mut known = sync::lock(&self.programs);
        let programs = match &*known {
            Some(known) if known.pid == pid => Arc::clone(&known.programs),
            _ => {
                let cargo = cargo_build(workspace, ask);
                let programs = Arc::new(Programs::new(&workspace.metadata()?, cargo));
                *known = Some(ProgramsOfProcess {
                    pid,
                    programs: Arc::clone(&programs),
                });
                programs
            }
        };
        programs.of_test(&DeclaringTest {
            package: &ask.directory,
            name: &ask.test,
            programs: declared,
            triple: target.triple.as_deref(),
        })
    }

    fn instance_set(
        &self,
        workspace: &Workspace,
        target: usize,
        instance: Option<String>,
    ) -> Result<Arc<InstanceSet>> {
        let mut instance_sets = sync::lock(&self.instance_sets);
        let of = &workspace.playbook.targets[target];
        let key = (
            of.name.clone(),
            of.definition.hash.clone(),
            instance.clone(),
        );
        if let Some(instance_set) = instance_sets.get(&key) {
            instance_set.forgive();
            return Ok(Arc::clone(instance_set));
        }
        let mut wanted = workspace.wanted(target, of.count)?;
        if let Some(instance) = &instance {
            // Other instances are not deployed for this test.
            wanted.retain(|one| one.instance() == *instance);
        }
        let mut instance_set = InstanceSet::new(wanted, 0, of.label.clone(), of.cost);
        instance_set.instance = instance;
        let instance_set = self.provisioner.add(instance_set);
        instance_sets.insert(key, Arc::clone(&instance_set));
        Ok(instance_set)
    }
}

/// Returns the options of Cargo that a test was built with, as far as the path of its binary tells:
/// `TARGET-DIR/[TRIPLE/]PROFILE/deps/NAME`. Its features are unknown.
fn cargo_build(workspace: &Workspace, ask: &AcquireRequest) -> CargoBuild {
    let target_directory = workspace.target_directory.clone();
    let path = Path::new(&ask.binary).strip_prefix(&target_directory);
    let folders = path.ok().and_then(Path::parent).into_iter();
    let folders: Vec<_> = folders.flat_map(Path::iter).collect();
    let (triple, profile) = match folders.as_slice() {
        [profile, _] => (None, Some(*profile)),
        [triple, profile, _] => (Some(*triple), Some(*profile)),
        _ => (None, None),
    };
    let profile = profile.filter(|profile| *profile != "debug");
    let options = profile.map(|profile| ["--profile".into(), profile.to_owned()]);
    CargoBuild {
        directory: PathBuf::from(&ask.directory),
        target_directory,
        options: options.into_iter().flatten().collect(),
        triple: triple.map(ToOwned::to_owned),
    }
}

/// Returns the metadata of a test with the playbook's overrides.
fn declared(workspace: &Workspace, own: Option<Metadata>, test: &str) -> Option<Metadata> {
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let overrides = workspace.playbook.rules.overrides.iter();
    let mut metadata = own;
    for change in overrides.filter(|change| change.name.is_match(name)) {
        change.apply(metadata.get_or_insert_default());
    }
    metadata
}

/// Returns the plan of the orchestration that a test runs, if it runs one. The test checks the types of its arguments.
fn orchestration(
    workspace: &Workspace,
    metadata: Option<&Metadata>,
    records: &[MetadataRecord],
) -> Result<Option<Arc<OrchestrationPlan>>> {
    let Some(name) = metadata.and_then(|metadata| metadata.orchestration.as_ref()) else {
        return Ok(None);
    };
    let settings = &workspace.playbook.orchestration;
    let descriptions = Descriptions::read(settings)?;
    descriptions.check(name, &inventory::known_events(records))?;
    match descriptions.plan(name, settings, 1.0) {
        Some(plan) => Ok(Some(Arc::new(plan))),
        None => Err(Error::playbook(playbook::without_description(
            name, settings,
        ))),
    }
}

/// Returns the case of a test without a runner.
fn case(
    ask: &AcquireRequest,
    metadata: Option<Metadata>,
    target: &PlaybookTarget,
    instance_set: Arc<InstanceSet>,
) -> LeasingCase {
    let metadata = metadata.unwrap_or_default();
    let expected = plan::expected_failures(&metadata, Some(target));
    // The test was started by its own name.
    let info = CaseInfo::new(&*ask.binary, &*ask.test, RunsOn::Any, None, None);
    LeasingCase {
        info: Arc::new(info),
        instance_set,
        count: metadata.count.unwrap_or(1),
        full_name: ask.test.clone(),
        needs: plan::asked(&metadata, target),
        reuse: metadata.reuse.unwrap_or_default(),
        fresh: metadata.fresh == Some(true),
        retry_fresh: false,
        programs: CasePrograms::default(),
        // The test has started here.
        place: ProcessPlace::Host,
        has_attribute: true,
        // Only a run has a folder for them.
        artifacts: CaseArtifacts::default(),
        orchestration: None,
        start: TestStart {
            expect_fail: expected,
            ..TestStart::default()
        },
    }
}

/// Returns the requested instance of a target, if the test requests one; `None` if the test requests another target.
fn wanted_of(
    ask: &AcquireRequest,
    target: &PlaybookTarget,
) -> Option<Result<Option<String>, String>> {
    let Some(wanted) = ask.target.as_ref().filter(|wanted| **wanted != target.name) else {
        return Some(Ok(None));
    };
    let (name, count) = (&target.name, target.count);
    let index = index_of(wanted, name)?;
    Some(if index < count {
        Ok(Some(wanted.clone()))
    } else {
        Err(format!("`{name}` has {count} instance(s), no `{wanted}`"))
    })
}

/// Parses the index of an instance name: `ubuntu-1` is instance 1 of `ubuntu`.
fn index_of(instance: &str, target: &str) -> Option<u32> {
    let index = instance.strip_prefix(target)?.strip_prefix('-')?;
    // Reject other spellings such as `+1` and `01`.
    let number: u32 = index.parse().ok()?;
    (number.to_string() == index).then_some(number)
}

fn no_target(ask: &AcquireRequest, targets: &[PlaybookTarget], reasons: &[String]) -> Error {
    let (why, hint) = match (&ask.target, reasons) {
        (Some(target), []) => {
            let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
            let names = names.join("`, `");
            (
                format!("the playbook has no target `{target}`; known: `{names}`"),
                format!("`{}` is a target or an instance of one", env::TARGET),
            )
        }
        (_, reasons) => (
            reasons.join("; "),
            "`cargo target-test list` shows which targets fit which tests".to_owned(),
        ),
    };
    let message = format!("no target fits `{}`: {why}", ask.test);
    Error::infra(message).with_hint(hint)
}
