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
    playbook::{Wait, WaitCondition},
};

impl Preparation<'_> {
    /// Waits until the instance answers; returns a connection to it.
    pub(super) async fn answer(&self) -> Result<Arc<dyn Transport>> {
        if self.record.ownership.is_created() {
            return self.bring_up(self.patience()).answer().await;
        }
        let transport = self.instance.connect();
        transport.probe(self.patience()).await?;
        Ok(transport)
    }

    /// Reboots the instance, and gives `at` a new connection.
    pub(super) async fn reboot(&self, at: &mut Shell) -> Result<()> {
        let bring_up = self.bring_up(self.wanted.lifecycle.ready_timeout);
        *at = bring_up.reboot(at, ErrorKind::Infra).await?;
        self.machines.add(self.record, at).await
    }

    /// Waits for a condition of the playbook.
    pub(super) async fn wait(&self, shell: &Shell, wait: &Wait) -> Result<()> {
        if let WaitCondition::Duration(duration) = &wait.condition {
            time::sleep(*duration).await;
            return Ok(());
        }
        let (bring_up, what) = (self.bring_up(wait.timeout), wait.to_string());
        let mut tries = bring_up.tries(&what);
        while let Err(error) = self.is_met(shell, wait).await {
            tries.failed(error).await?;
        }
        Ok(())
    }

    async fn is_met(&self, shell: &Shell, wait: &Wait) -> Result<()> {
        match &wait.condition {
            WaitCondition::Port(port) => {
                let line = shell::listens(*port);
                shell.run(&line, SHORT).await?.success().map(drop)
            }
            WaitCondition::Command(line) => {
                shell.run(line, wait.timeout).await?.success().map(drop)
            }
            WaitCondition::Console(pattern) => self.console_says(pattern),
            WaitCondition::Duration(_) => Ok(()),
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
