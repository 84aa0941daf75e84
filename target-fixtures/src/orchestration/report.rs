//! The reports of events: records, the queue they go through, and the reporter that receives them.
//!
//! Must not know how an orchestration treats them.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// A report of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventReport {
    /// The name of the event: `play`, or `play#2` for the second event of this name in the description. Empty if it was
    /// reported on a thread that the event started.
    pub event: String,
    /// The time of the report.
    pub time: SystemTime,
    /// The content.
    pub content: ReportContent,
}

/// The content of an [`EventReport`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReportContent {
    /// Something worth knowing.
    Info(String),
    /// An error, which fails the test.
    Error(String),
    /// A measured value.
    Value {
        /// The name: `frames`.
        name: String,
        /// The value.
        value: f64,
        /// The unit: `1/s`; empty for a plain number.
        unit: String,
    },
}

/// `start_playback: frames: 25 1/s`.
impl fmt::Display for EventReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.event.is_empty() {
            write!(f, "{}: ", self.event)?;
        }
        match &self.content {
            ReportContent::Info(text) => f.write_str(text),
            ReportContent::Error(text) => write!(f, "error: {text}"),
            ReportContent::Value { name, value, unit } => {
                write!(f, "{name}: {value} {unit}")
            }
        }
    }
}

/// A queue of reports, used by all events at once.
pub trait ReportTransfer: Send + Sync {
    /// Adds a report.
    fn push(&self, report: EventReport);

    /// Takes the oldest report; waits for one, but at most for `timeout`.
    fn pop(&self, timeout: Duration) -> Option<EventReport>;
}

/// The queue between events and the reporter: ours, or one of the author's.
///
/// An author's fixture `report_queue` replaces it.
#[derive(Clone)]
pub struct ReportQueue(Arc<dyn ReportTransfer>);

impl ReportQueue {
    /// A queue of the author's.
    pub fn new(queue: impl ReportTransfer + 'static) -> Self {
        Self(Arc::new(queue))
    }

    pub(super) fn pop(&self, timeout: Duration) -> Option<EventReport> {
        self.0.pop(timeout)
    }
}

impl Default for ReportQueue {
    fn default() -> Self {
        Self::new(InMemory::default())
    }
}

impl fmt::Debug for ReportQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportQueue")
    }
}

#[derive(Default)]
struct InMemory {
    reports: Mutex<VecDeque<EventReport>>,
    arrived: Condvar,
}

impl ReportTransfer for InMemory {
    fn push(&self, report: EventReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push_back(report);
        self.arrived.notify_one();
    }

    fn pop(&self, timeout: Duration) -> Option<EventReport> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .arrived
            .wait_timeout_while(reports, timeout, |all| all.is_empty());
        let (mut reports, _) = waited.unwrap_or_else(PoisonError::into_inner);
        reports.pop_front()
    }
}

/// Receives each report while the events run.
pub trait OnResult: Send + Sync {
    /// Called for one report after the other, on a thread of its own.
    fn on_result(&self, report: &EventReport);
}

impl<F: Fn(&EventReport) + Send + Sync> OnResult for F {
    fn on_result(&self, report: &EventReport) {
        self(report);
    }
}

/// Collects the reports of all events: `result_reporter.info("started")`.
///
/// Every report is printed to the test's output, and becomes a result of the run: in the feed, the history and the reports
/// of `cargo target-test`. A reported error fails the test.
///
/// An author's fixture `result_reporter` can do something else with each report:
///
/// ```no_run
/// use target_fixtures::{orchestration::{EventReport, ReportQueue, Reporter}, prelude::*};
///
/// #[target_fixture]
/// fn result_reporter(report_queue: &ReportQueue) -> Reporter {
///     Reporter::new(report_queue, |report: &EventReport| println!("# {report}"))
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Reporter {
    queue: ReportQueue,
    on_result: Arc<dyn OnResult>,
}

impl Reporter {
    /// A reporter that calls `on_result` for each report.
    pub fn new(queue: &ReportQueue, on_result: impl OnResult + 'static) -> Self {
        Self {
            queue: queue.clone(),
            on_result: Arc::new(on_result),
        }
    }

    /// A reporter that prints each report.
    pub(super) fn printing(queue: &ReportQueue) -> Self {
        Self::new(queue, |report: &EventReport| eprintln!("{report}"))
    }

    /// Reports something worth knowing.
    pub fn info(&self, text: impl Into<String>) {
        self.push(ReportContent::Info(text.into()));
    }

    /// Reports an error. It fails the test: at the end, or at once if the description says `"fail": "fast"`.
    pub fn error(&self, text: impl Into<String>) {
        self.push(ReportContent::Error(text.into()));
    }

    /// Records a measured value, as [`Target::metric`](crate::Target::metric) does. An invalid name or value is a reported
    /// error.
    pub fn record(&self, name: impl Into<String>, value: f64, unit: impl Into<String>) {
        let (name, unit) = (name.into(), unit.into());
        self.push(ReportContent::Value { name, value, unit });
    }

    /// True if both are the same reporter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.on_result, &other.on_result)
    }

    fn push(&self, content: ReportContent) {
        self.queue.0.push(EventReport {
            event: EVENT.with_borrow(Clone::clone),
            time: SystemTime::now(),
            content,
        });
    }

    /// Takes the oldest report and shows it to the author's function.
    pub(super) fn next(&self, timeout: Duration) -> Option<EventReport> {
        let report = self.queue.pop(timeout)?;
        self.on_result.on_result(&report);
        Some(report)
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

thread_local! {
    /// The event that runs on this thread.
    static EVENT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says which event runs on this thread.
pub(super) fn is_thread_of(event: &str) {
    EVENT.set(event.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_keep_their_order_and_name_their_event() {
        let queue = ReportQueue::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let on_result = {
            let seen = Arc::clone(&seen);
            move |report: &EventReport| seen.lock().expect("seen").push(report.to_string())
        };
        let reporter = Reporter::new(&queue, on_result);
        is_thread_of("play");
        reporter.info("started");
        reporter.record("frames", 25.0, "1/s");
        reporter.error("stalled");
        while reporter.next(Duration::ZERO).is_some() {}
        let expected = [
            "play: started",
            "play: frames: 25 1/s",
            "play: error: stalled",
        ];
        assert_eq!(*seen.lock().expect("seen"), expected);
    }
}
