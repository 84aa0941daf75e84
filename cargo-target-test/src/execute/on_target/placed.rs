//! A test binary in its place on a machine: the processes of this host that stand for its processes there.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use target_fixtures::env;

use super::{
    channel::{Channel, CopyMachines},
    passage::PassageRules,
    place::TestPlace,
    profiles,
};
use crate::{
    error::{Error, Result},
    execute::{broker::ActiveLease, runner},
    process,
    provision::{Machine, describe},
};

/// A test binary that a machine can start.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::execute) struct PlacedBinary {
    /// The name of the machine.
    pub(in crate::execute) machine: String,
    /// The path of the binary in the machine's cache.
    pub(super) cached: String,
    pub(super) place: TestPlace,
    /// The program of the process that stands for another.
    pub(super) runner: PathBuf,
    /// The socket of the broker.
    pub(super) socket: PathBuf,
    /// The names of this process's environment variables, which are not sent.
    pub(super) own_variables: String,
}

impl PlacedBinary {
    /// Returns the command of a process that stands for one of the binary under a lease. The words of that one follow.
    ///
    /// # Errors
    /// If the place cannot be described.
    pub(super) fn command(&self, held: &ActiveLease) -> Result<Command> {
        let place = serde_json::to_string(&self.place);
        let place = place.map_err(|error| Error::other(error.to_string()))?;
        let mut command = process::command(&self.runner);
        command.arg(runner::ON_TARGET_VERB).arg(&self.socket);
        command.args([&held.id, &self.machine, &self.own_variables, &place]);
        command.envs(describe::environment(held.set.target(), &held.instances));
        Ok(command)
    }

    /// Opens the channel of a process under a lease.
    ///
    /// # Errors
    /// If the pipes cannot be made.
    pub(super) async fn channel(&self, held: &ActiveLease, machine: &Machine) -> Result<Channel> {
        let folder = format!("{}.{}", self.cached, held.id);
        let rules = PassageRules::new(&held.id, &self.machine);
        let machines = CopyMachines::new(held.machines(), &self.place);
        Channel::open(machine, folder, self.socket.clone(), (rules, machines)).await
    }

    /// Runs a process of the binary with these environment variables that tears down a fixture. `run` runs the command to
    /// its end.
    ///
    /// # Errors
    /// If the machine is not leased, or no process can start there.
    pub(in crate::execute) async fn tear_down<T>(
        &self,
        held: &ActiveLease,
        variables: BTreeMap<String, String>,
        run: impl AsyncFnOnce(Command) -> T,
    ) -> Result<T> {
        let machine = held.machines().find(|one| one.name() == self.machine);
        let machine =
            machine.ok_or_else(|| Error::infra(format!("`{}` is not leased", self.machine)))?;
        let mut command = self.command(held)?;
        let mut channel = self.channel(held, machine).await?;
        command.envs(variables);
        command.env(env::BROKER, channel.folder());
        command.env_remove(profiles::VARIABLE);
        let ended = beside(&mut channel, run(command)).await;
        channel.close().await;
        Ok(ended)
    }
}

/// Serves a channel until a process ends.
pub(super) async fn beside<T>(channel: &mut Channel, ends: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = ends => ended,
        never = channel.serve() => match never {},
    }
}
