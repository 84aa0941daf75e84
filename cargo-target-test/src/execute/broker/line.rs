//! The live way to one instance, and when it was last known to answer.
//!
//! Must not know leases or pools.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::Result, execute::transport::Transport};

/// An instance idle for longer is proved alive before it is leased.
const FRESH: Duration = Duration::from_secs(2);
/// How long that proof may take.
const PROOF: Duration = Duration::from_secs(15);

/// A connected instance.
pub(super) struct Line {
    pub(super) transport: Arc<dyn Transport>,
    heard: Mutex<Option<Instant>>,
}

impl Line {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            heard: Mutex::default(),
        }
    }

    /// It answered just now.
    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Proves that it answers, unless it just did.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn prove(&self) -> Result<()> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.is_none_or(|heard| heard.elapsed() > FRESH) {
            self.transport.probe(PROOF).await?;
            self.heard();
        }
        Ok(())
    }
}
