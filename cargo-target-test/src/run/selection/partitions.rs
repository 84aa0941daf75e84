//! Builds the orchestrator of a run: splits the chosen cases into partitions and stages each for one nextest run.
//!
//! Must not start anything.

use std::sync::Arc;

use nextest_metadata::RustBinaryId;

use super::{Entries, InstanceSets, Selection, deploy_name};
use crate::{
    aggregate::feed::FeedTo,
    aggregate::summary::SummaryLevel,
    cli::KeepTargets,
    error::Result,
    execute::broker::BrokerPlace,
    execute::{nextest::config::JunitConfig, run_folder::RunFolder},
    orchestrate::nextest::{Nextest, NextestOptions, Partition},
    provision::{PoolProvisioner, PoolRun, pool::Pool},
    run_event::{RunEventKind, RunOrigin},
    ui,
};

impl Selection {
    /// Returns the provisioner of the run's instances.
    ///
    /// # Errors
    /// Fails if the pool cannot be opened.
    pub fn provisioner(&self) -> Result<PoolProvisioner> {
        let run = PoolRun::new(Pool::open(&self.pool)?, self.workspace.run_info())?;
        let ssh_config = BrokerPlace::ssh_config_in(self.directory.path());
        Ok(PoolProvisioner::new(run, &ssh_config, ui::live))
    }

    /// Creates the folder of the run's reports, in the private folder if the target directory cannot be written.
    ///
    /// # Errors
    /// Fails if neither folder can be written.
    pub fn run_folder(&self, run: &str) -> Result<RunFolder> {
        let build = &self.summary.rust_build_meta;
        RunFolder::create(build.target_directory.as_std_path(), run)
            .or_else(|_| RunFolder::create(self.directory.path(), run))
    }

    /// Returns true if the folder of the run's reports outlives the run.
    pub fn keeps(&self, folder: &RunFolder) -> bool {
        !folder.path().starts_with(self.directory.path())
    }

    /// Returns the orchestrator, which runs the chosen cases in as many nextest runs as the user wants. `known` is what
    /// is known of the working copy.
    ///
    /// # Errors
    /// Fails if a file cannot be written, or if a debugger was requested and not exactly one case was chosen.
    pub fn nextest(
        &self,
        provisioner: &Arc<PoolProvisioner>,
        folder: &RunFolder,
        known: RunOrigin,
    ) -> Result<Nextest> {
        let instance_sets = self.instance_sets(provisioner)?;
        let mut table = self.case_table(&instance_sets, &self.users_runner()?)?;
        let args = &self.run.tests.nextest;
        table.captured = !args.has("no-capture");
        table.releases = self.may_release();
        let users = self.users_config();
        let is_quiet = self.run.summary == Some(SummaryLevel::Table);
        let options = NextestOptions {
            keep: self.run.keep_targets == Some(KeepTargets::All),
            debugged: self.debugged(&instance_sets)?,
            draws_bar: args.draws_bar() && !is_quiet,
            is_quiet,
            shows_progress: args.has("show-progress"),
            max_fail: args.max_fail(users.max_fail()),
            infra_code: self.run.infra_exit_code,
            users_junit: users.junit(),
            stdout_is_taken: self.run.feed == Some(FeedTo::Stdout),
        };
        let run = &provisioner.run().run().id;
        let origin = self.origin(&instance_sets, known);
        Ok(Nextest {
            partitions: self.partitions(&instance_sets, folder)?,
            table: Arc::new(table),
            provisioner: Arc::clone(provisioner),
            sets: instance_sets.into_values().collect(),
            place: BrokerPlace {
                folder: self.directory.path().to_owned(),
                holds_failed: self.run.shell_on_failure,
                keeps_failed: self.run.keep_targets == Some(KeepTargets::Failed),
            },
            leases: Arc::default(),
            started: RunEventKind::RunStarted {
                run: run.clone(),
                tool: env!("CARGO_PKG_VERSION").to_owned(),
                workspace: self.workspace.root.clone(),
                playbook: self.workspace.playbook.path.clone(),
                cases: self.count(),
                on_host: self.entries.plain.len(),
                origin: Box::new(origin),
            },
            skipped: self.skipped(),
            previous: self.previous_values(run),
            options,
            cargo_nextest: self.nextest.clone(),
        })
    }

    /// Returns true if instances that no remaining case needs may be deleted at once: not if all are kept, and
    /// not in a stress run.
    pub fn may_release(&self) -> bool {
        let again = ["stress-count", "stress-duration"];
        let again = again
            .into_iter()
            .any(|option| self.run.tests.nextest.has(option));
        self.run.keep_targets != Some(KeepTargets::All) && !again && !self.nextest.debugs()
    }

    /// Stages the nextest runs: each with its part of the cases; the first also shows the deploys.
    fn partitions(
        &self,
        instance_sets: &InstanceSets,
        folder: &RunFolder,
    ) -> Result<Vec<Partition>> {
        let slices = self.slices();
        let users = self.users_config();
        let mut partitions = Vec::new();
        for (index, entries) in slices.iter().enumerate() {
            let is_only = slices.len() == 1;
            let stage = match is_only {
                true => self.stage.clone(),
                false => self.stage.part(index + 1)?,
            };
            let report = users.junit();
            let (junit, replaced) = match report {
                Some(users) if is_only => (users, false),
                report => (folder.nextest_junit(index), report.is_some()),
            };
            let report = JunitConfig {
                path: junit.clone(),
                with_output: self.run.junit.is_some(),
            };
            let shown = instance_sets
                .values()
                .filter(|_| index == 0 && !self.nextest.debugs());
            let deploys =
                shown.flat_map(|set| (0..set.at_once).map(|index| deploy_name(set, index)));
            stage.list_chosen(&self.summary, &self.listing(entries), deploys.collect())?;
            let config = self.tool_config(entries, (index, slices.len()), instance_sets, report);
            fs_err::write(stage.tool_config(), config.render())?;
            let own_file = replaced.then_some(junit.as_path());
            if let Some(text) = users.replacement(own_file, &config) {
                stage.replace_users_config(&text)?;
            }
            partitions.push(Partition { stage, junit });
        }
        Ok(partitions)
    }

    /// Splits the chosen cases and tests as nextest's `slice:K/N` does: by turns, in the order of binaries and names.
    fn slices(&self) -> Vec<Entries> {
        let Entries { cases, plain } = &self.entries;
        let wanted = self.run.partitions.map_or(1, usize::from);
        let count = wanted.min(cases.len() + plain.len()).max(1);
        let mut slices = vec![Entries::default(); count];
        let of_cases = cases.iter().map(|index| {
            let case = &self.plan.cases[*index];
            (case.test, case.info.name.as_str(), Entry::Case(*index))
        });
        let of_plain = plain.iter().map(|index| {
            let test = &self.inventory.tests[*index];
            (*index, test.name.as_str(), Entry::Plain(*index))
        });
        let mut all: Vec<_> = of_cases.chain(of_plain).collect();
        all.sort_by_cached_key(|(test, name, _)| (RustBinaryId::new(self.binary_id(*test)), *name));
        for (position, (.., entry)) in all.into_iter().enumerate() {
            let slice = &mut slices[position % count];
            match entry {
                Entry::Case(index) => slice.cases.push(index),
                Entry::Plain(index) => slice.plain.push(index),
            }
        }
        slices
    }
}

/// An index into the plan's cases or the inventory's tests.
enum Entry {
    Case(usize),
    Plain(usize),
}
