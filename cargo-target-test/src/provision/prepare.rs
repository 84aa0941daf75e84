//! Prepares a deployed instance: waits until it answers, runs its recipe, collects facts.
//!
//! Must not know the pool or the requests; progress and cancellation are arguments.

mod bring_up;
mod facts;
mod links;
mod machines;
mod ready;
mod recipe;
mod run;
mod shares;

use std::{sync::Arc, time::Duration};

pub(crate) use self::{
    bring_up::{BringUp, DeployedInstance, PlatformHandle},
    machines::Machines,
    run::Shell,
};
use crate::{
    connect::Transport,
    error::{Error, Result},
    failpoint,
    playbook::{CountsAs, Lifecycle, OnDirty},
    provision::pool::{InstanceFacts, Record},
    run_event::RunEventKind,
};

/// The time limit for an existing machine to answer: it should be up.
const STANDING: Duration = Duration::from_secs(15);

/// Sets the clock of a machine. Errors are ignored: a container, for example, uses the clock of its host.
pub(crate) async fn set_clock(transport: Arc<dyn Transport>) {
    let line = links::clock();
    let shell = Shell::new(transport, "clock".to_owned());
    let _ = shell.run_as(true, &line, run::SHORT).await;
}

/// The mark on the commands of a preparation, by which a later preparation or a delete of the same pool can kill them.
/// Another pool may use the same host with the same login.
pub(crate) fn mark(record: &Record) -> String {
    let spec = &record.spec;
    // The machines of an environment have one lease.
    let of = spec.place.as_ref().map_or(&record.lease, |_| &spec.unique);
    format!("prepare-{}-{of}", spec.label)
}

/// An instance that is being prepared.
pub(crate) struct Preparation<'a> {
    /// The lifecycle of the machine.
    pub(crate) lifecycle: &'a Lifecycle,
    /// The record.
    pub(crate) record: &'a Record,
    /// The instance, as its platform knows it.
    pub(crate) instance: &'a DeployedInstance,
    /// Receives lines about long steps.
    pub(crate) progress: &'a (dyn Fn(&str) + Sync),
    /// Receives the events of the recipe.
    pub(crate) emit: &'a (dyn Fn(RunEventKind) + Sync),
    /// True if the instance is not needed any more.
    pub(crate) cancelled: &'a (dyn Fn() -> bool + Sync),
    /// The machines of the run.
    pub(crate) machines: &'a Machines,
}

impl Preparation<'_> {
    /// Waits until the instance answers, runs its recipe and collects its facts; returns a connection. `recycled` is
    /// the reason that the previous instance ended, if any: on an existing machine, its traces are removed first, as
    /// the target's `on-dirty` says.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) with the failed step, its output or the end of the console.
    pub(crate) async fn run(
        &self,
        recycled: Option<&str>,
    ) -> Result<(Arc<dyn Transport>, InstanceFacts)> {
        let booted = |error| self.counted(error);
        let transport = self.answer().await.map_err(booted)?;
        let mut shell = Shell::new(transport, mark(self.record));
        self.machines.add(self.record, &shell).await?;
        if !self.record.ownership.is_created() {
            // Kills commands of an earlier preparation whose process died.
            shell.sweep().await?;
            if let (Some(on_dirty), Some(cause)) = (&self.lifecycle.on_dirty, recycled) {
                self.restore(&mut shell, on_dirty, cause).await?;
            }
        }
        for wait in &self.lifecycle.wait {
            self.wait(&shell, wait).await.map_err(booted)?;
        }
        if let Some(recipe) = &self.lifecycle.recipe {
            self.follow(&mut shell, recipe).await?;
        }
        let facts = facts::probe(&shell).await?;
        Ok((shell.transport, facts))
    }

    /// Returns the error of an instance that does not boot as the target counts it: a crash, or infra.
    fn counted(&self, error: Error) -> Error {
        let fails = self.lifecycle.on_boot_failure == CountsAs::Fail;
        error.with_crash(fails && !(self.cancelled)())
    }

    /// Cleans an existing machine after its previous use.
    async fn restore(&self, shell: &mut Shell, on_dirty: &OnDirty, cause: &str) -> Result<()> {
        match on_dirty {
            // An instance on hold is not prepared again.
            OnDirty::Hold => Ok(()),
            OnDirty::Reboot => {
                (self.progress)(&format!("rebooting, since {cause}"));
                self.reboot(shell).await
            }
            OnDirty::Clean(recipe) => {
                (self.progress)(&format!(
                    "cleaning by recipe `{}`, since {cause}",
                    recipe.name
                ));
                self.follow(shell, recipe).await
            }
        }
    }

    /// The time limit for the instance to answer.
    fn patience(&self) -> Duration {
        match self.record.ownership.is_created() {
            true => self.lifecycle.ready_timeout,
            false => self.lifecycle.ready_timeout.min(STANDING),
        }
    }

    /// A wait for this instance.
    fn bring_up(&self, limit: Duration) -> BringUp<'_> {
        BringUp {
            instance: self.instance,
            limit,
            progress: self.progress,
            cancelled: self.cancelled,
            sets_clock: false,
        }
    }

    /// A failpoint between two steps.
    fn between(&self) -> Result<()> {
        failpoint::point("prepare-step");
        self.bring_up(self.patience()).check_cancelled()
    }
}
