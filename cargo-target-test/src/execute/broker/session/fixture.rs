//! Requests for a test's fixtures: shared fixtures, and fixtures of the test alone.
//!
//! Must not know how fixtures are torn down.

use std::{io, sync::Arc};

use target_fixtures::wire::{BrokerRequest, Failure, Reply, Shared};

use super::{
    super::{
        ActiveLease, Core,
        connection::{Replies, Requests, request_failure},
        fixtures::{At, FixtureClaim, Up, Which},
    },
    unknown,
};
use crate::provision::Machine;

/// Records a report on the fixtures of one test alone.
pub(super) fn of_test(held: &ActiveLease, request: BrokerRequest) -> Reply {
    match request {
        BrokerRequest::FixtureOfTest {
            name,
            instance,
            state,
        } => {
            held.fixture_up(Up::of_test(held, name, instance, state));
        }
        BrokerRequest::FixtureDown { name, error } => held.fixture_down(&name, error),
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
        over: false,
    };
    replies.send(&Reply::Fixture { state: None }).await?;
    let made = match requests.recv().await {
        Some((BrokerRequest::FixtureUp { state, tears_down }, _)) => Ok((state, tears_down)),
        Some((BrokerRequest::FixtureFailed { skips, message }, _)) => Err((skips, message)),
        Some((other, _)) => return Ok(Reply::Failed(out_of_turn(&other))),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    making.over = true;
    core.made(held, (&at, which), Some(made));
    Ok(Reply::Done)
}

fn out_of_turn(request: &BrokerRequest) -> Failure {
    request_failure(format!("answer: unexpected request: {request:?}"))
}

/// A fixture that is being set up. If the test disconnects meanwhile, the next test sets the fixture up.
struct Making<'a> {
    core: &'a Core,
    held: &'a ActiveLease,
    at: &'a At,
    which: &'a Which,
    over: bool,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.core.made(self.held, (self.at, self.which), None);
        }
    }
}
