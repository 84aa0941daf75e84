//! Distinguishes a signal to the whole process group from a signal to this process alone.
//!
//! An idle process in the group dies by a signal to the group. A terminal's Ctrl-C and many supervisors signal the
//! group and so reach nextest; `kill PID` does not. nextest treats a second signal as a second interrupt, so a signal
//! must not be passed on if nextest already got it.

use std::{process::Stdio, time::Duration};

use tokio::process::{Child, ChildStdin};

use crate::process;

/// The time limit for the idle process to die by a signal.
const PATIENCE: Duration = Duration::from_millis(500);

/// The idle process; `None` if it could not be started.
pub(crate) struct Witness(Option<(Child, Option<ChildStdin>)>);

impl Witness {
    /// Starts the idle process. Must be called in a tokio runtime.
    pub(crate) fn new() -> Self {
        // `cat` ends when its owner closes the other end of its standard input.
        let mut cat = process::command("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::null());
        let cat = process::Spawn::new(cat)
            .without_core()
            .dies_with_parent()
            .start_async();
        // Waiting for a child closes its standard input, so take it out first.
        Self(cat.ok().map(|mut cat| {
            let stdin = cat.stdin.take();
            (cat, stdin)
        }))
    }

    /// Returns true if the signal that just arrived went to the group.
    pub(crate) async fn saw_it(&mut self) -> bool {
        let Some((child, _)) = &mut self.0 else {
            return false;
        };
        let died = tokio::time::timeout(PATIENCE, child.wait()).await.is_ok();
        if died {
            *self = Self::new();
        }
        died
    }
}
