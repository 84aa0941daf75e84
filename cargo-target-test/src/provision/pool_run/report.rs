//! The report on the instances of a run at its end.

use crate::run_event::{CleanUp, InstanceNote};

/// The instances by what happened to them, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Instances that do not exist any more.
    pub deleted: Vec<String>,
    /// Existing machines that are not in the pool any more.
    pub released: Vec<String>,
    /// Instances that stay, as requested.
    pub kept: Vec<String>,
    /// Instances that an earlier run kept and that stay, since this run did not use them; for example of a renamed
    /// target.
    pub unused: Vec<String>,
    /// Instances that an earlier run kept, and that this run used and does not keep.
    pub unkept: Vec<String>,
    /// Instances that dead runs left; they were deleted or released.
    pub left: Vec<String>,
    /// Instances that may still exist, and stay in the pool until a delete succeeds, with the cause and its hint if any.
    pub failed: Vec<InstanceNote>,
    /// Dirty instances that stay dirty until the user or a later run repairs them, as their targets say.
    pub dirty: Vec<InstanceNote>,
    /// Instances that stay, since this tool does not know their platforms.
    pub unknown: Vec<InstanceNote>,
    /// Instances that stay, since a living process uses them: `pid 4711 smoke[alpha], for 12 s`.
    pub held: Vec<InstanceNote>,
}

impl From<Report> for CleanUp {
    fn from(report: Report) -> Self {
        Self {
            kept: report.kept,
            unused: report.unused,
            unkept: report.unkept,
            left: report.left,
            held: report.held,
            dirty: report.dirty,
            unknown: report.unknown,
            failed: report.failed,
        }
    }
}

impl Report {
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

    #[test]
    fn a_delete_that_is_tried_again_is_told_once() {
        let name = |name: &str| vec![name.to_owned()];
        let failed = |cause: &str| {
            vec![InstanceNote {
                instance: "a-0".to_owned(),
                note: cause.to_owned(),
            }]
        };
        let early = || Report {
            deleted: name("a-1"),
            failed: failed("early"),
            ..Report::default()
        };
        let end = |failed| Report {
            failed,
            ..Report::default()
        };
        for (retried, cause) in [(true, "late"), (false, "early")] {
            let mut report = end(if retried { failed(cause) } else { Vec::new() });
            report.add_early(early(), retried);
            assert_eq!(
                (report.deleted, report.failed),
                (name("a-1"), failed(cause))
            );
        }
        let mut report = Report {
            left: ["a-0", "b-0"].map(str::to_owned).into(),
            ..Report::default()
        };
        report.add_early(early(), true);
        assert_eq!(report.left, name("b-0"));
        assert_eq!(report.deleted, ["a-0", "a-1"]);
        assert_eq!(report.failed, []);
    }
}
