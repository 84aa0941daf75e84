//! A lease as the broker has it: the pool's lease, what it reaches, and who works with it.
//!
//! Owns the life of one lease inside this process. Must not know why it was given.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use target_fixtures::{env, wire::Instance};
use tokio::{sync::watch, task::JoinSet};

use super::{
    Core,
    fixtures::{Maker, Up},
    lending::{After, Asker},
    lock,
    supply::Supply,
};
use crate::{
    connect::LiveConnection,
    error::{Error, ErrorKind, Result},
    process,
    provision::pool::{Lease, Record},
};

/// How long the killing of what a lease left may take.
const SWEEP: Duration = Duration::from_secs(10);
/// How often instances are looked at from outside while they are leased.
const LOOK: Duration = Duration::from_secs(1);

/// A held lease.
pub(super) struct Held {
    /// The mark on everything that the lease starts anywhere.
    pub(super) id: String,
    /// What clients are told of its instances.
    pub(super) instances: Vec<Instance>,
    reached: BTreeMap<String, Reached>,
    supply: Arc<Supply>,
    /// What becomes of its instances after it.
    after: After,
    /// How what its test sets up is torn down.
    pub(super) maker: Maker,
    said: Mutex<Said>,
    /// Whoever ends it has this until it has ended.
    pool: tokio::sync::Mutex<Option<Lease>>,
    /// Requests under way, and those that were cut off.
    unfinished: AtomicUsize,
    end: watch::Sender<bool>,
    /// How much is under way for which an instance goes down.
    going_down: AtomicUsize,
    /// Why an instance is lost, as seen from outside.
    lost: watch::Sender<Option<String>>,
}

/// What a test has said of itself.
#[derive(Default)]
struct Said {
    /// Why it skipped itself.
    skipped: Option<String>,
    /// Why it failed as expected.
    expected: Option<String>,
    /// What it has set up for itself alone and not torn down.
    fixtures: Vec<Up>,
    /// How much of its time fixtures took.
    fixtures_took: Duration,
    /// Why its instances must not serve others.
    soiled: Option<String>,
}

/// What is known of the work on a lease when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// It came to its end.
    Done,
    /// It failed, of which an instance may be the cause.
    Failed,
    /// Its instances must not serve again: somebody needs fresh ones.
    Spoilt,
    /// No test ran: those of its instances that one had before must not serve again, the others are as they were.
    Refused,
    /// Its holder died without a word.
    Abandoned,
}

/// An instance of the lease.
pub(super) struct Reached {
    pub(super) line: Arc<LiveConnection>,
    pub(super) record: Record,
    /// Whether no test had it before.
    pub(super) unused: bool,
}

impl Reached {
    /// Whether it must not serve again since somebody needs a fresh one.
    fn is_spoilt(&self, end: End) -> bool {
        end == End::Spoilt || end == End::Refused && !self.unused
    }
}

/// An instance of a lease is down on purpose.
pub(super) struct GoesDown<'a>(&'a Held);

