//! A command in the background: the thread that reads its output, and the functions that wait for lines and for its
//! end.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

mod input;
mod lines;
mod parallel;

pub use input::ProcessInput;
pub use lines::Line;
pub use parallel::parallel;

use super::{
    Result,
    command::{Command, ExitCheck},
    output::{Output, Streams},
};
use crate::{
    client::{BrokerConnection, unexpected},
    error::{ErrorKind, Placed, TargetError},
    wire::{BrokerRequest, Exit, Failure, Reply},
};
use input::Sending;

/// A timeout that never expires in practice.
pub(super) const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// A command started by [`Command::spawn`]. Dropping a process kills its process group.
#[must_use = "dropping it kills the command"]
pub struct Process {
    shared: Arc<SharedProcess>,
    /// The position after the last line read, by stream.
    read: [u64; 2],
    /// The position after the last text found by [`wait_for_text`](Self::wait_for_text), by stream.
    matched: [u64; 2],
}

struct SharedProcess {
    exit_check: ExitCheck,
    state: Mutex<ProcessState>,
    changed: Condvar,
    sending: Sending,
    /// Held while a signal is on its way.
    signalling: Mutex<()>,
}

struct ProcessState {
    streams: Streams,
    /// The exit and the run time in milliseconds, or the error; `None` while the command runs and after [`Process`] has
    /// taken it.
    end: Option<std::result::Result<(Exit, u64), TargetError>>,
    /// The answer to the signal on its way, until [`Process::signal`] has taken it.
    signalled: Option<std::result::Result<(), Failure>>,
    /// The end, once the command has ended or [`Process`] was dropped.
    over: Option<ProcessEnd>,
}

/// The end of a command, for messages.
struct ProcessEnd {
    kind: ErrorKind,
    description: String,
    hint: Option<&'static str>,
}

