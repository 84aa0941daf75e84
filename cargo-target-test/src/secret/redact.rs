//! Redacts values in texts and in byte streams.
//!
//! The result does not depend on how a stream is split into chunks. Must not know where values come from.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::Range,
    sync::Arc,
};

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::{SHORTEST, forms, view::TextView};

/// Replaces a set of values by markers.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Searches>>);

/// The patterns, by the view of the text in which they are searched.
struct Searches {
    literal: Patterns,
    /// The values themselves, where escapes are undone.
    unescaped: Patterns,
    /// Encoded values, where white space is left out.
    unwrapped: Patterns,
}

struct Patterns {
    automaton: AhoCorasick,
    /// The patterns, sorted, by the pattern id of the automaton.
    patterns: Vec<SecretPattern>,
    /// The length of the longest pattern, in bytes.
    longest: usize,
}

struct SecretPattern {
    bytes: Vec<u8>,
    marker: Arc<str>,
}

/// A value found in a text.
#[derive(Clone)]
struct Found<'s> {
    place: Range<usize>,
    marker: &'s str,
}

/// The search for the patterns of one view.
struct Search<'s, 't> {
    patterns: &'s Patterns,
    view: TextView<'t>,
    next: Option<Found<'s>>,
}

impl Redactor {
    /// Creates a redactor for these names and values. If two names have the same value, the first name is shown.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut literal, mut unescaped, mut unwrapped) = Default::default();
        for (name, value) in secrets {
            let marker: Arc<str> = marker(name).into();
            add(&mut literal, &marker, forms::literal(value));
            let parts = forms::parts(value).into_iter();
            add(&mut unescaped, &marker, parts.map(str::to_owned).collect());
            add(&mut unwrapped, &marker, forms::encoded(value));
        }
        // Building fails only beyond the limits of the automaton, which are larger than any set of secrets.
        let literal = Patterns::new(literal).filter(|literal| !literal.patterns.is_empty());
        Self(literal.and_then(|literal| {
            Some(Arc::new(Searches {
                literal,
                unescaped: Patterns::new(unescaped)?,
                unwrapped: Patterns::new(unwrapped)?,
            }))
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
        let Some(searches) = &self.0 else {
            return (None, bytes.len());
        };
        let mut searches = searches.over(bytes);
        let end_from = |searches: &[Search<'_, '_>], at: usize| match last {
            true => bytes.len(),
            false => {
                let open = searches
                    .iter()
                    .map(|search| search.open_end(bytes.len(), at));
                open.min().unwrap_or(bytes.len())
            }
        };
        let (mut shown, mut at) = (None, 0);
        let mut end = end_from(&searches, 0);
        while let Some(found) = first(&mut searches, at).filter(|found| found.place.start < end) {
            let shown = shown.get_or_insert_with(Vec::new);
            shown.extend_from_slice(&bytes[at..found.place.start]);
            shown.extend_from_slice(found.marker.as_bytes());
            at = found.place.end;
            if at > end {
                end = end_from(&searches, at);
            }
        }
        if let Some(shown) = &mut shown {
            shown.extend_from_slice(&bytes[at..end]);
        }
        (shown, end)
    }
}

/// Returns the marker of a secret, without characters that JSON, XML or a terminal treat specially.
fn marker(name: &str) -> String {
    let special = |one: char| one.is_control() || "<>&\"'\\".contains(one);
    format!("[secret {}]", name.replace(special, "_"))
}

/// Adds patterns of a value. White space at either end does not count: it matches unrelated text.
fn add(to: &mut BTreeMap<Vec<u8>, Arc<str>>, marker: &Arc<str>, forms: BTreeSet<String>) {
    for form in forms
        .into_iter()
        .filter(|form| form.trim().len() >= SHORTEST)
    {
        if let Entry::Vacant(free) = to.entry(form.into_bytes()) {
            free.insert(Arc::clone(marker));
        }
    }
}

/// Returns the leftmost value at or after `at`, the longest of those.
fn first<'s>(searches: &mut [Search<'s, '_>], at: usize) -> Option<Found<'s>> {
    for search in &mut *searches {
        search.go_to(at);
    }
    let found = |search: &&mut Search<'_, '_>| {
        let place = search.next.as_ref().map(|found| &found.place);
        place.map_or((usize::MAX, 0), |place| {
            (place.start, usize::MAX - place.end)
        })
    };
    searches.iter_mut().min_by_key(found)?.next.clone()
}

impl Searches {
    fn over<'s, 't>(&'s self, text: &'t [u8]) -> Vec<Search<'s, 't>> {
        let views = [
            (&self.literal, Some(TextView::plain(text))),
            (&self.unescaped, TextView::unescaped(text)),
            (
                &self.unwrapped,
                TextView::unwrapped(text).or_else(|| Some(TextView::plain(text))),
            ),
        ];
        let searches = views.into_iter().filter_map(|(patterns, view)| {
            let view = view.filter(|_| !patterns.patterns.is_empty())?;
            let mut search = Search {
                patterns,
                view,
                next: None,
            };
            search.seek(0);
            Some(search)
        });
        searches.collect()
    }
}

impl Patterns {
    /// Creates the search for patterns with their markers; `None` if they are too many.
    fn new(markers: BTreeMap<Vec<u8>, Arc<str>>) -> Option<Self> {
        let patterns: Vec<_> = markers
            .into_iter()
            .map(|(bytes, marker)| SecretPattern { bytes, marker })
            .collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|one| &one.bytes))
            .ok()?;
        let longest = patterns.iter().map(|one| one.bytes.len()).max();
        Some(Self {
            automaton,
            patterns,
            longest: longest.unwrap_or_default(),
        })
    }
}

impl<'s> Search<'s, '_> {
    /// Finds the first value at or after `at`, unless it is known already.
    fn go_to(&mut self, at: usize) {
        if self.next.as_ref().is_some_and(|next| next.place.start < at) {
            self.seek(at);
        }
    }

    fn seek(&mut self, at: usize) {
        let bytes = self.view.bytes();
        let input = Input::new(bytes).span(self.view.from(at)..bytes.len());
        self.next = self.patterns.automaton.find(input).map(|found| Found {
            place: self.view.place(&found.range()),
            marker: &self.patterns.patterns[found.pattern()].marker,
        });
    }

    /// Returns the first position of the text from `at` on where the rest is a proper prefix of a pattern; its `length`
    /// if there is none.
    fn open_end(&self, length: usize, at: usize) -> usize {
        let (view, longest) = (&self.view, self.patterns.longest);
        let bytes = &view.bytes()[..view.certain()];
        let first = view.from(at).max((bytes.len() + 1).saturating_sub(longest));
        let open = (first..bytes.len()).find(|&place| {
            let rest = &bytes[place..];
            // They are sorted, so one that starts with the rest and is longer comes next.
            let all = &self.patterns.patterns;
            let next = all.partition_point(|one| one.bytes.as_slice() <= rest);
            (all.get(next)).is_some_and(|next| next.bytes.starts_with(rest))
        });
        // An escape that is cut off may be any character.
        let cut = bytes.len().max(view.from(at));
        let cut = (view.is_cut() && cut < view.bytes().len()).then_some(cut);
        let open = open
            .or(cut)
            .map(|first| view.place(&(first..first + 1)).start);
        open.unwrap_or(length)
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
