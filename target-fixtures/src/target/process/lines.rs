//! Reads lines from the output of a running command, and searches it.

use super::{super::output::text, ProcessEnd, ProcessState};
use crate::{
    error::{ErrorKind, TargetError},
    wire::{Exit, Stream},
};

/// A line printed by a [`Process`](super::Process).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The stream of the line.
    pub stream: Stream,
    /// The line without its terminator; invalid UTF-8 is replaced by `U+FFFD`.
    pub text: String,
}

impl ProcessState {
    pub(super) fn ends(&mut self, end: std::result::Result<(Exit, u64), TargetError>) {
        self.over.get_or_insert_with(|| match &end {
            Ok((exit, _)) => ProcessEnd {
                kind: ErrorKind::Exit,
                description: exit.to_string(),
                hint: exit.hint(&self.streams.tails()),
            },
            Err(error) => ProcessEnd {
                kind: error.kind(),
                description: error.to_string(),
                hint: None,
            },
        });
        self.end = Some(end);
    }

    pub(super) fn next_line(&mut self, read: &mut [u64; 2]) -> Option<Line> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let at = &mut read[usize::from(stream == Stream::Stderr)];
            let bytes = self.streams.since(stream, *at);
            // Skip output that was dropped before it was read.
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

    /// Searches both streams for `part`, from the positions in `searched`. Returns the stream and the position after
    /// the match, or advances `searched`.
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
            // The end of the output may contain the beginning of `part`.
            let new = (bytes.len() + 1).saturating_sub(part.len());
            searched[index] = before + new as u64;
        }
        None
    }
}
