//! Passes the feed on as it grows: to a file, to the standard output, or to the clients of a socket.
//!
//! Reads the feed's file, so that a slow reader costs no memory and misses nothing.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::socket::FeedSocket;
use crate::{
    error::{Error, Result},
    sync, ui,
};

/// The time that a reader has for the rest of the feed after the run.
const PATIENCE: Duration = Duration::from_secs(3);
/// The maximum number of bytes that are passed on at once.
const PIECE: u64 = 64 << 10;

/// The destination of `--feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedTo {
    /// A file.
    File(PathBuf),
    /// The standard output.
    Stdout,
    /// The clients of a Unix socket at this path, which the tool creates.
    Unix(PathBuf),
}

impl FromStr for FeedTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("`unix:` needs the path of a socket".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            None if text == "-" => Ok(Self::Stdout),
            None => Ok(Self::File(text.into())),
        }
    }
}

impl FeedTo {
    /// Returns the destination with a path that starts at a folder.
    #[must_use]
    pub fn from(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Unix(path) => Self::Unix(folder.join(path)),
            Self::Stdout => Self::Stdout,
        }
    }
}

impl fmt::Display for FeedTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdout => f.write_str("-"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The length of the feed.
#[derive(Debug, Default)]
pub(super) struct FeedLength {
    state: Mutex<Written>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    bytes: u64,
    /// True if nothing more follows.
    ended: bool,
}

impl FeedLength {
    pub(super) fn add(&self, bytes: usize) {
        sync::lock(&self.state).bytes += bytes as u64;
        self.changed.notify_all();
    }

    pub(super) fn end(&self) {
        sync::lock(&self.state).ended = true;
        self.changed.notify_all();
    }

    /// Waits until the feed is longer than `than`, and returns its length; `None` if it will never be.
    fn longer(&self, than: u64) -> Option<u64> {
        let state = sync::lock(&self.state);
        let waits = |state: &mut Written| state.bytes <= than && !state.ended;
        let state = self.changed.wait_while(state, waits);
        let state = state.unwrap_or_else(std::sync::PoisonError::into_inner);
        (state.bytes > than).then_some(state.bytes)
    }
}

/// Copies the feed from its beginning to its end, as it grows.
pub(super) fn copy(feed: &Path, progress: &FeedLength, to: &mut dyn Write) -> io::Result<()> {
    let (mut feed, mut at) = (File::open(feed)?, 0);
    while let Some(length) = progress.longer(at) {
        while at < length {
            feed.seek(SeekFrom::Start(at))?;
            let mut piece = Vec::new();
            let part = (length - at).min(PIECE);
            at += (&mut feed).take(part).read_to_end(&mut piece)? as u64;
            to.write_all(&piece)?;
        }
        to.flush()?;
    }
    Ok(())
}

/// A reader of the feed, in a thread of its own.
#[derive(Debug)]
pub(super) struct Follower {
    to: FeedTo,
    done: Receiver<io::Result<()>>,
    /// Removed at the end.
    socket: Option<FeedSocket>,
}

impl Follower {
    /// Starts to pass the feed on.
    ///
    /// # Errors
    /// Fails if the file or socket cannot be created.
    pub(super) fn start(feed: &Path, progress: &Arc<FeedLength>, to: &FeedTo) -> Result<Self> {
        let (tell, done) = mpsc::channel();
        let (feed, progress) = (feed.to_owned(), Arc::clone(progress));
        let failed = |error: io::Error| {
            Error::other(format!("failed to write the feed to `{to}`")).with_source(error)
        };
        let mut socket = None;
        let work: Box<dyn FnOnce() -> io::Result<()> + Send> = match to {
            FeedTo::File(path) => {
                // A FIFO is opened by the thread: it waits for a reader.
                let is_fifo = path.metadata().is_ok_and(|known| !known.is_file());
                let opened = (!is_fifo).then(|| File::create(path)).transpose();
                let (opened, path) = (opened.map_err(failed)?, path.clone());
                Box::new(move || {
                    let mut file = match opened {
                        Some(file) => file,
                        None => File::options().write(true).open(path)?,
                    };
                    copy(&feed, &progress, &mut file)
                })
            }
            FeedTo::Stdout => {
                let mut stdout = ui::stdout_file().map_err(failed)?;
                Box::new(move || copy(&feed, &progress, &mut stdout))
            }
            FeedTo::Unix(path) => {
                let listening = FeedSocket::listen(path).map_err(failed)?;
                let clients = listening.clients(feed, progress).map_err(failed)?;
                socket = Some(listening);
                Box::new(clients)
            }
        };
        let work = move || {
            let _ = tell.send(work());
        };
        thread::Builder::new()
            .name("the feed".to_owned())
            .spawn(work)?;
        Ok(Self {
            to: to.clone(),
            done,
            socket,
        })
    }

    /// Waits, up to a limit, until the readers have the whole feed.
    ///
    /// # Errors
    /// Fails if a file or the standard output has not all of it.
    pub(super) fn finish(self) -> Result<()> {
        let done = self.done.recv_timeout(PATIENCE);
        drop(self.socket);
        let error = match done {
            Ok(Ok(())) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            // Clients come and go.
            _ if matches!(self.to, FeedTo::Unix(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(RecvTimeoutError::Timeout) => "its reader does not read".to_owned(),
        };
        Err(Error::other(format!("`--feed {}`: {error}", self.to)))
    }
}
