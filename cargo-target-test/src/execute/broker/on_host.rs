//! Connections of tests that run on the host: they have no lease, but record values and ask for those of earlier runs.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use target_fixtures::wire::{BrokerRequest, Reply};

use super::{
    Server,
    connection::{ClientConnection, out_of_turn},
};
use crate::{run_event::Attempt, sync::lock};

/// The running tests on the host, by the id that their processes know.
#[derive(Default)]
pub(super) struct OnHost {
    attempts: Mutex<HashMap<String, Attempt>>,
    counter: AtomicU64,
}

/// A running test on the host, until dropped.
pub(super) struct OnHostAttempt {
    pub(super) id: String,
    all: Arc<OnHost>,
}

impl OnHost {
    /// Adds an attempt that is about to run.
    pub(super) fn add(self: &Arc<Self>, attempt: &Attempt) -> OnHostAttempt {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let id = format!("host-{number}");
        lock(&self.attempts).insert(id.clone(), attempt.clone());
        let all = Arc::clone(self);
        OnHostAttempt { id, all }
    }

    /// Returns a running attempt by its id.
    pub(super) fn get(&self, id: &str) -> Option<Attempt> {
        lock(&self.attempts).get(id).cloned()
    }
}

impl Drop for OnHostAttempt {
    fn drop(&mut self) {
        lock(&self.all.attempts).remove(&self.id);
    }
}

impl Server {
    /// Serves one client of a test on the host until it disconnects.
    pub(super) async fn serve_on_host(
        &self,
        connection: &mut ClientConnection,
        attempt: &Attempt,
    ) -> io::Result<()> {
        while let Some((request, _)) = connection.requests.recv().await {
            let reply = match request {
                BrokerRequest::Record(measurement) => self.record(Some(attempt), measurement),
                BrokerRequest::Previous(query) => self.previous(Some(&attempt.case), query).await,
                request => Reply::Failed(out_of_turn(&request)),
            };
            connection.replies.send(&reply).await?;
        }
        Ok(())
    }
}
