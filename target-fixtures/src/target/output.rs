//! The output of commands: bounded buffers, the test's log, and the excerpts in errors.

use std::{fmt, io::Write, time::Duration};

use crate::wire::{Exit, Stream};

/// The maximum number of lines and of bytes of each stream in an error.
const TAIL: (usize, usize) = (20, 4000);
/// The default number of bytes of each stream that are kept.
pub(super) const KEEP: usize = 64 << 20;
/// The number of bytes of a command's output that the test's log shows.
const SHOWN: usize = 1 << 20;

/// The result of a command.
#[derive(Clone)]
#[non_exhaustive]
pub struct Output {
    /// Standard output; invalid UTF-8 is replaced by `U+FFFD`.
    pub stdout: String,
    /// The bytes of standard output.
    pub stdout_bytes: Vec<u8>,
    /// Standard error; invalid UTF-8 is replaced by `U+FFFD`.
    pub stderr: String,
    /// The bytes of standard error.
    pub stderr_bytes: Vec<u8>,
    /// The exit code, or the signal that killed the command.
    pub exit: Exit,
    /// The run time.
    pub duration: Duration,
    /// True if the beginning of the output is missing because it exceeded the [limit](super::Command::keep).
    pub truncated: bool,
}

/// Shows the streams as text.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Output");
        shown.field("exit", &self.exit);
        shown
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr);
        shown.field("duration", &self.duration);
        shown.field("truncated", &self.truncated).finish()
    }
}

/// The output streams of a running command.
pub(super) struct Streams {
    kept: [Kept; 2],
    log: Option<Log>,
}

impl Streams {
    pub(super) fn new(keep: usize, log: Option<Log>) -> Self {
        let kept = [(); 2].map(|()| Kept {
            bytes: Vec::new(),
            keep,
            dropped: 0,
        });
        Self { kept, log }
    }

    pub(super) fn push(&mut self, stream: Stream, piece: &[u8]) {
        self.kept[index(stream)].push(piece);
        if let Some(log) = &mut self.log {
            log.push(stream, piece);
        }
    }

    /// The kept output of a stream from a position, counted from the start of the stream.
    pub(super) fn since(&self, stream: Stream, from: u64) -> &[u8] {
        let kept = &self.kept[index(stream)];
        let from = usize::try_from(from.saturating_sub(kept.dropped)).unwrap_or(usize::MAX);
        kept.bytes.get(from..).unwrap_or_default()
    }

    /// The number of bytes printed on a stream so far.
    pub(super) fn length(&self, stream: Stream) -> u64 {
        let kept = &self.kept[index(stream)];
        kept.dropped + kept.bytes.len() as u64
    }

    pub(super) fn tails(&self) -> String {
        let [stdout, stderr] = &self.kept;
        tails(&text(&stdout.bytes), &text(&stderr.bytes))
    }

    pub(super) fn output(&mut self, exit: Exit, millis: u64) -> Output {
        // Dropping the log prints incomplete lines.
        self.log = None;
        let truncated = self.kept.iter().any(Kept::is_truncated);
        let [stdout, stderr] = [Stream::Stdout, Stream::Stderr].map(|stream| {
            let kept = &mut self.kept[index(stream)];
            kept.trim();
            std::mem::take(&mut kept.bytes)
        });
        Output {
            stdout: text(&stdout),
            stdout_bytes: stdout,
            stderr: text(&stderr),
            stderr_bytes: stderr,
            exit,
            duration: Duration::from_millis(millis),
            truncated,
        }
    }
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

/// The end of a stream.
struct Kept {
    bytes: Vec<u8>,
    keep: usize,
    dropped: u64,
}

impl Kept {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        // Trimming moves the kept bytes, so do not trim after each piece.
        if self.bytes.len() > self.keep.saturating_mul(2) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
        self.dropped += surplus as u64;
    }

    fn is_truncated(&self) -> bool {
        self.dropped > 0 || self.bytes.len() > self.keep
    }
}

/// The log of a command in the test's output: the command and the lines it prints, each prefixed with the instance.
pub(super) struct Log {
    /// The name of the instance.
    name: String,
    lines: [Vec<u8>; 2],
    remaining: usize,
}

