//! Answers questions of tests for values of earlier runs, within a time limit.
//!
//! Must not know how the values are stored.

use std::{sync::Arc, time::Duration};

use target_fixtures::wire::{PreviousQuery, PreviousValue, Reply};
use tokio::{task, time};

use crate::{case::CaseInfo, error::Result};

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The test whose values are asked for, and the question.
#[derive(Clone, Debug)]
pub struct PreviousOf {
    /// The case that asks.
    pub case: Arc<CaseInfo>,
    /// The question.
    pub query: PreviousQuery,
}

/// Finds values of earlier runs, the newest first. Blocks.
pub type PreviousLookup = dyn Fn(&PreviousOf) -> Result<Vec<PreviousValue>> + Send + Sync;

/// Answers a question. A history that cannot be read or is slow has no values.
pub(super) async fn answer(lookup: Arc<PreviousLookup>, of: PreviousOf) -> Reply {
    answer_within(lookup, of, PATIENCE).await
}

async fn answer_within(lookup: Arc<PreviousLookup>, of: PreviousOf, patience: Duration) -> Reply {
    let asked = task::spawn_blocking(move || lookup(&of));
    let missing = match time::timeout(patience, asked).await {
        Ok(Ok(Ok(values))) => {
            let missing = None;
            return Reply::Previous { values, missing };
        }
        Ok(Ok(Err(error))) => error.chain(),
        Ok(Err(_)) => "the lookup panicked".to_owned(),
        Err(_) => format!("timed out after {patience:?}"),
    };
    let missing = Some(format!("failed to read the history: {missing}"));
    let values = Vec::new();
    Reply::Previous { values, missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn of() -> PreviousOf {
        PreviousOf {
            case: Arc::new(CaseInfo::on_host("hello", "smoke")),
            query: PreviousQuery {
                test: None,
                metric: None,
                limit: 10,
            },
        }
    }

    #[tokio::test]
    async fn a_history_that_fails_or_hangs_has_no_values() {
        let (end, hang) = std::sync::mpsc::channel::<()>();
        let hang = std::sync::Mutex::new(hang);
        let lookups: [(Arc<PreviousLookup>, u64, &str); 3] = [
            (
                Arc::new(|_| Err(Error::other("file is not a database"))),
                60_000,
                "file is not a database",
            ),
            (Arc::new(|_| panic!("on purpose")), 60_000, "panicked"),
            (
                Arc::new(move |_| {
                    let _ = crate::sync::lock(&hang).recv();
                    Ok(Vec::new())
                }),
                1,
                "timed out after 1ms",
            ),
        ];
        for (lookup, millis, reason) in lookups {
            let patience = Duration::from_millis(millis);
            let reply = answer_within(lookup, of(), patience).await;
            let Reply::Previous { values, missing } = reply else {
                panic!("another reply");
            };
            assert_eq!(values, []);
            let missing = missing.expect("a reason");
            assert!(missing.contains(reason), "{missing}");
        }
        drop(end);
    }
}
