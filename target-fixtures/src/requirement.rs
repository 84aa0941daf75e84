//! What a test asks of a target, and whether a target's capability meets it.
//!
//! Owns the syntax and the comparison. Must not know keys (`memory`), tests or targets. It uses std
//! alone, since the macro crate includes this very file (by a link) to check at compile time.
//!
//! A requirement is an operator and a value: `>= 8 GiB`, `> 2`, `x86_64`, `!= arm64`, `~ debian*`. A comma before an
//! operator means "and" (`>= 2, < 8`), a bar means "or" (`x86_64 | aarch64`), which binds less.
//!
//! | operator | holds when the capability |
//! |---|---|
//! | none, `=`, `==` | equals the value |
//! | `!=` | does not |
//! | `<`, `<=`, `>`, `>=` | compares so, as a size or a version |
//! | `~`, `!~` | contains the value, or does not; `*` (or `.*`) stands for any text |
//!
//! A **size** is a number and a unit: `B`, `kB`, `MB`, `GB`, `TB`, `PB` count by 1000, `KiB`, `MiB`, `GiB`,
//! `TiB`, `PiB` by 1024. A **version** is numbers between dots: `2`, `6.1`, `6.10.3`; what follows the
//! numbers (`6.1.0-13-amd64`) is not compared, missing parts are zero, and so `6.10` is more than
//! `6.9`. A count is a version of one part. Anything else is **text**, compared letter by letter.
//!
//! A capability is written in the same way: `16 GiB` is what a target has, `>= 16 GiB` and `x86_64 | aarch64` what it
//! has at least or one of. It meets a requirement when everything that it may be does: [`fits`] is a partial order
//! (each fits itself; what fits what fits, fits). Only `~` looks at the text as written, in which equal versions differ.

mod span;
mod term;

use std::{fmt, str::FromStr};

use span::{kind_of, numbers, within};
use term::{Operator, Term, UNIT_NAMES, Value, conjunction, exact};

/// Whether `capability` (what a target declares: `16 GiB`) meets `requirement` (`>= 8 GiB`).
///
/// # Errors
/// Why not, a fragment for people: ``needs `>= 8 GiB`, has `4 GiB` ``; or what is wrong with one of them.
pub fn fits(requirement: &str, capability: &str) -> Result<(), String> {
    let requirement: Requirement = requirement.parse()?;
    requirement
        .fits(capability)
        .map_err(|misfit| misfit.to_string())
}

/// A parsed requirement; it is displayed as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    text: String,
    /// One of these has to hold, of which each is some terms that have to hold together.
    any: Vec<Vec<Term>>,
}

/// Why a capability does not meet a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The requirement as written.
    pub requirement: String,
    /// The capability as written.
    pub capability: String,
    /// What of the two cannot be compared, a fragment: `which is no size with a unit`.
    pub remark: Option<String>,
}

impl Requirement {
    /// Whether everything that `capability` may be meets the requirement.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, capability: &str) -> Result<(), Misfit> {
        let capability = capability.trim();
        let misfit = |remark| Misfit {
            requirement: self.text.clone(),
            capability: capability.to_owned(),
            remark,
        };
        let offers = match capability.parse::<Self>() {
            Ok(offers) => offers.any,
            // What is no expression is a text like any other.
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
        Err(misfit(missing.map(|kind| format!("which is no {kind}"))))
    }

    /// Why nothing can meet the requirement, if so: a fragment.
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

    /// Why it says nothing of a size, if so: a fragment. A pattern looks at the text, and may be any.
    #[must_use]
    pub fn no_size(&self) -> Option<String> {
        let is_other = |term: &Term| {
            let pattern = matches!(term.operator, Operator::Like | Operator::NotLike);
            !pattern && !matches!(term.value, Value::Size(_))
        };
        let other = self.any.iter().flatten().any(is_other);
        other.then(|| format!("a size has one of the units {UNIT_NAMES}"))
    }

    /// Whether all that is described by these terms meets the requirement.
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
        let any = text.split('|').map(|terms| conjunction(terms, text));
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
