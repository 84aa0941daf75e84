//! The selection of a run: builds the tests, plans the cases, lets nextest choose, and prepares input for the broker
//! and nextest.
//!
//! Must not lease or deploy.

mod config;
mod instance_sets;
mod names;
mod orchestrations;
mod origin;
mod partitions;
mod previous;
mod programs;
mod rerun;
mod reuse;
mod runner;
mod runs_on;
mod scenes;
mod staging;
mod words;

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    aggregate::history,
    case::CaseInfo,
    cli::{Class, NextestArgs, RunArgs},
    error::{Error, Result},
    execute::{
        broker::BrokerPlace,
        nextest::{CargoNextest, Stage, UsersConfig, Words, stage},
        programs::Programs,
        runner::{DEBUG_VERB, VERB, program},
    },
    inventory::{self, Inventory},
    plan::{self, Choosing, Plan},
    playbook::Select,
    provision::InstanceSet,
    run::{
        checkout,
        options::RunOptions,
        private::{self, PrivateFolder},
        workspace::Workspace,
    },
};
use nextest_metadata::TestListSummary;

use orchestrations::Orchestrations;
use rerun::Rerun;

/// The chosen cases and the data they derive from.
pub struct Selection {
    /// The workspace of the run.
    pub workspace: Workspace,
    /// The tests of the workspace.
    pub inventory: Inventory,
    /// The plan with all cases.
    pub plan: Plan,
    /// The run's private folder, deleted with this value.
    pub directory: PrivateFolder,
    chosen: HashSet<(String, String)>,
    entries: Entries,
    nextest: CargoNextest,
    summary: TestListSummary,
    stage: Stage,
    warnings: Vec<String>,
    /// True if filtersets of several scenarios restrict the plan.
    is_restricted: bool,
    /// Tests that nextest chose and that run on no target; `None` if nextest was not asked.
    chosen_nowhere: Option<HashSet<usize>>,
    /// The programs of the workspace; `None` if no chosen case declares one.
    programs: Option<Programs>,
    /// The options of the run.
    pub run: RunArgs,
    /// The pool's folder.
    pub pool: PathBuf,
    /// Cargo's configuration from the command line.
    configs: Vec<OsString>,
    /// The name of the repository.
    pub repository: String,
    /// The path of the history.
    pub history: PathBuf,
    /// The cases of an earlier run, if only these run.
    rerun: Option<Rerun>,
    /// The descriptions of orchestrations.
    orchestrations: Orchestrations,
    /// The digest of the playbook, whatever scenario is chosen.
    playbook_hash: String,
    /// The options that decide what a case is.
    options: Vec<String>,
}

/// Chosen cases, and tests that run once, on the host.
#[derive(Clone, Debug, Default)]
struct Entries {
    /// Indices into the plan's cases.
    cases: Vec<usize>,
    /// Indices into the inventory's tests.
    plain: Vec<usize>,
}

/// The instances of the targets that the chosen cases need, by target.
pub type InstanceSets = BTreeMap<usize, Arc<InstanceSet>>;

impl Selection {
    /// Reads the playbook, builds, plans, and lets nextest choose.
    ///
    /// # Errors
    /// Errors in the command line, the playbook, the build or the selection.
    pub fn make(options: RunOptions) -> Result<Self> {
        let RunOptions {
            global,
            run,
            mut workspace,
            pool,
        } = options;
        let history = history::path(&pool, workspace.playbook.history.path.as_deref());
        let rerun = Rerun::find(&run.tests.choosing, &history, &workspace.root)?;
        let repository = checkout::find_repository(&workspace.root);
        let (tests, args) = (&run.tests, &run.tests.nextest);
        let expressions = staging::expressions(&tests.choosing)?;
        let playbook_hash = workspace.playbook.hash();
        let staged = workspace.stage(&tests.choosing, &expressions)?;
        workspace.check_on_disk()?;
        let mut words = words(args, staged.filterset)?;
        if !tests.choosing.run_orch.is_empty() && !args.has("run-ignored") {
            words.select.insert(0, "--run-ignored=all".into());
        }
        let nextest = CargoNextest::find(words, global.verbose > 0)?;
        nextest.check_run_options()?;
        let summary = nextest.build_and_list()?;
        let mut inventory = inventory::read(&summary)?;
        let mut warnings = staging::declare(&mut inventory, &workspace.playbook.rules)?;
        let settings = &workspace.playbook.orchestration;
        let orchestrations = Orchestrations::read(settings, run.time_scale.unwrap_or(1.0));
        Self::check_run_orch(&inventory, &orchestrations, &tests.choosing.run_orch)?;
        orchestrations.declare(&mut inventory);
        let repository = repository.wait();
        let repository = repository.unwrap_or_else(|| workspace.root.display().to_string());
        let durations = history::durations(&history, &repository);
        let rules = &workspace.playbook.rules;
        let mut choosing = Choosing {
            select: match tests.all_tests {
                true => Select::All,
                false => workspace.playbook.select,
            },
            durations: Some(&durations),
            ..staging::choosing(tests, rules, &expressions)
        };
        let directory = private::private_directory()?;
        let socket = BrokerPlace::socket_in(directory.path());
        let program = program()?;
        let runner = [&program, Path::new(VERB), &socket].map(|word| word.display().to_string());
        let stage = Stage::new(
            directory.path(),
            &workspace.cargo_metadata,
            &summary,
            runner.into(),
        )?;
        let scenes = match &staged.several {
            Some(several) => Some(several.choose(&nextest, &stage, &inventory, &choosing)?),
            None => None,
        };
        choosing.scenes = scenes.as_ref().map(|choice| &choice.scenes);
        let plan = plan::build(&inventory, &workspace.playbook.targets, &choosing)?;
        let is_restricted = scenes.is_some_and(|choice| {
            warnings.extend(choice.warnings);
            choice.is_restricted
        });
        let mut choice = Self {
            entries: Entries {
                cases: (0..plan.cases.len()).collect(),
                plain: plan.plain.clone(),
            },
            chosen: HashSet::new(),
            chosen_nowhere: None,
            workspace,
            inventory,
            plan,
            directory,
            nextest,
            summary,
            stage,
            warnings,
            is_restricted,
            programs: None,
            pool,
            configs: args.configs().map(OsStr::to_owned).collect(),
            options: origin::options(&global, &run),
            repository,
            history,
            rerun,
            orchestrations,
            playbook_hash,
            run,
        };
        choice.choose()?;
        choice.check_reuse()?;
        choice.check_runs_on()?;
        choice.check_orchestrations()?;
        choice.warn_of_missed();
        Ok(choice)
    }

