//! A connected instance and the time of its last answer.
//!
//! Must not know leases or pools.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::Transport;
use crate::{error::Result, sync};

/// An instance that was idle for longer is probed before it is leased.
const FRESH: Duration = Duration::from_secs(2);
/// The timeout of the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connected instance.
pub(crate) struct LiveConnection {
    transport: Mutex<Arc<dyn Transport>>,
    /// The time of the last answer; `None` if there was none, or if a failure occurred since.
    heard: Mutex<Option<Instant>>,
}

impl LiveConnection {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Mutex::new(transport),
            heard: Mutex::default(),
        }
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&sync::lock(&self.transport))
    }

    /// Replaces the transport after a reboot of the instance.
    pub(crate) fn replace(&self, transport: Arc<dyn Transport>) {
        *sync::lock(&self.transport) = transport;
        self.heard();
    }

    /// Records that the instance answered now.
    pub(crate) fn heard(&self) {
        *self.last() = Some(Instant::now());
    }

    /// Records a failure: the instance is probed before it is leased again.
    pub(crate) fn doubt(&self) {
        *self.last() = None;
    }

    /// True if a failure occurred since the last answer, or if there was no answer yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.last().is_none()
    }

    /// Probes the instance unless it answered recently.
    ///
    /// # Errors
    /// If the instance does not answer.
    pub(crate) async fn prove(&self) -> Result<()> {
        self.prove_within(PROBE_TIMEOUT).await
    }

    /// Probes the instance with this timeout, unless it answered recently.
    pub(crate) async fn prove_within(&self, limit: Duration) -> Result<()> {
        let heard = *self.last();
        if heard.is_none_or(|heard| heard.elapsed() > FRESH) {
            self.transport().probe(limit).await?;
            self.heard();
        }
        Ok(())
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        sync::lock(&self.heard)
    }
}
