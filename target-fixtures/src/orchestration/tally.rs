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
    skipped: u64,
    /// Runs that a broken link cut.
    cut: u64,
    /// Runs that skipped themselves, and the first reason.
    excused: Option<(u64, String)>,
}

impl EventTally {
    pub(super) fn ran(&mut self, event: usize) {
        self.runs.entry(event).or_default().ended += 1;
    }

    pub(super) fn skip(&mut self, event: usize, runs: u32) {
        self.runs.entry(event).or_default().skipped += u64::from(runs);
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
        let all = runs.ended + runs.skipped;
        let text = format!(
            "{} of {all} runs skipped: the previous run was still going",
            runs.skipped
        );
        (runs.skipped > 0).then_some(text)
    }

    /// The note about runs of an event that skipped themselves, if there were some, with the first reason.
    pub(super) fn excused(&self, event: usize) -> Option<String> {
        let runs = self.runs.get(&event)?;
        let (number, reason) = runs.excused.as_ref()?;
        Some(format!(
            "{number} of {} runs skipped: {reason}",
            runs.ended + runs.skipped
        ))
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
        tally.skip(0, 3);
        tally.excuse(0, "no fault\nhere");
        tally.excuse(0, "another reason");
        tally.cut(1);
        tally.ran(1);
        for number in 0..25 {
            tally.error("play", &format!("stalled\n{number}"));
        }
        let skipped = "3 of 4 runs skipped: the previous run was still going";
        assert_eq!(tally.skipped(0).as_deref(), Some(skipped));
        let excused = "2 of 4 runs skipped: no fault";
        assert_eq!(tally.excused(0).as_deref(), Some(excused));
        assert_eq!((tally.skipped(1), tally.excused(1)), (None, None));
        let failure = tally.failure(&names).expect("a failure");
        let start = "1 of 1 runs of `collect` cut by a broken link\n25 errors reported:\n  play: stalled\n    0\n";
        assert!(failure.starts_with(start), "{failure}");
        assert!(failure.ends_with("and 5 more"), "{failure}");
    }
}
