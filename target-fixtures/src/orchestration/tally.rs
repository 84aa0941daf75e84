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
    skipped: u64,
    /// Runs that a broken link cut.
    cut: u64,
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
        let runs = names.enumerate().map(|(event, name)| {
            let runs = self.runs.get(&event).copied().unwrap_or_default();
            (name, runs.skipped, runs.ended + runs.skipped)
        });
        let skipped = runs.filter(|(_, skipped, _)| *skipped > 0);
        let text = |(name, skipped, all)| {
            let text = format!("{skipped} of {all} runs skipped: the previous run was still going");
            (name, text)
        };
        skipped.map(text).collect()
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
        tally.skip(0, 3);
        tally.cut(1);
        tally.ran(1);
        for number in 0..25 {
            tally.error("play", &format!("stalled\n{number}"));
        }
        let skipped = "3 of 4 runs skipped: the previous run was still going".to_owned();
        assert_eq!(tally.skipped(names()), [("play", skipped)]);
        let failure = tally.failure(names()).expect("a failure");
        let start = "1 of 1 runs of `collect` cut by a broken link\n25 errors reported:\n  play: stalled\n    0\n";
        assert!(failure.starts_with(start), "{failure}");
        assert!(failure.ends_with("and 5 more"), "{failure}");
    }
}
