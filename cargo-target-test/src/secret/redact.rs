//! Takes values out of text and out of streams.
//!
//! Owns the search, whose result does not depend on how a stream is cut into pieces. Must not know where values come
//! from. Pure.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use aho_corasick::{AhoCorasick, MatchKind};

use super::{SHORTEST, forms};

/// Knows values, and the markers that replace them.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Search>>);

struct Search {
    automaton: AhoCorasick,
    /// By the automaton's pattern number.
    patterns: Vec<Pattern>,
    /// Bytes of the longest pattern.
    longest: usize,
}

struct Pattern {
    bytes: Vec<u8>,
    marker: Arc<str>,
}

impl Redactor {
    /// Creates a redactor of these names and values. Of two names for one value the first is shown.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut markers = BTreeMap::new();
        for (name, value) in secrets {
            let marker: Arc<str> = format!("[secret {name}]").into();
            for form in forms::of(value) {
                // White space at both ends makes no value rare.
                let is_long = form.trim().len() >= SHORTEST;
                if let (true, Entry::Vacant(free)) = (is_long, markers.entry(form.into_bytes())) {
                    free.insert(Arc::clone(&marker));
                }
            }
        }
        let patterns: Vec<_> = markers
            .into_iter()
            .map(|(bytes, marker)| Pattern { bytes, marker })
            .collect();
        let longest = patterns.iter().map(|one| one.bytes.len()).max();
        // Building fails only past the automaton's own limits, which no set of secrets reaches.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|one| &one.bytes));
        Self(longest.zip(automaton.ok()).map(|(longest, automaton)| {
            Arc::new(Search {
                automaton,
                patterns,
                longest,
            })
        }))
    }

    /// True if there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the text with `[secret NAME]` for each value.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scan(text.as_bytes(), true) {
            // Values are whole characters, and so is the text between them.
            (Some(bytes), _) => String::from_utf8_lossy(&bytes).into_owned().into(),
            (None, _) => Cow::Borrowed(text),
        }
    }

    /// Returns the replaced bytes (`None`: unchanged) and how many input bytes were consumed. The rest may be the
    /// start of a value, unless these bytes are the `last`.
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

impl Search {
    /// The first place from `at` on where the rest of the bytes is the start of a pattern that needs more.
    fn open_end(&self, bytes: &[u8], at: usize) -> usize {
        let first = at.max((bytes.len() + 1).saturating_sub(self.longest));
        (first..bytes.len())
            .find(|&place| {
                let rest = &bytes[place..];
                let needs_more =
                    |one: &Pattern| rest.len() < one.bytes.len() && one.bytes.starts_with(rest);
                self.patterns.iter().any(needs_more)
            })
            .unwrap_or(bytes.len())
    }
}

/// A stream in pieces, without the values. What may be the start of one is held back until more comes.
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
}

impl Stream {
    /// A stream that has not begun.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        let held = Vec::new();
        Self { redactor, held }
    }

    /// What can be shown now that this piece has come.
    pub fn push<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        if self.held.is_empty() {
            let (shown, through) = self.redactor.scan(piece, false);
            self.held.extend_from_slice(&piece[through..]);
            return shown.map_or(Cow::Borrowed(&piece[..through]), Cow::Owned);
        }
        self.held.extend_from_slice(piece);
        let (shown, through) = self.redactor.scan(&self.held, false);
        let rest = self.held.split_off(through);
        let as_it_is = std::mem::replace(&mut self.held, rest);
        Cow::Owned(shown.unwrap_or(as_it_is))
    }

    /// What was held back: no more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let (shown, _) = self.redactor.scan(&held, true);
        shown.unwrap_or(held)
    }
}

#[cfg(test)]
mod tests;
