//! Waits for the conditions of a playbook's `wait`, once the instance answers.
//!
//! Must not know protocols.

use std::sync::Arc;

use tokio::time;

use super::{
    Preparation,
    run::{SHORT, Shell},
};
use crate::{
    connect::{Transport, shell},
    error::{Error, ErrorKind, Result},
    playbook::Wait,
};

impl Preparation<'_> {
    /// Waits until the instance answers; returns a connection to it.
    pub(super) async fn answer(&self) -> Result<Arc<dyn Transport>> {
        if self.record.ownership.is_created() {
            return Ok(self.bring_up(self.patience()).answer().await?.transport);
        }
        let transport = self.instance.connect();
        transport.probe(self.patience()).await?;
        Ok(transport)
    }

    /// Reboots the instance, and gives `at` a new connection.
    pub(super) async fn reboot(&self, at: &mut Shell) -> Result<()> {
        let bring_up = self.bring_up(self.lifecycle.ready_timeout);
        *at = bring_up.reboot(at, ErrorKind::Infra).await?;
        self.machines.add(self.record, at).await
    }

    /// Waits for a condition of the playbook.
    pub(super) async fn wait(&self, shell: &Shell, wait: &Wait) -> Result<()> {
        let timeout = match wait {
            Wait::Port { timeout, .. }
            | Wait::Command { timeout, .. }
            | Wait::Console { timeout, .. } => timeout.0,
            Wait::Duration { duration } => {
                time::sleep(duration.0).await;
                return Ok(());
            }
        };
        let (bring_up, what) = (self.bring_up(timeout), wait.to_string());
        let mut tries = bring_up.tries(&what);
        while let Err(error) = self.is_met(shell, wait).await {
            tries.failed(error).await?;
        }
        Ok(())
    }

    async fn is_met(&self, shell: &Shell, wait: &Wait) -> Result<()> {
        match wait {
            Wait::Port { port, .. } => {
                let line = shell::listens(port.get());
                shell.run(&line, SHORT).await?.success().map(drop)
            }
            Wait::Command { command, timeout } => {
                shell.run(command, timeout.0).await?.success().map(drop)
            }
            Wait::Console { console, .. } => self.console_says(console),
            Wait::Duration { .. } => Ok(()),
        }
    }

    fn console_says(&self, pattern: &crate::playbook::Pattern) -> Result<()> {
        let name = self.record.name();
        let text = self.instance.console(u64::MAX);
        let text = text.ok_or_else(|| Error::infra(format!("`{name}` has no console")))?;
        match pattern.is_match(&text) {
            true => Ok(()),
            false => Err(Error::infra("the console does not show it yet")),
        }
    }
}
