//! One command of a preparation: its end, and its last words where that is no good one.
//!
//! Owns how such commands are marked, limited and told of. Must not know what they are for.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use target_fixtures::wire::{Exit, ShellCommand};

use crate::{
    connect::{CommandEvent, Transport},
    error::{Error, ErrorKind, Result},
};

/// The end of a failing command's output that is repeated, in bytes.
const TAIL: usize = 4096;
/// The limit for one of our own short commands.
pub(super) const SHORT: Duration = Duration::from_secs(30);

/// The way to an instance that is being prepared.
pub(crate) struct Shell {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) mark: String,
}

/// The end of a command, and the end of what it printed, both streams as they came.
pub(crate) struct StepEnd {
    pub(super) exit: Exit,
    pub(super) tail: String,
}

impl StepEnd {
    /// An error unless the exit code was 0: how it ended, then its last words.
    pub(super) fn success(self) -> Result<String> {
        let how = match &self.exit {
            Exit::Code(0) => return Ok(self.tail),
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(signal) => format!("killed by signal {signal}"),
        };
        Err(Error::new(ErrorKind::Infra, with_words(how, &self.tail)))
    }
}

impl Shell {
    pub(crate) fn new(transport: Arc<dyn Transport>, mark: String) -> Self {
        Self { transport, mark }
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it did not end by itself in time, or nobody knows; its last words are told.
    pub(super) async fn run(&self, line: &str, timeout: Duration) -> Result<StepEnd> {
        let command = ShellCommand {
            line: line.to_owned(),
            timeout: u64::try_from(timeout.as_millis()).ok(),
            ..ShellCommand::default()
        };
        let mut running = self.transport.exec(&command, &self.mark, None);
        let mut tail = VecDeque::new();
        let words = |tail: &VecDeque<u8>| {
            let bytes: Vec<u8> = tail.iter().copied().collect();
            String::from_utf8_lossy(&bytes).trim_end().to_owned()
        };
        while let Some(event) = running.events.recv().await {
            match event {
                CommandEvent::Output(_, bytes) => {
                    tail.extend(bytes);
                    let surplus = tail.len().saturating_sub(TAIL);
                    tail.drain(..surplus);
                }
                CommandEvent::Exited(exit) => {
                    let tail = words(&tail);
                    return Ok(StepEnd { exit, tail });
                }
                CommandEvent::Lost(error) => {
                    let text = with_words(error.chain(), &words(&tail));
                    return Err(Error::new(error.kind(), text));
                }
            }
        }
        Err(Error::new(
            ErrorKind::Other,
            "the exit status of the command is unknown",
        ))
    }

    /// Kills what an earlier preparation of this instance left running.
    pub(super) async fn sweep(&self) -> Result<()> {
        self.transport.sweep(&self.mark, SHORT).await
    }
}

fn with_words(how: String, words: &str) -> String {
    match words {
        "" => how,
        words => format!("{how}:\n{words}"),
    }
}
