//! Distributes the events of a run to its aggregators, in order, with a queue and a thread for each aggregator.
//!
//! An aggregator must not delay the run or another aggregator.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, Thread},
    time::{Duration, Instant, SystemTime},
};

use super::Aggregator;
use crate::{
    error::Result,
    run_event::{RunEvent, RunEventKind, Sink},
    ui,
};

/// The time limit for the aggregators to finish at the end of a run.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time without events after which [`Aggregator::idle`] is called.
const PAUSE: Duration = Duration::from_millis(200);
/// The interval between two batches of events: a thread that wakes up for each event delays the tests.
const BATCH: Duration = Duration::from_millis(20);
/// The number of queued events above which output and progress are dropped.
const CROWD: usize = 1024;

/// Passes every event to every aggregator.
pub struct FanOut {
    stream: Arc<Mutex<Stream>>,
    workers: Vec<Worker>,
}

/// The position in the stream of events, and the queues.
struct Stream {
    began: Instant,
    seq: u64,
    queues: Vec<Queue>,
}

/// The queue of one aggregator.
struct Queue {
    events: Sender<Arc<RunEvent>>,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Backlog {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// The thread of one aggregator.
struct Worker {
    name: &'static str,
    thread: Thread,
    backlog: Arc<Backlog>,
    /// The result of the aggregator, sent at its end.
    done: Receiver<Result<(), String>>,
}

impl FanOut {
    /// Starts a thread for each aggregator. The names are for warnings: `the JUnit report`.
    ///
    /// # Errors
    /// Fails if a thread cannot be started.
    pub fn start(aggregators: Vec<(&'static str, Box<dyn Aggregator>)>) -> Result<Self> {
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        for (name, mut aggregator) in aggregators {
            let (events, waiting) = mpsc::channel();
            let (tell, done) = mpsc::channel();
            let backlog = Arc::new(Backlog::default());
            let counted = Arc::clone(&backlog);
            let handle = thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    // The aggregator is not used after a panic.
                    let work = AssertUnwindSafe(|| work(aggregator.as_mut(), &waiting, &counted));
                    let ended = match catch_unwind(work) {
                        Ok(worked) => worked.map_err(|error| error.chain()),
                        Err(_) => Err("it panicked".to_owned()),
                    };
                    let _ = tell.send(ended);
                })?;
            queues.push(Queue {
                events,
                backlog: Arc::clone(&backlog),
            });
            workers.push(Worker {
                name,
                thread: handle.thread().clone(),
                backlog,
                done,
            });
        }
        let stream = Stream {
            began: Instant::now(),
            seq: 0,
            queues,
        };
        Ok(Self {
            stream: Arc::new(Mutex::new(stream)),
            workers,
        })
    }

    /// Returns the sink for events of this run.
    pub fn sink(&self) -> Sink {
        let stream = Arc::clone(&self.stream);
        Sink::new(move |kind| lock(&stream).deliver(kind))
    }

    /// Waits, up to a limit, until every aggregator has finished. Later events are dropped.
    pub fn finish(self) {
        self.finish_within(PATIENCE).iter().for_each(ui::warn);
    }

    /// Waits up to `patience` and returns the warnings.
    fn finish_within(self, patience: Duration) -> Vec<String> {
        lock(&self.stream).queues.clear();
        self.workers
            .iter()
            .for_each(|worker| worker.thread.unpark());
        let deadline = Instant::now() + patience;
        let mut warnings = Vec::new();
        for Worker {
            name,
            backlog,
            done,
            ..
        } in self.workers
        {
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match done.recv_timeout(left) {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(failure),
                Err(RecvTimeoutError::Timeout) => {
                    Some(format!("timed out after {} s", patience.as_secs_f32()))
                }
                Err(RecvTimeoutError::Disconnected) => Some("its thread has ended".to_owned()),
            };
            if let Some(failure) = failure {
                warnings.push(format!("{name} is incomplete: {failure}"));
            } else if let dropped @ 1.. = backlog.dropped.load(Ordering::Relaxed) {
                warnings.push(format!(
                    "{name} was too slow: {dropped} pieces of output or progress are missing"
                ));
            }
        }
        warnings
    }
}

impl Stream {
    fn deliver(&mut self, kind: RunEventKind) {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (monotonic, wall) = (self.began.elapsed(), wall.unwrap_or_default());
        let event = Arc::new(RunEvent::new(self.seq, monotonic, wall, kind));
        self.seq += 1;
        for Queue { events, backlog } in &self.queues {
            let crowd = backlog.waiting.load(Ordering::Relaxed) >= CROWD;
            if crowd && event.kind.may_be_dropped() {
                backlog.dropped.fetch_add(1, Ordering::Relaxed);
            } else if events.send(Arc::clone(&event)).is_ok() {
                backlog.waiting.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Passes events to the aggregator until the stream ends.
fn work(
    aggregator: &mut dyn Aggregator,
    events: &Receiver<Arc<RunEvent>>,
    backlog: &Backlog,
) -> Result<()> {
    loop {
        let event = match events.recv_timeout(PAUSE) {
            Err(RecvTimeoutError::Timeout) => {
                aggregator.idle()?;
                events.recv().ok()
            }
            received => received.ok(),
        };
        let Some(event) = event else {
            return aggregator.finish();
        };
        for event in std::iter::once(event).chain(events.try_iter()) {
            backlog.waiting.fetch_sub(1, Ordering::Relaxed);
            aggregator.ingest(&event)?;
        }
        thread::park_timeout(BATCH);
    }
}

fn lock(stream: &Mutex<Stream>) -> std::sync::MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::tally::Tally,
        case::{CaseInfo, verdict::Verdict},
        error::{Error, ErrorKind},
        run_event::{Attempt, AttemptResult},
    };

    /// An aggregator that calls a function for every event.
    struct Each<F>(F);

    impl<F: FnMut(&RunEvent) -> Result<()> + Send> Aggregator for Each<F> {
        fn ingest(&mut self, event: &RunEvent) -> Result<()> {
            (self.0)(event)
        }
    }

    fn each(what: impl FnMut(&RunEvent) -> Result<()> + Send + 'static) -> Box<dyn Aggregator> {
        Box::new(Each(what))
    }

    /// An aggregator that calls a function at the end.
    struct AtEnd<F>(F);

    impl<F: FnMut() -> Result<()> + Send> Aggregator for AtEnd<F> {
        fn ingest(&mut self, _: &RunEvent) -> Result<()> {
            Ok(())
        }

        fn finish(&mut self) -> Result<()> {
            (self.0)()
        }
    }

    fn at_end(what: impl FnMut() -> Result<()> + Send + 'static) -> Box<dyn Aggregator> {
        Box::new(AtEnd(what))
    }

    fn warning(number: usize) -> RunEventKind {
        RunEventKind::Warning {
            message: number.to_string(),
        }
    }

    fn progress(number: usize) -> RunEventKind {
        RunEventKind::Progress {
            message: number.to_string(),
        }
    }

    /// A failing, a panicking and a blocking aggregator cause a warning each; the good one gets all events in order.
    #[test]
    fn no_aggregator_harms_another() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (release, blocked) = mpsc::channel::<()>();
        let good = Arc::clone(&seen);
        let aggregators = vec![
            (
                "good",
                each(move |event| {
                    good.lock().expect("unpoisoned").push(event.seq);
                    Ok(())
                }),
            ),
            (
                "failing",
                each(|_| Err(Error::new(ErrorKind::Other, "no space"))),
            ),
            (
                "panicking",
                each(|event| {
                    // Suppresses the panic message.
                    if event.seq == 1 {
                        std::panic::resume_unwind(Box::new(()));
                    }
                    Ok(())
                }),
            ),
            (
                "blocking",
                each(move |_| {
                    let _ = blocked.recv();
                    Ok(())
                }),
            ),
        ];
        let fan_out = FanOut::start(aggregators).expect("threads");
        let sink = fan_out.sink();
        (0..3 * CROWD).for_each(|number| sink.emit(warning(number)));
        let warnings = fan_out.finish_within(Duration::from_millis(200));
        assert_eq!(
            warnings,
            [
                "failing is incomplete: no space",
                "panicking is incomplete: it panicked",
                "blocking is incomplete: timed out after 0.2 s",
            ]
        );
        let seen = seen.lock().expect("unpoisoned");
        assert!(seen.iter().copied().eq(0..3 * CROWD as u64));
        drop(release);
        sink.emit(warning(0));
    }

    /// An aggregator that fails or panics at the end causes a warning, as one that blocks there does. All of them share
    /// one time limit, and no warning keeps another aggregator from its end.
    #[test]
    fn an_aggregator_may_fail_at_the_end() {
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let ended = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ended);
        let blocks = || {
            let blocked = Arc::clone(&blocked);
            at_end(move || {
                let _ = blocked.lock().expect("unpoisoned").recv();
                Ok(())
            })
        };
        let fan_out = FanOut::start(vec![
            ("blocking", blocks()),
            ("waiting", blocks()),
            (
                "failing",
                at_end(|| Err(Error::new(ErrorKind::Other, "no space"))),
            ),
            (
                "panicking",
                at_end(|| std::panic::resume_unwind(Box::new(()))),
            ),
            (
                "good",
                at_end(move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }),
            ),
        ]);
        let warnings = fan_out
            .expect("threads")
            .finish_within(Duration::from_millis(500));
        assert_eq!(
            warnings,
            [
                "blocking is incomplete: timed out after 0.5 s",
                "waiting is incomplete: timed out after 0.5 s",
                "failing is incomplete: no space",
                "panicking is incomplete: it panicked",
            ]
        );
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        drop(release);
    }

