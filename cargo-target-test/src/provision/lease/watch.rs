//! Watches leased machines from outside, and reports a lost one.
//!
//! Must not decide what happens to the lease.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    error::{Error, ErrorKind},
    provision::Machine,
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
    /// Starts to watch machines. Needs a tokio runtime.
    pub(super) fn start(machines: Vec<Machine>) -> Self {
        let (send, lost) = watch::channel(None);
        Self {
            task: tokio::spawn(look(machines, send)),
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
pub struct Lost(watch::Receiver<Option<String>>);

impl Lost {
    /// The reason, if a machine is lost.
    pub fn cause(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Completes with the reason when a machine is lost; never otherwise.
    pub fn wait(&self) -> impl Future<Output = Error> + Send + use<> {
        let mut lost = self.0.clone();
        async move {
            let cause = lost.wait_for(Option::is_some).await;
            let cause = cause.ok().and_then(|cause| cause.clone());
            match cause {
                Some(cause) => Error::new(ErrorKind::Infra, cause),
                // The lease has ended.
                None => std::future::pending().await,
            }
        }
    }
}

/// Checks the machines until the lease ends.
async fn look(machines: Vec<Machine>, lost: watch::Sender<Option<String>>) {
    while !machines.is_empty() {
        tokio::time::sleep(LOOK).await;
        for machine in &machines {
            // A machine that is down on purpose is not lost: the caller waits until it is up.
            if let (Err(error), false) = (machine.check_alive().await, machine.is_going_down()) {
                lost.send_replace(Some(error.chain()));
                return;
            }
        }
    }
}
