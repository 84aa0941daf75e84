//! Takes the wrapper's markers out of a command's two streams.
//!
//! Owns the reading of what `shell::wrap` prints: `RS nonce [ text RS` before and `RS nonce ] text RS`
//! after the command's own output, where RS is the byte 0x1e. Must not know where bytes come from.

use memchr::memmem;

/// How much of what comes before the start markers is kept for the error message, in bytes.
const NOISE: usize = 2048;
/// The longest text in a marker: a process id or an exit code.
const TEXT: usize = 12;
const RS: u8 = 0x1e;

/// The state of one command's streams.
pub(crate) struct Filter {
    stdout: Strip,
    stderr: Strip,
}

impl Filter {
    /// For the command that was wrapped with this nonce.
    pub(crate) fn new(nonce: &str) -> Self {
        Self {
            stdout: Strip::new(nonce),
            stderr: Strip::new(nonce),
        }
    }

    /// The command's own bytes among these of standard output, cut anywhere.
    pub(crate) fn stdout(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.stdout.feed(bytes)
    }

    /// The command's own bytes among these of standard error, cut anywhere.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.stderr.feed(bytes)
    }

    /// Whether the command was started.
    pub(crate) fn started(&self) -> bool {
        self.stderr.began.is_some()
    }

    /// The command's process group, once it is known.
    pub(crate) fn group(&self) -> Option<u32> {
        self.stderr.began.as_deref()?.parse().ok()
    }

    /// The exit code, once the command has ended and all its output was seen: 0-255.
    pub(crate) fn exit(&self) -> Option<i32> {
        self.stdout.ended.as_ref()?;
        self.stderr.ended.as_deref()?.parse().ok()
    }

    /// What came instead of the start markers, for people.
    pub(crate) fn noise(&self) -> String {
        let noise = [self.stderr.noise.as_slice(), &self.stdout.noise].concat();
        String::from_utf8_lossy(&noise).trim().to_owned()
    }
}

struct Strip {
    /// RS and the nonce.
    token: Vec<u8>,
    finder: memmem::Finder<'static>,
    /// The beginning of what may be a marker.
    held: Vec<u8>,
    noise: Vec<u8>,
    began: Option<String>,
    ended: Option<String>,
}

/// What starts at an RS.
enum Found {
    Marker { kind: u8, text: String, end: usize },
    Partial,
    Data,
}

impl Strip {
    fn new(nonce: &str) -> Self {
        let mut token = vec![RS];
        token.extend_from_slice(nonce.as_bytes());
        Self {
            finder: memmem::Finder::new(&token).into_owned(),
            token,
            held: Vec::new(),
            noise: Vec::new(),
            began: None,
            ended: None,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut own = Vec::with_capacity(self.held.len() + bytes.len());
        if self.held.is_empty() {
            self.scan(bytes, &mut own);
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(bytes);
            self.scan(&joined, &mut own);
        }
        own
    }

    fn scan(&mut self, bytes: &[u8], own: &mut Vec<u8>) {
        // `from` is the first byte not yet passed on, `at` where the search goes on.
        let (mut from, mut at) = (0, 0);
        while let Some(next) = self.next(bytes, at) {
            at = next;
            match self.look(&bytes[at..]) {
                Found::Data => at += 1,
                Found::Partial => {
                    self.pass(&bytes[from..at], own);
                    self.held = bytes[at..].to_vec();
                    return;
                }
                Found::Marker { kind, text, end } => {
                    self.pass(&bytes[from..at], own);
                    let slot = if kind == b'[' {
                        &mut self.began
                    } else {
                        &mut self.ended
                    };
                    slot.get_or_insert(text);
                    at += end;
                    from = at;
                }
            }
        }
        self.pass(&bytes[from..], own);
    }

    /// Where a token, or at the very end the beginning of one, stands next.
    fn next(&self, bytes: &[u8], at: usize) -> Option<usize> {
        if let Some(found) = self.finder.find(&bytes[at..]) {
            return Some(at + found);
        }
        let last = bytes.len().saturating_sub(self.token.len() - 1).max(at);
        (last..bytes.len()).find(|start| self.token.starts_with(&bytes[*start..]))
    }

    fn pass(&mut self, bytes: &[u8], own: &mut Vec<u8>) {
        if self.ended.is_some() {
            // What a process left behind by the command still says is nobody's.
        } else if self.began.is_some() {
            own.extend_from_slice(bytes);
        } else {
            let room = NOISE.saturating_sub(self.noise.len()).min(bytes.len());
            self.noise.extend_from_slice(&bytes[..room]);
        }
    }

    fn look(&self, bytes: &[u8]) -> Found {
        let token = self.token.as_slice();
        let Some(rest) = bytes.strip_prefix(token) else {
            return if token.starts_with(bytes) {
                Found::Partial
            } else {
                Found::Data
            };
        };
        let Some((&kind, rest)) = rest.split_first() else {
            return Found::Partial;
        };
        if kind != b'[' && kind != b']' {
            return Found::Data;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.get(digits) {
            _ if digits > TEXT => Found::Data,
            None => Found::Partial,
            Some(&RS) => Found::Marker {
                kind,
                text: String::from_utf8_lossy(&rest[..digits]).into_owned(),
                end: token.len() + digits + 2,
            },
            Some(_) => Found::Data,
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

    /// Bytes rich in what a marker is made of, but without a whole nonce: that is in nobody's output.
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
        fn output_comes_through_whole(out in bytes(), err in bytes(), cuts in proptest::collection::vec(1_usize..9, 1..30)) {
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
            prop_assert_eq!(filter.exit(), Some(137));
            prop_assert_eq!(filter.group(), Some(4711));
            prop_assert_eq!(filter.noise(), "motd");
        }
    }

    #[test]
    fn without_both_ends_there_is_no_exit() {
        let mut filter = Filter::new("n");
        filter.stdout(b"\x1en[\x1eout\x1en]\x1e");
        assert_eq!(filter.exit(), None);
        filter.stderr(b"\x1en[1\x1e\x1en]0");
        assert_eq!(filter.exit(), None);
        filter.stderr(b"\x1e");
        assert_eq!(filter.exit(), Some(0));
    }
}
