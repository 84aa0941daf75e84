//! What a run consists of: built, planned, chosen by nextest.
//!
//! Owns the way from the command line to the chosen cases, and what broker and nextest are told of
//! them. Must not lease or deploy anything.

mod config;
mod memory;
mod names;
mod reuse;
mod runner;
mod staging;
mod supplies;
mod words;

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use crate::{
    aggregate::history,
    cli::{NextestArgs, NextestCall, RunArgs},
    error::{Error, ErrorKind, Result},
    execute::{
        broker::{Broker, Supply},
        nextest::{Nextest, Stage, Words, stage},
        runner::{DEBUG_VERB, VERB, program},
    },
    inventory::{self, Inventory},
    plan::{self, Choosing, Plan},
    playbook::Select,
    run::{
        options::Options,
        private::{self, PrivateFolder},
        workspace::Workspace,
    },
};
use nextest_metadata::TestListSummary;

/// The chosen cases and everything they come from.
pub struct Selection {
    /// Where this runs.
    pub setting: Workspace,
    /// Which tests exist.
    pub inventory: Inventory,
    /// All cases.
    pub plan: Plan,
    /// The run's private folder; gone with this value.
    pub directory: PrivateFolder,
    chosen: HashSet<(String, String)>,
    /// Indices into the plan's cases.
    cases: Vec<usize>,
    /// Indices into the inventory's tests.
    plain: Vec<usize>,
    nextest: Nextest,
    summary: TestListSummary,
    stage: Stage,
    warnings: Vec<String>,
    /// The options of the run.
    pub run: RunArgs,
    /// The pool's folder.
    pub pool: PathBuf,
    /// Cargo's configuration, as given on the command line.
    configs: Vec<OsString>,
}

/// The instances of the targets that the chosen cases need, by target.
pub type Supplies = BTreeMap<usize, Arc<Supply>>;

impl Selection {
    /// Reads the playbook, builds, plans, and has nextest choose.
    ///
    /// # Errors
    /// What is wrong with the command line, the playbook, the build or the selection.
    pub fn make(options: Options) -> Result<Self> {
        let Options {
            global,
            run,
            workspace: mut setting,
            pool,
        } = options;
        let (tests, args) = (&run.tests, &run.tests.nextest);
        let expressions = staging::expressions(&tests.choosing)?;
        let scenes = setting.stage(&tests.choosing, &expressions)?;
        setting.check_on_disk()?;
        let nextest = Nextest::find(words(args, scenes), global.verbose > 0)?;
        let summary = nextest.build_and_list()?;
        let mut inventory = inventory::read(&summary)?;
        let warnings = staging::declare(&mut inventory, &setting.playbook.rules)?;
        let durations = history::read(&pool, &setting.root);
        let rules = &setting.playbook.rules;
        let choosing = Choosing {
            select: match tests.all_tests {
                true => Select::All,
                false => setting.playbook.select,
            },
            durations: &durations,
            ..staging::choosing(tests, rules, &expressions)
        };
        let plan = plan::build(&inventory, &setting.playbook.targets, &choosing)?;
        let directory = private::private_directory()?;
        let socket = Broker::socket_in(directory.path());
        let program = program()?;
        let runner = [&program, Path::new(VERB), &socket].map(|word| word.display().to_string());
        let stage = Stage::new(
            directory.path(),
            &setting.cargo_metadata,
            &summary,
            runner.into(),
        )?;
        let mut choice = Self {
            cases: (0..plan.cases.len()).collect(),
            plain: plan.plain.clone(),
            chosen: HashSet::new(),
            setting,
            inventory,
            plan,
            directory,
            nextest,
            summary,
            stage,
            warnings,
            pool,
            configs: args.configs().map(OsStr::to_owned).collect(),
            run,
        };
        choice.choose()?;
        choice.check_reuse()?;
        choice.warn_of_missed();
        Ok(choice)
    }

    /// Has nextest choose, where that is not known without.
    fn choose(&mut self) -> Result<()> {
        self.chosen = if self.nextest.may_leave_out(&self.setting.root) {
            self.stage.list_all(&self.listing())?;
            self.nextest
                .choose(&self.stage)
                .map_err(|error| self.with_scenarios(error))?
        } else {
            self.unignored()
        };
        self.keep();
        Ok(())
    }