    /// Chooses the cases. Asks nextest only if the user's selection or configuration may exclude cases.
    fn choose(&mut self) -> Result<()> {
        self.chosen = if self.nextest.may_leave_out(&self.workspace.root) {
            // Tests that run nowhere are listed by their own names, to find out which of them the user means; not in a
            // partition, whose parts they would change.
            let nowhere: Vec<_> = match self.run.tests.nextest.has("partition") {
                true => Vec::new(),
                false => self.nowhere().map(|exclusion| exclusion.test).collect(),
            };
            let mut listed = self.entries.clone();
            listed.plain.extend(&nowhere);
            self.stage.list_all(&self.listing(&listed))?;
            let mut chosen = self
                .nextest
                .choose(&self.stage)
                .map_err(|error| self.with_scenarios(error))?;
            let chosen_nowhere = nowhere
                .into_iter()
                .filter(|test| {
                    let name = self.inventory.tests[*test].name.clone();
                    chosen.remove(&(self.binary_id(*test).to_owned(), name))
                })
                .collect();
            self.chosen_nowhere = Some(chosen_nowhere);
            chosen
        } else {
            self.listed(self.rerun.is_some())
        };
        self.keep_rerun();
        self.keep_run_orch();
        self.keep();
        Ok(())
    }

    /// Adds a hint with the filtersets of scenarios, which nextest shows as a part of a larger filterset.
    fn with_scenarios(&self, error: Error) -> Error {
        let sets = self.scenario_filtersets();
        let sets: Vec<_> = sets
            .map(|(name, set)| format!("`{set}` of scenario `{name}`"))
            .collect();
        match sets.is_empty() {
            true => error,
            false => error.with_hint(format!("a part of the filterset is {}", sets.join(", "))),
        }
    }

    fn keep(&mut self) {
        let (inventory, plan, chosen) = (&self.inventory, &self.plan, &self.chosen);
        let has = |test: usize, name: &str| {
            chosen.contains(&(inventory.binary_of(test).id.clone(), name.to_owned()))
        };
        let Entries { cases, plain } = &mut self.entries;
        cases.retain(|case| has(plan.cases[*case].test, &plan.cases[*case].info.name));
        plain.retain(|test| has(*test, &inventory.tests[*test].name));
    }

    /// Returns the cases and tests that nextest chooses by default, or all.
    fn listed(&self, with_ignored: bool) -> HashSet<(String, String)> {
        let (inventory, plan) = (&self.inventory, &self.plan);
        let cases = (plan.cases.iter()).map(|case| (case.test, &case.info.name));
        let plain = (plan.plain.iter()).map(|test| (*test, &inventory.tests[*test].name));
        cases
            .chain(plain)
            .filter(|(test, _)| with_ignored || !inventory.tests[*test].ignored)
            .map(|(test, name)| (inventory.binary_of(test).id.clone(), name.clone()))
            .collect()
    }

    /// Returns true if nextest excluded a test that is not ignored, or a filterset of several scenarios restricts them.
    pub fn is_filtered(&self) -> bool {
        let (inventory, plan) = (&self.inventory, &self.plan);
        let ignored = |test: usize| inventory.tests[test].ignored;
        let cases = plan.cases.iter().filter(|case| !ignored(case.test)).count();
        let plain = plan.plain.iter().filter(|test| !ignored(**test)).count();
        let chosen = |test: usize| usize::from(!ignored(test));
        let of_cases: usize = self.chosen_cases().map(|case| chosen(case.test)).sum();
        let of_plain: usize = self.entries.plain.iter().map(|test| chosen(*test)).sum();
        let is_orchestrations = !self.run.tests.choosing.run_orch.is_empty();
        self.is_restricted || is_orchestrations || of_cases + of_plain < cases + plain
    }

