//! Tells a signal that came to our whole process group from one that came to us alone.
//!
//! Owns one more process of the group that does nothing: it dies by what the group is sent. A terminal's
//! Ctrl-C, and many a supervisor, reach nextest without us; `kill PID` does not. nextest takes a second
//! signal for a user who lost patience, so it must not get one twice.

use std::{process::Stdio, time::Duration};

use tokio::process::{Child, ChildStdin};

use crate::process;

/// How long it may take to die of a signal that it was sent.
const PATIENCE: Duration = Duration::from_millis(500);

/// The process; none where it cannot be started.
pub(super) struct Witness(Option<(Child, Option<ChildStdin>)>);

impl Witness {
    /// Within a tokio runtime.
    pub(super) fn new() -> Self {
        // It ends with its owner, who holds the other end of its standard input.
        let mut cat = process::command("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::null());
        let cat = process::Spawn::new(cat).dies_with_parent().start_async();
        // Waiting for a child closes the standard input that it still owns.
        Self(cat.ok().map(|mut cat| {
            let stdin = cat.stdin.take();
            (cat, stdin)
        }))
    }

    /// Whether the signal that we just got came to the group.
    pub(super) async fn saw_it(&mut self) -> bool {
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