    /// nextest shows the filtersets of scenarios as a part of a whole.
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
            let binary = &inventory.binaries[inventory.tests[test].binary];
            chosen.contains(&(binary.id.clone(), name.to_owned()))
        };
        self.cases
            .retain(|case| has(plan.cases[*case].test, &plan.cases[*case].name));
        self.plain
            .retain(|test| has(*test, &inventory.tests[*test].name));
    }

    /// All that nextest chooses where nothing was asked for.
    fn unignored(&self) -> HashSet<(String, String)> {
        let (inventory, plan) = (&self.inventory, &self.plan);
        let cases = (plan.cases.iter()).map(|case| (case.test, &case.name));
        let plain = (plan.plain.iter()).map(|test| (*test, &inventory.tests[*test].name));
        cases
            .chain(plain)
            .filter(|(test, _)| !inventory.tests[*test].ignored)
            .map(|(test, name)| {
                let binary = &inventory.binaries[inventory.tests[test].binary];
                (binary.id.clone(), name.clone())
            })
            .collect()
    }

    /// Whether nextest left something out that is not ignored anyway.
    pub fn is_filtered(&self) -> bool {
        let (inventory, plan) = (&self.inventory, &self.plan);
        let ignored = |test: usize| inventory.tests[test].ignored;
        let cases = plan.cases.iter().filter(|case| !ignored(case.test)).count();
        let plain = plan.plain.iter().filter(|test| !ignored(**test)).count();
        let chosen = |test: usize| usize::from(!ignored(test));
        let of_cases: usize = self.chosen_cases().map(|case| chosen(case.test)).sum();
        let of_plain: usize = self.plain.iter().map(|test| chosen(*test)).sum();
        of_cases + of_plain < cases + plain
    }

    /// How many cases were chosen.
    pub fn count(&self) -> usize {
        self.cases.len()
    }

    /// What nextest chose: ids of binaries, with names.
    pub fn chosen(&self) -> HashSet<(&str, &str)> {
        self.chosen
            .iter()
            .map(|(binary, name)| (binary.as_str(), name.as_str()))
            .collect()
    }

    /// Stages what nextest runs: the chosen cases, the deploys they need, and the tool config.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn stage_run(&self, supplies: &Supplies) -> Result<()> {
        let every = supplies
            .values()
            .flat_map(|supply| (0..supply.at_once).map(|index| deploy_name(supply, index)));
        let deploys = if self.is_debugged() {
            Vec::new()
        } else {
            every.collect()
        };
        self.stage
            .list_chosen(&self.summary, &self.listing(), deploys)?;
        Ok(fs_err::write(
            self.stage.tool_config(),
            self.tool_config(supplies).render(),
        )?)
    }

    /// The supply of the one case that is debugged, and how many instances it needs before nextest starts.
    ///
    /// # Errors
    /// When a debugger is asked for and not exactly one case was chosen.
    pub fn debugged(&self, supplies: &Supplies) -> Result<Option<(Arc<Supply>, u32)>> {
        if !self.is_debugged() {
            return Ok(None);
        }
        match (self.cases.as_slice(), self.plain.as_slice()) {
            ([case], []) => {
                let case = &self.plan.cases[*case];
                Ok(Some((Arc::clone(&supplies[&case.target]), case.count)))
            }
            ([], [_]) => Ok(None),
            (cases, plain) => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "a debugger takes exactly one case, {} were chosen",
                    cases.len() + plain.len()
                ),
            )
            .with_hint("`-- --exact 'test[target]'` chooses one; `list` shows the names")),
        }
    }

    /// The one run.
    ///
    /// # Errors
    /// When our own path is unknown.
    pub fn nextest_run(&self, without_bar: bool) -> Result<Command> {
        let ourselves = std::env::current_exe()?;
        let shim = [ourselves.as_os_str(), DEBUG_VERB.as_ref()];
        Ok(self.nextest.run(&self.stage, &shim, without_bar))
    }

    /// The runner that the user configured, if any: ours starts it before the test.
    ///
    /// # Errors
    /// When Cargo's configuration cannot be read.
    pub fn users_runner(&self) -> Result<Vec<String>> {
        let configs = self.configs.iter().map(OsString::as_os_str);
        runner::users_runner(self.stage.triple(), configs)
    }

    /// The chosen cases: paths of binaries, with names.
    pub fn case_names(&self) -> Vec<(String, String)> {
        let name = |case: &plan::Case| {
            let binary = &self.inventory.binaries[self.inventory.tests[case.test].binary];
            (binary.path.to_string(), case.name.clone())
        };
        self.chosen_cases().map(name).collect()
    }

    fn is_debugged(&self) -> bool {
        self.nextest.debugs()
    }

    fn chosen_cases(&self) -> impl Iterator<Item = &plan::Case> {
        self.cases.iter().map(|case| &self.plan.cases[*case])
    }

    fn listing(&self) -> stage::Names {
        let mut names = stage::Names::new();
        let mut add = |test: usize, name: &str| {
            let test = &self.inventory.tests[test];
            let path = self.inventory.binaries[test.binary].path.as_std_path();
            if !names.contains_key(path) {
                names.insert(path.to_owned(), Vec::new());
            }
            if let Some(names) = names.get_mut(path) {
                names.push((name.to_owned(), test.ignored));
            }
        };
        self.chosen_cases()
            .for_each(|case| add(case.test, &case.name));
        self.plain
            .iter()
            .for_each(|test| add(*test, &self.inventory.tests[*test].name));
        names
    }
}

/// What each call of nextest is told of the user's options; `scenes`: which cases scenarios leave.
fn words(args: &NextestArgs, scenes: Option<String>) -> Words {
    let debugger = ["debugger", "tracer"]
        .into_iter()
        .find_map(|option| Some((option, args.value(option)?.to_string_lossy().into_owned())));
    Words {
        build: args.words(NextestCall::Build),
        select: match scenes {
            Some(scenes) => args.select_within(&scenes),
            None => args.words(NextestCall::Select),
        },
        run: args.words(NextestCall::Run),
        debugger,
    }
}

fn deploy_name(supply: &Supply, index: usize) -> String {
    format!("deploy[{}]", supply.wanted[index].instance())
}
