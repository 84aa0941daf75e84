//! The live way to one instance, and when it was last known to answer.
//!
//! Must not know leases or pools.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Transport;
use crate::error::Result;

/// An instance idle for longer is proved alive before it is leased.
const FRESH: Duration = Duration::from_secs(2);
/// How long that proof may take.
const PROOF: Duration = Duration::from_secs(15);

/// A connected instance.
pub(crate) struct LiveConnection {
    transport: Mutex<Arc<dyn Transport>>,
    /// `None`: it never answered, or something failed since.
    heard: Mutex<Option<Instant>>,
}

impl LiveConnection {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Mutex::new(transport),
            heard: Mutex::default(),
        }
    }

    /// The way itself.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        let transport = self.transport.lock();
        Arc::clone(&transport.unwrap_or_else(PoisonError::into_inner))
    }

    /// The instance went down and is up again: what ran on it is lost.
    pub(crate) fn replace(&self, transport: Arc<dyn Transport>) {
        let mut old = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *old = transport;
        self.heard();
    }

    /// It answered just now.
    pub(crate) fn heard(&self) {
        *self.last() = Some(Instant::now());
    }

    /// It has to prove itself before it is leased again.
    pub(crate) fn doubt(&self) {
        *self.last() = None;
    }

    /// Whether something failed that may be its own fault.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.last().is_none()
    }

    /// Proves that it answers, unless it just did.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn prove(&self) -> Result<()> {
        self.prove_within(PROOF).await
    }

    /// The same, within a time of one's own.
    pub(crate) async fn prove_within(&self, limit: Duration) -> Result<()> {
        let heard = *self.last();
        if heard.is_none_or(|heard| heard.elapsed() > FRESH) {
            self.transport().probe(limit).await?;
            self.heard();
        }
        Ok(())
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
