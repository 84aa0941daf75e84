//! Intervals of sizes or versions: the values that match the terms of a requirement.

use std::cmp::Ordering;

use super::term::{Operator, Term, TermValue};

impl Term {
    /// The intervals of values that match the term.
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

/// A bound of an interval: before or after a value, or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cut<'a> {
    Start,
    Below(&'a TermValue),
    Above(&'a TermValue),
    End,
}

/// The interval between two bounds.
pub(super) type Span<'a> = (Cut<'a>, Cut<'a>);

impl Cut<'_> {
    /// Compares bounds of values of the same kind.
    fn order(&self, other: &Self) -> Ordering {
        let ((a, from, above), (b, to, over)) = (self.place(), other.place());
        let values = from.zip(to).and_then(|(from, to)| from.order(to));
        a.cmp(&b)
            .then(values.unwrap_or(Ordering::Equal))
            .then(above.cmp(&over))
    }

    fn place(&self) -> (u8, Option<&TermValue>, bool) {
        match self {
            Self::Start => (0, None, false),
            Self::Below(value) => (1, Some(value), false),
            Self::Above(value) => (1, Some(value), true),
            Self::End => (2, None, false),
        }
    }
}

/// The kind of number that the terms compare, if any.
pub(super) fn kind_of(terms: &[Term]) -> Option<&'static str> {
    let compares = |term: &&Term| term.cuts() && term.operator != Operator::NotEqual;
    Some(terms.iter().find(compares)?.value.kind())
}

/// The intervals of numbers of a kind that match all terms.
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

/// The intersection of two sets of intervals.
fn common<'a>(some: &[Span<'a>], others: &[Span<'a>]) -> Vec<Span<'a>> {
    let later = |a: Cut<'a>, b: Cut<'a>| if a.order(&b).is_lt() { b } else { a };
    let earlier = |a: Cut<'a>, b: Cut<'a>| if a.order(&b).is_lt() { a } else { b };
    let pairs = some.iter().flat_map(|a| others.iter().map(move |b| (a, b)));
    let both = pairs.map(|(a, b)| (later(a.0, b.0), earlier(a.1, b.1)));
    both.filter(|(from, to)| from.order(to).is_lt()).collect()
}

/// True if each interval in `some` lies within the union of `others`.
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
