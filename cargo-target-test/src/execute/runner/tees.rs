//! Forwards the test's output to nextest and into files, without secrets.
//!
//! Must not know why the test ends.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use rustix::event::PollFlags;

use crate::{
    error::Result,
    execute::output_file,
    process::{self, Watch, readable, ready},
    secret, ui,
};

/// The result of one wait.
pub(super) struct WaitResult {
    pub(super) parent_gone: bool,
    pub(super) broker_speaks: bool,
}

/// A pipe whose content is forwarded to nextest and into a file, without secrets.
struct Tee {
    pipe: File,
    secrets: secret::RedactedStream,
    to: fn(&[u8]),
    kept: Kept,
    /// The path of the file in `kept`.
    path: Option<PathBuf>,
    open: bool,
}

/// The file with both streams in the order in which the test wrote. A write error does not fail the test.
struct BothStreams {
    path: PathBuf,
    state: BothState,
}

enum BothState {
    /// No stream has output.
    Empty,
    /// Only this stream has output: the file is a link to its file.
    Link(PathBuf),
    Own(File),
    Failed,
}

impl BothStreams {
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            state: BothState::Empty,
        }
    }

    /// Adds bytes that were just written to the file of a stream.
    fn write(&mut self, stream: &Path, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let state = std::mem::replace(&mut self.state, BothState::Failed);
        self.state = self.next(state, stream, bytes).unwrap_or(BothState::Failed);
    }

    fn next(&self, state: BothState, stream: &Path, bytes: &[u8]) -> std::io::Result<BothState> {
        Ok(match state {
            BothState::Empty => match std::fs::hard_link(stream, &self.path) {
                Ok(()) => BothState::Link(stream.to_owned()),
                Err(_) => own(File::create(&self.path)?, bytes)?,
            },
            BothState::Link(first) if first == stream => BothState::Link(first),
            BothState::Link(first) => {
                std::fs::remove_file(&self.path)?;
                std::fs::copy(first, &self.path)?;
                own(File::options().append(true).open(&self.path)?, bytes)?
            }
            BothState::Own(file) => own(file, bytes)?,
            BothState::Failed => BothState::Failed,
        })
    }
}

fn own(mut file: File, bytes: &[u8]) -> std::io::Result<BothState> {
    file.write_all(bytes)?;
    Ok(BothState::Own(file))
}

/// The file that keeps one stream, created at the first output. A write error does not fail the test.
enum Kept {
    Nowhere,
    At(PathBuf),
    In(File),
}

impl Kept {
    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Self::At(path) = self {
            *self = create(path).map_or(Self::Nowhere, Self::In);
        }
        if let Self::In(file) = self
            && file.write_all(bytes).is_err()
        {
            *self = Self::Nowhere;
        }
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    File::create(path).or_else(|_| {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        File::create(path)
    })
}

impl Tee {
    fn new(pipe: OwnedFd, to: fn(&[u8]), path: Option<PathBuf>) -> Self {
        Self {
            pipe: pipe.into(),
            secrets: secret::stream(),
            to,
            kept: path.clone().map_or(Kept::Nowhere, Kept::At),
            path,
            open: true,
        }
    }

    fn pass(&mut self, both: Option<&mut BothStreams>) {
        let mut piece = [0; 16 << 10];
        match self.pipe.read(&mut piece) {
            Ok(0) => self.open = false,
            Ok(length) => {
                // nextest may close its end first, which must not fail the test.
                let shown = self.secrets.push(&piece[..length]);
                (self.to)(&shown);
                keep(&mut self.kept, self.path.as_deref(), &shown, both);
            }
            Err(error) => self.open = error.kind() == std::io::ErrorKind::Interrupted,
        }
    }

    /// Flushes a possible start of a secret: no more output follows.
    fn finish(&mut self, both: Option<&mut BothStreams>) {
        let rest = self.secrets.finish();
        (self.to)(&rest);
        keep(&mut self.kept, self.path.as_deref(), &rest, both);
    }
}

