//! The change of a case between two runs: one rule for the page and for `report --compare`.

use std::time::Duration;

use target_fixtures::wire::VerdictKind;

/// A case is slower if it takes this many times as long ...
const TIMES: f64 = 1.5;
/// ... and at least this much longer.
const LONGER: Duration = Duration::from_millis(200);

/// The last result of a case in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// The verdict; `None` if the case has none.
    pub verdict: Option<VerdictKind>,
    /// The lifetime of the test process.
    pub took: Duration,
}

/// The change of a case since an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseChange {
    /// It fails, and passed or did not exist.
    NewlyFailing,
    /// It passes, and failed.
    Fixed,
    /// It passes in both runs, and takes at least half as long again and 0.2 s longer.
    Slower,
}

impl CaseChange {
    /// Returns the change, if there is one. `before` is `None` for a new case. A skip, infra and a case without a verdict
    /// change nothing.
    pub fn between(before: Option<&LastResult>, now: &LastResult) -> Option<Self> {
        match (before.map(LastResult::fails), now.fails()?) {
            (None | Some(Some(false)), true) => Some(Self::NewlyFailing),
            (Some(Some(true)), false) => Some(Self::Fixed),
            (Some(Some(false)), false)
                if before.is_some_and(|before| before.is_exceeded_by(now)) =>
            {
                Some(Self::Slower)
            }
            _ => None,
        }
    }
}

impl LastResult {
    /// The result of a case without a verdict.
    pub const NO_VERDICT: Self = Self {
        verdict: None,
        took: Duration::ZERO,
    };

    /// True for a failure, false for a pass; `None` if the verdict says neither.
    pub fn fails(&self) -> Option<bool> {
        match self.verdict? {
            VerdictKind::Fail | VerdictKind::Crash => Some(true),
            VerdictKind::Pass => Some(false),
            VerdictKind::Skip | VerdictKind::Infra => None,
        }
    }

    fn is_exceeded_by(&self, now: &Self) -> bool {
        now.took >= self.took.mul_f64(TIMES) && now.took >= self.took + LONGER
    }
}

#[cfg(test)]
mod tests {
    use CaseChange::{Fixed, NewlyFailing, Slower};
    use VerdictKind::{Crash, Fail, Infra, Pass, Skip};

    use super::*;

    #[test]
    fn only_passes_and_failures_change() {
        let result = |verdict, millis| LastResult {
            verdict: Some(verdict),
            took: Duration::from_millis(millis),
        };
        for (before, now, change) in [
            (Some((Pass, 10)), (Fail, 10), Some(NewlyFailing)),
            (Some((Pass, 10)), (Crash, 10), Some(NewlyFailing)),
            (None, (Fail, 10), Some(NewlyFailing)),
            (Some((Infra, 10)), (Fail, 10), None),
            (Some((Skip, 10)), (Fail, 10), None),
            (Some((Fail, 10)), (Crash, 10), None),
            (Some((Crash, 10)), (Pass, 10), Some(Fixed)),
            (Some((Fail, 10)), (Infra, 10), None),
            (Some((Pass, 400)), (Pass, 600), Some(Slower)),
            (Some((Pass, 10)), (Pass, 209), None),
            (Some((Pass, 1000)), (Pass, 1499), None),
            (Some((Infra, 10)), (Pass, 900), None),
            (None, (Pass, 900), None),
        ] {
            let before = before.map(|(verdict, millis)| result(verdict, millis));
            let now = result(now.0, now.1);
            let found = CaseChange::between(before.as_ref(), &now);
            assert_eq!(found, change, "{before:?}, {now:?}");
        }
        let (none, failed) = (LastResult::NO_VERDICT, result(Fail, 10));
        assert_eq!(CaseChange::between(Some(&none), &failed), None);
        assert_eq!(CaseChange::between(Some(&failed), &none), None);
    }
}
