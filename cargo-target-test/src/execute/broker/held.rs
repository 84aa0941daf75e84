//! A lease as the broker has it: the pool's lease, what it reaches, and who works with it.
//!
//! Owns the life of one lease inside this process. Must not know why it was given.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use target_fixtures::{env, wire::Instance};
use tokio::sync::watch;

use super::line::Line;
use crate::{process, provision::pool::Lease};

/// How long the killing of what a lease left may take.
const SWEEP: Duration = Duration::from_secs(10);

/// A held lease.
pub(super) struct Held {
    /// The mark on everything that the lease starts anywhere.
    pub(super) id: String,
    /// What clients are told of its instances.
    pub(super) instances: Vec<Instance>,
    lines: BTreeMap<String, Arc<Line>>,
    pool: Mutex<Option<Lease>>,
    skipped: Mutex<Option<String>>,
    working: AtomicUsize,
    end: watch::Sender<bool>,
}

/// Counts one request under way.
pub(super) struct Working<'a>(&'a AtomicUsize);

impl Held {
    pub(super) fn new(
        id: String,
        instances: Vec<Instance>,
        lines: BTreeMap<String, Arc<Line>>,
        lease: Lease,
    ) -> Self {
        Self {
            id,
            instances,
            lines,
            pool: Mutex::new(Some(lease)),
            skipped: Mutex::default(),
            working: AtomicUsize::new(0),
            end: watch::Sender::new(false),
        }
    }

    pub(super) fn line(&self, instance: &str) -> Option<Arc<Line>> {
        self.lines.get(instance).map(Arc::clone)
    }

    pub(super) fn skip(&self, reason: String) {
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub(super) fn skipped(&self) -> Option<String> {
        self.skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn working(&self) -> Working<'_> {
        self.working.fetch_add(1, Ordering::Relaxed);
        Working(&self.working)
    }

    /// Done when the lease has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.end.subscribe();
        async move {
            let _ = end.wait_for(|ended| *ended).await;
        }
    }

    /// Ends the lease: stops its clients, kills what it still runs, and only then frees the instances.
    /// With `abandoned` (the holder died without a word) everything that carries its mark is looked for,
    /// on this host too. A command that ended by itself has left nothing running but what it meant to.
    pub(super) async fn end(&self, abandoned: bool) {
        let busy = self.working.load(Ordering::Relaxed) > 0;
        self.end.send_replace(true);
        if busy || abandoned {
            for line in self.lines.values() {
                let _ = line.transport.sweep(&self.id, SWEEP).await;
            }
        }
        if abandoned {
            let mark = self.id.clone();
            let sweep = move || process::kill_marked(env::LEASE, &mark);
            let _ = tokio::task::spawn_blocking(sweep).await;
        }
        let lease = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Letting go is a few writes; the runtime's one thread can wait for those.
        drop(lease);
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
