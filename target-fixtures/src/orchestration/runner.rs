//! Sets up the fixtures of an orchestration, runs its events at their times, and ends them.
//!
//! Must not know how the plan was described, or what becomes of the test.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    KillSwitch,
    built_in::kill_switch,
    clock::Clock,
    event::{EventParams, TargetEvent},
    report::{self, EventReport, ReportContent, Reporter},
    schedule::Schedule,
    tally::{EventTally, SkippedRun},
};
use crate::{
    Target,
    fixture::{FixtureFailure, Fixtures, Registered},
    metric::measured,
    subtest::{message_of, micros, micros_since_1970},
    target::fault_lasted_since,
    wire::{BrokerRequest, EarlyEnd, OrchestrationPlan, PlannedEvent, SubResult, VerdictKind},
};

/// The longest time between two looks at the clocks.
const LOOK: Duration = Duration::from_secs(1);
/// The time for which a monitor waits for a report before it looks whether the orchestration is over.
const REPORT: Duration = Duration::from_millis(50);
/// The shortest and the longest time between two lines of progress.
const PROGRESS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// The time between two looks whether a started event has begun.
const HAND_OVER: Duration = Duration::from_micros(50);
/// The longest time that an event waits for the start of the one before it.
const LONGEST_HAND_OVER: Duration = Duration::from_millis(100);

/// Sends a request about the test to the broker.
pub(super) type Tell = dyn Fn(BrokerRequest) + Send + Sync;

/// The end of an orchestration.
#[derive(Debug, PartialEq)]
pub(super) struct OrchestrationEnd {
    /// The failure's message; `None` if the orchestration passed.
    pub(super) failure: Option<String>,
    /// True if an event still runs.
    pub(super) is_stuck: bool,
}

/// A running orchestration. Its threads share it.
pub(super) struct Runner {
    pub(super) plan: OrchestrationPlan,
    /// The functions of the plan's events, in its order.
    pub(super) events: Vec<&'static dyn TargetEvent>,
    /// The names of the plan's events in reports: `play`, and `play#2` for the second one of this name.
    pub(super) names: Vec<String>,
    /// The fixtures to set up, in this order.
    pub(super) needs: Vec<&'static dyn Registered>,
    pub(super) fixtures: Arc<Fixtures>,
    pub(super) targets: Vec<Target>,
    pub(super) tell: Box<Tell>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

/// The part of an orchestration that its threads change.
#[derive(Default)]
pub(super) struct State {
    /// True once the set-up of the fixtures has ended.
    is_set_up: bool,
    /// The running events, by their positions in the plan.
    running: BTreeMap<usize, RunningEvent>,
    tally: EventTally,
    /// The reason to end early.
    stop: Option<Stop>,
    /// True while a thread waits for an instance whose link broke.
    waits_for_link: bool,
    /// True once no event reports any more.
    is_over: bool,
}

/// A running event.
struct RunningEvent {
    since: Instant,
    /// True once its thread is about to call the function.
    has_begun: bool,
}

/// The reason to end early.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stop {
    /// The runner of the test says so.
    Told(EarlyEnd),
    /// An error was reported, and the description says `"fail": "fast"`.
    Failed,
    /// The link to an instance was broken for too long, with this error.
    Lost(String),
}

impl Runner {
    /// Sets up all fixtures, unless the orchestration must end before.
    pub(super) fn set_up(&self) -> Result<(), FixtureFailure> {
        let done = self.needs.iter().try_for_each(|fixture| {
            fixture.prepare(&self.fixtures)?;
            let stopped = self.stopped_in_set_up(&self.state(), fixture.name());
            stopped.map_or(Ok(()), |failure| Err(FixtureFailure::Error(failure)))
        });
        self.state().is_set_up = true;
        self.changed.notify_all();
        done
    }

