//! A command that runs beside the test.
//!
//! Owns the thread that reads its output, and who waits for it. Must not know frames' bytes.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

mod input;
mod lines;

pub use input::ProcessInput;
pub use lines::Line;

use super::{
    Result,
    command::{Command, Judgement},
    output::{Output, Streams},
};
use crate::{
    client::{Connection, unexpected},
    error::{ErrorKind, TargetError},
    wire::{Exit, Reply, Request},
};
use input::Sending;

/// Longer than anything.
pub(super) const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// A command that was started by [`Command::spawn`]. Dropped, its whole process group is killed.
#[must_use = "dropping it kills the command"]
pub struct Process {
    shared: Arc<Shared>,
    /// How far the lines of each stream have been read.
    read: [u64; 2],
    /// Up to where questions have been answered.
    heard: [u64; 2],
}

struct Shared {
    judgement: Judgement,
    state: Mutex<State>,
    changed: Condvar,
    sending: Sending,
}

struct State {
    streams: Streams,
    /// How it ended, until that is taken.
    end: Option<std::result::Result<(Exit, u64), TargetError>>,
    /// The same for people, once it has ended or nobody has its handle.
    over: Option<(ErrorKind, String)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        self.state().over.is_none()
    }

    /// An error that says how it ended, and what it printed.
    fn told(&self, what: impl FnOnce(String) -> String) -> TargetError {
        let Judgement {
            command, instance, ..
        } = &self.judgement;
        let what = what(format!("`{command}` on `{instance}`"));
        let state = self.state();
        let (kind, how) = match &state.over {
            Some((kind, how)) => (*kind, how.as_str()),
            None => (ErrorKind::Other, "nobody knows how"),
        };
        TargetError::new(kind, format!("{what}: {how}")).with_more(&state.streams.tails())
    }

    /// Waits until `look` finds something, or the command has ended and it finds nothing more; `None` at the deadline.
    fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
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
    pub(super) fn start(command: Command<'_>) -> Result<Self> {
        let input = command.input()?;
        let streams = Streams::new(command.keep, command.log());
        let connection = command.target.client.start(&command.request(true))?;
        let shared = Arc::new(Shared {
            judgement: command.judgement(),
            state: Mutex::new(State {
                streams,
                end: None,
                over: None,
            }),
            changed: Condvar::new(),
            sending: Sending::new(connection.stream()?, input.is_none()),
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
            heard: [0; 2],
        })
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.is_running()
    }

    /// Writes to its standard input, as [`ProcessInput::write`]: waits where it does not read.
    ///
    /// # Errors
    /// As [`ProcessInput::write`].
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.input().write(bytes)
    }

    /// Its standard input, for another thread.
    pub fn input(&self) -> ProcessInput {
        ProcessInput::new(Arc::clone(&self.shared))
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.input().close();
    }

    /// The next line of either stream; `None` once it has ended and all lines were read. Lines of one stream come in
    /// order.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when there is none within `limit`: the command goes on.
    pub fn next_line(&mut self, limit: Duration) -> Result<Option<Line>> {
        let mut read = self.read;
        let found = self.shared.wait(limit, |state| {
            let line = state.next_line(&mut read);
            (line.is_some() || state.over.is_some()).then_some(line)
        });
        self.read = read;
        found.ok_or_else(|| self.late("a line", limit))
    }

    /// Reads lines until one contains `part`, and returns it.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when there is none within `limit`, [`ErrorKind::Exit`] when the command ends without it, or
    /// why it is lost; the last lines are shown.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit.min(FOREVER);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left) {
                Ok(Some(line)) if line.text.contains(part) => return Ok(line.text),
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.ended(part)),
                Err(_) => return Err(self.late(&format!("`{part}`"), limit)),
            }
        }
    }

    /// Waits until `part` stands in what was printed since the last such text, in a line that need not be whole.
    ///
    /// # Errors
    /// As [`wait_for_line`](Self::wait_for_line).
    pub fn wait_for_text(&mut self, part: &str, limit: Duration) -> Result<()> {
        let mut searched = self.heard;
        let found = self.shared.wait(limit, |state| {
            let found = state.find(part, &mut searched);
            (found.is_some() || state.over.is_some()).then_some(found)
        });
        match found {
            Some(Some((stream, end))) => {
                self.heard[stream] = end;
                Ok(())
            }
            Some(None) => Err(self.ended(part)),
            None => Err(self.late(&format!("`{part}`"), limit)),
        }
    }

    /// Sends a signal to its whole process group, by name: `TERM`. It does not wait for what was written before.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for what is no signal's name, [`ErrorKind::Infra`] when the broker is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let signal = name.strip_prefix("SIG").unwrap_or(name).to_owned();
        if signal.is_empty() || !signal.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let what = format!("send signal `{name}`: there is none of that name");
            return Err(TargetError::new(ErrorKind::Request, what));
        }
        self.shared.send(&Request::Signal { signal }, &[])
    }

    /// Kills its whole process group, and waits until that is done; the output until then. One that had ended before is
    /// no error.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when the instance is lost or does not confirm it.
    pub fn kill(self) -> Result<Output> {
        self.signal("KILL")?;
        self.end()
    }

    /// Waits for its end, its standard input closed.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn wait(mut self) -> Result<Output> {
        self.close_stdin();
        self.shared.judgement.judge(self.end()?)
    }

    fn end(&self) -> Result<Output> {
        let ended = self.shared.wait(FOREVER, |state| {
            Some(match state.end.take()? {
                Ok((exit, millis)) => Ok(state.streams.output(exit, millis)),
                Err(error) => Err(error.with_more(&state.streams.tails())),
            })
        });
        ended.unwrap_or_else(|| Err(self.late("its end", FOREVER)))
    }

    fn late(&self, what: &str, limit: Duration) -> TargetError {
        let Judgement {
            command, instance, ..
        } = &self.shared.judgement;
        let what = format!("wait for {what} of `{command}` on `{instance}`: not within {limit:?}");
        let tails = self.shared.state().streams.tails();
        TargetError::new(ErrorKind::Timeout, what).with_more(&tails)
    }

    fn ended(&self, part: &str) -> TargetError {
        self.shared
            .told(|names| format!("wait for `{part}` of {names}: it ended"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let gone = || (ErrorKind::Request, "its handle was dropped".to_owned());
        self.shared.state().over.get_or_insert_with(gone);
        self.shared.sending.close();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process")
            .field(&self.shared.judgement.command)
            .finish()
    }
}

/// Reads what comes, to the end.
fn listen(mut connection: Connection, shared: &Shared) {
    loop {
        let received = connection.receive();
        let mut state = shared.state();
        match received {
            Ok((Reply::Data { stream }, piece)) => state.streams.push(stream, &piece),
            Ok((Reply::Took { bytes }, _)) => shared.sending.widen(bytes),
            Ok((Reply::Exited { exit, millis }, _)) => state.ends(Ok((exit, millis))),
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
