//! Fixtures that outlive a test's process: their values, and their tear-down in a process of the same binary.
//!
//! A tear-down needs a lease on the fixture's instance: the lease of the test or a separate one.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ActiveLease, Core, case::environment, lock};
use crate::{
    plan::Needs,
    process,
    provision::{IfMissing, InstanceSet, LeaseEnd, Request, Requester, Want, pool::Record},
    run_event::RunEventKind,
    secret::redacted,
    ui,
};
use serde_json::{Value, json};
use target_fixtures::{
    env,
    wire::{Failure, FailureKind, TORN_DOWN},
};

/// The time limit of a tear-down.
const LIMIT: Duration = Duration::from_secs(120);
/// The time limit of the wait for a fixture's instance at the end of a run.
const PATIENCE: Duration = Duration::from_secs(30);
/// The length of a failed tear-down's output that a message repeats, in bytes.
const TAIL: usize = 2000;

/// The test that set a fixture up. Its binary can tear the fixture down.
#[derive(Clone, Debug, Default)]
pub(super) struct Maker {
    /// The test binary's path.
    pub(super) binary: String,
    /// The program and arguments before the test binary.
    pub(super) prefix: Vec<String>,
    /// The test's own name: `smoke`.
    pub(super) test: String,
    /// The test's path with its crate: `hello::smoke`.
    pub(super) full_name: String,
    /// True if this is a retry: failed fixtures are then set up again.
    pub(super) again: bool,
}

/// A fixture that is set up, and the test that can tear it down.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub(super) name: String,
    pub(super) state: Value,
    pub(super) instance: Option<String>,
    maker: Maker,
}

impl Up {
    /// Creates a fixture of one test, set up on an instance of its lease.
    pub(super) fn of_test(
        held: &ActiveLease,
        name: String,
        instance: String,
        state: Value,
    ) -> Self {
        let (instance, maker) = (Some(instance), held.maker.clone());
        Self {
            name,
            state,
            instance,
            maker,
        }
    }
}

/// The identity of an author's fixture.
#[derive(Clone, PartialEq)]
pub(super) struct Which {
    /// The path of the fixture: `hello::db`.
    pub(super) name: String,
    /// The source file of the fixture.
    pub(super) source: String,
}

