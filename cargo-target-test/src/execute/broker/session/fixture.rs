//! Requests for a test's fixtures: shared fixtures, and fixtures of the test alone.
//!
//! Must not know how fixtures are torn down.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::{BrokerRequest, Reply, Shared};

use super::{
    super::{
        active_lease::{ActiveLease, FixtureTimes},
        connection::{out_of_turn, request_failure},
        fixtures::{At, FixtureClaim, SetUp, SharedFixtures, Which},
    },
    Client,
};
use crate::provision::Machine;

/// Records a report on the fixtures of one test alone.
pub(super) fn of_test(
    fixtures: &SharedFixtures,
    held: &ActiveLease,
    request: BrokerRequest,
) -> Reply {
    match request {
        BrokerRequest::FixtureOfTest {
            name,
            instance,
            state,
            millis,
        } => {
            fixtures.emit(false, (&name, Some(&instance)), took(millis), None);
            held.fixture_up(name, instance, state);
        }
        BrokerRequest::FixtureDown {
            name,
            error,
            millis,
        } => {
            let instance = held.fixture_down(&name, error.clone());
            let fixture = (&*name, instance.as_deref());
            fixtures.emit(true, fixture, took(millis), error.as_deref());
        }
        BrokerRequest::FixturesTook { millis, tear_down } => {
            held.said().fixtures_took = FixtureTimes {
                all: took(millis),
                tear_down: took(tear_down),
            };
        }
        _ => {}
    }
    Reply::Done
}

impl Client<'_> {
    /// Returns the value of a shared fixture, or lets the test set the fixture up while other tests wait. On the machine of
    /// a test, a fixture of the run lasts as long as the machine.
    pub(super) async fn share(&mut self, which: &Which, scope: Shared) -> io::Result<Reply> {
        let (fixtures, held) = (&self.server.fixtures, self.held);
        let instance = match scope {
            Shared::Instance { instance } => Some(instance),
            Shared::Run => which.machine.clone(),
        };
        let at = match instance {
            None => At::Run,
            Some(instance) => match held.at(&instance).map(Machine::record) {
                Ok(Some(record)) => At::Instance(Box::new(record.clone()), Arc::clone(&held.set)),
                Ok(None) => {
                    let message = format!("share a fixture on `{instance}`: it is in no pool");
                    return Ok(Reply::Failed(request_failure(message)));
                }
                Err(failure) => return Ok(Reply::Failed(failure)),
            },
        };
        loop {
            let changed = fixtures.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match fixtures.claim(&at, which, held.maker.again) {
                FixtureClaim::Value(state) => return Ok(Reply::Fixture { state: Some(state) }),
                FixtureClaim::Failed(failure) => return Ok(Reply::Failed(failure)),
                FixtureClaim::Make => break,
                FixtureClaim::Wait => tokio::select! {
                    () = changed => {}
                    _ = self.requests.recv() => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
            }
        }
        let mut making = Making {
            fixtures,
            held,
            at: &at,
            which,
            started: Instant::now(),
            made: None,
        };
        self.replies.send(&Reply::Fixture { state: None }).await?;
        let made = match self.requests.recv().await {
            Some((BrokerRequest::FixtureUp { state, tears_down }, _)) => Ok((state, tears_down)),
            Some((BrokerRequest::FixtureFailed { skips, message }, _)) => Err((skips, message)),
            Some((other, _)) => return Ok(Reply::Failed(out_of_turn(&other))),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        making.made = Some(made);
        Ok(Reply::Done)
    }
}

fn took(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A fixture that is being set up, until dropped. If the test disconnects meanwhile, the next test sets the fixture up.
struct Making<'a> {
    fixtures: &'a SharedFixtures,
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
        let (fixture, took) = (
            (&*self.which.name, self.at.instance()),
            self.started.elapsed(),
        );
        self.fixtures.emit(false, fixture, took, error);
        if matches!((&self.made, self.at), (Some(Ok(_)), At::Instance(..))) {
            self.held.shares();
        }
        let made = self.made.take();
        self.fixtures
            .made(self.at, self.which, &self.held.maker(), made);
    }
}
