//! Finds the target and instances for a test that was started without `cargo target-test`.
//!
//! Must not serve tests.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use target_fixtures::{env, metadata::Metadata};

use crate::{
    case::{CaseInfo, RunsOn},
    cli::Global,
    error::{Error, ErrorKind, Result},
    execute::broker::{
        CaseArtifacts, LeasingCase, TestStart,
        standalone::{AcquireRequest, FoundCase},
    },
    inventory, plan,
    playbook::PlaybookTarget,
    provision::{InstanceSet, PoolProvisioner, platform::Platforms},
    run::workspace::Workspace,
};

/// A target's name, the hash of its definition, and the requested instance, if any.
type Key = (String, String, Option<String>);

/// Targets that tests requested before.
pub(super) struct Known {
    platforms: Platforms,
    provisioner: Arc<PoolProvisioner>,
    instance_sets: Mutex<HashMap<Key, Arc<InstanceSet>>>,
}

impl Known {
    pub(super) fn new(provisioner: &Arc<PoolProvisioner>) -> Self {
        Self {
            platforms: provisioner.run().run().platforms.clone(),
            provisioner: Arc::clone(provisioner),
            instance_sets: Mutex::default(),
        }
    }

    pub(super) fn find(&self, ask: &AcquireRequest) -> Result<FoundCase> {
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
                .and_then(|metadata| plan::skip_reason(metadata, target));
            match (plan::fits(metadata.as_ref(), target), skip) {
                (Ok(()), None) => {
                    let instance_set = self.instance_set(&workspace, number, instance)?;
                    return Ok(FoundCase::Case(Arc::new(case(
                        ask,
                        metadata,
                        target,
                        instance_set,
                    ))));
                }
                (Ok(()), Some(reason)) => skipped = Some(reason.to_owned()),
                (Err(reason), _) => reasons.push(reason.to_string()),
            }
        }
        let unfit = || no_target(ask, &workspace.playbook.targets, &reasons);
        skipped.map(FoundCase::Skip).ok_or_else(unfit)
    }

    fn instance_set(
        &self,
        workspace: &Workspace,
        target: usize,
        instance: Option<String>,
    ) -> Result<Arc<InstanceSet>> {
        let mut instance_sets = self
            .instance_sets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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

/// Returns the case of a test without a runner.
fn case(
    ask: &AcquireRequest,
    metadata: Option<Metadata>,
    target: &PlaybookTarget,
    instance_set: Arc<InstanceSet>,
) -> LeasingCase {
    let metadata = metadata.unwrap_or_default();
    let expected = plan::expected_failures(&metadata, target);
    // The test was started by its own name.
    let info = CaseInfo::new(&*ask.binary, &*ask.test, RunsOn::Any, None, None);
    LeasingCase {
        info: Arc::new(info),
        instance_set,
        count: metadata.count.unwrap_or(1),
        full_name: ask.test.clone(),
        needs: plan::asked(&metadata.requirements, &target.assured),
        reuse: metadata.reuse.unwrap_or_default(),
        fresh: metadata.fresh == Some(true),
        retry_fresh: false,
        // Without a run, there is no folder for them.
        artifacts: CaseArtifacts::default(),
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
    Error::new(ErrorKind::Infra, message).with_hint(hint)
}
