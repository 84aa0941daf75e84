//! Removes the markers of `shell::wrap` from the two output streams of a command.
//!
//! A stream has `RS nonce [ text RS` before and `RS nonce ] text RS` after the command's output; RS is the byte 0x1e.
//! `RS nonce ! text RS` confirms an exit code above 128. A kept shell tells the process group by `RS nonce = text RS` on
//! standard output; without output on standard error, it puts no marker there, and the exit code on standard output. Before
//! that, it puts `RS nonce - RS` if the command has left no process.

use memchr::memmem;
use target_fixtures::wire::Exit;

use crate::process;

/// The maximum number of bytes before the start marker that are kept for error messages.
const NOISE: usize = 2048;
/// The maximum length of the text in a marker, which is a process id or an exit code.
const TEXT: usize = 12;
const RS: u8 = 0x1e;

/// The filter of the two streams of a command.
pub(crate) struct Filter {
    stdout: StreamFilter,
    stderr: StreamFilter,
}

impl Filter {
    /// Creates the filter for the command that was wrapped with this nonce.
    pub(crate) fn new(nonce: &str) -> Self {
        Self {
            stdout: StreamFilter::new(nonce),
            stderr: StreamFilter::new(nonce),
        }
    }

    /// Returns the command's output in the next chunk of standard output.
    pub(crate) fn stdout(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.stdout.push(bytes)
    }

    /// Returns the command's output in the next chunk of standard error.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.stderr.push(bytes)
    }

    /// True if the command has started.
    pub(crate) fn has_started(&self) -> bool {
        self.stderr.start.is_some() || self.stdout.group.is_some()
    }

    /// Returns the text of the start marker on standard output, with which a kept shell reports its stamp.
    pub(crate) fn stamp(&self) -> Option<&str> {
        self.stdout.start.as_deref()
    }

    /// Returns the command's process group, once it is known.
    pub(crate) fn group(&self) -> Option<u32> {
        let group = self.stdout.group.as_ref().or(self.stderr.start.as_ref());
        group?.parse().ok()
    }

    /// Returns the exit code (0-255) or the signal once both streams have ended.
    pub(crate) fn exit(&self) -> Option<Exit> {
        let code = match self.stdout.end.as_deref()? {
            "" => self.stderr.end.as_deref()?,
            code => code,
        };
        let confirmed = self.stderr.confirmed.as_deref() == Some(code);
        let code = code.parse().ok()?;
        let signal = process::signal_of_code(code).filter(|_| !confirmed);
        Some(signal.map_or(Exit::Code(code), Exit::Signal))
    }

    /// True if it is known that the command has left no process.
    pub(crate) fn left_nothing(&self) -> bool {
        self.stdout.left_nothing
    }

    /// Returns the output before the start markers, for error messages.
    pub(crate) fn noise(&self) -> String {
        let noise = [self.stderr.noise.as_slice(), &self.stdout.noise].concat();
        String::from_utf8_lossy(&noise).trim().to_owned()
    }
}

struct StreamFilter {
    /// RS and the nonce.
    token: Vec<u8>,
    finder: memmem::Finder<'static>,
    /// Bytes that may be the start of a marker.
    pending: Vec<u8>,
    noise: Vec<u8>,
    /// The text of the start marker.
    start: Option<String>,
    /// The text of the end marker.
    end: Option<String>,
    /// The exit code that the command's shell confirmed last.
    confirmed: Option<String>,
    /// The process group that a kept shell told.
    group: Option<String>,
    /// True if a kept shell told that the command has left no process.
    left_nothing: bool,
}

/// The bytes at an RS.
enum Token {
    Marker {
        kind: u8,
        text: String,
        length: usize,
    },
    /// More bytes are needed.
    Partial,
    Data,
}

