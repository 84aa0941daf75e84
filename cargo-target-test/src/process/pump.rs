//! Reads and writes the three pipes of a program on one thread, and splits its standard error into lines.
//!
//! Must not decide when to stop.

use std::{
    io::{self, Read, Write},
    mem,
    os::fd::{AsFd, OwnedFd},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use rustix::event::PollFlags;

use super::{readable, ready};
use crate::bounded;

/// The interval at which the caller polls for the program's exit if there is no pidfd.
const TICK: Duration = Duration::from_millis(20);

/// The pipes of a running program.
pub(super) struct Pump<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// The remaining input.
    input: &'a [u8],
    out: Vec<u8>,
    err: Vec<u8>,
    /// The maximum size of `out`.
    limit: usize,
    /// The start of the first line in `err` that was not passed to `on_line`.
    line: usize,
    on_line: &'a dyn Fn(&str),
    /// The time of the last read or write.
    pub(super) last: Instant,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        child: &mut Child,
        input: &'a [u8],
        limit: usize,
        on_line: &'a dyn Fn(&str),
    ) -> io::Result<Self> {
        let stdin = child.stdin.take();
        if let Some(pipe) = &stdin {
            // A blocking write of more bytes than the pipe holds would wait for the reader.
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            stdin: stdin.filter(|_| !input.is_empty()),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            input,
            out: Vec::new(),
            err: Vec::new(),
            limit,
            line: 0,
            on_line,
            last: Instant::now(),
        })
    }

    /// True if both output pipes are closed.
    pub(super) fn is_closed(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Waits until a pipe or `end` is ready, for at most `limit`, and reads and writes the ready pipes.
    pub(super) fn step(&mut self, end: Option<&OwnedFd>, limit: Duration) -> io::Result<()> {
        let [stdin, stdout, stderr] = self.ready(end, limit)?;
        if stdin {
            self.write()?;
        }
        let mut buffer = [0; 1 << 16];
        if stdout && let Some(piece) = read(&mut self.stdout, &mut buffer)? {
            bounded::extend_within(self.limit, &mut self.out, piece)?;
        }
        if stderr && let Some(piece) = read(&mut self.stderr, &mut buffer)? {
            self.err.extend_from_slice(piece);
        }
        if stdin || stdout || stderr {
            self.last = Instant::now();
        }
        while let Some(length) = self.err[self.line..].iter().position(|byte| *byte == b'\n') {
            self.emit_line(self.line + length + 1);
        }
        if self.err.len() - self.line > bounded::TAIL {
            // A line without an end.
            self.emit_line(self.err.len());
        }
        if self.line > 2 * bounded::TAIL {
            self.err.drain(..self.line - bounded::TAIL);
            self.line = bounded::TAIL;
        }
        Ok(())
    }

    /// Returns standard output and standard error.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        if self.line < self.err.len() {
            self.emit_line(self.err.len());
        }
        (mem::take(&mut self.out), mem::take(&mut self.err))
    }

    fn ready(&self, end: Option<&OwnedFd>, limit: Duration) -> io::Result<[bool; 3]> {
        let limit = match end {
            Some(_) => limit,
            None => limit.min(TICK),
        };
        let (stdin, stdout, stderr) = (&self.stdin, &self.stdout, &self.stderr);
        let pipes = [
            stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
            stdout.as_ref().map(|pipe| readable(pipe.as_fd())),
            stderr.as_ref().map(|pipe| readable(pipe.as_fd())),
            end.map(|end| readable(end.as_fd())),
        ];
        let [stdin, stdout, stderr, _] = ready(pipes, Some(limit))?;
        Ok([stdin, stdout, stderr])
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.stdin else {
            return Ok(());
        };
        match pipe.write(self.input) {
            Ok(written) => self.input = &self.input[written..],
            Err(error) if is_transient(&error) => {}
            // A program may exit, or close its input, without reading the input.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.input = &[],
            Err(error) => return Err(error),
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }

    fn emit_line(&mut self, end: usize) {
        let line = String::from_utf8_lossy(&self.err[self.line..end]);
        (self.on_line)(line.trim_end());
        self.line = end;
    }
}

/// Reads the available bytes of a ready pipe; closes it at the end of the stream.
fn read<'a>(pipe: &mut Option<impl Read>, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
    let Some(open) = pipe else { return Ok(None) };
    match open.read(buffer) {
        Ok(0) => {
            *pipe = None;
            Ok(None)
        }
        Ok(length) => Ok(Some(&buffer[..length])),
        Err(error) if is_transient(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
