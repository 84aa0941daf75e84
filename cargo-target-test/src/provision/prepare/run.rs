//! Runs one command of a preparation; an error contains the end of its output.
//!
//! Must not know the purpose of a command.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use target_fixtures::wire::{Exit, ShellCommand, Sudo};

use crate::{
    connect::{self, CommandEvent, Transport, own_command, shell, upload::Transfer},
    error::{Error, Result},
};

/// The maximum size of the output's end in an error, in bytes.
const TAIL: usize = 4096;
/// The time limit for a short internal command.
pub(super) const SHORT: Duration = Duration::from_secs(30);

/// The shell of an instance that is being prepared.
pub(crate) struct Shell {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) mark: String,
    /// The variables of its commands.
    pub(super) env: BTreeMap<String, String>,
}

/// The exit status of a command, and the end of its output, both streams interleaved.
pub(crate) struct StepEnd {
    pub(super) exit: Exit,
    pub(super) tail: String,
}

impl StepEnd {
    /// Fails unless the exit code is 0, with the exit status and the end of the output.
    pub(super) fn success(self) -> Result<String> {
        let how = match &self.exit {
            Exit::Code(0) => return Ok(self.tail),
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(signal) => format!("killed by signal {signal}"),
        };
        let error = Error::infra(with_words(how, &self.tail));
        Err(match self.exit.hint(&self.tail) {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }
}

impl Shell {
    pub(crate) fn new(transport: Arc<dyn Transport>, mark: String) -> Self {
        let env = BTreeMap::new();
        Self {
            transport,
            mark,
            env,
        }
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// Fails if the command exceeds the time limit or its exit status is unknown, with the end of its output.
    pub(super) async fn run(&self, line: &str, timeout: Duration) -> Result<StepEnd> {
        self.run_as(false, line, timeout).await
    }

    /// As [`Shell::run`]; `as_root` runs the command by `sudo`, unless the login user is root.
    pub(super) async fn run_as(
        &self,
        as_root: bool,
        line: &str,
        timeout: Duration,
    ) -> Result<StepEnd> {
        let command = ShellCommand {
            sudo: as_root.then(Sudo::default),
            // A recipe may change what logins start with.
            fresh_login: true,
            env: self.env.clone(),
            ..own_command(line.to_owned(), Some(timeout))
        };
        let mut running = connect::start(&*self.transport, &command, &self.mark, None).await?;
        let mut tail = Vec::new();
        let words = |tail: &[u8]| String::from_utf8_lossy(tail).trim_end().to_owned();
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
        Err(Error::other("the exit status of the command is unknown"))
    }

    /// Copies files and folders to the instance.
    pub(super) fn transfer(&self) -> Transfer {
        Transfer::new(Arc::clone(&self.transport), &self.mark)
    }

    /// Kills processes that an earlier preparation of this instance left running, and removes its files.
    pub(super) async fn sweep(&self) -> Result<()> {
        self.transport.sweep(&self.mark, SHORT).await?;
        let removed = self
            .run(&shell::remove_temporaries(&self.mark), SHORT)
            .await;
        removed?.success().map(drop)
    }
}

fn with_words(how: String, words: &str) -> String {
    match words {
        "" => how,
        words => format!("{how}:\n{words}"),
    }
}