impl StreamFilter {
    fn new(nonce: &str) -> Self {
        let mut token = vec![RS];
        token.extend_from_slice(nonce.as_bytes());
        Self {
            finder: memmem::Finder::new(&token).into_owned(),
            token,
            pending: Vec::new(),
            noise: Vec::new(),
            start: None,
            end: None,
            confirmed: None,
            group: None,
            left_nothing: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(self.pending.len() + bytes.len());
        if self.pending.is_empty() {
            self.scan(bytes, &mut output);
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(bytes);
            self.scan(&joined, &mut output);
        }
        output
    }

    fn scan(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        // `from` is the first byte that was not emitted; the search continues at `at`.
        let (mut from, mut at) = (0, 0);
        while let Some(next) = self.find_token(bytes, at) {
            at = next;
            match self.parse(&bytes[at..]) {
                Token::Data => at += 1,
                Token::Partial => {
                    self.emit(&bytes[from..at], output);
                    self.pending = bytes[at..].to_vec();
                    return;
                }
                Token::Marker { kind, text, length } => {
                    self.emit(&bytes[from..at], output);
                    match kind {
                        b'[' => drop(self.start.get_or_insert(text)),
                        b']' => drop(self.end.get_or_insert(text)),
                        b'=' => drop(self.group.get_or_insert(text)),
                        b'-' => self.left_nothing = true,
                        _ => self.confirmed = Some(text),
                    }
                    at += length;
                    from = at;
                }
            }
        }
        self.emit(&bytes[from..], output);
    }

    /// Returns the position of the next token, or of its prefix at the end of the bytes.
    fn find_token(&self, bytes: &[u8], at: usize) -> Option<usize> {
        if let Some(found) = self.finder.find(&bytes[at..]) {
            return Some(at + found);
        }
        let last = bytes.len().saturating_sub(self.token.len() - 1).max(at);
        (last..bytes.len()).find(|start| self.token.starts_with(&bytes[*start..]))
    }

    fn emit(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        if self.end.is_some() {
            // Output of background processes after the end of the command is dropped.
        } else if self.start.is_some() {
            output.extend_from_slice(bytes);
        } else {
            let room = NOISE.saturating_sub(self.noise.len()).min(bytes.len());
            self.noise.extend_from_slice(&bytes[..room]);
        }
    }

    fn parse(&self, bytes: &[u8]) -> Token {
        let token = self.token.as_slice();
        let Some(rest) = bytes.strip_prefix(token) else {
            return if token.starts_with(bytes) {
                Token::Partial
            } else {
                Token::Data
            };
        };
        let Some((&kind, rest)) = rest.split_first() else {
            return Token::Partial;
        };
        if !b"[]!=-".contains(&kind) {
            return Token::Data;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.get(digits) {
            _ if digits > TEXT => Token::Data,
            None => Token::Partial,
            Some(&RS) => Token::Marker {
                kind,
                text: String::from_utf8_lossy(&rest[..digits]).into_owned(),
                length: token.len() + digits + 2,
            },
            Some(_) => Token::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(nonce: &str, noise: &[u8], start: &str, data: &[u8], end: &str) -> Vec<u8> {
        let start = format!("\x1e{nonce}[{start}\x1e");
        let end = format!("\x1e{nonce}]{end}\x1e");
        [noise, start.as_bytes(), data, end.as_bytes(), b"late"].concat()
    }

    /// Generates bytes with many parts of markers but without a complete nonce, which output never contains.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            Just(vec![RS]),
            Just(b"\x1eNON".to_vec()),
            Just(b"\x1eNONC".to_vec()),
            Just(b"\x1eNON]12\x1e".to_vec()),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| {
            let mut bytes = pieces.concat();
            bytes.retain(|byte| *byte != b'E');
            bytes
        })
    }

    proptest! {
        #[test]
        fn output_is_complete_in_any_chunks(out in bytes(), err in bytes(), cuts in proptest::collection::vec(1_usize..9, 1..30)) {
            let mut filter = Filter::new("NONCE");
            let streams = [stream("NONCE", b"motd\n", "", &out, ""), stream("NONCE", b"", "4711", &err, "137")];
            let mut got = [Vec::new(), Vec::new()];
            for (which, stream) in streams.iter().enumerate() {
                prop_assert_eq!(filter.exit(), None);
                let mut rest = stream.as_slice();
                let mut sizes = cuts.iter().cycle();
                while !rest.is_empty() {
                    let (piece, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                    got[which].extend(if which == 0 { filter.stdout(piece) } else { filter.stderr(piece) });
                    rest = tail;
                }
            }
            prop_assert_eq!(&got[0], &out);
            prop_assert_eq!(&got[1], &err);
            prop_assert_eq!(filter.exit(), Some(Exit::Signal("KILL".to_owned())));
            prop_assert_eq!(filter.group(), Some(4711));
            prop_assert_eq!(filter.noise(), "motd");
        }
    }

    #[test]
    fn the_exit_code_is_known_after_both_end_markers() {
        let mut filter = Filter::new("n");
        filter.stdout(b"\x1en[\x1eout\x1en]\x1e");
        assert_eq!(filter.exit(), None);
        filter.stderr(b"\x1en[1\x1e\x1en]0");
        assert_eq!(filter.exit(), None);
        filter.stderr(b"\x1e");
        assert_eq!(filter.exit(), Some(Exit::Code(0)));
    }

    #[test]
    fn a_kept_shell_may_have_no_markers_on_stderr() {
        let mut filter = Filter::new("n");
        filter.stdout(b"\x1en[12\x1e");
        assert!(!filter.has_started());
        assert_eq!(filter.stdout(b"\x1en=34\x1eout"), b"out");
        assert!(filter.has_started());
        assert_eq!((filter.stamp(), filter.group()), (Some("12"), Some(34)));
        assert_eq!(filter.exit(), None);
        filter.stdout(b"\x1en]3\x1e");
        assert_eq!(filter.exit(), Some(Exit::Code(3)));
    }

    #[test]
    fn an_unconfirmed_code_above_128_is_a_signal() {
        let signal = |name: &str| Exit::Signal(name.to_owned());
        for (stderr, output, exit) in [
            (&b"\x1en[1\x1e\x1en]137\x1e"[..], &b""[..], signal("KILL")),
            (
                b"\x1en[1\x1e!\x1en!137\x1e\x1en]137\x1e",
                b"!",
                Exit::Code(137),
            ),
            // Of a shell that went on after a trap of its own.
            (
                b"\x1en[1\x1e\x1en!137\x1e\x1en]143\x1e",
                b"",
                signal("TERM"),
            ),
            (b"\x1en[1\x1e\x1en]255\x1e", b"", Exit::Code(255)),
            (b"\x1en[1\x1e\x1en]128\x1e", b"", Exit::Code(128)),
        ] {
            let mut filter = Filter::new("n");
            filter.stdout(b"\x1en[\x1e\x1en]\x1e");
            assert_eq!(filter.stderr(stderr), output);
            assert_eq!(filter.exit(), Some(exit));
        }
    }
}