impl Drop for GoesDown<'_> {
    fn drop(&mut self) {
        self.0.going_down.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Held {
    pub(super) fn new(
        asker: &Asker,
        instances: Vec<Instance>,
        reached: BTreeMap<String, Reached>,
        supply: Arc<Supply>,
        lease: Lease,
    ) -> Self {
        Self {
            id: asker.lease.clone(),
            after: asker.after.clone(),
            maker: asker.maker.clone(),
            said: Mutex::default(),
            instances,
            reached,
            supply,
            pool: tokio::sync::Mutex::new(Some(lease)),
            unfinished: AtomicUsize::new(0),
            going_down: AtomicUsize::new(0),
            end: watch::Sender::new(false),
            lost: watch::Sender::new(None),
        }
    }

    /// Whether a test had one of its instances before.
    pub(super) fn is_used(&self) -> bool {
        self.reached.values().any(|reached| !reached.unused)
    }

    /// Its instances' records.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.reached.values().map(|reached| &reached.record)
    }

    /// Whether it has this instance.
    pub(super) fn has(&self, record: &str) -> bool {
        self.reached
            .values()
            .any(|reached| reached.record.id == record)
    }

    /// One of its instances, by name.
    pub(super) fn at(&self, instance: &str) -> Option<&Reached> {
        self.reached.get(instance)
    }

    pub(super) fn supply(&self) -> Arc<Supply> {
        Arc::clone(&self.supply)
    }

    pub(super) fn skip(&self, reason: String) {
        lock(&self.said).skipped = Some(reason);
    }

    pub(super) fn skipped(&self) -> Option<String> {
        lock(&self.said).skipped.clone()
    }

    pub(super) fn expect_fail(&self, reason: String) {
        lock(&self.said).expected = Some(reason);
    }

    /// Why its test failed as expected, and how much of its time fixtures took.
    pub(super) fn said(&self) -> (Option<String>, Duration) {
        let said = lock(&self.said);
        (said.expected.clone(), said.fixtures_took)
    }

    pub(super) fn fixture_up(&self, up: Up) {
        lock(&self.said).fixtures.push(up);
    }

    pub(super) fn fixture_down(&self, name: &str, error: Option<String>) {
        let mut said = lock(&self.said);
        said.fixtures.retain(|up| up.name != name);
        said.soiled = said.soiled.take().or(error);
    }

    pub(super) fn fixtures_took(&self, millis: u64) {
        lock(&self.said).fixtures_took = Duration::from_millis(millis);
    }

    /// Its instances must not serve others, for this cause.
    pub(super) fn soil(&self, cause: String) {
        lock(&self.said).soiled.get_or_insert(cause);
    }

    /// Tears down what its test did not, then, on all its instances at once, what others share where it will not be as it
    /// is; while the lease still serves.
    async fn tear_down(self: &Arc<Self>, core: &Arc<Core>, end: End) {
        let is_lost = self.lost.borrow().is_some();
        while let Some(up) = { lock(&self.said).fixtures.pop() } {
            if is_lost {
                continue;
            }
            if let Some(cause) = core.tear_down(&up, Some(self)).await {
                self.soil(cause);
            }
        }
        let changes = end != End::Refused
            && (!matches!(self.after, After::Reuse) || lock(&self.said).soiled.is_some());
        let mut ends = JoinSet::new();
        for reached in self.reached.values() {
            let record = &reached.record;
            if is_lost {
                core.forget_fixtures_on(record);
            } else if changes || reached.is_spoilt(end) {
                let (core, held, record) = (Arc::clone(core), Arc::clone(self), record.clone());
                ends.spawn(async move { core.end_fixtures_on(&held, &record).await });
            }
        }
        ends.join_all().await;
    }

    /// A request is under way; one that never comes to [`Held::finish`] may have left something running.
    pub(super) fn begin(&self) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }

    /// A request came to its end.
    pub(super) fn finish(&self) {
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
    }

    /// Until this is dropped, an instance may be down.
    pub(super) fn goes_down(&self) -> GoesDown<'_> {
        self.going_down.fetch_add(1, Ordering::Relaxed);
        GoesDown(self)
    }

    /// Done when the lease has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.end.subscribe();
        async move {
            let _ = end.wait_for(|ended| *ended).await;
        }
    }

    /// An instance is lost: what is asked of the lease from now on fails for this cause.
    fn lose(&self, cause: String) {
        self.lost.send_replace(Some(cause));
    }

    /// Done, with the cause, when an instance is lost; never otherwise.
    pub(super) fn lost(&self) -> impl Future<Output = Error> + use<> {
        let mut lost = self.lost.subscribe();
        async move {
            // The sender goes with the lease, and who waits for this with it.
            let cause = lost.wait_for(Option::is_some).await;
            let cause = cause.map(|cause| cause.clone().unwrap_or_default());
            Error::new(ErrorKind::Infra, cause.unwrap_or_default())
        }
    }

    /// What comes of it, unless an instance is lost before.
    pub(super) async fn unless_lost<T>(&self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = what => done,
        }
    }

    /// Looks from outside, for as long as the lease lasts, whether its instances live.
    pub(super) async fn watch(self: Arc<Self>, core: Arc<Core>) {
        let ended = self.ended();
        let watching = async {
            loop {
                tokio::time::sleep(LOOK).await;
                for Reached { record, .. } in self.reached.values() {
                    let seen = core.check_alive(record).await;
                    // Down on purpose is not lost; who brought it down sees it come up.
                    if let (Err(error), 0) = (seen, self.going_down.load(Ordering::Relaxed)) {
                        return error.chain();
                    }
                }
            }
        };
        tokio::select! {
            () = ended => {}
            cause = watching => self.lose(cause),
        }
    }

    /// Ends the lease: stops its clients, kills what it still runs, and only then frees the instances.
    /// Of an abandoned one everything that carries its mark is looked for, on this host too. A command that
    /// ended by itself has left nothing running but what it meant to.
    ///
    /// Returns why an instance was lost meanwhile; that one is not lent again.
    pub(super) async fn end(self: &Arc<Self>, core: &Arc<Core>, end: End) -> Option<String> {
        self.tear_down(core, end).await;
        self.end.send_replace(true);
        let mut pool = self.pool.lock().await;
        let mut lease = pool.take()?;
        let mut lost = None;
        for reached in self.reached.values() {
            let Reached { line, record, .. } = reached;
            // One that is seen to be dead need not be asked.
            let is_lost = self.lost.borrow().is_some();
            let well = match is_lost {
                true => core.check_alive(record).await,
                false => Ok(()),
            };
            let clean = match well {
                Ok(()) => self.clean(line, end).await,
                dead => dead,
            };
            let cause = match clean {
                Err(error) => {
                    lost.get_or_insert(error.chain());
                    Some(error.chain())
                }
                Ok(()) if end == End::Refused && reached.unused => {
                    self.give_back(record, &mut lease)
                }
                Ok(()) => self.renew(core, reached, end).await,
            };
            if let Some(cause) = cause {
                core.forget_fixtures_on(record);
                core.spoil(record, &cause).await;
                self.supply.forget(&record.id);
            }
        }
        if end == End::Abandoned {
            let mark = self.id.clone();
            let sweep = move || process::kill_marked(env::LEASE, &mark);
            let _ = tokio::task::spawn_blocking(sweep).await;
        }
        // Otherwise what may still run there is for the next holder to kill.
        lease.set_swept(lost.is_none());
        // Letting go is a few writes; the runtime's one thread can wait for those.
        drop(lease);
        core.forget(self);
        // What was spent is replaced beside the tests that run, what nobody needs any more goes.
        self.supply.ask_for_all(core);
        core.let_go(&self.supply);
        lost
    }

    /// An instance that no test had serves on as one that none had.
    fn give_back(&self, record: &Record, lease: &mut Lease) -> Option<String> {
        self.supply.end_unused(&record.id);
        lease.set_unused(record.id.clone());
        None
    }

    /// Makes an instance ready for others, as the test asked for; why it cannot serve them, if so.
    async fn renew(&self, core: &Arc<Core>, reached: &Reached, end: End) -> Option<String> {
        let soiled = lock(&self.said).soiled.clone();
        match &self.after {
            _ if soiled.is_some() => soiled,
            _ if reached.is_spoilt(end) => Some("a fresh instance is asked for".to_owned()),
            After::Reuse => None,
            After::Spend(cause) => Some(cause.clone()),
            After::Restore(cause) => match core.restore(&reached.record).await {
                Ok(true) => None,
                Ok(false) => Some(cause.clone()),
                Err(error) => Some(format!("{cause}; {}", error.chain())),
            },
        }
    }

    async fn clean(&self, line: &LiveConnection, end: End) -> Result<()> {
        if end == End::Abandoned || self.unfinished.load(Ordering::Relaxed) > 0 {
            line.transport().sweep(&self.id, SWEEP).await?;
        }
        if end == End::Failed {
            line.doubt();
        }
        if line.is_in_doubt() {
            line.prove().await?;
        }
        Ok(())
    }
}
