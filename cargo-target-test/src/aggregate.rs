//! Aggregators: turn run events into output for users and other programs.

// Must not know where events come from.

use std::path::Path;

use crate::{error::Result, run_event::RunEvent};

pub mod change;
pub mod fan_out;
pub mod feed;
pub mod github;
pub mod history;
pub mod html;
pub mod junit;
pub mod nextest_report;
pub mod notify;
pub mod overruled;
pub mod results;
pub mod slowest;
pub mod sub_results;
pub mod summary;
pub mod tally;

pub use fan_out::FanOut;

/// Consumes the events of a run as they happen.
///
/// [`FanOut`] runs each aggregator in its own thread. An aggregator that fails or panics causes a warning, and the run
/// continues without it. At its end, a run waits at most 10 s for all aggregators. A slow aggregator misses output and
/// progress events; it gets all other events.
///
/// Each attempt of a case is an event of its own. Of the attempts with the same binary id, name and stress index, the
/// last one counts. [`RunEventKind`](crate::run_event::RunEventKind) may get more variants.
///
/// [`Tool::aggregator`](crate::Tool::aggregator) adds an aggregator to a tool. A script creates a [`FanOut`] and passes
/// its sink to an [`Orchestrator`](crate::orchestrate::Orchestrator).
///
/// ```
/// use cargo_target_test::{
///     Result,
///     aggregate::{Aggregator, FanOut},
///     run_event::{RunEvent, RunEventKind},
/// };
///
/// /// Prints every failure as it happens.
/// struct Failures;
///
/// impl Aggregator for Failures {
///     fn ingest(&mut self, event: &RunEvent) -> Result<()> {
///         if let RunEventKind::AttemptEnded { attempt, result } = &event.kind
///             && result.verdict.is_failure()
///         {
///             println!("{} failed on {}", attempt.case, result.instances.join(", "));
///         }
///         Ok(())
///     }
/// }
///
/// let fan_out = FanOut::start(vec![("the list of failures", Box::new(Failures))])?;
/// let sink = fan_out.sink();
/// sink.emit(RunEventKind::RunEnded { exit_code: 0, interrupted: false });
/// fan_out.finish();
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
pub trait Aggregator: Send {
    /// Takes the next event.
    ///
    /// # Errors
    /// After an error, no method of the aggregator is called again.
    fn ingest(&mut self, event: &RunEvent) -> Result<()>;

    /// Called when no event has come for a moment. Deferred work can be done now.
    ///
    /// # Errors
    /// See [`Aggregator::ingest`].
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Finishes the work after the last event, also of an interrupted run.
    ///
    /// # Errors
    /// Any error marks the output as incomplete.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A way to create an aggregator for each run.
pub(crate) struct NewAggregator {
    /// The name of the aggregator in warnings.
    pub(crate) name: &'static str,
    /// Creates the aggregator; gets the folder of the run's reports.
    pub(crate) new: Box<New>,
}

/// Creates an aggregator in a folder.
type New = dyn Fn(&Path) -> Result<Box<dyn Aggregator>> + Send + Sync;
