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
    /// Instances that dead runs left; they were deleted or released.
    pub left: Vec<String>,
    /// Instances that may still exist, and stay in the pool until a delete succeeds.
    pub failed: Vec<InstanceFailure>,
    /// Dirty instances that stay dirty until the user or a later run repairs them, as their targets say.
    pub dirty: Vec<InstanceFailure>,
    /// Instances that stay, since this tool does not know their platforms.
    pub unknown: Vec<InstanceFailure>,
    /// Instances that stay, since a living process uses them.
    pub held: Vec<Held>,
}

/// An instance that was not deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceFailure {
    /// The name.
    pub instance: String,
    /// The cause, with its hint if any.
    pub cause: String,
}

/// An instance that a living process uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The name.
    pub instance: String,
    /// The process: `pid 4711 smoke[alpha], for 12 s`.
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
    /// Adds another report.
    pub fn add(&mut self, mut other: Self) {
        self.deleted.append(&mut other.deleted);
        self.released.append(&mut other.released);
        self.failed.append(&mut other.failed);
        self.unknown.append(&mut other.unknown);
    }
}
