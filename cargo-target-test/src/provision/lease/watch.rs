//! Looking at leased machines from outside, and telling when one is lost.
//!
//! Owns when that is so. Must not know what becomes of the lease then.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    error::{Error, ErrorKind},
    provision::Machine,
};

/// The pause between two looks at leased machines from outside.
const LOOK: Duration = Duration::from_secs(1);

/// A task that looks at machines; ends with this.
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
    /// Watches these machines. Within a tokio runtime.
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

    /// From now on no machine counts as lost that does not yet.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

/// Tells when a machine of a lease is lost. Outlives the lease.
#[derive(Clone, Debug)]
pub struct Lost(watch::Receiver<Option<String>>);

impl Lost {
    /// The reason, if a machine is lost.
    pub fn cause(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Done, with the reason, when a machine is lost; never otherwise.
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

/// Looks from outside, for as long as the lease lasts, whether its machines live.
async fn look(machines: Vec<Machine>, lost: watch::Sender<Option<String>>) {
    while !machines.is_empty() {
        tokio::time::sleep(LOOK).await;
        for machine in &machines {
            // Down on purpose is not lost; who brought it down sees it come up.
            if let (Err(error), false) = (machine.check_alive().await, machine.is_going_down()) {
                lost.send_replace(Some(error.chain()));
                return;
            }
        }
    }
}
