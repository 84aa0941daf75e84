//! Orchestrators, which run many cases: which case runs when, and on which machine.

// Must not know how a case is run.

use std::{fmt, sync::Arc};

use crate::{
    case::{
        CaseInfo,
        verdict::{EXIT_NO_TESTS, EXIT_RUN_FAILED, RunCounts, Verdict},
    },
    error::Result,
    execute::Executor,
    provision::{BoxFuture, Provisioner},
    run_event::{CleanUp, Sink},
};

pub mod nextest;
mod pull;

pub use nextest::Nextest;
pub use pull::Pull;

/// Runs cases. Called within a tokio runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use cargo_target_test::{
///     connect::Reach,
///     execute::ShellTests,
///     orchestrate::{Orchestrator, Pull},
///     provision::{Machine, Wrapped},
///     run_event::Sink,
/// };
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let output = tempfile::tempdir()?;
/// let machines = Wrapped::new([Machine::wrap("here", &Reach::local(std::env::temp_dir()))]);
/// let tests = ShellTests::new(output.path()).command("kernel", "uname -s").command("fails", "exit 3");
/// let (cases, sink) = (tests.cases(), Sink::discard());
/// let result = Pull::default().run(&cases, Arc::new(machines), Arc::new(tests), &sink).await?;
/// assert_eq!((result.passed, result.failed, result.exit_code()), (1, 1, 100));
/// # Ok::<(), cargo_target_test::Error>(())
/// # })?;
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
pub trait Orchestrator: Send + Sync {
    /// Runs the cases, emits the events of the run from [`RunStarted`](crate::run_event::RunEventKind::RunStarted) to
    /// [`RunEnded`](crate::run_event::RunEventKind::RunEnded), and finishes the provisioner.
    ///
    /// # Errors
    /// If the record of the instances cannot be used. A case that cannot run is infra and no error.
    fn run<'a>(
        &'a self,
        cases: &'a [Arc<CaseInfo>],
        provisioner: Arc<dyn Provisioner>,
        executor: Arc<dyn Executor>,
        sink: &'a Sink,
    ) -> BoxFuture<'a, Result<RunResult>>;
}

/// The result of a run: the number of cases by their last verdict, and the instances at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunResult {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed, or under which the system crashed.
    pub failed: usize,
    /// Cases that do not apply.
    pub skipped: usize,
    /// Cases that got no usable instance.
    pub infra: usize,
    /// True if a user interrupted the run.
    pub interrupted: bool,
    /// The instances at the end of the run.
    pub clean_up: CleanUp,
    /// The counts that decide the exit code of a nextest run; `None` if nextest did not run.
    counts: Option<RunCounts>,
}

impl RunResult {
    /// Counts the last verdict of a case.
    fn count(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail | Verdict::Crash(_) => &mut self.failed,
            Verdict::Skip(_) => &mut self.skipped,
            Verdict::Infra(_) => &mut self.infra,
        } += 1;
    }

    /// The exit code, as of a run of the command: 100 after a failure, 69 if only infra kept cases from passing, 4 if
    /// there were no cases, 130 after an interrupt.
    pub fn exit_code(&self) -> u8 {
        if let Some(counts) = &self.counts {
            return counts.exit_code();
        }
        let code = match (self.failed + self.infra, self.passed + self.skipped) {
            (0, 0) => EXIT_NO_TESTS,
            (0, _) => 0,
            _ => EXIT_RUN_FAILED,
        };
        let counts = RunCounts {
            nextest: Some(code.into()),
            interrupted: self.interrupted,
            failed: self.failed,
            infra: self.infra,
            unaccounted: !self.clean_up.failed.is_empty(),
            ..RunCounts::default()
        };
        counts.exit_code()
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
            infra,
            ..
        } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {infra} infra, {skipped} skipped"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_infra_is_no_failure() {
        let result = |passed, failed, infra| RunResult {
            passed,
            failed,
            infra,
            ..RunResult::default()
        };
        for (result, code) in [
            (result(0, 0, 0), 4),
            (result(2, 0, 0), 0),
            (result(2, 0, 1), 69),
            (result(2, 1, 1), 100),
            (
                RunResult {
                    interrupted: true,
                    ..result(1, 1, 0)
                },
                130,
            ),
        ] {
            assert_eq!(result.exit_code(), code, "{result}");
        }
    }
}