/// A shared fixture.
pub(super) struct SharedFixture {
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

impl Core {
    /// Looks up a shared fixture. After [`FixtureClaim::Make`], the caller must call [`Core::made`].
    pub(super) fn claim(&self, at: &At, which: &Which, again: bool) -> FixtureClaim {
        let mut all = lock(&self.fixtures);
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

    /// Records the result of a set-up; `None` if the test has gone, so that the next test sets the fixture up.
    pub(super) fn made(&self, held: &ActiveLease, (at, which): (&At, &Which), made: Option<SetUp>) {
        let mut all = lock(&self.fixtures);
        let found = all
            .iter()
            .position(|entry| entry.which == *which && entry.at.is(at));
        let Some(found) = found else { return };
        // The order is by the end of the set-up: a fixture's dependencies come before it.
        let mut entry = all.remove(found);
        entry.value = match made {
            None => {
                self.changed.notify_waiters();
                return;
            }
            Some(Ok((state, tears_down))) => {
                let instance = at.instance().map(str::to_owned);
                if instance.is_some() {
                    held.shares();
                }
                let (name, maker) = (which.name.clone(), held.maker.clone());
                let up = Up {
                    name,
                    state,
                    instance,
                    maker,
                };
                Shared::Up { up, tears_down }
            }
            Some(Err((skips, message))) => Shared::Failed(Failure {
                kind: if skips {
                    FailureKind::Skip
                } else {
                    FailureKind::Request
                },
                message: if skips {
                    message
                } else {
                    format!("set up fixture `{}`, as before: {message}", which.name)
                },
                hint: None,
            }),
        };
        all.push(entry);
        self.changed.notify_waiters();
    }

    /// Tears down the shared fixtures on an instance under a lease on the instance. Returns the first error, if any.
    pub(super) async fn end_fixtures_on(
        &self,
        held: &ActiveLease,
        record: &Record,
    ) -> Option<String> {
        let ends = self.take_ends(|at| matches!(at, At::Instance(of, _) if of.id == record.id));
        let mut wrong = None;
        for up in ends {
            wrong = wrong.or(self.tear_down(&up, Some(held)).await);
        }
        wrong
    }

    /// Forgets the fixtures of an instance that is gone, with a warning.
    pub(super) fn forget_fixtures_on(&self, record: &Record) {
        let lost = self.take_ends(|at| matches!(at, At::Instance(of, _) if of.id == record.id));
        for up in lost {
            ui::warn(format!(
                "fixture `{}` was lost with {}",
                up.name,
                record.name()
            ));
        }
    }

    /// Returns true if an instance has shared fixtures.
    pub(super) fn has_fixtures_on(&self, record: &Record) -> bool {
        let all = lock(&self.fixtures);
        all.iter()
            .any(|entry| matches!(&entry.at, At::Instance(of, _) if of.id == record.id))
    }

    /// Leases an unused instance and tears down its shared fixtures.
    pub(super) async fn end_fixtures_of(self: &Arc<Self>, set: &Arc<InstanceSet>, record: &Record) {
        let name = record.name();
        let want = Want {
            instance: Some(name.to_owned()),
            ..set.want(1, &Needs::default())
        };
        let request = Request {
            wants: vec![want],
            requester: Requester::this_process(&format!("tear-down on {name}")),
            // Works after the end of a run, and deploys nothing.
            if_missing: IfMissing::Refuse,
            ..Request::default()
        };
        let leased = self.lease(set, request, Maker::default());
        match tokio::time::timeout(PATIENCE, leased).await {
            Ok(Ok(held)) => {
                if let Some(cause) = self.end_fixtures_on(&held, record).await {
                    held.mark_dirty(cause);
                }
                self.free(&held, LeaseEnd::Done).await;
            }
            Ok(Err(error)) => {
                let why = error.chain();
                ui::warn(format!("failed to tear down fixtures on {name}: {why}"));
                self.take_ends(|at| matches!(at, At::Instance(of, _) if of.id == record.id));
            }
            Err(_) => {
                ui::warn(format!(
                    "failed to tear down fixtures on {name}: the instance is leased"
                ));
            }
        }
    }

    /// Tears down all shared fixtures at the end of a run: first those of instances, in parallel, then those of the
    /// run.
    pub(super) async fn end_all_fixtures(self: &Arc<Self>) {
        let mut instances: Vec<(Record, Arc<InstanceSet>)> = Vec::new();
        for entry in lock(&self.fixtures).iter() {
            if let At::Instance(record, instance_set) = &entry.at
                && instances.iter().all(|(known, _)| known.id != record.id)
            {
                instances.push(((**record).clone(), Arc::clone(instance_set)));
            }
        }
        let mut ends = tokio::task::JoinSet::new();
        for (record, instance_set) in instances {
            let core = Arc::clone(self);
            ends.spawn(async move { core.end_fixtures_of(&instance_set, &record).await });
        }
        while ends.join_next().await.is_some() {}
        for up in self.take_ends(|at| matches!(at, At::Run)) {
            self.tear_down(&up, None).await;
        }
    }

    /// Removes fixtures, and returns those that have a tear-down, in reverse set-up order.
    fn take_ends(&self, which: impl Fn(&At) -> bool) -> Vec<Up> {
        let mut all = lock(&self.fixtures);
        let (taken, left) = std::mem::take(&mut *all)
            .into_iter()
            .partition::<Vec<_>, _>(|entry| which(&entry.at));
        *all = left;
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

    /// Emits the event of a set-up, or of a tear-down.
    pub(super) fn fixture_event(
        &self,
        (name, instance, torn_down): (&str, Option<&str>, bool),
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

    /// Tears a fixture down in a process of its maker's binary. Returns the error, if any.
    pub(super) async fn tear_down(&self, up: &Up, held: Option<&ActiveLease>) -> Option<String> {
        let started = Instant::now();
        let why = self.run_tear_down(up, held).await.err();
        let cause = why.map(|why| format!("failed to tear down fixture `{}`: {why}", up.name));
        let step = (&*up.name, up.instance.as_deref(), true);
        self.fixture_event(step, started.elapsed(), cause.as_deref());
        let cause = cause?;
        ui::warn(&cause);
        Some(cause.lines().next().unwrap_or_default().to_owned())
    }

    /// Runs the process that tears a fixture down. Fails with the cause, which may have several lines.
    async fn run_tear_down(&self, up: &Up, held: Option<&ActiveLease>) -> Result<(), String> {
        let Maker {
            binary,
            prefix,
            test,
            full_name,
            ..
        } = &up.maker;
        let mut words = prefix.iter().chain([binary]);
        let mut command = process::command(words.next().map_or("", String::as_str));
        command
            .args(words)
            .args(["--exact", test, "--nocapture", "--include-ignored"]);
        match held {
            Some(held) => command.envs(environment(&self.place, (binary, full_name), held)),
            None => command.envs([
                (env::LEASED_TEST, full_name.clone()),
                (env::LEASED_BINARY, file_name(binary)),
            ]),
        };
        command.env(env::TEAR_DOWN, "1");
        let order = json!({ "name": up.name, "instance": up.instance, "state": up.state });
        let input = order.to_string().into_bytes();
        let ended = tokio::task::spawn_blocking(move || {
            // The process must not outlive the broker, which it needs to reach instances.
            process::Spawn::new(command)
                .dies_with_parent()
                .run(&input, LIMIT, &|_| {})
        });
        match ended.await {
            Ok(Ok(ended)) if ended.status.code() == Some(TORN_DOWN) => Ok(()),
            Ok(Ok(ended)) if ended.status.success() => {
                Err("its process exited without a tear-down".to_owned())
            }
            Ok(Ok(ended)) => {
                let said = [ended.stdout.as_slice(), ended.stderr.as_slice()].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                let from = said.len().saturating_sub(TAIL);
                let from = (from..).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
                Err(format!(
                    "it {}\n{}",
                    process::ending(ended.status),
                    said[from..].trim()
                ))
            }
            Ok(Err(error)) => Err(error.chain()),
            Err(error) => Err(error.to_string()),
        }
    }
}

pub(super) fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
