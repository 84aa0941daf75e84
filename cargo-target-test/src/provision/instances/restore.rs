//! Restores an instance, or all machines of an environment, to the state before its first test.
//!
//! Closes the connection before, and checks that the instance answers after. Must not know how a platform restores.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::Context;
use crate::{
    connect::LiveConnection,
    error::{Error, Result},
    provision::{
        platform::{Deployed, FIRST_STATE},
        pool::Record,
        prepare::{self, BringUp},
        unit,
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
        let machines = unit::machines(record)?;
        let platforms = &self.run.run().platforms;
        let can = |one: &Record| {
            platforms
                .get(&one.platform)
                .is_some_and(|platform| platform.can_restore(&one.spec.parameters))
        };
        if !machines.iter().all(can) {
            return Ok(false);
        }
        // The restored machines do not know the sessions of the old connections.
        self.disconnect(&record.id);
        let mut restoring = JoinSet::new();
        for machine in machines {
            let context = Arc::clone(self);
            restoring.spawn(async move {
                let moved = context.put_back_machine(&machine).await?;
                Ok::<_, Error>((machine, moved))
            });
        }
        let mut deployed = record.deployed.clone();
        for restored in restoring.join_all().await {
            let (machine, moved) = restored?;
            if let (Some(moved), Some(unit)) = (moved, &deployed) {
                deployed = Some(unit::moved(unit, &machine, moved));
            }
        }
        if let Some(moved) = deployed.filter(|moved| record.deployed.as_ref() != Some(moved)) {
            let (context, id) = (Arc::clone(self), record.id.clone());
            sync::blocking(move || context.run.note_reach(&id, moved)).await?;
        }
        Ok(true)
    }

    /// Restores one machine; returns its new connection data, if it has changed.
    async fn put_back_machine(&self, machine: &Record) -> Result<Option<Deployed>> {
        let mut instance = self.instance(machine)?;
        let restore = |origin: &prepare::PlatformHandle| {
            origin
                .platform
                .restore(&origin.spec, &origin.deployed, FIRST_STATE)
        };
        let restored = instance.act(restore).await?;
        let moved = machine.deployed.as_ref() != Some(&restored);
        instance.reach.clone_from(&restored.reach);
        if let Some(origin) = instance.origin.as_mut() {
            origin.deployed = restored.clone();
        }
        let answer = BringUp::restored(&instance, ANSWER).answer().await?;
        let connection = LiveConnection::answered(answer.transport, Some(answer.boot_id));
        self.keep_connection(machine, connection);
        Ok(moved.then_some(restored))
    }
}