    /// Returns the user's nextest configuration, as the profile of the run sees it.
    fn users_config(&self) -> UsersConfig {
        let options = &self.run.tests.nextest;
        let (file, profile) = (options.value("config-file"), options.value("profile"));
        UsersConfig::read(&self.workspace.root, file, profile)
    }

    /// Returns the number of chosen cases.
    pub fn count(&self) -> usize {
        self.entries.cases.len()
    }

    /// Returns the chosen cases and tests, as (binary id, name).
    pub fn chosen(&self) -> HashSet<(&str, &str)> {
        self.chosen
            .iter()
            .map(|(binary, name)| (binary.as_str(), name.as_str()))
            .collect()
    }

    /// Returns the instances of the case to debug, and the number of instances that it needs before nextest starts.
    ///
    /// # Errors
    /// Fails if a debugger was requested and not exactly one case was chosen.
    fn debugged(&self, instance_sets: &InstanceSets) -> Result<Option<(Arc<InstanceSet>, u32)>> {
        if !self.nextest.debugs() {
            return Ok(None);
        }
        match (self.entries.cases.as_slice(), self.entries.plain.as_slice()) {
            ([case], []) => {
                let case = &self.plan.cases[*case];
                Ok(Some((Arc::clone(&instance_sets[&case.target]), case.count)))
            }
            ([], [_]) => Ok(None),
            (cases, plain) => Err(Error::usage(format!(
                "a debugger requires exactly one case, but {} were chosen",
                cases.len() + plain.len()
            ))
            .with_hint("`-- --exact 'test[target]'` chooses one; `list` shows the names")),
        }
    }

    /// Returns the runner that the user configured, if any. Our runner starts the test with it.
    ///
    /// # Errors
    /// Fails if Cargo's configuration cannot be read.
    fn users_runner(&self) -> Result<Vec<String>> {
        let configs = self.configs.iter().map(OsString::as_os_str);
        runner::users_runner(self.stage.triple(), configs)
    }

    /// Returns the chosen cases.
    pub fn infos(&self) -> Vec<Arc<CaseInfo>> {
        self.chosen_cases()
            .map(|case| Arc::clone(&case.info))
            .collect()
    }

    /// Returns Cargo's target directory.
    pub fn target_directory(&self) -> &Path {
        let build = &self.summary.rust_build_meta;
        build.target_directory.as_std_path()
    }

    fn chosen_cases(&self) -> impl Iterator<Item = &plan::Case> {
        self.cases_of(&self.entries)
    }

    fn cases_of<'a>(
        &'a self,
        entries: &'a Entries,
    ) -> impl Iterator<Item = &'a plan::Case> + Clone {
        entries.cases.iter().map(|case| &self.plan.cases[*case])
    }

    /// Returns nextest's id of the binary of a test.
    fn binary_id(&self, test: usize) -> &str {
        &self.inventory.binary_of(test).id
    }

    fn listing(&self, entries: &Entries) -> stage::Names {
        let cases = self.cases_of(entries);
        let cases = cases.map(|case| (case.test, case.info.name.as_str()));
        let plain = entries.plain.iter();
        let plain = plain.map(|test| (*test, self.inventory.tests[*test].name.as_str()));
        listing(&self.inventory, cases.chain(plain))
    }
}

/// Returns the listing of these names of tests.
fn listing<'a>(
    inventory: &Inventory,
    tests: impl Iterator<Item = (usize, &'a str)>,
) -> stage::Names {
    let mut names = stage::Names::new();
    for (test, name) in tests {
        let path = inventory.binary_of(test).path.as_std_path();
        let names = names.entry(path.to_owned()).or_default();
        names.push((name.to_owned(), inventory.tests[test].ignored));
    }
    names
}

/// Sorts the user's options by nextest call; `scene` is the filterset of the run's only scenario.
///
/// # Errors
/// Fails if the path of the current executable is unknown.
fn words(args: &NextestArgs, scene: Option<String>) -> Result<Words> {
    let debugger = ["debugger", "tracer"]
        .into_iter()
        .find_map(|option| Some((option, args.value(option)?.to_string_lossy())));
    let ourselves = std::env::current_exe()?;
    let with_shim = |(option, debugger)| {
        let shim = [&ourselves.to_string_lossy(), DEBUG_VERB];
        let shim = shlex::try_join(shim).unwrap_or_default();
        (option, format!("{shim} {debugger}"))
    };
    Ok(Words {
        build: args.words(Class::Build),
        select: match scene {
            Some(scene) => args.select_within(&scene),
            None => args.words(Class::Selection),
        },
        matching: args.words(Class::All),
        run: args.words(Class::Run),
        debugger: debugger.map(with_shim),
    })
}

fn deploy_name(instance_set: &InstanceSet, index: usize) -> String {
    format!("deploy[{}]", instance_set.wanted[index].instance())
}