/// Writes bytes to the file of their stream, then to that of both.
fn keep(kept: &mut Kept, path: Option<&Path>, bytes: &[u8], both: Option<&mut BothStreams>) {
    kept.write(bytes);
    if let (Some(both), Some(path)) = (both, path) {
        both.write(path, bytes);
    }
}

/// The pipes of both streams; `None` if the test has the terminal.
pub(super) struct Tees {
    stdout: Option<Tee>,
    stderr: Option<Tee>,
    both: Option<BothStreams>,
}

impl Tees {
    pub(super) fn of(child: &mut Child, kept: Option<&Path>) -> Self {
        let file = |stream| kept.map(|kept| output_file(kept, stream));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Self {
            stdout: stdout.map(|pipe| Tee::new(pipe.into(), ui::bytes_out, file("stdout"))),
            stderr: stderr.map(|pipe| Tee::new(pipe.into(), ui::bytes, file("stderr"))),
            both: file("log").map(BothStreams::at),
        }
    }

    /// Waits for output, for the end of the test or of nextest, for a message of the broker, or for a signal.
    pub(super) fn poll(
        &mut self,
        test: &Watch,
        parent: Option<&Watch>,
        (broker, signal): (BorrowedFd<'_>, Option<BorrowedFd<'_>>),
        pause: Option<Duration>,
    ) -> Result<WaitResult> {
        let fds = [
            Some(readable(broker)),
            signal.map(readable),
            test.fd().map(readable),
            parent.and_then(Watch::fd).map(readable),
            pipe(&self.stdout),
            pipe(&self.stderr),
        ];
        let pause = process::shortest(pause, test.pause());
        let [broker_speaks, _, _, _, out, err] = ready(fds, pause)?;
        self.pass(out, err);
        Ok(WaitResult {
            broker_speaks,
            parent_gone: parent.is_some_and(Watch::has_ended),
        })
    }

    fn pass(&mut self, out: bool, err: bool) {
        if let (true, Some(tee)) = (out, &mut self.stdout) {
            tee.pass(self.both.as_mut());
        }
        if let (true, Some(tee)) = (err, &mut self.stderr) {
            tee.pass(self.both.as_mut());
        }
    }

    /// Forwards the remaining content of the pipes, for at most `limit`. Without a limit the writers must have ended.
    pub(super) fn drain(&mut self, limit: Option<Duration>) {
        let started = Instant::now();
        while limit.is_none_or(|limit| started.elapsed() < limit) {
            let pipes = [pipe(&self.stdout), pipe(&self.stderr)];
            let [out, err] = ready(pipes, Some(Duration::ZERO)).unwrap_or_default();
            if !out && !err {
                break;
            }
            self.pass(out, err);
        }
        let tees = [&mut self.stdout, &mut self.stderr];
        for tee in tees.into_iter().flatten() {
            tee.finish(self.both.as_mut());
        }
    }
}

/// The pipe of a stream that is open.
fn pipe(tee: &Option<Tee>) -> Option<(BorrowedFd<'_>, PollFlags)> {
    let open = tee.as_ref().filter(|tee| tee.open)?;
    Some(readable(open.pipe.as_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_are_in_one_file_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let [out, err, log] = ["stdout", "stderr", "log"].map(|name| folder.path().join(name));
        let mut both = BothStreams::at(log.clone());
        let mut write = |stream: &Path, text: &str| {
            let mut options = File::options();
            let mut file = options
                .append(true)
                .create(true)
                .open(stream)
                .expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            both.write(stream, text.as_bytes());
            std::fs::read_to_string(&log).expect("the log")
        };
        for (stream, text, whole) in [
            (&out, "a\n", "a\n"),
            (&out, "b\n", "a\nb\n"),
            (&err, "c\n", "a\nb\nc\n"),
            (&out, "d\n", "a\nb\nc\nd\n"),
        ] {
            assert_eq!(write(stream, text), whole);
        }
        let alone = std::fs::read_to_string(&out).expect("a file");
        assert_eq!(alone, "a\nb\nd\n");
    }
}
