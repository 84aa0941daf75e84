//! Requests for a test's fixtures: shared fixtures, and fixtures of the test alone.
//!
//! Must not know how fixtures are torn down.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::{BrokerRequest, Failure, Reply, Shared};

use super::{
    super::{
        ActiveLease, Core,
        connection::{Replies, Requests, request_failure},
        fixtures::{At, FixtureClaim, SetUp, Up, Which},
    },
    unknown,
};
use crate::provision::Machine;

/// Records a report on the fixtures of one test alone.
pub(super) fn of_test(core: &Core, held: &ActiveLease, request: BrokerRequest) -> Reply {
    match request {
        BrokerRequest::FixtureOfTest {
            name,
            instance,
            state,
            millis,
        } => {
            let up = Up::of_test(held, name, instance, state);
            core.fixture_event(
                (&up.name, up.instance.as_deref(), false),
                took(millis),
                None,
            );
            held.fixture_up(up);
        }
        BrokerRequest::FixtureDown {
            name,
            error,
            millis,
        } => {
            let instance = held.fixture_down(&name, error.clone());
            let step = (&*name, instance.as_deref(), true);
            core.fixture_event(step, took(millis), error.as_deref());
        }
        BrokerRequest::FixturesTook { millis } => held.fixtures_took(millis),
        _ => {}
    }
    Reply::Done
}

/// Returns the value of a shared fixture, or lets the test set the fixture up while other tests wait.
pub(super) async fn share(
    core: &Arc<Core>,
    (requests, replies): (&mut Requests, &mut Replies),
    held: &ActiveLease,
    (which, scope): (&Which, &Shared),
) -> io::Result<Reply> {
    let at = match scope {
        Shared::Run => At::Run,
        Shared::Instance { instance } => match held.at(instance).and_then(Machine::record) {
            Some(record) => At::Instance(Box::new(record.clone()), Arc::clone(held.set())),
            None => return Ok(unknown(instance)),
        },
    };
    loop {
        let changed = core.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match core.claim(&at, which, held.maker.again) {
            FixtureClaim::Value(state) => return Ok(Reply::Fixture { state: Some(state) }),
            FixtureClaim::Failed(failure) => return Ok(Reply::Failed(failure)),
            FixtureClaim::Make => break,
            FixtureClaim::Wait => tokio::select! {
                () = changed => {}
                _ = requests.recv() => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
    let mut making = Making {
        core,
        held,
        at: &at,
        which,
        started: Instant::now(),
        made: None,
    };
    replies.send(&Reply::Fixture { state: None }).await?;
    let made = match requests.recv().await {
        Some((BrokerRequest::FixtureUp { state, tears_down }, _)) => Ok((state, tears_down)),
        Some((BrokerRequest::FixtureFailed { skips, message }, _)) => Err((skips, message)),
        Some((other, _)) => return Ok(Reply::Failed(out_of_turn(&other))),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    making.made = Some(made);
    Ok(Reply::Done)
}

fn out_of_turn(request: &BrokerRequest) -> Failure {
    request_failure(format!("answer: unexpected request: {request:?}"))
}

fn took(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A fixture that is being set up, until dropped. If the test disconnects meanwhile, the next test sets the fixture up.
struct Making<'a> {
    core: &'a Core,
    held: &'a ActiveLease,
    at: &'a At,
    which: &'a Which,
    started: Instant,
    /// The result of the set-up; `None` until the test reports it.
    made: Option<SetUp>,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let error = match &self.made {
            Some(Ok(_)) => None,
            Some(Err((_, message))) => Some(message.as_str()),
            None => Some("the test ended during the set-up"),
        };
        let step = (&*self.which.name, self.at.instance(), false);
        self.core.fixture_event(step, self.started.elapsed(), error);
        let made = self.made.take();
        self.core.made(self.held, (self.at, self.which), made);
    }
}
