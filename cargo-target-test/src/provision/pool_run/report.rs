//! The report on the instances of a run at its end.

use crate::run_event::CleanUp;

impl CleanUp {
    /// Adds another report.
    pub fn add(&mut self, mut other: Self) {
        self.deleted.append(&mut other.deleted);
        self.kept.append(&mut other.kept);
        self.kept.sort();
        self.unkept.append(&mut other.unkept);
        self.unkept.sort();
        self.released.append(&mut other.released);
        self.failed.append(&mut other.failed);
        self.unknown.append(&mut other.unknown);
    }

    /// Adds the deletes during the run. If `retried` is true, this report has the results of trying failed ones again.
    pub fn add_early(&mut self, mut early: Self, retried: bool) {
        if retried {
            let failed = |name: &String| early.failed.iter().any(|one| one.instance == *name);
            let (ours, left) = std::mem::take(&mut self.left).into_iter().partition(failed);
            self.left = left;
            self.deleted.extend::<Vec<_>>(ours);
            early.failed.clear();
        }
        self.add(early);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_event::InstanceNote;

    #[test]
    fn a_delete_that_is_tried_again_is_told_once() {
        let name = |name: &str| vec![name.to_owned()];
        let failed = |cause: &str| {
            vec![InstanceNote {
                instance: "a-0".to_owned(),
                note: cause.to_owned(),
            }]
        };
        let early = || CleanUp {
            deleted: name("a-1"),
            failed: failed("early"),
            ..CleanUp::default()
        };
        let end = |failed| CleanUp {
            failed,
            ..CleanUp::default()
        };
        for (retried, cause) in [(true, "late"), (false, "early")] {
            let mut report = end(if retried { failed(cause) } else { Vec::new() });
            report.add_early(early(), retried);
            assert_eq!(
                (report.deleted, report.failed),
                (name("a-1"), failed(cause))
            );
        }
        let mut report = CleanUp {
            left: ["a-0", "b-0"].map(str::to_owned).into(),
            ..CleanUp::default()
        };
        report.add_early(early(), true);
        assert_eq!(report.left, name("b-0"));
        assert_eq!(report.deleted, ["a-0", "a-1"]);
        assert_eq!(report.failed, []);
    }
}
