//! The arguments of `#[target_test]` and `target_defaults!`: their keys, types and errors.
//!
//! Must not know functions or the format of records.

use std::collections::BTreeMap;

use proc_macro2::{Span, TokenStream};
use syn::{
    Expr, Meta, Result, Token,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

use crate::{json::Json, requirement::Requirement, value};

/// The type of an argument's value.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Texts,
    Bool,
    /// `true`, `false` or the given string.
    BoolOr(&'static str),
    /// One of the given strings.
    Word(&'static [&'static str]),
    Number {
        least: u64,
        most: u64,
    },
    Duration,
    /// A requirement on the capability named by the key.
    Requirement,
    /// `requires(key = "..")`.
    Requirements,
    /// `["/path", command("..")]`.
    Artifacts,
    /// `skip("reason", platform = "..")` with the given conditions; can be repeated.
    Condition(&'static [&'static str]),
}

/// The known keys. All but those of [`Type::Requirement`] and [`Type::Requirements`] are fields of `Metadata`.
const KEYS: &[(&str, Type)] = &[
    ("platform", Type::Text),
    ("targets", Type::Texts),
    ("category", Type::Text),
    ("area", Type::Text),
    ("priority", Type::Number { least: 0, most: 4 }),
    ("tags", Type::Texts),
    ("owner", Type::Text),
    ("features", Type::Texts),
    ("programs", Type::Texts),
    ("reuse", Type::BoolOr("snapshot")),
    ("any", Type::Bool),
    ("fresh", Type::Bool),
    ("retry_on", Type::Word(&["same", "fresh"])),
    ("runs_on", Type::Text),
    (
        "count",
        Type::Number {
            least: 1,
            most: 10_000,
        },
    ),
    ("roles", Type::Texts),
    ("timeout", Type::Duration),
    (
        "retries",
        Type::Number {
            least: 0,
            most: 1000,
        },
    ),
    ("collect", Type::Artifacts),
    ("collect_when", Type::Word(&["failure", "always"])),
    ("skip", Type::Condition(&["platform", "target", "feature"])),
    (
        "expect_fail",
        Type::Condition(&["platform", "target", "feature", "error"]),
    ),
    ("requires", Type::Requirements),
    ("memory", Type::Requirement),
    ("cores", Type::Requirement),
    ("disk", Type::Requirement),
    ("nics", Type::Requirement),
    ("gpu", Type::Requirement),
    ("arch", Type::Requirement),
    ("os", Type::Requirement),
    ("kernel", Type::Requirement),
];

/// Keys that a test can set but a module cannot.
const TEST_KEYS: &[&str] = &["count", "roles"];

/// Keys that a test can set but an orchestration cannot: its time follows from the description, and it runs on the host.
const NOT_OF_ORCHESTRATIONS: &[&str] = &["timeout", "runs_on"];

/// The parsed arguments.
#[derive(Default)]
pub(crate) struct Arguments {
    fields: BTreeMap<String, Json>,
    requirements: BTreeMap<String, Json>,
    conditions: BTreeMap<String, Vec<Json>>,
    /// The span of each key.
    spans: BTreeMap<String, Span>,
}

impl Arguments {
    /// Parses the arguments of a test; collects all errors.
    pub(crate) fn of_test(tokens: TokenStream) -> Result<Self> {
        Self::parse(tokens, &[], "")
    }

    /// Parses the arguments of an orchestration; collects all errors.
    pub(crate) fn of_orchestration(tokens: TokenStream) -> Result<Self> {
        let refused = "can be set for a test, but not for an orchestration";
        Self::parse(tokens, NOT_OF_ORCHESTRATIONS, refused)
    }

    /// Parses the defaults of a module; collects all errors.
    pub(crate) fn of_module(tokens: TokenStream) -> Result<Self> {
        let refused = "can be set for a test, but not as a default of a module";
        Self::parse(tokens, TEST_KEYS, refused)
    }

    /// The span of `key`, if given.
    pub(crate) fn span(&self, key: &str) -> Option<Span> {
        self.spans.get(key).copied()
    }

    /// The value of `count`, if given.
    pub(crate) fn count(&self) -> Option<u64> {
        match self.fields.get("count") {
            Some(Json::Number(count)) => Some(*count),
            _ => None,
        }
    }

    /// Sets the orchestration that the test runs.
    pub(crate) fn set_orchestration(&mut self, name: &str) {
        let name = Json::Text(name.to_owned());
        self.fields.insert("orchestration".to_owned(), name);
    }

    /// Checks that only a test with `roles` runs on a role.
    pub(crate) fn check_runs_on(&self) -> Result<()> {
        match self.fields.get("runs_on") {
            Some(Json::Text(place))
                if !["host", "target"].contains(&place.as_str())
                    && !self.fields.contains_key("roles") =>
            {
                let span = self.span("runs_on").unwrap_or_else(Span::call_site);
                let message = format!(
                    "`runs_on` must be `host` or `target`, not `{place}`; in a test with `roles`, also one of them"
                );
                Err(syn::Error::new(span, message))
            }
            _ => Ok(()),
        }
    }

    /// Sets the platform, from the type of a parameter.
    pub(crate) fn set_platform(&mut self, platform: &str) {
        let platform = Json::Text(platform.to_owned());
        self.fields.insert("platform".to_owned(), platform);
    }

