//! The number of instances of a target that the cases can use that are still to be run.
//!
//! Owns the count. Must not know which instances there are.

use std::collections::HashMap;

/// The cases that are still to be run on a target.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// By binary and name; `None`: it is unknown what will come.
    cases: Option<HashMap<(String, String), Need>>,
}

/// The instances that one case needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The number of instances.
    pub count: u32,
    /// True if the instances end with the case.
    pub spends: bool,
}

impl Backlog {
    /// The case is still to be run.
    pub(super) fn expect(&mut self, case: (&str, &str), need: Need) {
        self.cases.get_or_insert_default().insert(owned(case), need);
    }

    /// The case need not be run again.
    pub(super) fn done(&mut self, case: (&str, &str)) {
        if let Some(cases) = &mut self.cases {
            cases.remove(&owned(case));
        }
    }

    /// The number of instances that all cases together can use, of which `at_once` serve at once and `most` exist.
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
