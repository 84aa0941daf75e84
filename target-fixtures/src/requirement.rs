//! What a test asks of a target, and whether a target's capability meets it.
//!
//! Owns the syntax and the comparison. Must not know keys (`memory`), tests or targets. It uses std
//! alone, since the macro crate includes this very file (by a link) to check at compile time.
//!
//! A requirement is an operator and a value: `>= 8 GiB`, `> 2`, `x86_64`, `!= arm64`, `~ debian*`.
//!
//! | operator | holds when the capability |
//! |---|---|
//! | none, `=`, `==` | equals the value |
//! | `!=` | does not |
//! | `<`, `<=`, `>`, `>=` | compares so, as a size or a version |
//! | `~`, `!~` | contains the value, or does not; `*` stands for any text |
//!
//! A **size** is a number and a unit: `B`, `kB`, `MB`, `GB`, `TB` count by 1000, `KiB`, `MiB`, `GiB`,
//! `TiB` by 1024. A **version** is numbers between dots: `2`, `6.1`, `6.10.3`; what follows the
//! numbers (`6.1.0-13-amd64`) is not compared, missing parts are zero, and so `6.10` is more than
//! `6.9`. A count is a version of one part. Anything else is **text**, compared letter by letter.

use std::{cmp::Ordering, fmt, str::FromStr};

/// Whether `capability` (what a target declares: `16 GiB`) meets `requirement` (`>= 8 GiB`).
///
/// # Errors
/// Why not, a fragment for people: ``needs `>= 8 GiB`, has `4 GiB` ``.
pub fn fits(requirement: &str, capability: &str) -> Result<(), String> {
    requirement.parse::<Requirement>()?.fits(capability)
}

/// A parsed requirement; it is displayed as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    text: String,
    operator: Operator,
    value: Value,
}

/// How a capability is held against the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    Like,
    NotLike,
}

/// Longer spellings first, so that `>=` is not read as `>`.
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

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    /// In bytes.
    Size(f64),
    /// The numbers between the dots.
    Version(Vec<u64>),
    Text(String),
}

const UNITS: [(&str, f64); 10] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

impl Requirement {
    /// Whether `capability` meets the requirement.
    ///
    /// # Errors
    /// Why not, a fragment for people: ``needs `>= 8 GiB`, has `4 GiB` ``.
    pub fn fits(&self, capability: &str) -> Result<(), String> {
        let capability = capability.trim();
        let has = Value::read(capability);
        let fits = match self.operator {
            Operator::Like => like(self.written(), capability),
            Operator::NotLike => !like(self.written(), capability),
            Operator::Equal => self.equals(&has, capability),
            Operator::NotEqual => !self.equals(&has, capability),
            ordered => match has.order(&self.value) {
                Some(order) => ordered.holds(order),
                None => {
                    let what = self.value.kind();
                    return Err(format!(
                        "needs `{self}`, has `{capability}`, which is no {what}"
                    ));
                }
            },
        };
        if fits {
            Ok(())
        } else {
            Err(format!("needs `{self}`, has `{capability}`"))
        }
    }

    fn equals(&self, has: &Value, capability: &str) -> bool {
        match has.order(&self.value) {
            Some(order) => order == Ordering::Equal,
            None => self.written() == capability,
        }
    }

    /// The value as written, without the operator.
    fn written(&self) -> &str {
        split(&self.text).1
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (operator, written) = split(text);
        if written.is_empty() {
            return Err(format!(
                "the requirement `{text}` has no value, like `>= 1 GiB` or `x86_64`"
            ));
        }
        if OPERATORS.iter().any(|(sign, _)| written.starts_with(sign)) {
            return Err(format!("the requirement `{text}` has an unknown operator"));
        }
        let value = match operator {
            Operator::Like | Operator::NotLike => Value::Text(written.to_owned()),
            _ => Value::read(written),
        };
        if operator.orders() && matches!(value, Value::Text(_)) {
            return Err(format!(
                "the requirement `{text}` compares, but `{written}` is neither a number nor a version \
                 nor a size in B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            operator,
            value,
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Operator {
    fn orders(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::More | Self::AtLeast)
    }

    fn holds(self, order: Ordering) -> bool {
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

impl Value {
    fn read(text: &str) -> Self {
        size(text)
            .map(Self::Size)
            .or_else(|| version(text).map(Self::Version))
            .unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// How the two compare, where they are of one kind and have an order.
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Size(a), Self::Size(b)) => a.partial_cmp(b),
            (Self::Version(a), Self::Version(b)) => {
                let part = |of: &[u64], i| of.get(i).copied().unwrap_or(0);
                let longest = a.len().max(b.len());
                Some(
                    (0..longest)
                        .map(|i| part(a, i).cmp(&part(b, i)))
                        .find(|o| o.is_ne())
                        .unwrap_or(Ordering::Equal),
                )
            }
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Size(_) => "size with a unit",
            Self::Version(_) => "number or version",
            Self::Text(_) => "text",
        }
    }
}

fn split(text: &str) -> (Operator, &str) {
    OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim_start())))
        .unwrap_or((Operator::Equal, text))
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
    // `6.1.0-13` and `6.1_rc` go on; `8 GiX` and `64bit` are something else.
    if rest.starts_with(|c: char| !matches!(c, '-' | '_' | '+' | '~')) {
        return None;
    }
    numbers.split('.').map(|part| part.parse().ok()).collect()
}

/// Whether `text` contains `pattern`, in which `*` stands for any text.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}
