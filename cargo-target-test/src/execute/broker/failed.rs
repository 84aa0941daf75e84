//! Failed cases whose instances are kept as the test left them, and the shells on them.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    process::{Command, ExitStatus},
    sync::Arc,
};

use super::{Server, active_lease::ActiveLease, place::BrokerPlace};
use crate::{connect::interactive, error::Result, process, provision::LeaseEnd, sync::lock, ui};

/// A failed case, its environment and its lease.
pub(super) struct FailedCase {
    name: String,
    env: BTreeMap<String, String>,
    held: Arc<ActiveLease>,
}

impl Server {
    /// Keeps the instances of a failed case leased. `env` is the environment of its test.
    pub(super) fn keep_failed(
        &self,
        name: &str,
        env: BTreeMap<String, String>,
        held: Arc<ActiveLease>,
    ) {
        let name = name.to_owned();
        lock(&self.failed).push(FailedCase { name, env, held });
        // Others would have to wait until the user has closed the shells.
        self.setup.pool.close();
    }

    /// Opens a shell on each kept instance, one after the other, in this terminal, and ends the leases. Without a
    /// terminal, only ends the leases.
    pub(super) async fn open_shells(self: &Arc<Self>) {
        let failed = std::mem::take(&mut *lock(&self.failed));
        let config = BrokerPlace::ssh_config_in(&self.setup.place.folder);
        for FailedCase { name, env, held } in failed {
            for machine in held.machines() {
                let instance = machine.name();
                if !io::stdin().is_terminal() {
                    ui::note(format!(
                        "no shell on {instance} for {name}: standard input is not a terminal"
                    ));
                    continue;
                }
                ui::note(format!(
                    "{name} failed: opening a shell on {instance}; continue with `exit`"
                ));
                let shell = interactive::shell(machine.reach(), instance, &config, &env, true);
                let opened = match shell {
                    Ok(shell) => in_foreground(shell).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = opened {
                    ui::warn(format!("no shell on {instance}: {}", error.chain()));
                }
            }
            self.end(&held, LeaseEnd::Failed).await;
        }
    }
}

/// Runs a program in the foreground of this terminal until it ends.
async fn in_foreground(command: Command) -> Result<ExitStatus> {
    Ok(process::Spawn::new(command)
        .dies_with_parent()
        .start_async()?
        .wait()
        .await?)
}