    /// Sets the number of instances, from the number of parameters.
    pub(crate) fn set_count(&mut self, count: u64) {
        self.fields.insert("count".to_owned(), Json::Number(count));
    }

    /// Returns the `metadata` of the record.
    pub(crate) fn into_metadata(mut self, doc: Option<String>) -> Json {
        self.fields
            .extend(doc.map(|doc| ("doc".to_owned(), Json::Text(doc))));
        if !self.requirements.is_empty() {
            let requirements = self.requirements.into_iter().collect();
            self.fields
                .insert("requirements".to_owned(), Json::Object(requirements));
        }
        for (key, conditions) in self.conditions {
            self.fields.insert(key, Json::List(conditions));
        }
        let kebab = |(key, value): (String, Json)| (key.replace('_', "-"), value);
        Json::Object(self.fields.into_iter().map(kebab).collect())
    }

    /// Parses the arguments; `why` follows the name of a refused one.
    fn parse(tokens: TokenStream, refused: &[&str], why: &str) -> Result<Self> {
        let mut arguments = Self::default();
        let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens)?;
        value::each(metas, |meta| arguments.add(&meta, (refused, why)))?;
        Ok(arguments)
    }

    fn add(&mut self, meta: &Meta, (refused, why): (&[&str], &str)) -> Result<()> {
        let key = value::key(meta.path());
        let known = || {
            KEYS.iter()
                .map(|(key, _)| *key)
                .filter(|key| !refused.contains(key))
        };
        if refused.contains(&key.as_str()) {
            return fail(meta.path(), format!("`{key}` {why}"));
        }
        let Some((_, kind)) = KEYS.iter().find(|(name, _)| *name == key) else {
            return fail(meta.path(), value::unknown(&key, "argument", known()));
        };
        let first = self.spans.insert(key.clone(), meta.path().span()).is_none();
        if !first && !matches!(kind, Type::Condition(_) | Type::Requirements) {
            return fail(meta.path(), format!("`{key}` is given twice"));
        }
        self.set(key, *kind, meta)
    }

    fn set(&mut self, key: String, kind: Type, meta: &Meta) -> Result<()> {
        let value = match kind {
            Type::Condition(known) => {
                let condition = value::condition(meta, known)?;
                self.conditions.entry(key).or_default().push(condition);
                return Ok(());
            }
            Type::Requirements => return self.require_all(meta),
            Type::Requirement => {
                let text = value::requirement(expression(meta, "= \">= 1\"")?)?;
                return self.require(key, meta.path().span(), text);
            }
            Type::Text => Json::Text(value::text(expression(meta, "= \"...\"")?)?),
            Type::Texts => value::texts(expression(meta, "= [\"...\"]")?)?,
            Type::Artifacts => value::artifacts(expression(meta, "= [\"/var/log/app\"]")?)?,
            Type::BoolOr(word) => value::boolean_or(expression(meta, "= true")?, word)?,
            Type::Word(words) => value::word(expression(meta, "= \"...\"")?, words)?,
            Type::Bool => value::boolean(expression(meta, "= true")?)?,
            Type::Number { least, most } => value::number(expression(meta, "= 1")?, least, most)?,
            Type::Duration => value::duration(expression(meta, "= \"30s\"")?)?,
        };
        self.fields.insert(key, value);
        Ok(())
    }

    fn require(&mut self, key: String, span: Span, text: String) -> Result<()> {
        let parsed = text.parse::<Requirement>().ok();
        let wrong = parsed.and_then(|parsed| match key.as_str() {
            "disk" | "memory" => parsed.no_size(),
            "cores" => parsed.no_count(),
            _ => None,
        });
        if let Some(why) = wrong {
            let message = format!("invalid requirement `{text}` for `{key}`: {why}");
            return Err(syn::Error::new(span, message));
        }
        match self.requirements.insert(key.clone(), Json::Text(text)) {
            Some(_) => Err(syn::Error::new(
                span,
                format!("the requirement `{key}` is given twice"),
            )),
            None => Ok(()),
        }
    }

    fn require_all(&mut self, meta: &Meta) -> Result<()> {
        let Meta::List(list) = meta else {
            return fail(meta, "expected `requires(capability = \">= 1\")`");
        };
        let pairs =
            list.parse_args_with(Punctuated::<RequiredCapability, Token![,]>::parse_terminated)?;
        value::each(pairs, |pair| {
            let text = value::requirement(&pair.value)?;
            self.require(pair.key, pair.span, text)
        })
    }
}

/// An item of `requires`: `name = ">= 1"` or `"any.name" = ">= 1"`.
struct RequiredCapability {
    key: String,
    span: Span,
    value: Expr,
}

impl Parse for RequiredCapability {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let span = input.span();
        let key = if input.peek(syn::LitStr) {
            input.parse::<syn::LitStr>()?.value()
        } else {
            input.parse::<syn::Ident>()?.to_string()
        };
        input.parse::<Token![=]>()?;
        Ok(Self {
            key,
            span,
            value: input.parse()?,
        })
    }
}

fn expression<'a>(meta: &'a Meta, example: &str) -> Result<&'a Expr> {
    match meta {
        Meta::NameValue(pair) => Ok(&pair.value),
        _ => {
            let key = value::key(meta.path());
            fail(meta, format!("expected a value: `{key} {example}`"))
        }
    }
}

fn fail<T>(at: &impl quote::ToTokens, message: impl std::fmt::Display) -> Result<T> {
    Err(syn::Error::new_spanned(at, message))
}
