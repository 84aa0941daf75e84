//! Timed orchestrations: one long test made of events, described by a file.
//!
//! A description says when each event runs; an event is a function with [`target_event`](macro@crate::target_event);
//! [`orchestration!`](macro@crate::orchestration) names the test. The book of `cargo-target-test` has all keys of a description.
//!
//! ```no_run
//! use std::path::PathBuf;
//! use target_fixtures::prelude::*;
//!
//! orchestration!("my_orchestration_test", area = "perf");
//!
//! /// Plays a file until the orchestration ends.
//! #[target_event]
//! fn start_playback(
//!     target: &Target,
//!     video_path: PathBuf,
//!     kill_switch: &KillSwitch,
//!     result_reporter: &Reporter,
//! ) -> Result<()> {
//!     let mut player = target.program("player").arg(video_path.display()).spawn()?;
//!     while !kill_switch.wait(Duration::from_secs(1)) {
//!         result_reporter.info("still playing");
//!     }
//!     player.kill()?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! An event takes by reference: `target: &Target`, `targets: &[Target]`, `env: &Environment`, [`kill_switch`](KillSwitch),
//! [`result_reporter`](Reporter), [`report_queue`](ReportQueue), and fixtures by their names. It takes by value: the `params`
//! of the description, of any type that `serde` can deserialize; an `Option` can be left out. It can return an error, which
//! is a failure of this run of the event, and of the test at its end.
//!
//! Events and fixtures of a crate that a test only links need `use my_events as _;` in the test.

mod built_in;
mod clock;
mod event;

mod report;
mod runner;
mod schedule;
mod switch;
mod tally;

use std::sync::{Arc, Condvar, Mutex};

use serde::Deserialize;

pub use self::{
    built_in::{kill_switch, report_queue, result_reporter},
    report::{EventReport, OnResult, ReportContent, ReportQueue, ReportTransfer, Reporter},
    switch::KillSwitch,
};
#[doc(hidden)]
pub use event::{EVENTS, EventParams, FIXTURES, Registration, Registry, TargetEvent};

use crate::{
    Target, TargetError,
    client::unexpected,
    error::ErrorKind,
    fixture::{FixtureFailure, Fixtures},
    verdict::TestEnd,
    wire::{BrokerRequest, CHECKED, EarlyEnd, InvalidEvent, OrchestrationPlan, Reply},
};
use runner::{OrchestrationEnd, Runner, Stop, names_of};

/// Runs the orchestration of this test on the targets of its lease.
pub(crate) fn run(fixtures: &Arc<Fixtures>, targets: &[Target]) -> TestEnd {
    let Some(first) = targets.first() else {
        return TestEnd::Fail("infra: the lease has no instance".to_owned());
    };
    let _report = EndReport(first);
    let runner = match prepare(first, fixtures, targets) {
        Ok(runner) => Arc::new(runner),
        Err(failure) => return failure.verdict(),
    };
    stop_when_told(&runner, first);
    if let Err(failure) = runner.set_up() {
        return failure.verdict();
    }
    // Without a broker there is no limit.
    let _ = first.client.ask(BrokerRequest::ClockStarts);
    let OrchestrationEnd { failure, is_stuck } = runner.run();
    let Some(failure) = failure else {
        return TestEnd::Exit(std::process::ExitCode::SUCCESS);
    };
    if is_stuck {
        end_now(first, &failure);
    }
    TestEnd::Fail(failure)
}

/// Tells the broker on drop that the orchestration has ended, so that an event that exits the process does not pass the test.
struct EndReport<'t>(&'t Target);

impl Drop for EndReport<'_> {
    fn drop(&mut self) {
        // Without a broker there is no report.
        let _ = self.0.client.ask(BrokerRequest::OrchestrationEnded);
    }
}

/// Ends the process with a failure, because an event or a set-up does not end. It may use fixtures: the broker tears them
/// down when this process has gone.
fn end_now(first: &Target, failure: &str) -> ! {
    eprintln!("{failure}");
    first.tell_failure_now(failure);
    std::process::exit(FAILED)
}

