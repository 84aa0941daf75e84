//! The instances of a run's targets, from the pool that all processes of the machine share.
//!
//! Contains the sets of the run. Must not know who requests.

mod open;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use tokio::sync::Notify;

use super::{
    BoxFuture, InstanceSet, Lease, PoolRun, Provisioner, ReadyInstance, Request, Surplus, Want,
    instances::{Context, Source},
};
use crate::{
    error::{Error, ErrorKind, Result},
    process,
    run_event::{CleanUp, Sink},
    sync,
};

/// Deploys, leases and deletes the instances of one run. Needs a tokio runtime.
pub struct PoolProvisioner {
    context: Arc<Context>,
    sets: Mutex<Vec<Arc<InstanceSet>>>,
    interrupted: AtomicBool,
}

impl PoolProvisioner {
    /// A provisioner without targets. Every instance with SSH becomes a host in the file `ssh_config`, unless this path
    /// is empty; `progress` receives lines about long steps.
    pub fn new(
        run: PoolRun,
        ssh_config: &Path,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            context: Arc::new(Context::new(run, ssh_config, Box::new(progress))),
            sets: Mutex::default(),
            interrupted: AtomicBool::new(false),
        }
    }

    /// Sends the events of deploys, restores and deletes to a sink.
    pub fn emit_to(&self, sink: Sink) {
        self.context.run.emit_to(sink);
    }

    /// Adds the instances of a target.
    pub fn add(&self, set: InstanceSet) -> Arc<InstanceSet> {
        let set = Arc::new(set);
        sync::lock(&self.sets).push(Arc::clone(&set));
        set
    }

    /// The run, for the pool.
    pub fn run(&self) -> &PoolRun {
        &self.context.run
    }

    /// Starts to deploy instances that cases need and that were not requested yet; does not wait for them.
    pub fn begin_missing(&self, set: &Arc<InstanceSet>) {
        set.begin_missing(&self.context);
    }

    /// Waits for one instance of a set, and deploys it if no other request did.
    ///
    /// # Errors
    /// Fails if the instance is unavailable.
    pub async fn ready(&self, set: &Arc<InstanceSet>, index: usize) -> Result<Arc<ReadyInstance>> {
        set.ready(&self.context, index).await
    }

    /// Takes out the instances of a set that no remaining case needs and no lease holds. Empty once the run is over.
    pub fn take_surplus(&self, set: &Arc<InstanceSet>) -> Vec<Surplus> {
        match self.context.is_cancelled() {
            true => Vec::new(),
            false => set.take_surplus(&self.context),
        }
    }

    /// Ends deploys and waits: the run is over. Kills the scripts of deploys, of other provisioners in this process too.
    pub fn cancel(&self) {
        self.context.cancel();
        process::kill_scripts();
    }

    /// As [`cancel`](Self::cancel), since a user interrupted the run: what dead runs left is for the next run.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        self.cancel();
    }

    /// True if the run is over.
    pub fn is_cancelled(&self) -> bool {
        self.context.is_cancelled()
    }

    /// Ends waits: no more leases are granted, except to requests that accept only existing instances.
    pub fn close(&self) {
        self.context.close();
    }

    /// True while a task runs in the background, for example a delete.
    pub fn is_busy(&self) -> bool {
        self.context.is_busy()
    }

    /// Notified when a lease ends, a deploy ends, or a background task ends.
    pub fn changed(&self) -> &Arc<Notify> {
        &self.context.changed
    }

    /// Closes all connections.
    pub fn disconnect(&self) {
        self.context.disconnect_all();
    }

    /// Deletes the instances that this run does not keep, and what dead runs left.
    async fn clean_up(&self, keep: bool) -> Result<CleanUp> {
        let context = Arc::clone(&self.context);
        let reconcile = !self.interrupted.load(Ordering::Relaxed);
        let work = sync::blocking(move || match reconcile {
            true => context.run.finish_and_reconcile(keep),
            false => context.run.finish(keep),
        });
        let mut report = work.await?;
        let early = std::mem::take(&mut *sync::lock(&self.context.released));
        report.add_early(early, reconcile);
        Ok(report)
    }

    /// Leases instances of the first target that has them.
    async fn acquire_any(&self, request: &Request, want: &Want) -> Result<Lease> {
        let sets = sync::lock(&self.sets).clone();
        let asked = sets.into_iter().filter_map(|set| {
            let want = Want {
                target: set.target().to_owned(),
                ..want.clone()
            };
            // A case for any machine takes no whole environment.
            if set.is_environment() || !set.serves(&want) {
                return None;
            }
            let request = Request {
                wants: vec![want],
                ..request.clone()
            };
            let (context, source) = (&self.context, Source::Sets(vec![set]));
            let asked: BoxFuture<'_, _> =
                Box::pin(async move { context.acquire(&source, &request).await });
            Some(asked)
        });
        first_granted(asked.collect()).await
    }

    /// The sets that serve the wants of a request.
    fn sets_of(&self, request: &Request) -> Result<Vec<Arc<InstanceSet>>> {
        let sets = sync::lock(&self.sets);
        let of = |want: &Want| {
            let mut all = sets.iter().filter(|set| set.serves(want));
            let same = all.clone().find(|set| set.instance == want.instance);
            let set = same.or_else(|| all.next()).cloned();
            set.ok_or_else(|| {
                let message = format!("target `{}` not found", want.target);
                Error::new(ErrorKind::Unfit, message)
            })
        };
        request.wants.iter().map(of).collect()
    }
}

impl Provisioner for PoolProvisioner {
    fn acquire(&self, request: Request) -> BoxFuture<'_, Result<Lease>> {
        Box::pin(async move {
            match &request.wants[..] {
                [want] if want.target.is_empty() => self.acquire_any(&request, want).await,
                _ => {
                    let source = Source::Sets(self.sets_of(&request)?);
                    self.context.acquire(&source, &request).await
                }
            }
        })
    }

    fn finish(&self, keep: bool) -> BoxFuture<'_, Result<CleanUp>> {
        // No request waits for running deploys any more.
        self.cancel();
        Box::pin(self.clean_up(keep))
    }
}

/// Waits for the first lease and drops the other requests. Fails if all fail, with the error of a request that its
/// instances could serve, if any.
async fn first_granted(mut asked: Vec<BoxFuture<'_, Result<Lease>>>) -> Result<Lease> {
    let mut failed = Error::new(ErrorKind::Unfit, "no target has such an instance");
    std::future::poll_fn(|cx| {
        let mut at = 0;
        while let Some(one) = asked.get_mut(at) {
            match one.as_mut().poll(cx) {
                Poll::Ready(Ok(lease)) => return Poll::Ready(Some(lease)),
                Poll::Ready(Err(error)) => {
                    drop(asked.remove(at));
                    if failed.kind() == ErrorKind::Unfit {
                        failed = error;
                    }
                }
                Poll::Pending => at += 1,
            }
        }
        match asked.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
    .await
    .ok_or(failed)
}
