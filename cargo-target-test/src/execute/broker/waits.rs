//! Clients that wait for their lease, and the notices about it.
//!
//! Must not know what a client does with its lease.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use target_fixtures::wire::{Failure, FailureKind, Reply};
use tokio::sync::mpsc;

use super::{
    Server,
    active_lease::ActiveLease,
    connection::{ClientConnection, failure_of},
    tear_down::Maker,
};
use crate::{
    provision::{InstanceSet, Notice, Notices, Request, WaitNotice},
    secret::redacted,
    sync::lock,
    ui,
};

/// The minimum interval between two notices of cases that wait for the same target.
const APART: Duration = Duration::from_secs(30);

/// Throttles the notices of waiting cases, by target.
pub(super) type WaitNotices = Mutex<HashMap<String, WaitNotice>>;

impl Server {
    /// Waits for a lease and passes notices to the client. If nextest's time limit ends the runner, the runner closes
    /// its connection; the verdict is then infra, because the test never ran.
    pub(super) async fn lease(
        self: &Arc<Self>,
        connection: &mut ClientConnection,
        set: &Arc<InstanceSet>,
        request: Request,
        maker: Maker,
    ) -> Result<Arc<ActiveLease>, Failure> {
        let (send, mut notes) = mpsc::unbounded_channel();
        let ours = Arc::clone(self);
        let notices = Notices::new(move |notice| {
            ours.show(notice);
            let _ = send.send(notice.text.clone());
        });
        let request = Request { notices, ..request };
        let lease = self.acquire(set, request, maker);
        tokio::pin!(lease);
        let ClientConnection {
            requests, replies, ..
        } = connection;
        loop {
            tokio::select! {
                held = &mut lease => return held.map_err(|error| failure_of(&error)),
                Some(text) = notes.recv() => { let _ = replies.send(&Reply::Note { text }).await; }
                _ = requests.recv() => return Err(self.gave_up(set.target())),
            }
        }
    }

    /// Returns the reason a runner stopped waiting: nextest's time limit or the end of the run.
    pub(super) fn gave_up(&self, what: &str) -> Failure {
        let message = match self.setup.pool.is_cancelled() {
            true => "the run was interrupted".to_owned(),
            // Without the time: cases with one cause have one message.
            false => format!("nextest ended the case while it waited for `{what}`"),
        };
        Failure::new(FailureKind::Infra, message)
    }

    /// Prints the progress of a test whose output nextest captures.
    pub(super) fn show_progress(&self, text: &str) {
        if self.setup.table.captured {
            ui::live(&redacted(text));
        }
    }

    /// Prints a notice that a case waits, at most once per interval and target.
    fn show(&self, notice: &Notice) {
        if !notice.is_long || !self.setup.table.captured {
            return;
        }
        let mut notices = lock(&self.notices);
        let apart = notices
            .entry(notice.target.clone())
            .or_insert_with(|| WaitNotice::even(Duration::ZERO, APART));
        if apart.is_due(&notice.text) {
            ui::transient(&notice.text);
        }
    }
}
