//! What terms leave of all numbers of a kind, as the spans between cuts.
//!
//! Owns the arithmetic. Must not know how terms are written.

use std::cmp::Ordering;

use super::term::{Operator, Term, Value};

impl Term {
    /// What it leaves of the sizes or versions.
    pub(super) fn spans(&self) -> Vec<Span<'_>> {
        let (below, above) = (Cut::Below(&self.value), Cut::Above(&self.value));
        match self.operator {
            Operator::Less => vec![(Cut::Start, below)],
            Operator::AtMost => vec![(Cut::Start, above)],
            Operator::More => vec![(above, Cut::End)],
            Operator::AtLeast => vec![(below, Cut::End)],
            Operator::NotEqual => vec![(Cut::Start, below), (above, Cut::End)],
            _ => vec![(below, above)],
        }
    }
}

/// A place between two values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cut<'a> {
    Start,
    Below(&'a Value),
    Above(&'a Value),
    End,
}

/// What lies between two cuts.
pub(super) type Span<'a> = (Cut<'a>, Cut<'a>);

impl Cut<'_> {
    /// Cuts through values of one kind.
    fn order(&self, other: &Self) -> Ordering {
        let ((a, from, above), (b, to, over)) = (self.place(), other.place());
        let values = from.zip(to).and_then(|(from, to)| from.order(to));
        a.cmp(&b)
            .then(values.unwrap_or(Ordering::Equal))
            .then(above.cmp(&over))
    }

    fn place(&self) -> (u8, Option<&Value>, bool) {
        match self {
            Self::Start => (0, None, false),
            Self::Below(value) => (1, Some(value), false),
            Self::Above(value) => (1, Some(value), true),
            Self::End => (2, None, false),
        }
    }
}

/// The kind of numbers that terms compare, where they compare any.
pub(super) fn kind_of(terms: &[Term]) -> Option<&'static str> {
    let compares = |term: &&Term| term.cuts() && term.operator != Operator::NotEqual;
    Some(terms.iter().find(compares)?.value.kind())
}

/// What terms leave together of the numbers of a kind.
pub(super) fn numbers<'a>(kind: &str, terms: &'a [Term]) -> Vec<Span<'a>> {
    let mut left = vec![(Cut::Start, Cut::End)];
    for term in terms.iter().filter(|term| term.cuts()) {
        if term.value.kind() == kind {
            left = common(&left, &term.spans());
        } else if term.operator != Operator::NotEqual {
            left.clear();
        }
    }
    left
}

/// What lies in both.
fn common<'a>(some: &[Span<'a>], others: &[Span<'a>]) -> Vec<Span<'a>> {
    let later = |a: Cut<'a>, b: Cut<'a>| if a.order(&b).is_lt() { b } else { a };
    let earlier = |a: Cut<'a>, b: Cut<'a>| if a.order(&b).is_lt() { a } else { b };
    let pairs = some.iter().flat_map(|a| others.iter().map(move |b| (a, b)));
    let both = pairs.map(|(a, b)| (later(a.0, b.0), earlier(a.1, b.1)));
    both.filter(|(from, to)| from.order(to).is_lt()).collect()
}

/// Whether all of some spans lies in others.
pub(super) fn within(some: &[Span<'_>], mut others: Vec<Span<'_>>) -> bool {
    others.sort_by(|a, b| a.0.order(&b.0));
    let mut joined: Vec<Span<'_>> = Vec::new();
    for (from, to) in others {
        match joined.last_mut() {
            Some(last) if from.order(&last.1).is_le() => {
                if last.1.order(&to).is_lt() {
                    last.1 = to;
                }
            }
            _ => joined.push((from, to)),
        }
    }
    let inside = |(from, to): &Span<'_>, around: &Span<'_>| {
        around.0.order(from).is_le() && to.order(&around.1).is_le()
    };
    some.iter()
        .all(|span| joined.iter().any(|around| inside(span, around)))
}
