//! A command that runs beside the test.
//!
//! Owns the thread that reads its output, and who waits for it. Must not know frames' bytes.

use std::{
    fmt,
    io::Read,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Result,
    command::{Command, Judgement},
    output::{Output, Streams, text},
};
use crate::{
    client::{Client, Connection, broken, unexpected},
    error::{ErrorKind, TargetError},
    wire::{CHUNK, Exit, Reply, Request, Stream, write_frame},
};

/// Longer than anything.
pub(super) const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// A command that was started by [`Command::spawn`]. Dropped, its whole process group is killed.
#[must_use = "dropping it kills the command"]
pub struct Process {
    client: Arc<Client>,
    /// By which the broker knows it.
    name: String,
    stream: UnixStream,
    shared: Arc<Shared>,
    judgement: Judgement,
    /// How far the lines of each stream have been read.
    read: [u64; 2],
    /// Up to where questions have been answered.
    heard: [u64; 2],
    open: bool,
}

/// A line that a [`Process`] printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// The line, without its end; what is no UTF-8 is replaced by `U+FFFD`.
    pub text: String,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    streams: Streams,
    /// Whether signals reach it.
    reached: bool,
    end: Option<std::result::Result<(Exit, u64), TargetError>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let client = Arc::clone(&command.target.client);
        let name = new_name();
        let connection = client.start(&command.request(true, Some(name.clone())))?;
        let stream = connection.stream()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                streams,
                reached: false,
                end: None,
            }),
            changed: Condvar::new(),
        });
        let listener = Arc::clone(&shared);
        thread::spawn(move || listen(connection, &listener));
        let open = input.is_none();
        if let Some(input) = input {
            let stream = stream.try_clone().map_err(|error| broken(&error))?;
            thread::spawn(move || feed(input, &stream));
        }
        Ok(Self {
            client,
            name,
            stream,
            shared,
            judgement: command.judgement(),
            read: [0; 2],
            heard: [0; 2],
            open,
        })
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.state().end.is_none()
    }

    /// Writes to its standard input. May wait until it reads.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] after [`close_stdin`](Self::close_stdin), [`ErrorKind::Infra`] when the broker is gone.
    /// A command that reads no more is no error.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        if !self.open {
            let what = format!("write to `{}`: its input is closed", self.judgement.command);
            return Err(TargetError::new(ErrorKind::Request, what));
        }
        let mut pieces = bytes.as_ref().chunks(CHUNK);
        pieces.try_for_each(|piece| self.send(&Request::Data, piece))
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        if self.open {
            self.open = false;
            // Whoever is gone does not read.
            let _ = self.send(&Request::End, &[]);
        }
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
            (line.is_some() || state.end.is_some()).then_some(line)
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
            (found.is_some() || state.end.is_some()).then_some(found)
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

    /// Sends a signal to its whole process group, by name: `TERM`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for what is no signal's name, [`ErrorKind::Infra`] when the broker is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let ready = |state: &mut State| (state.reached || state.end.is_some()).then_some(());
        self.shared.wait(FOREVER, ready);
        let sent = self.client.ask(Request::Signal {
            command: self.name.clone(),
            signal: name.strip_prefix("SIG").unwrap_or(name).to_owned(),
        });
        match sent {
            Err(error) if self.is_running() => Err(error),
            _ => Ok(()),
        }
    }

    /// Kills its whole process group, and waits until that is done; the output until then. One that had ended before is
    /// no error.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when the instance is lost or does not confirm it.
    pub fn kill(mut self) -> Result<Output> {
        self.signal("KILL")?;
        self.judgement.allow_failure = true;
        self.end()
    }

    /// Waits for its end, its standard input closed.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn wait(mut self) -> Result<Output> {
        self.close_stdin();
        self.end()
    }

    fn end(self) -> Result<Output> {
        let ended = self.shared.wait(FOREVER, |state| {
            let end = state.end.take()?;
            Some(match end {
                Ok((exit, millis)) => Ok(state.streams.output(exit, millis)),
                Err(error) => Err(error.with_more(&state.streams.tails())),
            })
        });
        match ended {
            Some(output) => self.judgement.judge(output?),
            None => Err(self.late("its end", FOREVER)),
        }
    }

    fn send(&self, request: &Request, body: &[u8]) -> Result<()> {
        let sent = write_frame(&mut &self.stream, request, body);
        match sent {
            Err(error) if self.is_running() => Err(broken(&error)),
            _ => Ok(()),
        }
    }

    fn late(&self, what: &str, limit: Duration) -> TargetError {
        let Judgement {
            command, instance, ..
        } = &self.judgement;
        let what = format!("wait for {what} of `{command}` on `{instance}`: not within {limit:?}");
        let tails = self.shared.state().streams.tails();
        TargetError::new(ErrorKind::Timeout, what).with_more(&tails)
    }

    fn ended(&self, part: &str) -> TargetError {
        let Judgement {
            command, instance, ..
        } = &self.judgement;
        let state = self.shared.state();
        let (kind, how) = match &state.end {
            Some(Err(error)) => (error.kind(), error.to_string()),
            Some(Ok((exit, _))) => (ErrorKind::Exit, exit.to_string()),
            None => (ErrorKind::Exit, String::new()),
        };
        let what = format!("wait for `{part}` of `{command}` on `{instance}`: it ended: {how}");
        TargetError::new(kind, what).with_more(&state.streams.tails())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The broker kills what nobody listens to; but it may not see that, behind what the command does not read.
        let reached = self.shared.state().reached;
        if reached {
            let _ = self.signal("KILL");
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process")
            .field(&self.judgement.command)
            .finish()
    }
}

