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

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    error::Result,
    execute::output_file,
    process::{self, Watch},
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
    open: bool,
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
    fn new(pipe: OwnedFd, to: fn(&[u8]), kept: Kept) -> Self {
        Self {
            pipe: pipe.into(),
            secrets: secret::stream(),
            to,
            kept,
            open: true,
        }
    }

    fn pass(&mut self) {
        let mut piece = [0; 16 << 10];
        match self.pipe.read(&mut piece) {
            Ok(0) => self.open = false,
            Ok(length) => {
                // nextest may close its end first, which must not fail the test.
                let shown = self.secrets.push(&piece[..length]);
                (self.to)(&shown);
                self.kept.write(&shown);
            }
            Err(error) => self.open = error.kind() == std::io::ErrorKind::Interrupted,
        }
    }

    /// Flushes a possible start of a secret: no more output follows.
    fn finish(&mut self) {
        let rest = self.secrets.finish();
        (self.to)(&rest);
        self.kept.write(&rest);
    }
}

/// The pipes of both streams; `None` if the test has the terminal.
pub(super) struct Tees {
    stdout: Option<Tee>,
    stderr: Option<Tee>,
}

impl Tees {
    pub(super) fn of(child: &mut Child, kept: Option<&Path>) -> Self {
        let kept = |stream| kept.map_or(Kept::Nowhere, |kept| Kept::At(output_file(kept, stream)));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Self {
            stdout: stdout.map(|pipe| Tee::new(pipe.into(), ui::bytes_out, kept("stdout"))),
            stderr: stderr.map(|pipe| Tee::new(pipe.into(), ui::bytes, kept("stderr"))),
        }
    }

    /// Waits for output, for the end of the test or of nextest, or for a message of the broker.
    pub(super) fn poll(
        &mut self,
        test: &Watch,
        parent: Option<&Watch>,
        broker: BorrowedFd<'_>,
        pause: Option<Duration>,
    ) -> Result<WaitResult> {
        let mut fds = vec![PollFd::from_borrowed_fd(broker, PollFlags::IN)];
        let watches = [Some(test), parent]
            .into_iter()
            .flatten()
            .filter_map(Watch::fd);
        fds.extend(watches.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let (out, err) = (open(self.stdout.as_ref()), open(self.stderr.as_ref()));
        let first = fds.len();
        let pipes = [out, err].into_iter().flatten().map(|tee| tee.pipe.as_fd());
        fds.extend(pipes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = process::shortest(pause, test.pause());
        let timeout = timeout.map(|pause| Timespec::try_from(pause).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut pipes = ready[first..].iter();
        let out = out.is_some() && pipes.next().copied().unwrap_or(false);
        let err = err.is_some() && pipes.next().copied().unwrap_or(false);
        self.pass(out, err);
        Ok(WaitResult {
            broker_speaks: ready[0],
            parent_gone: parent.is_some_and(Watch::has_ended),
        })
    }

    fn pass(&mut self, out: bool, err: bool) {
        if let (true, Some(tee)) = (out, &mut self.stdout) {
            tee.pass();
        }
        if let (true, Some(tee)) = (err, &mut self.stderr) {
            tee.pass();
        }
    }

    /// Forwards the remaining content of the pipes, for at most `limit`. Without a limit the writers must have ended.
    pub(super) fn drain(&mut self, limit: Option<Duration>) {
        let started = Instant::now();
        while limit.is_none_or(|limit| started.elapsed() < limit) {
            let (out, err) = (
                readable(self.stdout.as_ref()),
                readable(self.stderr.as_ref()),
            );
            if !out && !err {
                break;
            }
            self.pass(out, err);
        }
        let tees = [&mut self.stdout, &mut self.stderr];
        tees.into_iter().flatten().for_each(Tee::finish);
    }
}

fn open(tee: Option<&Tee>) -> Option<&Tee> {
    tee.filter(|tee| tee.open)
}

fn readable(tee: Option<&Tee>) -> bool {
    open(tee).is_some_and(|tee| {
        let mut fds = [PollFd::new(&tee.pipe, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    })
}
