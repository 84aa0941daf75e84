//! The fixtures that tests share, with their values, in the order of their set-up.
//!
//! Must not know how a fixture is torn down, nor leases.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use target_fixtures::wire::{Failure, FailureKind};
use tokio::sync::{Notify, futures::Notified};

use super::tear_down::{Maker, Up};
use crate::{
    provision::{InstanceSet, pool::Record},
    run_event::{RunEventKind, Sink},
    secret::redacted,
    sync::lock,
};

/// The fixtures that tests share.
pub(super) struct SharedFixtures {
    /// In set-up order.
    all: Mutex<Vec<SharedFixture>>,
    /// Notified when a set-up ends, or its instance goes.
    changed: Notify,
    sink: Sink,
}

/// The identity of an author's fixture.
#[derive(Clone, PartialEq)]
pub(super) struct Which {
    /// The path of the fixture: `hello::db`.
    pub(super) name: String,
    /// The source file of the fixture.
    pub(super) source: String,
    /// The machine on which the fixture is set up; `None` for this host.
    pub(super) machine: Option<String>,
}

/// A shared fixture.
struct SharedFixture {
    which: Which,
    at: At,
    value: Shared,
}

/// The scope of a shared fixture: the run or an instance.
#[derive(Clone)]
pub(super) enum At {
    Run,
    Instance(Box<Record>, Arc<InstanceSet>),
}

impl At {
    /// Returns the instance of the fixture, if it has one.
    pub(super) fn instance(&self) -> Option<&str> {
        match self {
            Self::Run => None,
            Self::Instance(record, _) => Some(record.name()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Run, Self::Run) => true,
            (Self::Instance(a, _), Self::Instance(b, _)) => a.id == b.id,
            _ => false,
        }
    }

    fn is_on(&self, record: &Record) -> bool {
        matches!(self, Self::Instance(of, _) if of.id == record.id)
    }
}

/// The result of a set-up: the value, and true if there is a tear-down; or true if the test is skipped, and the message.
pub(super) type SetUp = Result<(Value, bool), (bool, String)>;

enum Shared {
    Making,
    Up { up: Up, tears_down: bool },
    Failed(Failure),
}

/// The answer to a test that needs a shared fixture.
pub(super) enum FixtureClaim {
    /// Another test is setting the fixture up.
    Wait,
    /// The test must set the fixture up.
    Make,
    /// The value of the fixture.
    Value(Value),
    /// The set-up has failed.
    Failed(Failure),
}

impl SharedFixtures {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            all: Mutex::default(),
            changed: Notify::new(),
            sink,
        }
    }

    /// Completes when a set-up has ended, or its instance has gone.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Looks up a shared fixture. After [`FixtureClaim::Make`], the caller must call [`SharedFixtures::made`].
    pub(super) fn claim(&self, at: &At, which: &Which, again: bool) -> FixtureClaim {
        let mut all = lock(&self.all);
        let found = all
            .iter()
            .position(|entry| entry.which == *which && entry.at.is(at));
        let claim = match found.map(|found| (&all[found].value, found)) {
            None => FixtureClaim::Make,
            Some((Shared::Making, _)) => FixtureClaim::Wait,
            Some((Shared::Up { up, .. }, _)) => FixtureClaim::Value(up.state.clone()),
            Some((Shared::Failed(_), found)) if again => {
                all.remove(found);
                FixtureClaim::Make
            }
            Some((Shared::Failed(failure), _)) => FixtureClaim::Failed(failure.clone()),
        };
        if let FixtureClaim::Make = claim {
            let (which, at, value) = (which.clone(), at.clone(), Shared::Making);
            all.push(SharedFixture { which, at, value });
        }
        claim
    }

    /// Records the result of a set-up by `maker`; `None` if the test has gone, so that the next test sets the fixture up.
    pub(super) fn made(&self, at: &At, which: &Which, maker: &Maker, made: Option<SetUp>) {
        let mut all = lock(&self.all);
        let found = all
            .iter()
            .position(|entry| entry.which == *which && entry.at.is(at));
        // The order is by the end of the set-up: a fixture's dependencies come before it.
        let entry = found.map(|found| all.remove(found));
        if let (Some(mut entry), Some(made)) = (entry, made) {
            entry.value = shared(at, which, maker, made);
            all.push(entry);
        }
        self.changed.notify_waiters();
    }

    /// Returns true if an instance has shared fixtures.
    pub(super) fn is_any_on(&self, record: &Record) -> bool {
        lock(&self.all).iter().any(|entry| entry.at.is_on(record))
    }

    /// Returns the instances that have shared fixtures, and their sets.
    pub(super) fn instances(&self) -> Vec<(Record, Arc<InstanceSet>)> {
        let mut instances: Vec<(Record, Arc<InstanceSet>)> = Vec::new();
        for entry in lock(&self.all).iter() {
            if let At::Instance(record, set) = &entry.at
                && instances.iter().all(|(known, _)| known.id != record.id)
            {
                instances.push(((**record).clone(), Arc::clone(set)));
            }
        }
        instances
    }

    /// Removes the fixtures on an instance, and returns those that have a tear-down, in reverse set-up order.
    pub(super) fn take_on(&self, record: &Record) -> Vec<Up> {
        self.take(|at| at.is_on(record))
    }

    /// Removes the fixtures of the run, and returns those that have a tear-down, in reverse set-up order.
    pub(super) fn take_of_run(&self) -> Vec<Up> {
        self.take(|at| matches!(at, At::Run))
    }

    fn take(&self, which: impl Fn(&At) -> bool) -> Vec<Up> {
        let mut all = lock(&self.all);
        let (taken, left) = std::mem::take(&mut *all)
            .into_iter()
            .partition::<Vec<_>, _>(|entry| which(&entry.at));
        *all = left;
        // A set-up may be among them.
        self.changed.notify_waiters();
        let ends = taken
            .into_iter()
            .rev()
            .filter_map(|entry| match entry.value {
                Shared::Up {
                    up,
                    tears_down: true,
                } => Some(up),
                _ => None,
            });
        ends.collect()
    }

    /// Emits the event of a set-up, or of a tear-down, of a fixture of one test too.
    pub(super) fn emit(
        &self,
        torn_down: bool,
        (name, instance): (&str, Option<&str>),
        took: Duration,
        error: Option<&str>,
    ) {
        self.sink.emit(RunEventKind::Fixture {
            name: name.to_owned(),
            instance: instance.map(str::to_owned),
            torn_down,
            took,
            error: error.map(|error| redacted(error).into_owned()),
        });
    }
}

/// Returns the value of a fixture after its set-up.
fn shared(at: &At, which: &Which, maker: &Maker, made: SetUp) -> Shared {
    match made {
        Ok((state, tears_down)) => Shared::Up {
            up: Up {
                name: which.name.clone(),
                state,
                instance: at.instance().map(str::to_owned),
                maker: maker.clone(),
            },
            tears_down,
        },
        Err((true, reason)) => Shared::Failed(Failure::new(FailureKind::Skip, reason)),
        Err((false, message)) => {
            let message = format!("set up fixture `{}`, as before: {message}", which.name);
            Shared::Failed(Failure::new(FailureKind::Request, message))
        }
    }
}
