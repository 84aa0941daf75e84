//! Counts the runs and the errors of an orchestration's events. Its size does not depend on the number of runs.

use std::collections::BTreeMap;

/// The maximum number of errors whose text is kept.
const KEPT: usize = 20;

/// The numbers of runs, by the position of the event in the plan, and the first errors.
#[derive(Debug, Default)]
pub(super) struct EventTally {
    runs: BTreeMap<usize, Runs>,
    errors: u64,
    first_errors: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Runs {
    ended: u64,
    /// Runs that did not start, since the previous one was still going.
    busy: u64,
    /// Runs that did not start, since they were due together with a later one.
    late: u64,
    /// Runs that a broken link cut.
    cut: u64,
    /// Runs that skipped themselves, and the first reason.
    excused: Option<(u64, String)>,
}

/// The reason that a run did not start.
#[derive(Clone, Copy, Debug)]
pub(super) enum SkippedRun {
    /// The previous run was still going.
    Busy,
    /// A later run was due too when this process came to start it.
    Late,
}

impl Runs {
    fn skipped(&self) -> u64 {
        self.busy + self.late
    }

    fn all(&self) -> u64 {
        self.ended + self.skipped()
    }

    /// The reason of the skipped runs; `None` if there are none.
    fn reason(&self) -> Option<String> {
        let busy = "the previous run was still going";
        let late = "this process was stopped or too slow to start them";
        match (self.busy, self.late) {
            (0, 0) => None,
            (_, 0) => Some(busy.to_owned()),
            (0, _) => Some(late.to_owned()),
            (of_busy, of_late) => Some(format!("{busy} ({of_busy}), or {late} ({of_late})")),
        }
    }
}

impl EventTally {
    pub(super) fn ran(&mut self, event: usize) {
        self.runs.entry(event).or_default().ended += 1;
    }

    pub(super) fn skip(&mut self, event: usize, reason: SkippedRun, runs: u32) {
        let of = self.runs.entry(event).or_default();
        *match reason {
            SkippedRun::Busy => &mut of.busy,
            SkippedRun::Late => &mut of.late,
        } += u64::from(runs);
    }

    pub(super) fn cut(&mut self, event: usize) {
        self.runs.entry(event).or_default().cut += 1;
    }

    pub(super) fn excuse(&mut self, event: usize, reason: &str) {
        let reason = || reason.trim().lines().next().unwrap_or_default().to_owned();
        let excused = &mut self.runs.entry(event).or_default().excused;
        excused.get_or_insert_with(|| (0, reason())).0 += 1;
    }

    pub(super) fn error(&mut self, event: &str, text: &str) {
        self.errors += 1;
        if self.first_errors.len() < KEPT {
            let text = text.trim().replace('\n', "\n    ");
            let of = if event.is_empty() { "" } else { ": " };
            self.first_errors.push(format!("{event}{of}{text}"));
        }
    }

    /// The note about runs of an event that did not start, if there were some.
    pub(super) fn skipped(&self, event: usize) -> Option<String> {
        let runs = self.runs.get(&event)?;
        let (skipped, all) = (runs.skipped(), runs.all());
        let reason = runs.reason()?;
        Some(format!("{skipped} of {all} runs skipped: {reason}"))
    }

    /// The note about runs of an event that skipped themselves, if there were some, with the first reason.
    pub(super) fn excused(&self, event: usize) -> Option<String> {
        let runs = self.runs.get(&event)?;
        let (number, reason) = runs.excused.as_ref()?;
        let all = runs.all();
        Some(format!("{number} of {all} runs skipped: {reason}"))
    }

    /// The message of the failure, if there were errors.
    pub(super) fn failure(&self, names: &[String]) -> Option<String> {
        let cut = self.runs.iter().filter(|(_, runs)| runs.cut > 0);
        let line = |(event, runs): (&usize, &Runs)| {
            let (cut, of, name) = (runs.cut, runs.ended, &names[*event]);
            format!("{cut} of {of} runs of `{name}` cut by a broken link")
        };
        let mut lines: Vec<_> = cut.map(line).collect();
        if self.errors > 0 {
            let errors = if self.errors == 1 { "error" } else { "errors" };
            lines.push(format!("{} {errors} reported:", self.errors));
            lines.extend(self.first_errors.iter().map(|error| format!("  {error}")));
        }
        let more = self.errors - self.first_errors.len() as u64;
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lists_the_first_errors() {
        let names = ["play".to_owned(), "collect".to_owned()];
        let mut tally = EventTally::default();
        tally.ran(0);
        assert_eq!(tally.failure(&names), None);
        assert_eq!((tally.skipped(0), tally.excused(0)), (None, None));
        tally.skip(0, SkippedRun::Busy, 3);
        tally.skip(0, SkippedRun::Late, 0);
        tally.excuse(0, "no fault\nhere");
        tally.excuse(0, "another reason");
        tally.cut(1);
        tally.ran(1);
        for number in 0..25 {
            tally.error("play", &format!("stalled\n{number}"));
        }
        let skipped = "3 of 4 runs skipped: the previous run was still going";
        assert_eq!(tally.skipped(0).as_deref(), Some(skipped));
        tally.skip(0, SkippedRun::Late, 2);
        let both = "5 of 6 runs skipped: the previous run was still going (3), or this process was stopped or too slow to start \
                    them (2)";
        assert_eq!(tally.skipped(0).as_deref(), Some(both));
        let excused = "2 of 6 runs skipped: no fault";
        assert_eq!(tally.excused(0).as_deref(), Some(excused));
        assert_eq!((tally.skipped(1), tally.excused(1)), (None, None));
        let failure = tally.failure(&names).expect("a failure");
        let start = "1 of 1 runs of `collect` cut by a broken link\n25 errors reported:\n  play: stalled\n    0\n";
        assert!(failure.starts_with(start), "{failure}");
        assert!(failure.ends_with("and 5 more"), "{failure}");
    }
}
