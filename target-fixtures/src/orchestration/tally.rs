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

#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    ended: u64,
    /// Runs that did not start, since the previous one was still going.
    busy: u64,
    /// Runs that did not start, since they were due together with a later one.
    late: u64,
    /// Runs that a broken link cut.
    cut: u64,
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
    fn skipped(self) -> u64 {
        self.busy + self.late
    }

    /// The reason of the skipped runs; `None` if there are none.
    fn reason(self) -> Option<String> {
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

    pub(super) fn error(&mut self, event: &str, text: &str) {
        self.errors += 1;
        if self.first_errors.len() < KEPT {
            let text = text.trim().replace('\n', "\n    ");
            let of = if event.is_empty() { "" } else { ": " };
            self.first_errors.push(format!("{event}{of}{text}"));
        }
    }

    /// The events with skipped runs, and how many.
    pub(super) fn skipped<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<(&'a str, String)> {
        let skipped = names.enumerate().filter_map(|(event, name)| {
            let runs = self.runs.get(&event)?;
            let (skipped, all) = (runs.skipped(), runs.ended + runs.skipped());
            let reason = runs.reason()?;
            Some((name, format!("{skipped} of {all} runs skipped: {reason}")))
        });
        skipped.collect()
    }

    /// The message of the failure, if there were errors.
    pub(super) fn failure<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<String> {
        let mut lines = Vec::new();
        for (event, name) in names.enumerate() {
            let runs = self.runs.get(&event).copied().unwrap_or_default();
            if runs.cut > 0 {
                let of = runs.ended;
                lines.push(format!(
                    "{} of {of} runs of `{name}` cut by a broken link",
                    runs.cut
                ));
            }
        }
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
        let names = || ["play", "collect"].into_iter();
        let mut tally = EventTally::default();
        tally.ran(0);
        assert_eq!(tally.failure(names()), None);
        assert_eq!(tally.skipped(names()), []);
        tally.skip(0, SkippedRun::Busy, 3);
        tally.skip(0, SkippedRun::Late, 0);
        tally.cut(1);
        tally.ran(1);
        for number in 0..25 {
            tally.error("play", &format!("stalled\n{number}"));
        }
        let skipped = "3 of 4 runs skipped: the previous run was still going".to_owned();
        assert_eq!(tally.skipped(names()), [("play", skipped)]);
        tally.skip(0, SkippedRun::Late, 2);
        let both = "5 of 6 runs skipped: the previous run was still going (3), or this process was stopped or too slow to start \
                    them (2)";
        assert_eq!(tally.skipped(names()), [("play", both.to_owned())]);
        let failure = tally.failure(names()).expect("a failure");
        let start = "1 of 1 runs of `collect` cut by a broken link\n25 errors reported:\n  play: stalled\n    0\n";
        assert!(failure.starts_with(start), "{failure}");
        assert!(failure.ends_with("and 5 more"), "{failure}");
    }
}
