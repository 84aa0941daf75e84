//! `--criteria 'area = xdp and not (priority > 1 or tag = slow)'`.
//!
//! Owns its syntax. Must not know tests: a comparison is a rule that says one thing.

use std::ops::Range;

use super::{
    criteria::{Priorities, Rule, Texts},
    diagnostic::{Problem, Problems},
    source::Sources,
    wait::Pattern,
};
use crate::error::{Error, ErrorKind, Result};

/// What the command line asks of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// All of these hold.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The one thing that this rule says holds.
    Is(Box<Rule>),
}

impl Expression {
    /// The targets that it names, without patterns.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::All(all) | Self::Any(all) => all.iter().flat_map(Self::targets).collect(),
            Self::Not(one) => one.targets(),
            Self::Is(rule) => {
                let names = rule.target.iter().flat_map(|texts| &texts.0);
                let names = names.map(String::as_str);
                names.filter(|name| !name.contains('*')).collect()
            }
        }
    }
}

/// The fields of a comparison.
const FIELDS: [&str; 9] = [
    "name", "area", "category", "priority", "tag", "owner", "feature", "platform", "target",
];

/// The most that may stand in one another: what is nested is walked by recursion.
const DEEPEST: usize = 64;

/// Reads an expression.
///
/// # Errors
/// [`ErrorKind::Usage`] with a caret at what is wrong.
pub fn parse(text: &str) -> Result<Expression> {
    let sources = Sources::new("--criteria".to_owned(), text);
    let told = |problem: Box<Problem>| {
        let mut problems = Problems::new(&sources);
        problems.add(*problem);
        Error::new(ErrorKind::Usage, problems.error().to_string())
    };
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let whole = parser.any().map_err(told)?;
    match parser.next().map_err(told)? {
        None => Ok(whole),
        Some((word, span)) => {
            let problem = Problem::new(format!("unexpected `{}`", word.text()), span);
            Err(told(Box::new(
                problem.label("expected `and`, `or` or the end"),
            )))
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
enum Word<'t> {
    /// A bare word: `area`, `and`, `xdp`.
    Bare(&'t str),
    /// What stands between quotes, or slashes with these.
    Quoted(&'t str),
    /// A parenthesis or an operator.
    Sign(&'t str),
}

impl<'t> Word<'t> {
    fn text(&self) -> &'t str {
        match self {
            Self::Bare(text) | Self::Quoted(text) | Self::Sign(text) => text,
        }
    }
}

/// What is wrong is rare, and large.
type Step<T> = Result<T, Box<Problem>>;

fn wrong<T>(message: impl Into<String>, at: Range<usize>) -> Step<T> {
    Err(Box::new(Problem::new(message, at)))
}

const SIGNS: [&str; 11] = ["==", "!=", "!~", "<=", ">=", "=", "~", "<", ">", "(", ")"];

impl<'t> Parser<'t> {
    /// The next word, if there is one.
    fn next(&mut self) -> Step<Option<(Word<'t>, Range<usize>)>> {
        let rest = self.text[self.at..].trim_start();
        let start = self.text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            self.at = self.text.len();
            return Ok(None);
        };
        let (word, length) = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign))
        {
            (Word::Sign(sign), sign.len())
        } else if matches!(first, '"' | '\'' | '/') {
            let Some(inside) = rest[1..].find(first) else {
                return wrong(format!("`{first}` is never closed"), start..self.text.len());
            };
            let length = inside + 2;
            match first {
                '/' => (Word::Quoted(&rest[..length]), length),
                _ => (Word::Quoted(&rest[1..length - 1]), length),
            }
        } else {
            let ends = |c: char| c.is_whitespace() || "()=<>!~\"'".contains(c);
            let length = rest.find(ends).unwrap_or(rest.len()).max(first.len_utf8());
            (Word::Bare(&rest[..length]), length)
        };
        self.at = start + length;
        Ok(Some((word, start..self.at)))
    }

    /// Takes the next word where it is this one.
    fn take(&mut self, wanted: &Word<'_>) -> Step<bool> {
        let before = self.at;
        let found = self.next()?.is_some_and(|(word, _)| word == *wanted);
        if !found {
            self.at = before;
        }
        Ok(found)
    }

    fn any(&mut self) -> Step<Expression> {
        let mut any = vec![self.all()?];
        while self.take(&Word::Bare("or"))? {
            any.push(self.all()?);
        }
        Ok(one_or(any, Expression::Any))
    }

    fn all(&mut self) -> Step<Expression> {
        let mut all = vec![self.one()?];
        while self.take(&Word::Bare("and"))? {
            all.push(self.one()?);
        }
        Ok(one_or(all, Expression::All))
    }

    fn one(&mut self) -> Step<Expression> {
        let at = self.at;
        self.depth += 1;
        if self.depth > DEEPEST {
            return wrong("this is nested too deep", at..self.text.len());
        }
        let one = if self.take(&Word::Bare("not"))? {
            Expression::Not(Box::new(self.one()?))
        } else if self.take(&Word::Sign("("))? {
            let opened = self.at - 1..self.at;
            let inside = self.any()?;
            if !self.take(&Word::Sign(")"))? {
                return wrong("`(` is never closed", opened);
            }
            inside
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(one)
    }

    fn comparison(&mut self) -> Step<Expression> {
        let (field, field_at) = self.expect("a field, such as `area`", |word| match word {
            Word::Bare(field) => Some(*field),
            _ => None,
        })?;
        if !FIELDS.contains(&singular(field)) {
            let unknown = Problem::unknown("field", field, field_at, &FIELDS);
            return Err(Box::new(unknown));
        }
        let after = format!("`=` and a value after `{field}`");
        let (sign, sign_at) = self.expect(&after, |word| match word {
            Word::Sign(sign) if !matches!(*sign, "(" | ")") => Some(*sign),
            _ => None,
        })?;
        let after = format!("a value after `{field} {sign}`");
        let (value, value_at) = self.expect(&after, |word| match word {
            Word::Bare(value) | Word::Quoted(value) => Some(*value),
            Word::Sign(_) => None,
        })?;
        let (rule, negated) = rule(singular(field), sign, value).map_err(|(why, of_sign)| {
            Problem::new(why, if of_sign { sign_at } else { value_at })
        })?;
        let is = Expression::Is(Box::new(rule));
        Ok(match negated {
            true => Expression::Not(Box::new(is)),
            false => is,
        })
    }

    /// The next word, which has to be `what`.
    fn expect<T>(
        &mut self,
        what: &str,
        pick: impl Fn(&Word<'t>) -> Option<T>,
    ) -> Step<(T, Range<usize>)> {
        let Some((word, at)) = self.next()? else {
            let end = self.text.len();
            return wrong(format!("expected {what}"), end..end);
        };
        match pick(&word) {
            Some(picked) => Ok((picked, at)),
            None => wrong(format!("expected {what}, not `{}`", word.text()), at),
        }
    }
}

/// `tags` means `tag`.
fn singular(field: &str) -> &str {
    match field {
        "tags" | "features" | "targets" => &field[..field.len() - 1],
        field => field,
    }
}

/// The rule that a comparison says, and whether it must not hold. The error says whether it is the operator's.
fn rule(field: &str, sign: &str, value: &str) -> Result<(Rule, bool), (String, bool)> {
    let wrong_value = |why| (why, false);
    let mut rule = Rule::default();
    if field == "priority" {
        if matches!(sign, "~" | "!~") {
            return Err((
                format!("`{sign}` compares text, and `priority` is a number"),
                true,
            ));
        }
        let (sign, negated) = match sign {
            "!=" => ("=", true),
            sign => (sign, false),
        };
        // As in a playbook: `priority = "<= 1"`.
        let text = match sign == "=" && value.starts_with(['<', '>', '!']) {
            true => value.to_owned(),
            false => format!("{sign} {value}"),
        };
        rule.priority = Some(Priorities::new(&text).map_err(wrong_value)?);
        return Ok((rule, negated));
    }
    let negated = match sign {
        "=" | "==" | "~" => false,
        "!=" | "!~" => true,
        sign => {
            return Err((
                format!("`{sign}` compares numbers, and `{field}` is text"),
                true,
            ));
        }
    };
    if matches!(sign, "~" | "!~") && field != "name" {
        return Err((format!("`{sign}` is for `name`; `{field}` takes `=`"), true));
    }
    let texts = Some(Texts(vec![value.to_owned()]));
    match field {
        "name" => rule.name = Some(Pattern::try_from(value.to_owned()).map_err(wrong_value)?),
        "area" => rule.area = texts,
        "category" => rule.category = texts,
        "tag" => rule.tags = texts,
        "owner" => rule.owner = texts,
        "feature" => rule.feature = texts,
        "platform" => rule.platform = texts,
        _ => rule.target = texts,
    }
    Ok((rule, negated))
}

fn one_or(mut list: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match list.len() {
        1 => list.remove(0),
        _ => many(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expression: &Expression) -> String {
        let list = |all: &[Expression], with: &str| {
            let all: Vec<_> = all.iter().map(shown).collect();
            format!("({})", all.join(with))
        };
        match expression {
            Expression::All(all) => list(all, " & "),
            Expression::Any(any) => list(any, " | "),
            Expression::Not(one) => format!("!{}", shown(one)),
            Expression::Is(rule) => rule.to_string(),
        }
    }

    #[test]
    fn and_binds_closer_than_or() {
        for (text, expected) in [
            ("area=xdp", "area = \"xdp\""),
            (
                "area = xdp and not (priority > 1 or tag = slow)",
                "(area = \"xdp\" & !(priority = \"> 1\" | tags = \"slow\"))",
            ),
            (
                "name = a or name ~ /b|c d/ and target != 'x*'",
                "(name = \"a\" | (name = \"/b|c d/\" & !target = \"x*\"))",
            ),
            ("not not owner == \"and or\"", "!!owner = \"and or\""),
            ("priority != 2", "!priority = \"= 2\""),
            ("priority = '<= 1'", "priority = \"<= 1\""),
        ] {
            assert_eq!(shown(&parse(text).expect(text)), expected);
        }
    }

    #[test]
    fn what_is_wrong_has_a_caret() {
        for (text, expected, caret) in [
            ("", "expected a field", 1),
            ("aera = xdp", "unknown field `aera`", 1),
            ("area", "expected `=` and a value after `area`", 5),
            ("area = xdp or", "expected a field", 14),
            ("area > 3", "`>` compares numbers", 6),
            ("area ~ x", "`~` is for `name`", 6),
            ("priority = high", "no priority is `= high`", 12),
            ("(area = x", "`(` is never closed", 1),
            ("area = x) and", "unexpected `)`", 9),
            ("name = /(/", "`/(/` is no regular expression", 8),
            ("name = \"x", "`\"` is never closed", 8),
        ] {
            let error = parse(text).map_err(|error| error.to_string());
            let error = error.expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
            let place = format!("--criteria:1:{caret}\n");
            assert!(error.contains(&place), "{text}: {error}");
        }
        assert!(parse(&"(".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = parse(&text);
        }
    }
}
