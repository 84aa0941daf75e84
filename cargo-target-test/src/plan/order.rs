//! Which cases start first.
//!
//! Owns how an author's priority becomes one of nextest's. Must not know nextest's configuration.

use std::collections::BTreeMap;

use super::{Case, Plan};

/// nextest's priority (-100 to 100, higher starts earlier) of a case: 80, 40, 0, -40, -80 for the author's
/// 0 to 4. A case without one stands in the middle, where nextest puts it anyway, so that it needs no override.
pub fn bucket(case: &Case) -> i8 {
    case.priority
        .map_or(0, |priority| 40 * (2 - priority.min(4).cast_signed()))
}

/// The cases (indices into [`Plan::cases`]) by [`bucket`], without the middle one.
pub fn buckets(plan: &Plan) -> BTreeMap<i8, Vec<usize>> {
    let mut buckets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (number, case) in plan.cases.iter().enumerate() {
        buckets.entry(bucket(case)).or_default().push(number);
    }
    buckets.remove(&0);
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn important_cases_start_first() {
        let case = |priority| Case {
            name: String::new(),
            test: 0,
            target: 0,
            count: 1,
            priority,
            expect_fail: None,
        };
        let priorities = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(255)];
        let cases = priorities.map(case);
        assert_eq!(cases.each_ref().map(bucket), [0, 80, 40, 0, -40, -80, -80]);
        let plan = Plan {
            cases: cases.into(),
            ..Plan::default()
        };
        let numbers: Vec<_> = buckets(&plan).into_iter().collect();
        assert_eq!(
            numbers,
            [
                (-80, vec![5, 6]),
                (-40, vec![4]),
                (40, vec![2]),
                (80, vec![1])
            ]
        );
    }
}
