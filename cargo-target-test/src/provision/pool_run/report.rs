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
}
