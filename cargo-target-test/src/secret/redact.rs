//! Redacts values in texts and in byte streams.
//!
//! The result does not depend on how a stream is split into chunks. Must not know where values come from.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use aho_corasick::{AhoCorasick, MatchKind};

use super::{SHORTEST, forms};

/// Replaces a set of values by markers.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Patterns>>);

struct Patterns {
    automaton: AhoCorasick,
    /// The patterns, by the pattern id of the automaton.
    patterns: Vec<SecretPattern>,
    /// The length of the longest pattern, in bytes.
    longest: usize,
}

struct SecretPattern {
    bytes: Vec<u8>,
    marker: Arc<str>,
}

impl Redactor {
    /// Creates a redactor for these names and values. If two names have the same value, the first name is shown.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut markers = BTreeMap::new();
        for (name, value) in secrets {
            let marker: Arc<str> = format!("[secret {name}]").into();
            for form in forms::of(value) {
                // White space at either end does not count: it matches unrelated text.
                let is_long = form.trim().len() >= SHORTEST;
                if let (true, Entry::Vacant(free)) = (is_long, markers.entry(form.into_bytes())) {
                    free.insert(Arc::clone(&marker));
                }
            }
        }
        let patterns: Vec<_> = markers
            .into_iter()
            .map(|(bytes, marker)| SecretPattern { bytes, marker })
            .collect();
        let longest = patterns.iter().map(|one| one.bytes.len()).max();
        // Building fails only beyond the limits of the automaton, which are larger than any set of secrets.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|one| &one.bytes));
        Self(longest.zip(automaton.ok()).map(|(longest, automaton)| {
            Arc::new(Patterns {
                automaton,
                patterns,
                longest,
            })
        }))
    }

    /// True if there are no values to redact.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the text with `[secret NAME]` in place of each value.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scan(text.as_bytes(), true) {
            // Values start and end at character boundaries, so the result is valid UTF-8.
            (Some(bytes), _) => String::from_utf8_lossy(&bytes).into_owned().into(),
            (None, _) => Cow::Borrowed(text),
        }
    }

    /// Returns the redacted bytes (`None` if unchanged) and the number of input bytes consumed.
    ///
    /// The remaining bytes may be the start of a value. If these bytes are the `last`, all are consumed.
    fn scan(&self, bytes: &[u8], last: bool) -> (Option<Vec<u8>>, usize) {
        let Some(search) = &self.0 else {
            return (None, bytes.len());
        };
        let end_from = |at: usize| match last {
            true => bytes.len(),
            false => search.open_end(bytes, at),
        };
        let (mut shown, mut at) = (None, 0);
        let mut end = end_from(0);
        for found in search.automaton.find_iter(bytes) {
            if found.start() >= end {
                break;
            }
            let shown = shown.get_or_insert_with(Vec::new);
            shown.extend_from_slice(&bytes[at..found.start()]);
            shown.extend_from_slice(search.patterns[found.pattern()].marker.as_bytes());
            at = found.end();
            if at > end {
                end = end_from(at);
            }
        }
        if let Some(shown) = &mut shown {
            shown.extend_from_slice(&bytes[at..end]);
        }
        (shown, end)
    }
}

impl Patterns {
    /// Returns the first position from `at` on where the rest of the bytes is a proper prefix of a pattern; the length
    /// if there is none.
    fn open_end(&self, bytes: &[u8], at: usize) -> usize {
        let first = at.max((bytes.len() + 1).saturating_sub(self.longest));
        (first..bytes.len())
            .find(|&place| {
                let rest = &bytes[place..];
                let needs_more = |one: &SecretPattern| {
                    rest.len() < one.bytes.len() && one.bytes.starts_with(rest)
                };
                self.patterns.iter().any(needs_more)
            })
            .unwrap_or(bytes.len())
    }
}

/// Redacts a stream chunk by chunk. Bytes that may be the start of a value are buffered until more bytes arrive.
pub struct RedactedStream {
    redactor: Arc<Redactor>,
    pending: Vec<u8>,
}

impl RedactedStream {
    /// Creates an empty stream.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        let pending = Vec::new();
        Self { redactor, pending }
    }

    /// Adds a chunk and returns the bytes that can be shown.
    pub fn push<'p>(&mut self, chunk: &'p [u8]) -> Cow<'p, [u8]> {
        if self.pending.is_empty() {
            let (shown, consumed) = self.redactor.scan(chunk, false);
            self.pending.extend_from_slice(&chunk[consumed..]);
            return shown.map_or(Cow::Borrowed(&chunk[..consumed]), Cow::Owned);
        }
        self.pending.extend_from_slice(chunk);
        let (shown, consumed) = self.redactor.scan(&self.pending, false);
        let rest = self.pending.split_off(consumed);
        let unchanged = std::mem::replace(&mut self.pending, rest);
        Cow::Owned(shown.unwrap_or(unchanged))
    }

    /// Ends the stream and returns the buffered bytes.
    pub fn finish(&mut self) -> Vec<u8> {
        let pending = std::mem::take(&mut self.pending);
        let (shown, _) = self.redactor.scan(&pending, true);
        shown.unwrap_or(pending)
    }
}

#[cfg(test)]
mod tests;
