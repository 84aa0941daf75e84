//! The syntax of `--criteria 'area = xdp and not (priority > 1 or tag = slow)'`.
//!
//! Must not know tests; each comparison becomes a rule with one condition.

use std::ops::Range;

use super::{
    criteria::{Priorities, Rule, Texts},
    diagnostic::{Problem, Problems},
    source::Sources,
    wait::Pattern,
};
use crate::error::{Error, Result};

/// A condition on a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// All conditions hold.
    All(Vec<Self>),
    /// At least one condition holds.
    Any(Vec<Self>),
    /// The condition does not hold.
    Not(Box<Self>),
    /// The case matches a rule, which has one condition.
    Is(Box<Rule>),
}

impl Expression {
    /// The names of targets in the expression, without patterns.
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
const FIELDS: [&str; 11] = [
    "name", "binary", "module", "area", "category", "priority", "tag", "owner", "feature",
    "platform", "target",
];

/// The maximum nesting; the parser is recursive.
const DEEPEST: usize = 64;

/// Parses an expression.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) with a caret at the error.
pub fn parse(text: &str) -> Result<Expression> {
    let sources = Sources::new("--criteria".to_owned(), text);
    let error = |problem: Box<Problem>| {
        let mut problems = Problems::new(&sources);
        problems.add(*problem);
        Error::usage(problems.error().to_string())
    };
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let whole = parser.any().map_err(error)?;
    match parser.next().map_err(error)? {
        None => Ok(whole),
        Some((word, span)) => {
            let problem = Problem::new(format!("unexpected `{}`", word.text()), span);
            Err(error(Box::new(
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

#[derive(Clone, Debug, PartialEq)]
enum Token<'t> {
    /// A bare word: `area`, `and`, `xdp`.
    Bare(&'t str),
    /// Text in quotes, without them, or a regular expression with its slashes.
    Quoted(&'t str),
    /// A parenthesis or an operator.
    Sign(&'t str),
}

impl<'t> Token<'t> {
    fn text(&self) -> &'t str {
        match self {
            Self::Bare(text) | Self::Quoted(text) | Self::Sign(text) => text,
        }
    }
}

/// Boxed, since a [`Problem`] is large.
type ParseResult<T> = Result<T, Box<Problem>>;

fn fail<T>(message: impl Into<String>, at: Range<usize>) -> ParseResult<T> {
    Err(Box::new(Problem::new(message, at)))
}

const SIGNS: [&str; 11] = ["==", "!=", "!~", "<=", ">=", "=", "~", "<", ">", "(", ")"];

impl<'t> Parser<'t> {
    /// Returns the next token; `None` at the end.
    fn next(&mut self) -> ParseResult<Option<(Token<'t>, Range<usize>)>> {
        let rest = self.text[self.at..].trim_start();
        let start = self.text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            self.at = self.text.len();
            return Ok(None);
        };
        let (word, length) = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign))
        {
            (Token::Sign(sign), sign.len())
        } else if matches!(first, '"' | '\'' | '/') {
            let Some(inside) = rest[1..].find(first) else {
                return fail(format!("unclosed `{first}`"), start..self.text.len());
            };
            let length = inside + 2;
            match first {
                '/' => (Token::Quoted(&rest[..length]), length),
                _ => (Token::Quoted(&rest[1..length - 1]), length),
            }
        } else {
            let ends = |c: char| c.is_whitespace() || "()=<>!~\"'".contains(c);
            let length = rest.find(ends).unwrap_or(rest.len()).max(first.len_utf8());
            (Token::Bare(&rest[..length]), length)
        };
        self.at = start + length;
        Ok(Some((word, start..self.at)))
    }

    /// Consumes the next token if it equals `wanted`.
    fn take(&mut self, wanted: &Token<'_>) -> ParseResult<bool> {
        let before = self.at;
        let found = self.next()?.is_some_and(|(word, _)| word == *wanted);
        if !found {
            self.at = before;
        }
        Ok(found)
    }

    fn any(&mut self) -> ParseResult<Expression> {
        let mut any = vec![self.all()?];
        while self.take(&Token::Bare("or"))? {
            any.push(self.all()?);
        }
        Ok(one_or(any, Expression::Any))
    }

    fn all(&mut self) -> ParseResult<Expression> {
        let mut all = vec![self.one()?];
        while self.take(&Token::Bare("and"))? {
            all.push(self.one()?);
        }
        Ok(one_or(all, Expression::All))
    }

    fn one(&mut self) -> ParseResult<Expression> {
        let at = self.at;
        self.depth += 1;
        if self.depth > DEEPEST {
            return fail("the expression is nested too deeply", at..self.text.len());
        }
        let one = if self.take(&Token::Bare("not"))? {
            Expression::Not(Box::new(self.one()?))
        } else if self.take(&Token::Sign("("))? {
            let opened = self.at - 1..self.at;
            let inside = self.any()?;
            if !self.take(&Token::Sign(")"))? {
                return fail("unclosed `(`", opened);
            }
            inside
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(one)
    }

    fn comparison(&mut self) -> ParseResult<Expression> {
        let (field, field_at) = self.expect("a field, such as `area`", |word| match word {
            Token::Bare(field) => Some(*field),
            _ => None,
        })?;
        if !FIELDS.contains(&singular(field)) {
            let unknown = Problem::unknown("field", field, field_at, &FIELDS);
            return Err(Box::new(unknown));
        }
        let after = format!("`=` and a value after `{field}`");
        let (sign, sign_at) = self.expect(&after, |word| match word {
            Token::Sign(sign) if !matches!(*sign, "(" | ")") => Some(*sign),
            _ => None,
        })?;
        let after = format!("a value after `{field} {sign}`");
        let (value, value_at) = self.expect(&after, |word| match word {
            Token::Bare(value) | Token::Quoted(value) => Some(*value),
            Token::Sign(_) => None,
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

    /// Returns what `pick` makes of the next token. The error names `what` if `pick` rejects the token.
    fn expect<T>(
        &mut self,
        what: &str,
        pick: impl Fn(&Token<'t>) -> Option<T>,
    ) -> ParseResult<(T, Range<usize>)> {
        let Some((word, at)) = self.next()? else {
            let end = self.text.len();
            return fail(format!("expected {what}"), end..end);
        };
        match pick(&word) {
            Some(picked) => Ok((picked, at)),
            None => fail(format!("expected {what}, not `{}`", word.text()), at),
        }
    }
}

/// Accepts the plural of a field: `tags` means `tag`.
fn singular(field: &str) -> &str {
    match field {
        "tags" | "features" | "targets" => &field[..field.len() - 1],
        field => field,
    }
}

/// Returns the rule of a comparison, and true if the comparison is negated. The error is a message, and true if the
/// operator is wrong rather than the value.
fn rule(field: &str, sign: &str, value: &str) -> Result<(Rule, bool), (String, bool)> {
    let wrong_value = |why| (why, false);
    let mut rule = Rule::default();
    if field == "priority" {
        if matches!(sign, "~" | "!~") {
            return Err((
                format!("`{sign}` compares text, but `priority` is a number"),
                true,
            ));
        }
        let (sign, negated) = match sign {
            "!=" => ("=", true),
            sign => (sign, false),
        };
        // A value may contain its own operator, as in a playbook: `priority = "<= 1"`.
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
                format!("`{sign}` compares numbers, but `{field}` is text"),
                true,
            ));
        }
    };
    if matches!(sign, "~" | "!~") && field != "name" {
        return Err((
            format!("`{sign}` requires `name`; use `=` with `{field}`"),
            true,
        ));
    }
    let texts = Some(Texts(vec![value.to_owned()]));
    match field {
        "name" => rule.name = Some(Pattern::try_from(value.to_owned()).map_err(wrong_value)?),
        "binary" => rule.binary = texts,
        "module" => rule.module = texts,
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
            ("area ~ x", "`~` requires `name`", 6),
            ("priority = high", "no priority matches `= high`", 12),
            ("(area = x", "unclosed `(`", 1),
            ("area = x) and", "unexpected `)`", 9),
            ("name = /(/", "invalid regular expression `/(/`", 8),
            ("name = \"x", "unclosed `\"`", 8),
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
