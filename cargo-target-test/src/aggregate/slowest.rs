//! The slowest cases of a run, with the times of their parts.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::Aggregator;
use crate::{
    error::Result,
    run_event::{RunEvent, RunEventKind},
    ui,
};

/// Prints the slowest cases at the end of a run (`--durations`).
#[derive(Debug)]
pub struct Slowest {
    /// The maximum number of cases.
    pub count: usize,
    /// The minimum time of a case.
    pub least: Duration,
    /// The slowest attempt of each case, by binary and name.
    cases: BTreeMap<(Arc<str>, String), PartTimes>,
}

/// The times of the parts of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct PartTimes {
    /// All parts but the wait.
    all: Duration,
    set_up: Duration,
    call: Duration,
    tear_down: Duration,
    waited: Duration,
}

impl Slowest {
    /// The `count` slowest cases that took at least `least`.
    pub fn new(count: usize, least: Duration) -> Self {
        let cases = BTreeMap::new();
        Self {
            count,
            least,
            cases,
        }
    }

    /// Formats the lines, the slowest case first.
    fn lines(&self) -> Vec<String> {
        let mut all: Vec<_> = self
            .cases
            .iter()
            .map(|(name, times)| (times, name))
            .collect();
        all.retain(|(times, _)| times.all >= self.least);
        all.sort_by_key(|(times, _)| std::cmp::Reverse(**times));
        all.truncate(self.count);
        let line = |(times, (binary, name)): (&PartTimes, &(Arc<str>, String))| {
            format!("{times}  {binary} {name}")
        };
        all.into_iter().map(line).collect()
    }
}

impl Aggregator for Slowest {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        if let RunEventKind::AttemptEnded { attempt, result } = &event.kind
            && !result.took.is_zero()
        {
            let (took, tear_down) = (result.took, result.tear_down.min(result.fixtures));
            let times = PartTimes {
                all: took,
                set_up: result.fixtures - tear_down,
                call: took.saturating_sub(result.fixtures),
                tear_down,
                waited: result.waited,
            };
            let case = &attempt.case;
            let slowest = self
                .cases
                .entry((case.binary_id.clone(), case.name.clone()));
            let slowest = slowest.or_default();
            *slowest = times.max(*slowest);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let lines = self.lines();
        if !lines.is_empty() {
            ui::note("slowest cases:");
        }
        lines.into_iter().for_each(ui::note);
        Ok(())
    }
}

/// `  12.300 s (set-up 2.100, test 10.000, tear-down 0.200; waited 3.000 before)`.
impl fmt::Display for PartTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [all, set_up, call, tear_down, waited] = [
            self.all,
            self.set_up,
            self.call,
            self.tear_down,
            self.waited,
        ]
        .map(|time| time.as_secs_f64());
        write!(
            f,
            "{all:8.3} s (set-up {set_up:.3}, test {call:.3}, tear-down {tear_down:.3}; "
        )?;
        write!(f, "waited {waited:.3} before)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        case::{CaseInfo, verdict::Verdict},
        run_event::{Attempt, AttemptResult},
    };

    #[test]
    fn the_slowest_attempts_come_first() {
        let mut slowest = Slowest::new(2, Duration::from_millis(2));
        for (name, took) in [("a", 3), ("b", 9), ("b", 1), ("c", 1), ("d", 5)] {
            let case = Arc::new(CaseInfo::on_host("x", name));
            let [took, fixtures, tear_down] = [took, took / 2, 1].map(Duration::from_millis);
            let result = AttemptResult {
                took,
                fixtures,
                tear_down,
                ..AttemptResult::new(Verdict::Pass)
            };
            let kind = RunEventKind::AttemptEnded {
                attempt: Attempt::first(&case),
                result: Box::new(result),
            };
            let event = RunEvent::new(0, Duration::ZERO, Duration::ZERO, kind);
            slowest.ingest(&event).expect("no I/O");
        }
        assert_eq!(
            slowest.lines(),
            [
                "   0.009 s (set-up 0.003, test 0.005, tear-down 0.001; waited 0.000 before)  x b",
                "   0.005 s (set-up 0.001, test 0.003, tear-down 0.001; waited 0.000 before)  x d",
            ]
        );
    }
}
