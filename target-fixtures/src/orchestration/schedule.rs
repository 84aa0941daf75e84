//! The times at which events are due: a pure function of the plan and of the elapsed time.
//!
//! Must not know clocks, threads or events that run.

use std::time::Duration;

use crate::wire::OrchestrationPlan;

/// The runs of a plan that are still to come.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    duration: Duration,
    events: Vec<Upcoming>,
}

/// The next run of one event.
#[derive(Clone, Debug)]
struct Upcoming {
    interval: Option<Duration>,
    /// The number of the next run: it is due at `next` times the interval. `None` if there is none.
    next: Option<u32>,
}

/// An event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The position of the event in the plan.
    pub(super) event: usize,
    /// The number of runs that are due. More than one if the schedule was asked too late; only one of them can start.
    pub(super) runs: u32,
}

impl Schedule {
    /// Returns the schedule of a plan from its start.
    pub(super) fn new(plan: &OrchestrationPlan) -> Self {
        let upcoming = |event: &crate::wire::PlannedEvent| Upcoming {
            interval: event.interval,
            next: match (event.at_startup, event.interval) {
                (true, _) => Some(0),
                (false, Some(_)) => Some(1),
                (false, None) => None,
            },
        };
        Self {
            duration: plan.duration,
            events: plan.events.iter().map(upcoming).collect(),
        }
    }

    /// Takes the runs that are due at `elapsed`, in the order of the description.
    pub(super) fn take_due(&mut self, elapsed: Duration) -> Vec<Due> {
        let duration = self.duration;
        let due = self
            .events
            .iter_mut()
            .enumerate()
            .filter_map(|(event, of)| {
                let mut runs = 0;
                while of.at(duration).is_some_and(|at| at <= elapsed) {
                    runs += 1;
                    of.next = of.next.filter(|_| of.interval.is_some());
                    of.next = of.next.and_then(|next| next.checked_add(1));
                }
                (runs > 0).then_some(Due { event, runs })
            });
        due.collect()
    }

    /// The time of the next run of each event that has one: the position of the event, and the time.
    pub(super) fn upcoming(&self) -> impl Iterator<Item = (usize, Duration)> {
        let events = self.events.iter().enumerate();
        events.filter_map(|(event, of)| Some((event, of.at(self.duration)?)))
    }

    /// The time of the next run of any event.
    pub(super) fn next(&self) -> Option<Duration> {
        self.upcoming().map(|(_, at)| at).min()
    }
}

impl Upcoming {
    /// The time of the next run, a multiple of the interval, so that delays do not add up. A run due at the end or later is
    /// dropped.
    fn at(&self, duration: Duration) -> Option<Duration> {
        let at = match (self.next?, self.interval) {
            (number, Some(interval)) => interval.checked_mul(number)?,
            (_, None) => Duration::ZERO,
        };
        (at < duration).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::PlannedEvent;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn plan(duration: Duration, events: &[(Option<Duration>, bool)]) -> OrchestrationPlan {
        let event = |(interval, at_startup): &(Option<Duration>, bool)| PlannedEvent {
            name: "event".to_owned(),
            interval: *interval,
            at_startup: *at_startup,
            at_teardown: false,
            params: serde_json::Map::new(),
        };
        OrchestrationPlan {
            name: "test".to_owned(),
            set_up_limit: None,
            duration,
            grace: seconds(30),
            link_grace: seconds(60),
            time_scale: 1.0,
            fails_fast: false,
            setup_fixtures: Vec::new(),
            events: events.iter().map(event).collect(),
        }
    }

    /// Runs a schedule on a clock that wakes up `late` after each time; returns the event and the time of each run.
    fn runs(plan: &OrchestrationPlan, late: Duration) -> Vec<(usize, Duration)> {
        let mut schedule = Schedule::new(plan);
        let mut runs = Vec::new();
        while let Some(next) = schedule.next() {
            let elapsed = next + late;
            for Due { event, runs: count } in schedule.take_due(elapsed) {
                runs.extend((0..count).map(|_| (event, elapsed)));
            }
        }
        runs
    }

    #[test]
    fn a_run_at_the_end_is_dropped() {
        for (duration, interval, at_startup, count) in [
            (10_800, Some(300), true, 36),
            (10_800, Some(300), false, 35),
            (10_801, Some(300), true, 37),
            (10_800, None, true, 1),
            (10_800, None, false, 0),
            (300, Some(300), false, 0),
            (300, Some(301), true, 1),
        ] {
            let event = (interval.map(seconds), at_startup);
            let plan = plan(seconds(duration), &[event]);
            assert_eq!(runs(&plan, Duration::ZERO).len(), count, "{event:?}");
        }
    }

    #[test]
    fn start_up_events_are_in_the_order_of_the_file() {
        let every = |interval, at_startup| (Some(seconds(interval)), at_startup);
        let plan = plan(
            seconds(30),
            &[
                every(20, true),
                (None, true),
                every(10, false),
                every(10, true),
            ],
        );
        let first = Schedule::new(&plan).take_due(Duration::ZERO);
        let first: Vec<_> = first.iter().map(|due| due.event).collect();
        assert_eq!(first, [0, 1, 3]);
        let at = |second| {
            let all = runs(&plan, Duration::ZERO).into_iter();
            let at = all.filter(|(_, at)| *at == seconds(second));
            at.map(|(event, _)| event).collect::<Vec<_>>()
        };
        assert_eq!((at(10), at(20)), (vec![2, 3], vec![0, 2, 3]));
    }

    #[test]
    fn a_thousand_intervals_do_not_drift() {
        let plan = plan(seconds(3001), &[(Some(seconds(3)), true)]);
        let late = Duration::from_millis(700);
        let all = runs(&plan, late);
        assert_eq!(all.len(), 1001);
        for (number, (_, at)) in (0..).zip(all) {
            assert_eq!(at, seconds(3) * number + late);
        }
    }

    #[test]
    fn runs_that_were_slept_through_are_due_at_once() {
        let mut schedule = Schedule::new(&plan(seconds(100), &[(Some(seconds(10)), true)]));
        let due = |event, runs| vec![Due { event, runs }];
        assert_eq!(schedule.take_due(Duration::ZERO), due(0, 1));
        assert_eq!(schedule.take_due(seconds(9)), []);
        assert_eq!(schedule.take_due(seconds(45)), due(0, 4));
        assert_eq!(schedule.next(), Some(seconds(50)));
        assert_eq!(schedule.take_due(seconds(1000)), due(0, 5));
        assert_eq!(schedule.next(), None);
    }

    proptest! {
        #[test]
        fn each_run_is_taken_once_whenever_the_clock_is_read(
            duration in 1u64..2000,
            interval in 1u64..300,
            at_startup: bool,
            steps in prop::collection::vec(0u64..500, 0..40),
        ) {
            let plan = plan(seconds(duration), &[(Some(seconds(interval)), at_startup)]);
            let mut schedule = Schedule::new(&plan);
            let (mut elapsed, mut taken) = (0, 0);
            for step in steps.into_iter().chain([10_000]) {
                elapsed += step;
                taken += schedule.take_due(seconds(elapsed)).iter().map(|due| due.runs).sum::<u32>();
                prop_assert!(schedule.next().is_none_or(|next| next > seconds(elapsed)));
            }
            let expected = duration.div_ceil(interval) - u64::from(!at_startup);
            prop_assert_eq!(u64::from(taken), expected);
        }
    }
}
