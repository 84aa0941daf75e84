//! What a running command has printed, line by line, and how it ended.
//!
//! Owns the search. Must not know who waits for it.

use super::{super::output::text, State};
use crate::{
    error::{ErrorKind, TargetError},
    wire::{Exit, Stream},
};

/// A line that a [`Process`](super::Process) printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// The line, without its end; what is no UTF-8 is replaced by `U+FFFD`.
    pub text: String,
}

impl State {
    pub(super) fn ends(&mut self, end: std::result::Result<(Exit, u64), TargetError>) {
        self.over.get_or_insert_with(|| match &end {
            Ok((exit, _)) => (ErrorKind::Exit, exit.to_string()),
            Err(error) => (error.kind(), error.to_string()),
        });
        self.end = Some(end);
    }

    pub(super) fn next_line(&mut self, read: &mut [u64; 2]) -> Option<Line> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let at = &mut read[usize::from(stream == Stream::Stderr)];
            let bytes = self.streams.since(stream, *at);
            // What was dropped unread cannot be read any more.
            *at = self.streams.length(stream) - bytes.len() as u64;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, length) = match end {
                Some(end) => (&bytes[..end], end + 1),
                None if self.over.is_some() && !bytes.is_empty() => (bytes, bytes.len()),
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
    pub(super) fn find(&self, part: &str, searched: &mut [u64; 2]) -> Option<(usize, u64)> {
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
