//! Values taken out of text and out of streams.
//!
//! Owns the search, which gives the same whatever the pieces that a stream comes in. Must not know where values come
//! from. Pure.

use std::{borrow::Cow, sync::Arc};

use super::{SHORTEST, forms};

/// Knows values, and what to show in their places.
#[derive(Clone, Default)]
pub struct Redactor {
    /// By their first byte; the longest first.
    patterns: Vec<Vec<Pattern>>,
}

#[derive(Clone)]
struct Pattern {
    bytes: Vec<u8>,
    marker: Arc<str>,
}

impl Redactor {
    /// Of these names and values. Of two names for one value the first is shown.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut patterns: Vec<Vec<Pattern>> = vec![Vec::new(); 256];
        for (name, value) in secrets {
            let marker: Arc<str> = format!("[secret {name}]").into();
            for form in forms::of(value) {
                let Some(&first) = form.as_bytes().first() else {
                    continue;
                };
                let same_start = &mut patterns[usize::from(first)];
                let is_new = same_start.iter().all(|one| one.bytes != form.as_bytes());
                // White space at its ends makes nothing rare.
                if is_new && form.trim().len() >= SHORTEST {
                    same_start.push(Pattern {
                        bytes: form.into_bytes(),
                        marker: Arc::clone(&marker),
                    });
                }
            }
        }
        for same_start in &mut patterns {
            same_start.sort_by_key(|one| std::cmp::Reverse(one.bytes.len()));
        }
        if patterns.iter().all(Vec::is_empty) {
            patterns.clear();
        }
        Self { patterns }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The text with `[secret NAME]` for each value.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scan(text.as_bytes(), true) {
            // Values are whole characters, and so is what is between them.
            (Some(bytes), _) => String::from_utf8_lossy(&bytes).into_owned().into(),
            (None, _) => Cow::Borrowed(text),
        }
    }

    /// What the bytes become, where that is something else, and how many of them are through: the others may be the
    /// start of a value, unless these are the `last`.
    fn scan(&self, bytes: &[u8], last: bool) -> (Option<Vec<u8>>, usize) {
        if self.is_empty() {
            return (None, bytes.len());
        }
        let (mut shown, mut copied, mut at) = (None, 0, 0);
        while let Some(&first) = bytes.get(at) {
            let (rest, patterns) = (&bytes[at..], &self.patterns[usize::from(first)]);
            // A longer value may begin here, even where a shorter one is complete.
            if !last && patterns.iter().any(|one| one.may_become(rest)) {
                break;
            }
            let Some(found) = patterns.iter().find(|one| rest.starts_with(&one.bytes)) else {
                at += 1;
                continue;
            };
            let shown = shown.get_or_insert_with(Vec::new);
            shown.extend_from_slice(&bytes[copied..at]);
            shown.extend_from_slice(found.marker.as_bytes());
            at += found.bytes.len();
            copied = at;
        }
        if let Some(shown) = &mut shown {
            shown.extend_from_slice(&bytes[copied..at]);
        }
        (shown, at)
    }
}

impl Pattern {
    /// Whether these bytes are the start of it, and more would have to come.
    fn may_become(&self, rest: &[u8]) -> bool {
        rest.len() < self.bytes.len() && self.bytes.starts_with(rest)
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