impl SharedProcess {
    fn state(&self) -> MutexGuard<'_, ProcessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        self.state().over.is_none()
    }

    /// The error for an unexpected end of the command, with the end and the last lines of output. `what` turns the name
    /// of the command into a message.
    fn end_error(&self, what: impl FnOnce(String) -> String) -> TargetError {
        let ExitCheck {
            command, instance, ..
        } = &self.exit_check;
        let what = what(format!("`{command}` on `{instance}`"));
        let state = self.state();
        let Some(end) = &state.over else {
            return TargetError::new(ErrorKind::Other, format!("{what}: unknown end"));
        };
        let error = TargetError::new(end.kind, format!("{what}: {}", end.description))
            .with_more(&state.streams.tails());
        match end.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Waits until `look` returns a value, and returns it; `None` at the deadline. `look` is called after each change.
    fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&mut ProcessState) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit.min(FOREVER);
        let mut state = self.state();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Process {
    #[track_caller]
    pub(super) fn start(command: Command<'_>) -> Result<Self> {
        let input = command.input()?;
        let streams = Streams::new(command.keep, command.log());
        let connection = command.target.client.start(&command.request(true))?;
        let shared = Arc::new(SharedProcess {
            exit_check: command.exit_check(),
            state: Mutex::new(ProcessState {
                streams,
                end: None,
                signalled: None,
                over: None,
            }),
            changed: Condvar::new(),
            sending: Sending::new(connection.stream().placed()?, input.is_none()),
            signalling: Mutex::default(),
        });
        let listener = Arc::clone(&shared);
        thread::spawn(move || listen(connection, &listener));
        if let Some(input) = input {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.feed(input));
        }
        Ok(Self {
            shared,
            read: [0; 2],
            matched: [0; 2],
        })
    }

    /// True if the command has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.is_running()
    }

    /// Writes to the standard input, like [`ProcessInput::write`]. Blocks while the command does not read.
    ///
    /// # Errors
    /// Same as [`ProcessInput::write`].
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.input().write(bytes)
    }

    /// Returns a handle to the standard input, for use in another thread.
    pub fn input(&self) -> ProcessInput {
        ProcessInput::new(Arc::clone(&self.shared))
    }

    /// Closes the standard input.
    pub fn close_stdin(&mut self) {
        self.input().close();
    }

    /// Returns the next line of either stream; `None` after the command has ended and all lines were read. Lines of one
    /// stream are in order.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if there is no line within `limit`; the command keeps running.
    #[track_caller]
    pub fn next_line(&mut self, limit: Duration) -> Result<Option<Line>> {
        let mut read = self.read;
        let found = self.shared.wait(limit, |state| {
            let line = state.next_line(&mut read);
            (line.is_some() || state.over.is_some()).then_some(line)
        });
        self.read = read;
        found.ok_or_else(|| self.late("a line", limit)).placed()
    }

    /// Reads lines until one contains `part`, and returns that line.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if there is no such line within `limit`, [`ErrorKind::Exit`] if the command ends before
    /// it, or the error by which the command was lost. The error shows the last lines of the output.
    #[track_caller]
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit.min(FOREVER);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left) {
                Ok(Some(line)) if line.text.contains(part) => return Ok(line.text),
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.ended(part).placed()),
                Err(_) => return Err(self.late(&format!("`{part}`"), limit).placed()),
            }
        }
    }

    /// Waits until the command prints `part`, after the text found by the previous call. The line need not be complete.
    ///
    /// # Errors
    /// Same as [`wait_for_line`](Self::wait_for_line).
    #[track_caller]
    pub fn wait_for_text(&mut self, part: &str, limit: Duration) -> Result<()> {
        let mut searched = self.matched;
        let found = self.shared.wait(limit, |state| {
            let found = state.find(part, &mut searched);
            (found.is_some() || state.over.is_some()).then_some(found)
        });
        match found {
            Some(Some((stream, end))) => {
                self.matched[stream] = end;
                Ok(())
            }
            Some(None) => Err(self.ended(part).placed()),
            None => Err(self.late(&format!("`{part}`"), limit).placed()),
        }
    }

    /// Sends a signal (`TERM`) to the process group. The signal overtakes input that the command has not read.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`] if the command has already ended, [`ErrorKind::Request`] for an unknown signal or if the
    /// instance refuses it, [`ErrorKind::Infra`] if the instance is lost or the broker is gone.
    #[track_caller]
    pub fn signal(&self, name: &str) -> Result<()> {
        let ExitCheck {
            command, instance, ..
        } = &self.shared.exit_check;
        let what = |names| format!("send signal `{name}` to {names}");
        let signalling = &self.shared.signalling;
        let _turn = signalling.lock().unwrap_or_else(PoisonError::into_inner);
        self.send_signal(name).placed()?;
        let answer = self.shared.wait(FOREVER, |state| {
            let answer = state.signalled.take();
            (answer.is_some() || state.over.is_some()).then_some(answer)
        });
        match answer.flatten() {
            Some(Ok(())) => Ok(()),
            Some(Err(mut failure)) => {
                let what = what(format!("`{command}` on `{instance}`"));
                failure.message = format!("{what}: {}", failure.message);
                Err(failure.into())
            }
            None => {
                Err((self.shared).end_error(|names| format!("{}: the command ended", what(names))))
            }
        }
        .placed()
    }

    /// Sends a signal without waiting for the result.
    fn send_signal(&self, name: &str) -> Result<()> {
        let signal = name.strip_prefix("SIG").unwrap_or(name).to_owned();
        let is_number = signal.parse::<u8>().is_ok();
        if !is_number
            && (signal.len() < 2 || !signal.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            let what = format!("send signal `{name}`: invalid signal name");
            return Err(TargetError::new(ErrorKind::Request, what));
        }
        self.shared.send(&BrokerRequest::Signal { signal }, &[])
    }

    /// Kills the process group, waits until it has ended, and returns the output. Also succeeds if the command had
    /// already ended.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the instance is lost or does not confirm the end.
    #[track_caller]
    pub fn kill(self) -> Result<Output> {
        self.send_signal("KILL").placed()?;
        self.end().placed()
    }

    /// Closes the standard input and waits until the command ends.
    ///
    /// # Errors
    /// Same as [`Command::run`].
    #[track_caller]
    pub fn wait(mut self) -> Result<Output> {
        self.close_stdin();
        let output = self.end().placed()?;
        self.shared.exit_check.check(output).placed()
    }

    fn end(&self) -> Result<Output> {
        let ended = self.shared.wait(FOREVER, |state| {
            Some(match state.end.take()? {
                Ok((exit, millis)) => Ok(state.streams.output(exit, millis)),
                Err(error) => Err(error.with_more(&state.streams.tails())),
            })
        });
        ended.unwrap_or_else(|| Err(self.late("the end", FOREVER)))
    }

    fn late(&self, what: &str, limit: Duration) -> TargetError {
        let ExitCheck {
            command, instance, ..
        } = &self.shared.exit_check;
        let what =
            format!("wait for {what} of `{command}` on `{instance}`: timed out after {limit:?}");
        let tails = self.shared.state().streams.tails();
        TargetError::new(ErrorKind::Timeout, what).with_more(&tails)
    }

    fn ended(&self, part: &str) -> TargetError {
        self.shared
            .end_error(|names| format!("wait for `{part}` of {names}: the command ended"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let gone = || ProcessEnd {
            kind: ErrorKind::Request,
            description: "its `Process` was dropped".to_owned(),
            hint: None,
        };
        self.shared.state().over.get_or_insert_with(gone);
        self.shared.sending.close();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process")
            .field(&self.shared.exit_check.command)
            .finish()
    }
}

/// Receives replies until the command has ended.
fn listen(mut connection: BrokerConnection, shared: &SharedProcess) {
    loop {
        let received = connection.receive();
        let mut state = shared.state();
        match received {
            Ok((Reply::Data { stream }, piece)) => state.streams.push(stream, &piece),
            Ok((Reply::Took { bytes }, _)) => shared.sending.widen(bytes),
            Ok((Reply::Exited { exit, millis }, _)) => state.ends(Ok((exit, millis))),
            Ok((Reply::Signalled { failed }, _)) => {
                state.signalled = Some(failed.map_or(Ok(()), Err));
            }
            Ok((Reply::Note { .. }, _)) => {}
            Ok((other, _)) => state.ends(Err(unexpected(other))),
            Err(error) => state.ends(Err(error)),
        }
        shared.changed.notify_all();
        if state.over.is_some() {
            drop(state);
            return shared.sending.close();
        }
    }
}
