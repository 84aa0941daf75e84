//! The fate of instances.
//!
//! Owns the words for it. Must not know how they came to it.

use crate::run_event::{CleanUp, InstanceNote};

/// The fate of instances, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// They do not exist any more.
    pub deleted: Vec<String>,
    /// They are no instances any more; their machines, which the platform did not make, stay.
    pub released: Vec<String>,
    /// They stay, as asked.
    pub kept: Vec<String>,
    /// They were kept earlier and stay, since this run did not use them: a renamed target's, for instance.
    pub unused: Vec<String>,
    /// Dead runs had left them; they were deleted or released.
    pub left: Vec<String>,
    /// They may exist, and are in the pool until a delete succeeds.
    pub failed: Vec<InstanceFailure>,
    /// They are dirty and stay so until something is done about it, as their targets say.
    pub dirty: Vec<InstanceFailure>,
    /// They stay, since this tool does not know their platforms.
    pub unknown: Vec<InstanceFailure>,
    /// They stay, since a living process uses them.
    pub held: Vec<Held>,
}

/// An instance that could not be deleted, or is not to be.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceFailure {
    /// Its name.
    pub instance: String,
    /// The cause, with the hint if there is one.
    pub cause: String,
}

/// An instance that a living process uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Its name.
    pub instance: String,
    /// By whom: `pid 4711 smoke[alpha], for 12 s`.
    pub by: String,
}

impl From<Report> for CleanUp {
    fn from(report: Report) -> Self {
        let failures = |all: Vec<InstanceFailure>| {
            let note = |failure: InstanceFailure| InstanceNote {
                instance: failure.instance,
                note: failure.cause,
            };
            all.into_iter().map(note).collect()
        };
        let held = report.held.into_iter().map(|held| InstanceNote {
            instance: held.instance,
            note: held.by,
        });
        Self {
            kept: report.kept,
            unused: report.unused,
            left: report.left,
            held: held.collect(),
            dirty: failures(report.dirty),
            unknown: failures(report.unknown),
            failed: failures(report.failed),
        }
    }
}

impl Report {
    /// Adds what became of others.
    pub fn add(&mut self, mut other: Self) {
        self.deleted.append(&mut other.deleted);
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
            vec![InstanceFailure {
                instance: "a-0".to_owned(),
                cause: cause.to_owned(),
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