    /// Waits for the end of the set-up, but at most for the grace. Returns the failure of a set-up that goes on.
    pub(super) fn stuck_set_up(&self) -> Option<String> {
        let is_going = |state: &mut State| !state.is_set_up;
        let waited = self
            .changed
            .wait_timeout_while(self.state(), self.plan.grace, is_going);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.stopped_in_set_up(&state, self.fixtures.being_set_up().unwrap_or_default())
    }

    /// The failure of an orchestration that must end during the set-up of a fixture; `None` if it need not.
    fn stopped_in_set_up(&self, state: &State, fixture: &str) -> Option<String> {
        let name = &self.plan.name;
        match &state.stop {
            Some(Stop::Told(reason)) if !state.is_set_up => Some(format!(
                "orchestration `{name}`: {} during the set-up of fixture `{fixture}`",
                told(*reason)
            )),
            _ => None,
        }
    }

    /// Runs the orchestration, whose fixtures are set up.
    pub(super) fn run(self: &Arc<Self>) -> OrchestrationEnd {
        self.run_by(&mut Clock::start(self.plan.time_scale))
    }

    fn run_by(self: &Arc<Self>, clock: &mut Clock) -> OrchestrationEnd {
        let monitors = self.monitor();
        let switch = KillSwitch::default();
        self.fixtures.provide::<kill_switch>(switch.clone());
        let elapsed = self.run_until_end(clock);
        switch.set();
        self.wait_for_events(self.plan.grace);
        let stuck = self.running();
        let stuck = [stuck, self.tear_down()].concat();
        self.state().is_over = true;
        for monitor in monitors {
            // A monitor only panics if the author's queue does, which the panic itself reports.
            let _ = monitor.join();
        }
        self.end(elapsed, &stuck)
    }

