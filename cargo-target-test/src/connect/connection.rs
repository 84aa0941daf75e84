//! A connected instance, the time of its last answer, and the boot id of its kernel.
//!
//! Must not know leases or pools.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::{ProbeAnswer, Transport};
use crate::{error::Result, sync};

/// An instance that was idle for longer is probed before it is leased.
const FRESH: Duration = Duration::from_secs(2);
/// The timeout of the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connected instance.
pub(crate) struct LiveConnection {
    transport: Mutex<Arc<dyn Transport>>,
    known: Mutex<Known>,
}

/// The knowledge about the instance.
#[derive(Default)]
struct Known {
    /// The time of the last answer; `None` if there was none, or if a failure occurred since.
    heard: Option<Instant>,
    /// The boot id; empty if the kernel has none, `None` if it was not asked for.
    boot_id: Option<String>,
    /// The number of connections that the transport had lost when the boot id was known; `None` after a failure.
    losses: Option<usize>,
}

impl LiveConnection {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Mutex::new(transport),
            known: Mutex::default(),
        }
    }

    /// The connection to an instance that answered now, with this boot id.
    pub(crate) fn answered(transport: Arc<dyn Transport>, boot_id: Option<String>) -> Self {
        let this = Self::new(transport);
        this.know(boot_id.unwrap_or_default(), 0);
        this
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&sync::lock(&self.transport))
    }

    /// Replaces the transport after a reboot of the instance.
    pub(crate) fn replace(&self, transport: Arc<dyn Transport>) {
        *sync::lock(&self.transport) = transport;
        *self.known() = Known::default();
    }

    /// Records that the instance answered now.
    pub(crate) fn heard(&self) {
        self.known().heard = Some(Instant::now());
    }

    /// Records a failure: the instance is probed before it is leased again.
    pub(crate) fn doubt(&self) {
        let mut known = self.known();
        (known.heard, known.losses) = (None, None);
    }

    /// True if a failure occurred since the last answer, or if there was no answer yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.known().heard.is_none()
    }

    /// True if a failure occurred or a connection was lost since the boot id was known.
    pub(crate) fn may_have_rebooted(&self) -> bool {
        let losses = self.transport().losses();
        self.known().losses != Some(losses)
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
        let heard = self.known().heard;
        let is_fresh = heard.is_some_and(|heard| heard.elapsed() <= FRESH);
        if !is_fresh || self.may_have_rebooted() {
            self.has_rebooted(limit).await?;
        }
        Ok(())
    }

    /// Probes the instance, and returns true if it has rebooted since its last probe.
    ///
    /// # Errors
    /// If the instance does not answer.
    pub(crate) async fn has_rebooted(&self, limit: Duration) -> Result<bool> {
        self.doubt();
        let transport = self.transport();
        // Read before: a connection that is lost meanwhile counts as lost later.
        let mut losses = transport.losses();
        let mut answer = transport.probe(limit).await;
        // The connection was broken before, unnoticed: the instance answers on another one, if at all.
        if answer.is_err() && transport.losses() > losses {
            losses = transport.losses();
            answer = transport.probe(limit).await;
        }
        let answer = answer?;
        let has_rebooted = self.is_other_boot(&answer);
        self.know(answer.boot_id, losses);
        Ok(has_rebooted)
    }

    /// True if the answer has another boot id than the last probe. False if a boot id is unknown.
    pub(crate) fn is_other_boot(&self, answer: &ProbeAnswer) -> bool {
        let known = self.known();
        let before = known.boot_id.as_ref().filter(|id| !id.is_empty());
        !answer.boot_id.is_empty() && before.is_some_and(|before| *before != answer.boot_id)
    }

    fn know(&self, boot_id: String, losses: usize) {
        *self.known() = Known {
            heard: Some(Instant::now()),
            boot_id: Some(boot_id),
            losses: Some(losses),
        };
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        sync::lock(&self.known)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use target_fixtures::wire::ShellCommand;

    use super::*;
    use crate::{
        connect::{CommandStdin, Running, TransportFuture},
        error::Error,
    };

    /// Loses this many connections, each under a probe.
    struct Broken {
        breaks: usize,
        losses: AtomicUsize,
    }

    impl Transport for Broken {
        fn exec(&self, _: &ShellCommand, _: &str, _: Option<CommandStdin>) -> Running {
            unreachable!("it is probed only")
        }

        fn probe(&self, _: Duration) -> TransportFuture<ProbeAnswer> {
            let breaks = self.losses.load(Ordering::Relaxed) < self.breaks;
            self.losses
                .fetch_add(usize::from(breaks), Ordering::Relaxed);
            Box::pin(std::future::ready(match breaks {
                true => Err(Error::infra("lost the connection")),
                false => Ok(ProbeAnswer {
                    boot_id: "second".to_owned(),
                    ..ProbeAnswer::default()
                }),
            }))
        }

        fn losses(&self) -> usize {
            self.losses.load(Ordering::Relaxed)
        }

        fn sweep(&self, _: &str, _: Duration) -> TransportFuture<()> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[tokio::test]
    async fn a_connection_that_breaks_under_a_probe_says_nothing_of_the_instance() {
        for (breaks, answers) in [(0, true), (1, true), (2, false)] {
            let losses = AtomicUsize::new(0);
            let transport = Arc::new(Broken { breaks, losses });
            let connection = LiveConnection::answered(transport, Some("first".to_owned()));
            let rebooted = connection.has_rebooted(PROBE_TIMEOUT).await;
            assert_eq!(rebooted.ok(), answers.then_some(true), "{breaks}");
            assert_eq!(connection.may_have_rebooted(), !answers, "{breaks}");
        }
    }
}