impl State {
    fn next_line(&mut self, read: &mut [u64; 2]) -> Option<Line> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let at = &mut read[usize::from(stream == Stream::Stderr)];
            let bytes = self.streams.since(stream, *at);
            // What was dropped unread cannot be read any more.
            *at = self.streams.length(stream) - bytes.len() as u64;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, length) = match end {
                Some(end) => (&bytes[..end], end + 1),
                None if self.end.is_some() && !bytes.is_empty() => (bytes, bytes.len()),
                None => continue,
            };
            *at += length as u64;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = text(line);
            return Some(Line { stream, text });
        }
        None
    }

    /// The stream in which `part` stands, and where it ends there; `searched` is up to where it was looked for.
    fn find(&self, part: &str, searched: &mut [u64; 2]) -> Option<(usize, u64)> {
        if part.is_empty() {
            return Some((0, searched[0]));
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let index = usize::from(stream == Stream::Stderr);
            let bytes = self.streams.since(stream, searched[index]);
            let before = self.streams.length(stream) - bytes.len() as u64;
            let mut places = bytes.windows(part.len());
            if let Some(found) = places.position(|window| window == part.as_bytes()) {
                return Some((index, before + (found + part.len()) as u64));
            }
            // The beginning of it may stand there.
            let new = (bytes.len() + 1).saturating_sub(part.len());
            searched[index] = before + new as u64;
        }
        None
    }
}

/// A name that no other command of a lease has, whichever process of the test starts it.
fn new_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}

/// Reads what comes, to the end.
fn listen(mut connection: Connection, shared: &Shared) {
    loop {
        let received = connection.receive();
        let mut state = shared.state();
        match received {
            Ok((Reply::Data { stream }, piece)) => state.streams.push(stream, &piece),
            Ok((Reply::Done, _)) => state.reached = true,
            Ok((Reply::Exited { exit, millis }, _)) => state.end = Some(Ok((exit, millis))),
            Ok((Reply::Note { .. }, _)) => {}
            Ok((other, _)) => state.end = Some(Err(unexpected(other))),
            Err(error) => state.end = Some(Err(error)),
        }
        shared.changed.notify_all();
        if state.end.is_some() {
            state.reached = false;
            return;
        }
    }
}

/// Sends what the command is to read, to its end or the command's.
fn feed(mut input: Box<dyn Read + Send>, mut stream: &UnixStream) {
    let mut piece = vec![0; CHUNK];
    loop {
        let read = match input.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // The end of what could be read is the end of its input.
            Err(_) => 0,
        };
        let sent = match read {
            0 => write_frame(&mut stream, &Request::End, &[]),
            read => write_frame(&mut stream, &Request::Data, &piece[..read]),
        };
        if sent.is_err() || read == 0 {
            return;
        }
    }
}
