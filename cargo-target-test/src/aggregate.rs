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
/// Each aggregator has a thread of its own. One that fails, panics or does not come to its end costs a warning; the run
/// goes on without it.
pub trait Aggregator: Send {
    /// Takes the next event.
    ///
    /// # Errors
    /// Whatever keeps this aggregator from going on; it gets no further event.
    fn ingest(&mut self, event: &RunEvent) -> Result<()>;

    /// Ends the work, after the last event.
    ///
    /// # Errors
    /// Whatever keeps this aggregator from its end.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
