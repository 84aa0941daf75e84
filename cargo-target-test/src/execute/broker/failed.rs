//! Failed cases whose instances are kept as the test left them, and the shells on them.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    process::{Command, ExitStatus},
    sync::Arc,
};

use super::{
    ActiveLease, Broker, Core, LeasingCase,
    case::{Start, environment},
    lock,
};
use crate::{connect::interactive, error::Result, process, provision::LeaseEnd, ui};

/// A failed case, its environment and its lease.
pub(super) struct Failed {
    case: String,
    env: BTreeMap<String, String>,
    held: Arc<ActiveLease>,
}

impl Core {
    /// Returns true if the instances of a case that failed its last attempt are kept.
    pub(super) fn stays(&self, case: &LeasingCase, start: &Start, end: LeaseEnd) -> bool {
        let failed = end == LeaseEnd::Failed && start.last && case.start.expect_fail.is_none();
        self.place.holds_failed && failed
    }

    /// Keeps the instances of a failed case leased.
    pub(super) fn keep_failed(&self, case: &LeasingCase, start: &Start, held: Arc<ActiveLease>) {
        let env = environment(&self.place, (&start.binary, &case.full_name), &held);
        let case = start.name.clone();
        lock(&self.failed).push(Failed { case, env, held });
        // Others would have to wait until the user has closed the shells.
        self.provisioner.close();
    }
}

impl Broker {
    /// Opens a shell on each instance of the failed cases, one after the other, in this terminal, and ends their
    /// leases. Without a terminal, only ends the leases.
    pub async fn open_shells(&self) {
        self.all_served().await;
        let failed = std::mem::take(&mut *lock(&self.core.failed));
        for Failed { case, env, held } in failed {
            for machine in held.machines() {
                let name = machine.name();
                if !io::stdin().is_terminal() {
                    ui::note(format!(
                        "no shell on {name} for {case}: standard input is not a terminal"
                    ));
                    continue;
                }
                ui::note(format!(
                    "{case} failed: opening a shell on {name}; continue with `exit`"
                ));
                let config = self.core.ssh_config();
                let shell = interactive::shell(machine.reach(), name, &config, &env, true);
                let opened = match shell {
                    Ok(shell) => in_foreground(shell).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = opened {
                    ui::warn(format!("no shell on {name}: {}", error.chain()));
                }
            }
            self.core.end_lease(&held, LeaseEnd::Failed).await;
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
