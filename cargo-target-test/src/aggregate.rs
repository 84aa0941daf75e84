//! From run events to what people and other programs read.
//!
//! Owns the trait of everything that consumes run events. Must not know where events come from.

use crate::{error::Result, run_event::RunEvent};

pub mod fan_out;
pub mod feed;
pub mod history;
pub mod junit;
pub mod nextest_report;
pub mod summary;
pub mod tally;

pub use fan_out::FanOut;

/// Consumes the events of a run while it goes on.
///
/// [`FanOut`] gives each aggregator a thread of its own. One that fails, panics or does not come to its end costs a
/// warning; the run goes on without it.
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
    /// Whatever keeps this aggregator from going on; it gets no further event.
    fn ingest(&mut self, event: &RunEvent) -> Result<()>;

    /// Called when no event has come for a moment: what was put off can be done now.
    ///
    /// # Errors
    /// As [`Aggregator::ingest`].
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the work, after the last event.
    ///
    /// # Errors
    /// Whatever keeps this aggregator from its end.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