    /// Ends the orchestration early: the kill switch is set, and the tear-down events run.
    pub(super) fn stop(&self, reason: Stop) {
        self.state().stop.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Starts events when they are due, until the end or a reason to stop. Returns the described time that passed.
    fn run_until_end(self: &Arc<Self>, clock: &mut Clock) -> Duration {
        let mut schedule = Schedule::new(&self.plan);
        let mut progress = self.progress_interval();
        while self.state().stop.is_none() {
            // One moment for both: what is due now is not upcoming.
            let (elapsed, mut previous) = (clock.elapsed(), None);
            for due in schedule.take_due(elapsed) {
                if let Some(previous) = previous.replace(due.event) {
                    self.wait_for_begin(previous);
                }
                self.start_or_skip(due.event, due.runs);
            }
            if let Some(slept) = clock.slept() {
                self.say(&format!(
                    "this host slept for {}, or its clock was set: the orchestration goes on",
                    text_of(slept)
                ));
            }
            if elapsed >= progress {
                self.say(&self.progress(&schedule, elapsed));
                progress = elapsed + self.progress_interval();
            }
            let next = schedule.next().unwrap_or(self.plan.duration);
            let pause = clock.until(next.min(self.plan.duration).min(progress));
            if elapsed >= self.plan.duration {
                break;
            }
            let state = self.state();
            if state.stop.is_none() {
                drop(self.changed.wait_timeout(state, pause.min(LOOK)));
            }
        }
        clock.elapsed().min(self.plan.duration)
    }

    /// Waits until the thread of an event is about to call its function, so that events begin in the order of their starts.
    /// A thread that is woken by another often overtakes it: this one looks from time to time.
    fn wait_for_begin(&self, event: usize) {
        let started = Instant::now();
        let is_waiting = |state: &State| {
            let running = state.running.get(&event);
            running.is_some_and(|running| !running.has_begun)
        };
        while is_waiting(&self.state()) && started.elapsed() < LONGEST_HAND_OVER {
            thread::sleep(HAND_OVER);
        }
    }

    /// Starts an event, unless its previous run is still going. Of several runs that are due, one starts.
    fn start_or_skip(self: &Arc<Self>, event: usize, due: u32) {
        let (reason, skipped) = match self.start(event) {
            true => (SkippedRun::Late, due - 1),
            false => (SkippedRun::Busy, due),
        };
        self.state().tally.skip(event, reason, skipped);
    }

    /// Starts an event on a thread of its own. Returns false if it still runs.
    fn start(self: &Arc<Self>, event: usize) -> bool {
        if self.state().running.contains_key(&event) {
            return false;
        }
        let running = RunningEvent {
            since: Instant::now(),
            has_begun: false,
        };
        self.state().running.insert(event, running);
        let ours = Arc::clone(self);
        let thread = thread::Builder::new().name(self.names[event].clone());
        let started = thread.spawn(move || ours.run_event(event));
        if let Err(error) = started {
            let message = format!("failed to start a thread: {error}");
            let now = (SystemTime::now(), Instant::now());
            self.event_ended(event, Err(FixtureFailure::Error(message)), now);
        }
        true
    }

    fn run_event(self: &Arc<Self>, event: usize) {
        let now = (SystemTime::now(), Instant::now());
        report::is_thread_of(&self.names[event]);
        let params = EventParams(self.plan.events[event].params.clone());
        if let Some(running) = self.state().running.get_mut(&event) {
            running.has_begun = true;
        }
        // Unwind safe: a panic ends one run of the event, whose state is the author's.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.events[event].run(&self.fixtures, &self.targets, &params)
        }));
        let ended = ended.unwrap_or_else(|panic| Err(FixtureFailure::of_panic(&*panic)));
        self.event_ended(event, ended, now);
    }

    /// Records the end of a run, and reports it as a result of the test.
    fn event_ended(
        self: &Arc<Self>,
        event: usize,
        ended: Result<(), FixtureFailure>,
        (started, start): (SystemTime, Instant),
    ) {
        let name = &self.names[event];
        let took = start.elapsed();
        let (verdict, message) = match ended {
            Ok(()) => (VerdictKind::Pass, None),
            Err(FixtureFailure::Skip(reason)) => (VerdictKind::Skip, Some(reason)),
            Err(FixtureFailure::Error(text)) => match crate::error::loss_in(&text) {
                Some(_) if fault_lasted_since(start) => {
                    (VerdictKind::Skip, Some(format!("cut by a fault: {text}")))
                }
                Some(_) => {
                    self.wait_for_link();
                    (VerdictKind::Infra, Some(format!("link: {text}")))
                }
                None => (VerdictKind::Fail, Some(text)),
            },
        };
        if let Some(text) = message.as_ref().filter(|_| verdict != VerdictKind::Skip) {
            eprintln!("{name}: {text}");
        }
        self.tell_result(
            vec![name.clone()],
            verdict,
            (started, took),
            message.clone(),
        );
        let mut state = self.state();
        match (verdict, message) {
            (VerdictKind::Infra, _) => state.tally.cut(event),
            (VerdictKind::Fail, Some(text)) => self.count_error(&mut state, name, &text),
            (VerdictKind::Skip, Some(reason)) => state.tally.excuse(event, &reason),
            _ => {}
        }
        state.tally.ran(event);
        state.running.remove(&event);
        self.changed.notify_all();
    }

    /// Records an error that an event ended with or reported.
    fn count_error(&self, state: &mut State, event: &str, text: &str) {
        state.tally.error(event, text);
        if self.plan.fails_fast {
            state.stop.get_or_insert(Stop::Failed);
            self.changed.notify_all();
        }
    }

    /// Waits on another thread until all instances answer again. An instance that does not within the limit ends the
    /// orchestration.
    fn wait_for_link(self: &Arc<Self>) {
        if std::mem::replace(&mut self.state().waits_for_link, true) {
            return;
        }
        let ours = Arc::clone(self);
        thread::spawn(move || {
            let mut answers = ours
                .targets
                .iter()
                .map(|one| one.ping_for(ours.plan.link_grace));
            if let Some(lost) = answers.find_map(Result::err) {
                ours.stop(Stop::Lost(lost.to_string()));
            }
            ours.state().waits_for_link = false;
        });
    }

    /// Waits until no event runs, but at most for `limit`.
    fn wait_for_events(&self, limit: Duration) {
        let state = self.state();
        drop(
            self.changed
                .wait_timeout_while(state, limit, |state| !state.running.is_empty()),
        );
    }

    /// The names of the events that run, with the time they have run for.
    fn running(&self) -> Vec<String> {
        let running = |(event, running): (&usize, &RunningEvent)| {
            let name = &self.names[*event];
            format!("`{name}` (for {})", text_of(running.since.elapsed()))
        };
        self.state().running.iter().map(running).collect()
    }

    /// Runs the tear-down events one after the other, with another kill switch. Returns the names of those that did not
    /// end.
    fn tear_down(self: &Arc<Self>) -> Vec<String> {
        let switch = KillSwitch::default();
        self.fixtures.provide::<kill_switch>(switch.clone());
        let mut stuck = Vec::new();
        let events = self.plan.events.iter().enumerate();
        for (event, _) in events.filter(|(_, event)| event.at_teardown) {
            if !self.start(event) {
                continue;
            }
            // The kill switch is set while a part of the grace is left.
            let last = self.plan.grace / 4;
            for limit in [self.plan.grace - last, last] {
                let state = self.state();
                let is_running = |state: &mut State| state.running.contains_key(&event);
                drop(self.changed.wait_timeout_while(state, limit, is_running));
                if !self.state().running.contains_key(&event) {
                    break;
                }
                switch.set();
            }
            if self.state().running.contains_key(&event) {
                stuck.push(format!("`{}` (tear-down)", self.names[event]));
            }
        }
        stuck
    }

    /// Passes the reports of all reporters on, each on a thread of its own.
    fn monitor(self: &Arc<Self>) -> Vec<thread::JoinHandle<()>> {
        let mut reporters = self.fixtures.values_of::<Reporter>();
        // A fixture may return the reporter of another.
        reporters.dedup_by(|a, b| a.is_same(b));
        let monitors = reporters.into_iter().map(|reporter| {
            let ours = Arc::clone(self);
            thread::spawn(move || ours.pass_on(&reporter))
        });
        monitors.collect()
    }

    fn pass_on(&self, reporter: &Reporter) {
        loop {
            let is_over = self.state().is_over;
            // Unwind safe: the reporter is the author's, and reports go on after a panic.
            let next = catch_unwind(AssertUnwindSafe(|| reporter.next(REPORT)));
            match next {
                Ok(Some(report)) => self.take_report(report),
                Ok(None) if is_over => return,
                Ok(None) => {}
                Err(panic) => {
                    let failure = FixtureFailure::of_panic(&*panic);
                    self.count_error(&mut self.state(), "result_reporter", failure.text());
                }
            }
        }
    }

    /// Makes a report a result of the test.
    fn take_report(&self, report: EventReport) {
        let EventReport {
            event,
            time,
            content,
        } = report;
        let path = |kind: &str| match event.is_empty() {
            true => vec![kind.to_owned()],
            false => vec![event.clone(), kind.to_owned()],
        };
        let at = (time, Duration::ZERO);
        let fail = |text: String| {
            self.count_error(&mut self.state(), &event, &text);
            self.tell_result(path("error"), VerdictKind::Fail, at, Some(text));
        };
        match content {
            ReportContent::Info(text) => {
                self.tell_result(path("info"), VerdictKind::Pass, at, Some(text));
            }
            ReportContent::Error(text) => fail(text),
            ReportContent::Value { name, value, unit } => match measured(name, value, unit) {
                Ok(measurement) => (self.tell)(BrokerRequest::Record(measurement)),
                Err(error) => fail(error.to_string()),
            },
        }
    }

    fn tell_result(
        &self,
        path: Vec<String>,
        verdict: VerdictKind,
        (started, took): (SystemTime, Duration),
        message: Option<String>,
    ) {
        (self.tell)(BrokerRequest::SubResult(SubResult {
            lane: None,
            path,
            verdict,
            started: micros_since_1970(started),
            took: micros(took),
            message: message.map(|text| message_of(&text).to_owned()),
        }));
    }

    /// Returns the end of the orchestration, and reports the skipped runs.
    fn end(&self, elapsed: Duration, stuck: &[String]) -> OrchestrationEnd {
        let (plan, at) = (&self.plan, (SystemTime::now(), Duration::ZERO));
        let state = self.state();
        for (event, name) in self.names.iter().enumerate() {
            if let Some(excused) = state.tally.excused(event) {
                self.say(&format!("{name}: {excused}"));
            }
            if let Some(skipped) = state.tally.skipped(event) {
                self.say(&format!("{name}: {skipped}"));
                let path = vec![name.clone(), "skipped".to_owned()];
                self.tell_result(path, VerdictKind::Skip, at, Some(skipped));
            }
        }
        let mut reasons = Vec::new();
        let after = format!("after {} of {}", text_of(elapsed), text_of(plan.duration));
        match &state.stop {
            Some(Stop::Told(reason)) => reasons.push(format!("{} {after}", told(*reason))),
            Some(Stop::Failed) => reasons.push(format!("ended by the first error {after}")),
            Some(Stop::Lost(loss)) => {
                let limit = text_of(plan.link_grace);
                reasons.push(format!(
                    "an instance is lost, for which `link-grace` is {limit}: {loss}"
                ));
            }
            None => {}
        }
        if !stuck.is_empty() {
            reasons.push(format!("events did not end: {}", stuck.join(", ")));
        }
        reasons.extend(state.tally.failure(&self.names));
        let failure = match reasons.is_empty() {
            true => None,
            false => Some(format!(
                "orchestration `{}`: {}",
                plan.name,
                reasons.join("\n")
            )),
        };
        OrchestrationEnd {
            failure,
            is_stuck: !stuck.is_empty(),
        }
    }

    /// The described time between two lines of progress.
    fn progress_interval(&self) -> Duration {
        let real = self.plan.duration.div_f64(self.plan.time_scale) / 20;
        real.clamp(PROGRESS.0, PROGRESS.1)
            .mul_f64(self.plan.time_scale)
    }

    /// The line of progress: the elapsed time, the total, and the next events.
    fn progress(&self, schedule: &Schedule, elapsed: Duration) -> String {
        let mut next: Vec<_> = schedule.upcoming().collect();
        next.sort_by_key(|(_, at)| *at);
        let next = next.iter().take(3).map(|(event, at)| {
            let name = &self.names[*event];
            format!("{name} in {}", text_of(at.saturating_sub(elapsed)))
        });
        let next: Vec<_> = next.collect();
        let total = text_of(self.plan.duration);
        let line = format!("{} of {total}, next: {}", text_of(elapsed), next.join(", "));
        line.trim_end_matches(", next: ").to_owned()
    }

    /// Shows a line in the test's output and on the terminal of the run.
    fn say(&self, text: &str) {
        let text = format!("{}: {text}", self.plan.name);
        eprintln!("{text}");
        (self.tell)(BrokerRequest::Progress { text });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the names of events in reports, each different.
pub(super) fn names_of(events: &[PlannedEvent]) -> Vec<String> {
    let name = |(number, event): (usize, &PlannedEvent)| {
        let name = &event.name;
        match events[..number]
            .iter()
            .filter(|one| one.name == *name)
            .count()
        {
            0 => name.clone(),
            before => format!("{name}#{}", before + 1),
        }
    };
    events.iter().enumerate().map(name).collect()
}

/// The text of a reason to end early.
fn told(reason: EarlyEnd) -> String {
    match reason {
        EarlyEnd::Interrupted => "interrupted".to_owned(),
        EarlyEnd::TimedOut(limit) => format!("the time limit of {} passed", text_of(limit)),
    }
}

/// Formats a duration in its two largest units: `1h 5m`.
pub(super) fn text_of(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) if duration.as_millis() > 0 => format!("{} ms", duration.as_millis()),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests;
