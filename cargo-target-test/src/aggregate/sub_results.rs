//! The sub-results of an attempt that a report keeps: their number is bounded, as that of the runs of events is not.

use target_fixtures::wire::{SubResult, VerdictKind};

/// The maximum number of sub-results of an attempt.
const MOST: usize = 10_000;

/// The sub-results of an attempt, in the order in which they were reported. When there are too many, those that passed are
/// left out first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubResults {
    kept: Vec<SubResult>,
    /// The number of those that passed.
    passed: usize,
    left_out: usize,
}

impl SubResults {
    /// Adds a sub-result. A full list leaves out the last one that passed, which may be this one.
    pub(super) fn push(&mut self, result: &SubResult) {
        let passed = |one: &SubResult| one.verdict == VerdictKind::Pass;
        if self.kept.len() == MOST {
            self.left_out += 1;
            if passed(result) || self.passed == 0 {
                return;
            }
            if let Some(last) = self.kept.iter().rposition(passed) {
                self.kept.remove(last);
                self.passed -= 1;
            }
        }
        self.passed += usize::from(passed(result));
        self.kept.push(result.clone());
    }

    /// Returns the sub-results that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, SubResult> {
        self.kept.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, SubResult> {
        self.kept.iter_mut()
    }

    /// Returns the number of all sub-results.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len() + self.left_out
    }

    /// Returns the number of those that were left out.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(number: usize, verdict: VerdictKind) -> SubResult {
        SubResult {
            path: vec![number.to_string()],
            lane: None,
            verdict,
            started: 0,
            took: 0,
            message: None,
        }
    }

    #[test]
    fn failures_are_kept_rather_than_passes() {
        let mut results = SubResults::default();
        for number in 0..MOST + 5 {
            results.push(&result(number, VerdictKind::Pass));
        }
        assert_eq!((results.iter().count(), results.left_out()), (MOST, 5));
        results.push(&result(MOST + 5, VerdictKind::Fail));
        assert_eq!((results.count(), results.left_out()), (MOST + 6, 6));
        let last: Vec<_> = results
            .iter()
            .rev()
            .take(2)
            .map(|one| &*one.path[0])
            .collect();
        assert_eq!(last, [(MOST + 5).to_string(), (MOST - 2).to_string()]);
        for number in 0..2 * MOST {
            results.push(&result(number, VerdictKind::Fail));
        }
        assert_eq!(results.count(), 3 * MOST + 6);
        assert!(results.iter().all(|one| one.verdict == VerdictKind::Fail));
        assert_eq!(results.iter().count(), MOST);
    }
}