/// The exit code of a process that ends with an event.
const FAILED: i32 = 101;

/// Gets the plan, and finds its events and fixtures.
fn prepare(
    first: &Target,
    fixtures: &Arc<Fixtures>,
    targets: &[Target],
) -> Result<Runner, FixtureFailure> {
    let plan = plan_of(first)?;
    let wrong =
        |text: String| FixtureFailure::Error(format!("orchestration `{}`: {text}", plan.name));
    if let Some(InvalidEvent {
        event,
        param,
        reason,
    }) = invalid_events(&plan).first()
    {
        let event = &plan.events[*event].name;
        return Err(wrong(match param {
            Some(param) => format!("`{param}` of event `{event}`: {reason}"),
            None => reason.clone(),
        }));
    }
    let events = plan
        .events
        .iter()
        .map(|planned| event::event(&planned.name));
    let events = events.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    fixtures.provide::<kill_switch>(KillSwitch::default());
    let named = plan.setup_fixtures.iter().map(|name| event::fixture(name));
    let mut needs = named.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    needs.extend(events.iter().flat_map(|event| event.needs()));
    let client = Arc::clone(&first.client);
    Ok(Runner {
        events,
        names: names_of(&plan.events),
        needs,
        fixtures: Arc::clone(fixtures),
        targets: targets.to_vec(),
        tell: Box::new(move |request| {
            // Without a broker there is no report.
            let _ = client.ask(request);
        }),
        state: Mutex::default(),
        changed: Condvar::new(),
        plan,
    })
}

fn plan_of(target: &Target) -> Result<OrchestrationPlan, FixtureFailure> {
    let value = match target.client.ask(BrokerRequest::Orchestration)? {
        Reply::Answer { value } => value,
        other => return Err(unexpected(other).into()),
    };
    OrchestrationPlan::deserialize(&value).map_err(|error| {
        let message = format!("invalid plan of the broker: {error}");
        TargetError::new(ErrorKind::Version, message).into()
    })
}

/// Ends the orchestration when the broker says so, or is gone, and the process if a set-up does not end then. Without a
/// runner, signals end the test.
fn stop_when_told(runner: &Arc<Runner>, target: &Target) {
    if !target.client.has_runner() {
        return;
    }
    let (runner, target) = (Arc::downgrade(runner), target.clone());
    std::thread::spawn(move || {
        let reason = match target.client.ask(BrokerRequest::AwaitStop) {
            Ok(Reply::Answer { value }) => EarlyEnd::deserialize(&value).ok(),
            _ => None,
        };
        let reason = reason.unwrap_or(EarlyEnd::Interrupted);
        if let Some(runner) = runner.upgrade() {
            runner.stop(Stop::Told(reason));
            if let Some(failure) = runner.stuck_set_up() {
                end_now(&target, &failure);
            }
        }
    });
}

/// The events and arguments of the plan that this process does not accept.
fn invalid_events(plan: &OrchestrationPlan) -> Vec<InvalidEvent> {
    let mut invalid = Vec::new();
    for (number, planned) in plan.events.iter().enumerate() {
        let problems = match event::event(&planned.name) {
            Ok(event) => event.check(&EventParams(planned.params.clone())),
            Err(reason) => {
                invalid.push(InvalidEvent {
                    event: number,
                    param: None,
                    reason,
                });
                continue;
            }
        };
        invalid.extend(problems.into_iter().map(|(param, reason)| InvalidEvent {
            event: number,
            param: Some(param.to_owned()),
            reason,
        }));
    }
    invalid
}

/// Checks the events of the plan on standard input, and prints a line with the invalid ones.
pub(crate) fn check_events() -> TestEnd {
    match serde_json::from_reader(std::io::stdin()) {
        Ok(plan) => {
            let invalid = serde_json::json!(invalid_events(&plan));
            println!("\n{CHECKED}{invalid}");
            TestEnd::Exit(std::process::ExitCode::SUCCESS)
        }
        Err(error) => TestEnd::Fail(format!("read the plan: {error}")),
    }
}
