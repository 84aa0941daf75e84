//! Watches leased machines from outside, and reports a lost one.
//!
//! Must not decide what happens to the lease.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    error::Error,
    provision::{Machine, network::RunningNetwork},
};

/// The pause between two checks of the leased machines.
const LOOK: Duration = Duration::from_secs(1);

/// A task that watches machines; ends when this is dropped.
pub(super) struct LossWatch {
    task: JoinHandle<()>,
    lost: Lost,
}

impl Drop for LossWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl LossWatch {
    /// Starts to watch machines and the networks between them. Needs a tokio runtime.
    pub(super) fn start(machines: Vec<Machine>, networks: Vec<RunningNetwork>) -> Self {
        let (send, lost) = watch::channel(None);
        Self {
            task: tokio::spawn(look(machines, networks, send)),
            lost: Lost(lost),
        }
    }

    pub(super) fn lost(&self) -> Lost {
        self.lost.clone()
    }

    /// Stops the watch: machines that are lost later are not reported.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

/// Reports the loss of a leased machine. Outlives the lease.
#[derive(Clone, Debug)]
pub struct Lost(watch::Receiver<Option<Error>>);

impl Lost {
    /// The loss, if a machine is lost.
    pub fn loss(&self) -> Option<Error> {
        self.0.borrow().clone()
    }

    /// Completes with the reason when a machine is lost; never otherwise.
    pub fn wait(&self) -> impl Future<Output = Error> + Send + use<> {
        let mut lost = self.0.clone();
        async move {
            let loss = lost.wait_for(Option::is_some).await;
            let loss = loss.ok().and_then(|loss| loss.clone());
            match loss {
                Some(loss) => loss,
                None => std::future::pending().await,
            }
        }
    }
}

/// Checks the machines and networks until the lease ends.
async fn look(
    machines: Vec<Machine>,
    networks: Vec<RunningNetwork>,
    lost: watch::Sender<Option<Error>>,
) {
    while !machines.is_empty() {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = networks.iter().try_for_each(RunningNetwork::check_alive) {
            lost.send_replace(Some(error));
            return;
        }
        for machine in &machines {
            let alive = machine.check_alive().await;
            // A machine that is down on purpose is not lost: the caller waits until it is up.
            if let (Err(error), false) = (alive, machine.is_going_down())
                && !machine.is_expected(&error)
            {
                lost.send_replace(Some(error));
                return;
            }
        }
    }
}
