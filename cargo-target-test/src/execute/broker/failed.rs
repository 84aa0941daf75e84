//! Failed cases whose instances stay as the test left them, for somebody to look at.
//!
//! Owns the leases until then. Must not know who looks.

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

/// A case that failed, and what it had.
pub(super) struct Failed {
    case: String,
    env: BTreeMap<String, String>,
    held: Arc<ActiveLease>,
}

impl Core {
    /// True if the instances of a case that failed for good are to stay.
    pub(super) fn stays(&self, case: &LeasingCase, start: &Start, end: LeaseEnd) -> bool {
        let failed = end == LeaseEnd::Failed && start.last && case.run.expect_fail.is_none();
        self.names.holds_failed() && failed
    }

    /// Keeps the instances of a failed case leased; none of them is lost.
    pub(super) fn keep_failed(
        &self,
        case: &LeasingCase,
        start: &Start,
        held: Arc<ActiveLease>,
    ) -> Option<String> {
        let env = environment(self, (&start.binary, &case.full_name), &held);
        let case = start.name.clone();
        lock(&self.failed).push(Failed { case, env, held });
        // Who waits for an instance would wait for a person.
        self.provisioner.close();
        None
    }
}

impl Broker {
    /// Opens a shell on each instance of the cases that failed, one after the other, in this terminal; then their
    /// leases end. Without a terminal only the latter.
    pub async fn open_shells(&self) {
        self.all_served().await;
        let failed = std::mem::take(&mut *lock(&self.core.failed));
        for Failed { case, env, held } in failed {
            for machine in held.machines() {
                let name = machine.name();
                if !io::stdin().is_terminal() {
                    ui::note(format!(
                        "no shell on {name} for {case}: this is no terminal"
                    ));
                    continue;
                }
                ui::note(format!("{case} failed: a shell on {name}; `exit` goes on"));
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

/// Runs a program that has this terminal, to its end.
async fn in_foreground(command: Command) -> Result<ExitStatus> {
    Ok(process::Spawn::new(command)
        .dies_with_parent()
        .start_async()?
        .wait()
        .await?)
}
