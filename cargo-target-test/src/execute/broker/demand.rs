//! How many instances of a target the cases can use that are still to be run.
//!
//! Owns the count. Must not know which instances there are.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The cases that are still to be run on a target.
#[derive(Default)]
pub(super) struct Demand {
    /// By binary and name; `None`: nobody knows what will come.
    cases: Mutex<Option<HashMap<(String, String), Need>>>,
}

/// What one case needs.
#[derive(Clone, Copy)]
struct Need {
    count: u32,
    /// Whether nobody gets the instances after it.
    spends: bool,
}

impl Demand {
    /// The case is still to be run.
    pub(super) fn expect(&self, case: (&str, &str), count: u32, spends: bool) {
        let mut cases = self.cases();
        let cases = cases.get_or_insert_default();
        cases.insert(owned(case), Need { count, spends });
    }

    /// The case need not be run again.
    pub(super) fn done(&self, case: (&str, &str)) {
        if let Some(cases) = self.cases().as_mut() {
            cases.remove(&owned(case));
        }
    }

    /// How many instances all of them can use, of which `at_once` serve at once and `most` exist.
    pub(super) fn instances(&self, at_once: usize, most: usize) -> usize {
        let cases = self.cases();
        let Some(cases) = cases.as_ref() else {
            return at_once;
        };
        let sum = |spends: bool| {
            let cases = cases.values().filter(|need| need.spends == spends);
            cases.map(|need| need.count as usize).sum::<usize>()
        };
        most.min(sum(true) + at_once.min(sum(false)))
    }

    fn cases(&self) -> MutexGuard<'_, Option<HashMap<(String, String), Need>>> {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned((binary, name): (&str, &str)) -> (String, String) {
    (binary.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_one_name_in_two_binaries_are_two() {
        let demand = Demand::default();
        demand.expect(("/x", "same"), 1, false);
        demand.expect(("/y", "same"), 1, false);
        assert_eq!(demand.instances(2, 2), 2);
        demand.done(("/x", "same"));
        assert_eq!(demand.instances(2, 2), 1, "the other is still to be run");
    }

    #[test]
    fn spent_instances_are_needed_beside_those_that_serve() {
        let demand = Demand::default();
        assert_eq!(demand.instances(3, 4), 3, "nothing is known");
        demand.expect(("/x", "a"), 1, false);
        assert_eq!(demand.instances(3, 4), 1);
        demand.expect(("/x", "b"), 2, false);
        demand.expect(("/x", "c"), 2, false);
        assert_eq!(demand.instances(3, 4), 3);
        demand.expect(("/x", "d"), 1, true);
        assert_eq!(demand.instances(3, 4), 4, "one spare");
        demand.expect(("/x", "e"), 9, true);
        assert_eq!(demand.instances(3, 4), 4);
        for case in ["a", "b", "c", "e", "e", "none"] {
            demand.done(("/x", case));
        }
        assert_eq!(demand.instances(3, 4), 1);
        demand.done(("/x", "d"));
        assert_eq!(demand.instances(3, 4), 0);
    }
}
