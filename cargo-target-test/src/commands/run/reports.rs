//! The reports of a run: its folder, its aggregators, its first and last events, and the exit code.
//!
//! Must not know the content of reports.

use std::{path::PathBuf, time::SystemTime};

use crate::{
    aggregate::{
        Aggregator, feed::Feed, history::History, junit::Junit, nextest_report::NextestReport,
        summary::Summary, tally::Tally,
    },
    case::verdict::RunCounts,
    error::Result,
    execute::{
        nextest::{config::JunitConfig, profile, users_junit},
        run_folder::RunFolder,
        session::NextestEnd,
    },
    process,
    provision::{Report, Used},
    run::selection::Selection,
    run_event::{RunEventKind, Sink, TargetTime},
    ui,
};

/// The reports of one run.
pub(super) struct Reports<'a> {
    choice: &'a Selection,
    folder: RunFolder,
    run: &'a str,
    /// The path of our JUnit report.
    junit: Option<PathBuf>,
    /// The path of nextest's JUnit report, from which our report and the exit code are computed.
    nextest_junit: PathBuf,
    since: SystemTime,
}

impl<'a> Reports<'a> {
    pub(super) fn new(choice: &'a Selection, run: &'a str) -> Result<Self> {
        // Use the private folder if the target directory cannot be written.
        let folder = RunFolder::create(choice.target_directory(), run)
            .or_else(|_| RunFolder::create(choice.directory.path(), run))?;
        let options = &choice.run.tests.nextest;
        let profile = profile(options.value("profile"));
        let config = options.value("config-file").map(PathBuf::from);
        let users = users_junit(&choice.workspace.root, config, &profile);
        Ok(Self {
            choice,
            run,
            junit: choice.run.junit.clone(),
            nextest_junit: users.unwrap_or_else(|| folder.nextest_junit()),
            since: SystemTime::now(),
            folder,
        })
    }

    /// Returns the configuration of nextest's own report, unless the user configured one.
    pub(super) fn nextest_config(&self) -> JunitConfig {
        JunitConfig {
            path: self.folder.nextest_junit(),
            with_output: self.junit.is_some(),
        }
    }

    /// Returns the folder of output files.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.output()
    }

    pub(super) fn aggregators(&self) -> Result<Vec<(&'static str, Box<dyn Aggregator>)>> {
        let history = History::new(&self.choice.pool, &self.choice.workspace.root);
        let mut all: Vec<(_, Box<dyn Aggregator>)> = vec![
            ("the summary", Box::<Summary>::default()),
            ("the history of durations", Box::new(history)),
            ("the feed", Box::new(Feed::create(&self.folder.feed())?)),
        ];
        if let Some(file) = &self.junit {
            let junit = Junit::new(file, &self.nextest_junit);
            all.push(("the JUnit report", Box::new(junit)));
        }
        Ok(all)
    }

    /// Emits the first events.
    pub(super) fn begin(&self, sink: &Sink) {
        let workspace = &self.choice.workspace;
        sink.emit(RunEventKind::RunStarted {
            run: self.run.to_owned(),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            workspace: workspace.root.clone(),
            playbook: workspace.playbook.path.clone(),
            cases: self.choice.count(),
            on_host: self.choice.count_on_host(),
        });
        for (case, reason) in self.choice.skipped() {
            sink.emit(RunEventKind::Skipped { case, reason });
        }
    }

    /// Emits the last events, and returns the run's exit code.
    pub(super) fn end(
        &self,
        sink: &Sink,
        tally: &Tally,
        ended: &NextestEnd,
        used: impl Iterator<Item = Used>,
        report: Report,
    ) -> u8 {
        let counts = self.count(sink, tally, ended, &report);
        for used in used {
            sink.emit(RunEventKind::TargetUsed(TargetTime {
                target: used.target,
                instances: used.instances,
                time: used.time,
                cost: used.cost,
            }));
        }
        sink.emit(RunEventKind::CleanedUp(report.into()));
        let exit_code = counts.exit_code();
        sink.emit(RunEventKind::RunEnded {
            exit_code,
            interrupted: counts.interrupted,
        });
        exit_code
    }

    fn count(&self, sink: &Sink, tally: &Tally, ended: &NextestEnd, report: &Report) -> RunCounts {
        let warn = |message: String| {
            ui::warn(&message);
            sink.emit(RunEventKind::Warning { message });
        };
        let code = ended.status.code();
        if code.is_none() && ended.interrupts == 0 {
            let ending = process::ending(ended.status);
            warn(format!("cargo-nextest {ending}: cases may not have run"));
        }
        // A failed run may have skipped cases.
        let cases = self.choice.infos();
        let bypassed = match code {
            Some(0) => tally.unseen(&cases),
            _ => Vec::new(),
        };
        if let [first, ..] = bypassed.as_slice() {
            let count = bypassed.len();
            warn(format!(
                "{count} of the cases that nextest calls passed never asked for an instance, such as `{first}`; check for a \
                 wrapper script that bypasses the runner (`target-runner = \"ignore\"`)"
            ));
        }
        let nextest =
            NextestReport::read(&self.nextest_junit, self.since).unwrap_or_else(|error| {
                warn(error.chain());
                None
            });
        RunCounts {
            interrupted: ended.interrupts > 0,
            unaccounted: !report.failed.is_empty() || !bypassed.is_empty(),
            ..tally.counts(code, nextest.as_ref())
        }
    }
}
