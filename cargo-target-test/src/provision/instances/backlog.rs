//! Counts the instances of a target that the remaining cases can use.
//!
//! Must not know which instances exist.

use std::collections::HashMap;

/// The remaining cases of a target.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// By binary and name; `None` if future cases are unknown.
    cases: Option<HashMap<(String, String), Need>>,
}

/// The instances that one case needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The number of instances.
    pub count: u32,
    /// True if the instances are not reused after the case.
    pub spends: bool,
}

impl Backlog {
    /// Adds a case.
    pub(super) fn expect(&mut self, case: (&str, &str), need: Need) {
        self.cases.get_or_insert_default().insert(owned(case), need);
    }

    /// Removes a case that will not run again.
    pub(super) fn done(&mut self, case: (&str, &str)) {
        if let Some(cases) = &mut self.cases {
            cases.remove(&owned(case));
        }
    }

    /// The number of instances that all remaining cases together can use. At most `at_once` of them serve at the same
    /// time, and at most `most` exist.
    pub(super) fn instances(&self, at_once: usize, most: usize) -> usize {
        let Some(cases) = &self.cases else {
            return at_once;
        };
        let sum = |spends: bool| {
            let cases = cases.values().filter(|need| need.spends == spends);
            cases.map(|need| need.count as usize).sum::<usize>()
        };
        most.min(sum(true) + at_once.min(sum(false)))
    }
}

fn owned((binary, name): (&str, &str)) -> (String, String) {
    (binary.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(backlog: &mut Backlog, case: (&str, &str), count: u32, spends: bool) {
        backlog.expect(case, Need { count, spends });
    }

    #[test]
    fn cases_of_one_name_in_two_binaries_are_two() {
        let mut backlog = Backlog::default();
        expect(&mut backlog, ("/x", "same"), 1, false);
        expect(&mut backlog, ("/y", "same"), 1, false);
        assert_eq!(backlog.instances(2, 2), 2);
        backlog.done(("/x", "same"));
        assert_eq!(backlog.instances(2, 2), 1, "the other is still to be run");
    }

    #[test]
    fn spent_instances_are_needed_beside_those_that_serve() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.instances(3, 4), 3, "nothing is known");
        expect(&mut backlog, ("/x", "a"), 1, false);
        assert_eq!(backlog.instances(3, 4), 1);
        expect(&mut backlog, ("/x", "b"), 2, false);
        expect(&mut backlog, ("/x", "c"), 2, false);
        assert_eq!(backlog.instances(3, 4), 3);
        expect(&mut backlog, ("/x", "d"), 1, true);
        assert_eq!(backlog.instances(3, 4), 4, "one spare");
        expect(&mut backlog, ("/x", "e"), 9, true);
        assert_eq!(backlog.instances(3, 4), 4);
        for case in ["a", "b", "c", "e", "e", "none"] {
            backlog.done(("/x", case));
        }
        assert_eq!(backlog.instances(3, 4), 1);
        backlog.done(("/x", "d"));
        assert_eq!(backlog.instances(3, 4), 0);
    }
}