impl Log {
    pub(super) fn start(name: String, command: &str) -> Self {
        print(&format!("{name}: $ {command}"));
        Self {
            name,
            lines: Default::default(),
            remaining: SHOWN,
        }
    }

    fn push(&mut self, stream: Stream, piece: &[u8]) {
        if self.remaining == 0 {
            return;
        }
        let (shown, all) = match piece.len() <= self.remaining {
            true => (piece, true),
            false => (&piece[..self.remaining], false),
        };
        self.remaining -= shown.len();
        let line = &mut self.lines[index(stream)];
        line.extend_from_slice(shown);
        if let Some(end) = line.iter().rposition(|byte| *byte == b'\n') {
            let rest = line.split_off(end + 1);
            let whole = std::mem::replace(line, rest);
            self.show(&whole);
        }
        if !all {
            self.remaining = 0;
            print(&format!("{}: (further output is not shown)", self.name));
        }
    }

    fn show(&self, whole: &[u8]) {
        for line in without_tabs(&text(whole)).lines() {
            print(&format!("{}: {line}", self.name));
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.lines[index(stream)]);
            self.show(&rest);
        }
    }
}

/// Replaces each tab by spaces up to the next multiple of 8 columns: nextest leaves out the tabs of output without colors.
fn without_tabs(text: &str) -> String {
    let (mut shown, mut column) = (String::with_capacity(text.len()), 0);
    for one in text.chars() {
        match one {
            '\t' => {
                let next = column / 8 * 8 + 8;
                shown.extend(std::iter::repeat_n(' ', next - column));
                column = next;
            }
            one => {
                shown.push(one);
                column = if one == '\n' { 0 } else { column + 1 };
            }
        }
    }
    shown
}

/// Prints a line to the test's standard output, so that the test harness captures it. Both streams of a command go to
/// standard output, to keep the order of lines.
fn print(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Formats the last lines of both streams, each under a title. A stream without output is omitted.
pub(super) fn tails(stdout: &str, stderr: &str) -> String {
    tail("stdout", stdout) + &tail("stderr", stderr)
}

/// Formats the last lines of a text under a title; empty without text.
pub(super) fn tail(title: &str, text: &str) -> String {
    let text = text.trim_end();
    let (lines, bytes) = TAIL;
    let shown = text
        .rmatch_indices('\n')
        .nth(lines - 1)
        .map_or(text, |(at, _)| &text[at + 1..]);
    let least = shown.len().saturating_sub(bytes);
    let start = (least..)
        .find(|at| shown.is_char_boundary(*at))
        .unwrap_or(least);
    let shown = &shown[start..];
    let left_out = match shown.len() < text.len() {
        true => " (last lines)",
        false => "",
    };
    match shown {
        "" => String::new(),
        shown => format!("\n--- {title}{left_out}\n{}", without_tabs(shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_show_the_end_of_the_output() {
        assert_eq!(tails("", "\n"), "");
        assert_eq!(tails("a\nb\n", "c"), "\n--- stdout\na\nb\n--- stderr\nc");
        let columns = "\n--- stdout\n1       2\n12345678        3";
        assert_eq!(tails("1\t2\n12345678\t3", ""), columns);
        let lines: String = (0..30).map(|n| format!("{n}\n")).collect();
        let tail = tails(&lines, "");
        assert!(
            tail.starts_with("\n--- stdout (last lines)\n10\n11\n"),
            "{tail}"
        );
        let long = "ü".repeat(4001);
        assert!(tails("", &long).chars().count() < 2100);
    }

    #[test]
    fn the_end_of_a_stream_is_kept_and_its_positions_stay() {
        let mut streams = Streams::new(4, None);
        for piece in ["abc", "def", "ghij", "k"] {
            streams.push(Stream::Stdout, piece.as_bytes());
        }
        assert_eq!(streams.length(Stream::Stdout), 11);
        assert_eq!(streams.since(Stream::Stdout, 9), b"jk");
        let output = streams.output(Exit::Code(0), 1);
        assert_eq!((output.stdout.as_str(), output.truncated), ("hijk", true));
        assert_eq!(
            format!("{output:?}"),
            "Output { exit: Code(0), stdout: \"hijk\", stderr: \"\", duration: 1ms, truncated: true }"
        );
    }
}
