//! The terms of a requirement, each an operator and a value: their syntax, and the comparison with an exact value.
//!
//! Must not combine terms (see `span`).

use std::cmp::Ordering;

use regex_lite::Regex;

/// An operator and a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) operator: Operator,
    pub(super) value: TermValue,
    written: String,
}

/// The comparison of a capability with the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    Like,
    NotLike,
}

/// The operators, longer ones first, so that `>=` is not parsed as `>`.
const OPERATORS: [(&str, Operator); 9] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("!~", Operator::NotLike),
    (">", Operator::More),
    ("<", Operator::Less),
    ("=", Operator::Equal),
    ("~", Operator::Like),
];

/// The value of a term.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TermValue {
    /// A size in bytes.
    Size(f64),
    /// The numbers of a version.
    Version(Vec<u64>),
    Text(String),
}

/// The units of sizes, for messages.
pub(super) const UNIT_NAMES: &str = "B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB or PiB";

const UNITS: [(&str, f64); 12] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("PB", 1e15),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("PiB", 1_125_899_906_842_624.0),
];

/// Splits text at the bars between alternatives.
pub(super) fn alternatives(text: &str) -> Vec<&str> {
    let (mut all, mut start) = (Vec::new(), 0);
    for (at, _) in text.match_indices('|') {
        let (before, after) = (&text[start..at], &text[at + 1..]);
        let opens = before.matches('(').count() > before.matches(')').count();
        let spaced =
            before.ends_with(char::is_whitespace) && after.starts_with(char::is_whitespace);
        if !has_pattern(before) || (spaced && !opens) {
            all.push(before);
            start = at + 1;
        }
    }
    all.push(&text[start..]);
    all
}

fn has_pattern(terms: &str) -> bool {
    terms
        .split(',')
        .any(|term| operator(term.trim_start()).is_some_and(|(sign, _)| sign.matches()))
}

/// Parses terms separated by commas. A comma that is not followed by an operator is part of a value.
pub(super) fn conjunction(text: &str, whole: &str) -> Result<Vec<Term>, String> {
    let mut terms = Vec::new();
    let mut rest = text.trim();
    loop {
        let mut commas = rest.match_indices(',').map(|(at, _)| at);
        let next = commas.find(|at| operator(rest[at + 1..].trim_start()).is_some());
        terms.push(Term::parse(&rest[..next.unwrap_or(rest.len())], whole)?);
        match next {
            Some(at) => rest = rest[at + 1..].trim_start(),
            None => return Ok(terms),
        }
    }
}

fn operator(text: &str) -> Option<(Operator, &str)> {
    OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim())))
}

impl Term {
    pub(super) fn equal(written: &str) -> Self {
        Self {
            operator: Operator::Equal,
            value: TermValue::read(written),
            written: written.to_owned(),
        }
    }

    fn parse(text: &str, whole: &str) -> Result<Self, String> {
        let (sign, written) = operator(text.trim()).unwrap_or((Operator::Equal, text.trim()));
        if written.is_empty() {
            return Err(format!(
                "the requirement `{whole}` has no value, such as `>= 1 GiB` or `x86_64`"
            ));
        }
        if operator(written).is_some() {
            return Err(format!("the requirement `{whole}` has an unknown operator"));
        }
        let value = match sign.matches() {
            true => TermValue::Text(written.to_owned()),
            false => TermValue::read(written),
        };
        if sign.matches()
            && let Err(why) = Regex::new(written)
        {
            let hint = match written.starts_with('*') {
                true => "; `.*` matches any text",
                false => "",
            };
            return Err(format!(
                "invalid regular expression `{written}` in the requirement `{whole}`: {why}{hint}"
            ));
        }
        if sign.orders() && matches!(value, TermValue::Text(_)) {
            return Err(format!(
                "the requirement `{whole}` compares numbers, but `{written}` is not a number, a version \
                 or a size in {UNIT_NAMES}"
            ));
        }
        let written = written.to_owned();
        Ok(Self {
            operator: sign,
            value,
            written,
        })
    }

    /// True if the exact value in `of` matches the term.
    pub(super) fn holds(&self, of: &Self) -> bool {
        let order = of.value.order(&self.value);
        let equal = order.map_or(self.written == of.written, Ordering::is_eq);
        match self.operator {
            Operator::Like => matches(&self.written, &of.written),
            Operator::NotLike => !matches(&self.written, &of.written),
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            ordered => order.is_some_and(|order| ordered.admits(order)),
        }
    }

    /// True if the value is written in digits alone.
    pub(super) fn is_plain(&self) -> bool {
        self.written.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// True if the term restricts sizes or versions.
    pub(super) fn cuts(&self) -> bool {
        let equality = matches!(self.operator, Operator::Equal | Operator::NotEqual);
        self.operator.orders() || equality && !matches!(self.value, TermValue::Text(_))
    }
}

/// The term with the exact value, if any.
pub(super) fn exact(terms: &[Term]) -> Option<&Term> {
    terms.iter().find(|term| term.operator == Operator::Equal)
}

impl Operator {
    pub(super) fn orders(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::More | Self::AtLeast)
    }

    /// True if the value is a regular expression.
    pub(super) fn matches(self) -> bool {
        matches!(self, Self::Like | Self::NotLike)
    }

    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::More => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::NotEqual | Self::NotLike => order.is_ne(),
            Self::Equal | Self::Like => order.is_eq(),
        }
    }
}

impl TermValue {
    fn read(text: &str) -> Self {
        size(text)
            .map(Self::Size)
            .or_else(|| version(text).map(Self::Version))
            .unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// Compares two sizes or two versions; `None` for text or different kinds.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Size(a), Self::Size(b)) => a.partial_cmp(b),
            (Self::Version(a), Self::Version(b)) => {
                let part = |of: &[u64], i| of.get(i).copied().unwrap_or(0);
                let parts = 0..a.len().max(b.len());
                let orders = parts.map(|i| part(a, i).cmp(&part(b, i)));
                Some(orders.fold(Ordering::Equal, Ordering::then))
            }
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Size(_) => "size with a unit",
            Self::Version(_) => "number or version",
            Self::Text(_) => "text",
        }
    }
}

fn size(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    Some(number.parse::<f64>().ok()? * bytes)
}

fn version(text: &str) -> Option<Vec<u64>> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    // `6.1.0-13` and `6.1_rc` are versions with a suffix; `8 GiX` and `64bit` are text.
    if rest.starts_with(|c: char| !matches!(c, '-' | '_' | '+' | '~')) {
        return None;
    }
    numbers.split('.').map(|part| part.parse().ok()).collect()
}

/// True if the start of `text` matches the regular expression, which is valid.
fn matches(pattern: &str, text: &str) -> bool {
    let regex = Regex::new(pattern);
    regex.is_ok_and(|regex| regex.find(text).is_some_and(|found| found.start() == 0))
}
