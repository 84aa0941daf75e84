//! The live way to one instance, and when it was last known to answer.
//!
//! Must not know leases or pools.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use target_fixtures::wire::{Failure, FailureKind};

use super::infra;
use crate::{
    error::{Error, Result},
    execute::transport::Transport,
};

/// An instance idle for longer is proved alive before it is leased.
const FRESH: Duration = Duration::from_secs(2);
/// How long that proof may take.
const PROOF: Duration = Duration::from_secs(15);

/// A connected instance.
pub(super) struct Line {
    transport: Mutex<Arc<dyn Transport>>,
    /// `None`: it never answered, or something failed since.
    heard: Mutex<Option<Instant>>,
}

impl Line {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Mutex::new(transport),
            heard: Mutex::default(),
        }
    }

    /// The way itself.
    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        let transport = self.transport.lock();
        Arc::clone(&transport.unwrap_or_else(PoisonError::into_inner))
    }

    /// The instance went down and is up again: what ran on it is lost.
    pub(super) fn replace(&self, transport: Arc<dyn Transport>) {
        let mut old = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *old = transport;
        self.heard();
    }

    /// It answered just now.
    pub(super) fn heard(&self) {
        *self.last() = Some(Instant::now());
    }

    /// It has to prove itself before it is leased again.
    pub(super) fn doubt(&self) {
        *self.last() = None;
    }

    /// What is told of what failed on it, which may be its own fault unless the request was wrong.
    pub(super) fn failed(&self, error: &Error) -> Failure {
        let failure = infra(error);
        if failure.kind != FailureKind::Request {
            self.doubt();
        }
        failure
    }

    /// Whether something failed that may be its own fault.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.last().is_none()
    }

    /// Proves that it answers, unless it just did.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn prove(&self) -> Result<()> {
        self.prove_within(PROOF).await
    }

    /// The same, within a time of one's own.
    pub(super) async fn prove_within(&self, limit: Duration) -> Result<()> {
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
