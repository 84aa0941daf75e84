//! The end of a broker's work: ends leases, deletes instances, and limits both after an interrupt.
//!
//! The first Ctrl-C limits the time of the clean-up. The second Ctrl-C stops the clean-up and leaves the pool to the
//! next run.

pub(crate) mod signals;
mod witness;

use std::time::Duration;

use tokio::time::Instant;

use super::broker::Broker;
use crate::{
    case::verdict::EXIT_INTERRUPTED,
    error::{Error, Result},
    process,
    provision::Provisioner,
    run_event::CleanUp,
    ui,
};
pub(crate) use signals::{Interrupts, Signals};
pub(crate) use witness::Witness;

/// The time limit of the clean-up after an interrupt.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// Ends the leases, then finishes the provisioner. Counts the interrupts of the user.
///
/// # Errors
/// Errors of the pool; or an interrupted clean-up, with exit code 130.
pub(crate) async fn clean_up(
    broker: &Broker,
    provisioner: &dyn Provisioner,
    keep: bool,
    signals: &mut Signals,
    interrupts: &mut Interrupts,
) -> Result<CleanUp> {
    // Running deploys are no longer needed.
    broker.cancel();
    let work = async {
        broker.end_leases().await;
        provisioner.finish(keep).await
    };
    within_limits(work, signals, interrupts).await
}

/// Waits for the end of a clean-up, within the limits that interrupts set.
///
/// # Errors
/// As [`clean_up`].
pub(crate) async fn within_limits(
    work: impl Future<Output = Result<CleanUp>>,
    signals: &mut Signals,
    interrupts: &mut Interrupts,
) -> Result<CleanUp> {
    tokio::pin!(work);
    let mut limit = until(interrupts);
    let left = loop {
        if interrupts.count > 1 {
            break "interrupted twice: instances remain".to_owned();
        }
        tokio::select! {
            done = &mut work => return done,
            signal = signals.next() => {
                if !interrupts.add(signal) {
                    continue;
                }
                limit = until(interrupts);
                ui::note("interrupted: cleaning up; interrupt again to leave the instances behind");
            }
            () = tokio::time::sleep_until(limit) => {
                break format!("timed out after {} s cleaning up", CLEAN_UP.as_secs());
            }
        }
    };
    process::kill_scripts();
    Err(Error::infra(left)
        .with_hint("`cargo target-test --delete-targets` deletes the remaining instances")
        .with_exit_code(EXIT_INTERRUPTED.into()))
}

/// Returns the deadline of the clean-up.
fn until(interrupts: &Interrupts) -> Instant {
    // Practically unlimited, without overflow.
    const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    Instant::now() + if interrupts.any() { CLEAN_UP } else { FOREVER }
}
