//! The syntax of requirements, and the comparison of a requirement with the capability of a target.
//!
//! Must use only `std` and `regex-lite`: the macro crate includes this file through a symbolic link, to check
//! requirements at compile time.
//!
//! A requirement is an operator and a value: `>= 8 GiB`, `> 2`, `x86_64`, `!= arm64`, `~ debian 1[23]`. A comma before
//! an operator means "and" (`>= 2, < 8`). A bar means "or" (`x86_64 | aarch64`) and has lower precedence. In a regular
//! expression, only a bar between spaces and outside parentheses does (`~ a|b | c` is `~ (a|b)` or `c`).
//!
//! | operator | condition on the capability |
//! |---|---|
//! | none, `=`, `==` | equals the value |
//! | `!=` | differs from the value |
//! | `<`, `<=`, `>`, `>=` | compares as a size or version |
//! | `~`, `!~` | matches the regular expression from the start, as in tmt, or does not: `~ .*EPYC` looks anywhere |
//!
//! A **size** is a number and a unit. `B`, `kB`, `MB`, `GB`, `TB`, `PB` are powers of 1000; `KiB`, `MiB`, `GiB`, `TiB`,
//! `PiB` are powers of 1024. A **version** is numbers separated by dots: `2`, `6.1`, `6.10.3`. A suffix
//! (`6.1.0-13-amd64`) is ignored and missing parts are zero, so that `6.10` is greater than `6.9`. A count is a version
//! with one part. Anything else is **text**, compared literally.
//!
//! Capabilities have the same syntax: `16 GiB` is an exact value, `>= 16 GiB` a lower bound, and `x86_64 | aarch64` one
//! of several values. A capability meets a requirement if all its possible values do. [`fits`] is reflexive and
//! transitive. Only `~` compares the text as written, in which equal versions can differ.

// Must not know keys (`memory`), tests or targets.

mod span;
mod term;

use std::{fmt, str::FromStr};

use span::{kind_of, numbers, within};
use term::{Operator, Term, TermValue, UNIT_NAMES, alternatives, conjunction, exact};

/// Checks that `capability` (`16 GiB`) meets `requirement` (`>= 8 GiB`).
///
/// # Errors
/// The reason, as a fragment: ``needs `>= 8 GiB`, has `4 GiB` ``; or the syntax error in the requirement.
pub fn fits(requirement: &str, capability: &str) -> Result<(), String> {
    let requirement: Requirement = requirement.parse()?;
    requirement
        .fits(capability)
        .map_err(|misfit| misfit.to_string())
}

/// A parsed requirement. Displays the original text.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    text: String,
    /// Alternatives, at least one of which must hold. All terms of an alternative must hold.
    any: Vec<Vec<Term>>,
}

/// A capability that does not meet a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The requirement as written.
    pub requirement: String,
    /// The capability as written.
    pub capability: String,
    /// The reason the two cannot be compared, if so, as a fragment: `which is not a size with a unit`.
    pub remark: Option<String>,
}

impl Requirement {
    /// Checks that all possible values of `capability` meet the requirement.
    ///
    /// # Errors
    /// The values that do not fit.
    pub fn fits(&self, capability: &str) -> Result<(), Misfit> {
        let capability = capability.trim();
        let misfit = |remark| Misfit {
            requirement: self.text.clone(),
            capability: capability.to_owned(),
            remark,
        };
        let offers = match capability.parse::<Self>() {
            Ok(offers) => offers.any,
            // Text that is not an expression is an exact value.
            Err(_) => vec![vec![Term::equal(capability)]],
        };
        if offers.iter().all(|offer| self.includes(offer)) {
            return Ok(());
        }
        let ordered = self
            .any
            .iter()
            .flatten()
            .filter(|term| term.operator.orders());
        let mut kinds = ordered.map(|term| term.value.kind());
        let has = |kind: &&str| {
            offers
                .iter()
                .flatten()
                .any(|term| term.value.kind() == *kind)
        };
        let missing = kinds.find(|kind| !has(kind));
        Err(misfit(missing.map(|kind| format!("which is not a {kind}"))))
    }

    /// The reason no value can meet the requirement, if so, as a fragment.
    #[must_use]
    pub fn impossible(&self) -> Option<String> {
        let possible = |terms: &Vec<Term>| match (exact(terms), kind_of(terms)) {
            (Some(value), _) => terms.iter().all(|term| term.holds(value)),
            (None, Some(kind)) => !numbers(kind, terms).is_empty(),
            (None, None) => true,
        };
        let none = !self.any.iter().any(possible);
        none.then(|| format!("nothing can be `{self}`"))
    }

    /// The reason the requirement is not valid for a size, if so, as a fragment. Patterns are valid, since they match
    /// text.
    #[must_use]
    pub fn no_size(&self) -> Option<String> {
        let is_other =
            |term: &Term| !term.operator.matches() && !matches!(term.value, TermValue::Size(_));
        let other = self.any.iter().flatten().any(is_other);
        other.then(|| format!("a size has one of the units {UNIT_NAMES}"))
    }

    /// The reason the requirement is not valid for a count, if so, as a fragment.
    #[must_use]
    pub fn no_count(&self) -> Option<String> {
        let is_count =
            |term: &Term| matches!(&term.value, TermValue::Version(parts) if parts.len() == 1);
        let other = self
            .any
            .iter()
            .flatten()
            .any(|term| !is_count(term) || !term.is_plain());
        other.then(|| "a count is a whole number, such as `4`".to_owned())
    }

    /// True if all values that match the terms of `offer` meet the requirement.
    fn includes(&self, offer: &[Term]) -> bool {
        if let Some(value) = exact(offer) {
            let mut any = self.any.iter();
            return any.any(|terms| terms.iter().all(|term| term.holds(value)));
        }
        let implied = |term: &Term| offer.contains(term);
        let Some(kind) = kind_of(offer) else {
            return self.any.iter().any(|terms| terms.iter().all(implied));
        };
        let decided = |term: &Term| term.cuts() || term.operator == Operator::NotEqual;
        let all = |terms: &&Vec<Term>| terms.iter().all(|term| decided(term) || implied(term));
        let allowed = self.any.iter().filter(all);
        let allowed = allowed.flat_map(|terms| numbers(kind, terms));
        within(&numbers(kind, offer), allowed.collect())
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let any = alternatives(text).into_iter();
        let any = any.map(|terms| conjunction(terms, text));
        Ok(Self {
            any: any.collect::<Result<_, _>>()?,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs `{}`, has `{}`", self.requirement, self.capability)?;
        self.remark
            .iter()
            .try_for_each(|remark| write!(f, ", {remark}"))
    }
}
