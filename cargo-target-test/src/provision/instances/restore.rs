//! Restores an instance to the state before its first test.
//!
//! Closes the connection before, and checks that the instance answers after. Must not know how a platform restores.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Context;
use crate::{
    connect::LiveConnection,
    error::Result,
    provision::{
        platform::FIRST_STATE,
        pool::Record,
        prepare::{self, BringUp},
    },
    run_event::RunEventKind,
    secret::redacted_chain,
    sync,
};

/// The time limit for an instance to answer after the restore.
const ANSWER: Duration = Duration::from_secs(30);

impl Context {
    /// Restores an instance that this run leases; false if its platform cannot restore.
    ///
    /// # Errors
    /// Fails if the instance is not restored: it must not serve again.
    pub(crate) async fn restore(self: &Arc<Self>, record: &Record) -> Result<bool> {
        let started = Instant::now();
        let restored = self.put_back(record).await;
        if !matches!(restored, Ok(false)) {
            let error = restored.as_ref().err();
            self.emit(RunEventKind::Restored {
                instance: record.name().to_owned(),
                took: started.elapsed(),
                error: error.map(redacted_chain),
            });
        }
        restored
    }

    async fn put_back(self: &Arc<Self>, record: &Record) -> Result<bool> {
        let mut instance = self.instance(record)?;
        let can = |one: &prepare::PlatformHandle| one.platform.can_restore();
        if !instance.origin.as_ref().is_some_and(can) {
            return Ok(false);
        }
        // The restored instance does not know the session of the old connection.
        self.disconnect(&record.id);
        let restore = |origin: &prepare::PlatformHandle| {
            origin
                .platform
                .restore(&origin.spec, &origin.deployed, FIRST_STATE)
        };
        let restored = instance.act(restore).await?;
        if let Some(origin) = instance
            .origin
            .as_mut()
            .filter(|one| one.deployed != restored)
        {
            instance.reach.clone_from(&restored.reach);
            origin.deployed = restored.clone();
            let (context, id) = (Arc::clone(self), record.id.clone());
            sync::blocking(move || context.run.note_reach(&id, restored)).await?;
        }
        let transport = BringUp::quiet(&instance, ANSWER).answer().await?;
        prepare::set_clock(Arc::clone(&transport)).await;
        let connection = LiveConnection::new(transport);
        connection.prove().await?;
        self.keep_connection(record, connection);
        Ok(true)
    }
}
