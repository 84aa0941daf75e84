//! The description of `params`, the values that a user's programs get: checks values against it and adds defaults.
//!
//! Must not know the programs.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    definition::dotted,
    diagnostic::{Problem, Problems},
    overlay::is_reference,
    reading::with_article,
};

/// The name of the key that is described.
const PARAMS: &str = "params";
/// The key with the description.
pub(super) const SCHEMA: &str = "params-schema";

/// The description of each value.
pub(super) type ParamsSchema = BTreeMap<Spanned<String>, ParamSchema>;

/// The description of one value of `params`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ParamSchema {
    /// The type of the value; without it, any type is accepted.
    #[serde(rename = "type")]
    kind: Option<ParamType>,
    /// The value for targets that set none. Without it, each target must set one.
    #[schemars(with = "Option<serde_json::Value>")]
    #[expect(dead_code, reason = "its text, with positions, is used")]
    default: Option<IgnoredAny>,
    /// The meaning, which `check` shows.
    #[serde(default)]
    doc: String,
}

/// The type of a value. A reference to a secret is a string.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ParamType {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Table,
}

impl ParamType {
    fn accepts(self, value: &DeValue<'_>) -> bool {
        match value {
            DeValue::String(_) => self == Self::String,
            DeValue::Integer(_) => matches!(self, Self::Integer | Self::Number),
            DeValue::Float(_) => self == Self::Number,
            DeValue::Boolean(_) => self == Self::Boolean,
            DeValue::Datetime(_) => false,
            DeValue::Array(_) => self == Self::Array,
            DeValue::Table(table) if is_reference(table) => {
                matches!(self, Self::String | Self::Table)
            }
            DeValue::Table(_) => self == Self::Table,
        }
    }

    fn article(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
            Self::Table => "a table",
        }
    }
}

/// Checks the `params` of a target and adds defaults. `raw` is the text of `schema`. Returns the meaning of each value
/// by its dotted key.
pub(super) fn apply<'s>(
    schema: &ParamsSchema,
    raw: &DeTable<'s>,
    table: &mut DeTable<'s>,
    target: &Spanned<String>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, String> {
    let at = target.span();
    let (key, mut value) = table.remove_entry(PARAMS).unwrap_or_else(|| {
        let empty = DeValue::Table(DeTable::new());
        let key = Spanned::new(at.clone(), Cow::Borrowed(PARAMS));
        (key, Spanned::new(at.clone(), empty))
    });
    if let DeValue::Table(params) = value.get_mut() {
        check(schema, raw, params, target, problems);
    }
    table.insert(key, value);
    let doc = |(name, one): (&Spanned<String>, &ParamSchema)| {
        (dotted(PARAMS, name.get_ref()), one.doc.clone())
    };
    schema.iter().map(doc).collect()
}

fn check<'s>(
    schema: &ParamsSchema,
    raw: &DeTable<'s>,
    params: &mut DeTable<'s>,
    target: &Spanned<String>,
    problems: &mut Problems<'_>,
) {
    let known: Vec<&str> = schema.keys().map(|name| name.get_ref().as_str()).collect();
    for key in params
        .keys()
        .filter(|key| !known.contains(&&**key.get_ref()))
    {
        let problem = Problem::unknown("parameter", key.get_ref(), key.span(), &known);
        problems.add(problem.label(format!("not in `{SCHEMA}`")));
    }
    for (name, one) in schema {
        let text = name.get_ref().as_str();
        let default = raw.get(text).and_then(|one| match one.get_ref() {
            DeValue::Table(one) => one.get("default"),
            _ => None,
        });
        let (given, dotted) = (params.get(text), dotted(PARAMS, text));
        for value in default.into_iter().chain(given) {
            if let Some(kind) = one.kind.filter(|kind| !kind.accepts(value.get_ref())) {
                let (wanted, is) = (kind.article(), with_article(value.get_ref()));
                let message = format!("`{dotted}` must be {wanted}, not {is}");
                problems.add(Problem::new(message, value.span()));
            }
        }
        match (given, default) {
            (Some(_), _) => {}
            (None, Some(default)) => {
                let key = Spanned::new(default.span(), Cow::Owned(text.to_owned()));
                params.insert(key, default.clone());
            }
            (None, None) => {
                let message = format!("target `{}` has no `{dotted}`", target.get_ref());
                let problem = Problem::new(message, target.span());
                problems.add(problem.second(name.span(), "described here, without a default"));
            }
        }
    }
}
