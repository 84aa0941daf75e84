//! A program's three pipes, moved by one thread.
//!
//! Owns reading, writing and cutting into lines. Must not know when to stop.

use std::{
    io::{self, Read, Write},
    mem,
    os::fd::{AsFd, OwnedFd},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Without a descriptor that tells of the program's end, it is looked for this often.
const TICK: Duration = Duration::from_millis(20);

/// The pipes of a running program.
pub(super) struct Pump<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// What standard input still gets.
    input: &'a [u8],
    out: Vec<u8>,
    err: Vec<u8>,
    /// Where in `err` the line begins that is not told yet.
    line: usize,
    on_line: &'a dyn Fn(&str),
    /// When a pipe last moved.
    last: Instant,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        child: &mut Child,
        input: &'a [u8],
        on_line: &'a dyn Fn(&str),
    ) -> io::Result<Self> {
        let stdin = child.stdin.take();
        if let Some(pipe) = &stdin {
            // A write larger than what the pipe takes would wait for the reader.
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            stdin: stdin.filter(|_| !input.is_empty()),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            input,
            out: Vec::new(),
            err: Vec::new(),
            line: 0,
            on_line,
            last: Instant::now(),
        })
    }

    /// Whether all output has come.
    pub(super) fn closed(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// When a pipe last moved.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Waits until a pipe or `end` is ready, at most for `limit`, and moves what there is.
    pub(super) fn step(&mut self, end: Option<&OwnedFd>, limit: Duration) -> io::Result<()> {
        let [stdin, stdout, stderr] = self.ready(end, limit)?;
        if stdin {
            self.write()?;
        }
        if stdout && !read(&mut self.stdout, &mut self.out)? {
            self.stdout = None;
        }
        if stderr && !read(&mut self.stderr, &mut self.err)? {
            self.stderr = None;
        }
        if stdin || stdout || stderr {
            self.last = Instant::now();
        }
        while let Some(length) = self.err[self.line..].iter().position(|byte| *byte == b'\n') {
            self.tell(self.line + length + 1);
        }
        Ok(())
    }

    /// Standard output and standard error.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        if self.line < self.err.len() {
            self.tell(self.err.len());
        }
        (mem::take(&mut self.out), mem::take(&mut self.err))
    }

    fn ready(&self, end: Option<&OwnedFd>, limit: Duration) -> io::Result<[bool; 3]> {
        let pipes = [
            self.stdin.as_ref().map(AsFd::as_fd),
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
        ];
        let mut fds = Vec::with_capacity(4);
        for (index, fd) in pipes.iter().enumerate() {
            let wanted = [PollFlags::OUT, PollFlags::IN, PollFlags::IN][index];
            fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, wanted)));
        }
        fds.extend(end.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let limit = if end.is_some() {
            limit
        } else {
            limit.min(TICK)
        };
        let limit = Timespec::try_from(limit).ok();
        match rustix::event::poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok([false; 3]),
            other => other?,
        };
        let mut fds = fds.iter();
        // `map`, not `is_some_and`: every open pipe takes its own entry.
        Ok(pipes.map(|fd| {
            fd.and_then(|_| fds.next())
                .is_some_and(|fd| !fd.revents().is_empty())
        }))
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.stdin else {
            return Ok(());
        };
        match pipe.write(self.input) {
            Ok(written) => self.input = &self.input[written..],
            Err(error) if transient(&error) => {}
            // A program may end, or close its input, without reading it: its own affair.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.input = &[],
            Err(error) => return Err(error),
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }

    fn tell(&mut self, end: usize) {
        let line = String::from_utf8_lossy(&self.err[self.line..end]);
        (self.on_line)(line.trim_end());
        self.line = end;
    }
}

/// Reads what a ready pipe has; `false` at its end.
fn read(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 1 << 16];
    let Some(pipe) = pipe else { return Ok(false) };
    match pipe.read(&mut buffer) {
        Ok(length) => {
            into.extend_from_slice(&buffer[..length]);
            Ok(length > 0)
        }
        Err(error) if transient(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

fn transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