    /// Verdicts are counted before the queues: an aggregator that blocks does not delay them.
    #[test]
    fn no_aggregator_delays_the_tally() {
        let (release, blocked) = mpsc::channel::<()>();
        let blocking = each(move |_| {
            let _ = blocked.recv();
            Ok(())
        });
        let fan_out = FanOut::start(vec![("blocking", blocking)]).expect("a thread");
        let case = Arc::new(CaseInfo::on_host("x", "smoke"));
        let verdict = Verdict::Crash("panic".to_owned());
        let tally = Arc::new(Mutex::new(Tally::default()));
        let sink = Tally::counted(&fan_out.sink(), &tally);
        for number in 1..=2 {
            sink.emit(RunEventKind::AttemptEnded {
                attempt: Attempt {
                    case: Arc::clone(&case),
                    stress_index: None,
                    number,
                },
                result: Box::new(AttemptResult::new(verdict.clone())),
            });
        }
        let counts = tally.lock().expect("unpoisoned").counts(Some(100), false);
        assert_eq!((counts.failed, counts.exit_code()), (1, 100));
        drop(release);
        assert_eq!(fan_out.finish_within(PATIENCE), [""; 0]);
    }

    /// Only output and progress are dropped, with a warning.
    #[test]
    fn a_crowd_loses_progress_only() {
        let (release, blocked) = mpsc::channel::<()>();
        let kinds = Arc::new(Mutex::new((0, 0)));
        let counted = Arc::clone(&kinds);
        let slow = each(move |event| {
            let _ = blocked.recv();
            let mut counted = counted.lock().expect("unpoisoned");
            match event.kind {
                RunEventKind::Warning { .. } => counted.0 += 1,
                _ => counted.1 += 1,
            }
            Ok(())
        });
        let fan_out = FanOut::start(vec![("slow", slow)]).expect("a thread");
        let sink = fan_out.sink();
        for number in 0..2 * CROWD {
            sink.emit(warning(number));
            sink.emit(progress(number));
        }
        drop(release);
        let warnings = fan_out.finish_within(PATIENCE);
        let (whole, partial) = *kinds.lock().expect("unpoisoned");
        assert_eq!(whole, 2 * CROWD);
        let missing = 2 * CROWD - partial;
        assert!(missing > CROWD, "{missing}");
        assert_eq!(
            warnings,
            [format!(
                "slow was too slow: {missing} pieces of output or progress are missing"
            )]
        );
    }
}
