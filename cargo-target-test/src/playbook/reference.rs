//! The reference of the playbook's keys, made from its schema: for the terminal, and for the book.
//!
//! Must not know the types that read a playbook.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

use super::nearest::did_you_mean;
use crate::error::{Error, Result};

/// The tables of a playbook: name, heading and place in the schema.
const TABLES: &[(&str, &str, &str)] = &[
    ("", "Top level", ""),
    ("pool", "`[pool]`", "/$defs/PoolSettings"),
    ("report", "`[report]`", "/$defs/ReportSettings"),
    ("notify", "`[notify]`", "/$defs/NotifySettings"),
    (
        "orchestration",
        "`[orchestration]`",
        "/$defs/OrchestrationSettings",
    ),
    ("history", "`[history]`", "/$defs/HistorySettings"),
    ("on-target", "`[on-target]`", "/$defs/OnTargetSettings"),
    ("defaults", "`[defaults]`", "/$defs/Defaults"),
    ("targets", "`[[targets]]`, all platforms", "/$defs/Common"),
    (
        "environments",
        "`[environments.NAME]`",
        "/$defs/EnvironmentTable",
    ),
    (
        "roles",
        "`[environments.NAME.roles.ROLE]`, besides the keys of a target",
        "/$defs/RoleTable",
    ),
    (
        "networks",
        "`[environments.NAME.networks.NETWORK]`",
        "/$defs/NetworkTable",
    ),
    ("recipes", "`[recipes.NAME]`", "/$defs/Recipe"),
    ("steps", "Steps of a recipe", "/$defs/Step"),
    ("wait", "`wait`", "/$defs/Wait"),
    ("metadata", "`[metadata]`", "/$defs/MetadataSettings"),
    ("criteria", "`[[criteria]]`", "/$defs/Rule"),
    ("overrides", "`[[overrides]]`", "/$defs/Override"),
    ("variants", "`[[variants]]`", "/$defs/TestVariant"),
    ("scenarios", "`[[scenarios]]`", "/$defs/Scenario"),
    ("modes", "`[modes.NAME]`", "/$defs/Mode"),
];

/// The columns of text without a terminal, and the maximum with one.
const COLUMNS: usize = 100;

/// The keys of a playbook, table by table.
#[derive(Debug)]
pub struct KeyReference(Vec<Table>);

#[derive(Debug)]
struct Table {
    name: String,
    heading: String,
    description: String,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    /// The kinds of value, as Markdown.
    kinds: Vec<String>,
    /// The default as JSON, or `required`.
    default: String,
    meaning: String,
}

impl KeyReference {
    /// Reads the schema that [`schema`](super::schema) returns.
    pub fn of(schema: &Value) -> Self {
        let fixed = TABLES.iter().map(|(name, heading, place)| {
            let of = schema.pointer(place).unwrap_or(&Value::Null);
            Table::of(name, heading, of, schema)
        });
        let platforms = schema["properties"]["platforms"]["properties"].as_object();
        let platforms = platforms.into_iter().flatten().map(|(name, _)| {
            let heading = format!("`[[targets]]` with `platform = \"{name}\"`");
            Table::of(name, &heading, &schema["$defs"][name], schema)
        });
        Self(fixed.chain(platforms).collect())
    }

    /// Returns the Markdown of all tables.
    pub fn markdown(&self) -> String {
        self.0.iter().map(Table::markdown).collect()
    }

    /// Returns the text of all tables, for a terminal with this number of columns. With a key (`memory`,
    /// `qemu.memory`) or a table (`pool`), only of these.
    ///
    /// # Errors
    /// Fails if the key is unknown.
    pub fn text(&self, key: Option<&str>, columns: Option<usize>) -> Result<String> {
        let columns = columns.map_or(COLUMNS, |columns| columns.min(COLUMNS));
        let Some(key) = key else {
            let all = self.0.iter().map(|table| table.text(columns, |_| true));
            return Ok(all.collect::<Vec<_>>().join("\n"));
        };
        let mut parts: Vec<_> = key
            .split('.')
            .map(|part| part.trim_matches(['[', ']']))
            .collect();
        let last = parts.pop().unwrap_or_default();
        let named = |table: &&Table| parts.contains(&table.name.as_str());
        let with_key = |table: &&Table| table.keys.iter().any(|key| key.name == last);
        let texts = |tables: Vec<&Table>| {
            let text = |table: &&Table| {
                let whole = table.name == last;
                table.text(columns, |key| whole || key.name == last)
            };
            tables.iter().map(text).collect::<Vec<_>>().join("\n")
        };
        let all = || self.0.iter();
        for tables in [
            all().filter(named).filter(with_key).collect::<Vec<_>>(),
            all().filter(|table| table.name == last).collect(),
            all().filter(with_key).collect(),
        ] {
            if !tables.is_empty() {
                return Ok(texts(tables));
            }
        }
        let tables = all().map(|table| table.name.as_str());
        let keys = all().flat_map(|table| table.keys.iter().map(|key| key.name.as_str()));
        let known: BTreeSet<_> = tables.chain(keys).filter(|name| !name.is_empty()).collect();
        let known: Vec<_> = known.into_iter().collect();
        let error = Error::usage(format!("a playbook has no key `{key}`"));
        Err(error.with_hint(
            did_you_mean(last, &known)
                .unwrap_or_else(|| "`help playbook` without a key prints all keys".to_owned()),
        ))
    }
}

impl Table {
    fn of(name: &str, heading: &str, of: &Value, schema: &Value) -> Self {
        let required: Vec<_> = list(of, "required").filter_map(Value::as_str).collect();
        let keys = of["properties"].as_object();
        let keys = keys.into_iter().flatten().map(|(key, node)| Key {
            name: key.clone(),
            kinds: kinds(node, schema),
            default: match &node["default"] {
                Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
                Value::Null => String::new(),
                default => format!("`{default}`"),
            },
            meaning: [node, resolved(node, schema)]
                .into_iter()
                .find_map(|node| node["description"].as_str())
                .unwrap_or_default()
                .replace('\n', " "),
        });
        Self {
            name: name.to_owned(),
            heading: heading.to_owned(),
            description: of["description"].as_str().unwrap_or_default().to_owned(),
            keys: keys.collect(),
        }
    }

    fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n", self.heading);
        if !self.description.is_empty() {
            let _ = writeln!(text, "{}\n", self.description);
        }
        text += "| key | value | default | meaning |\n|---|---|---|---|\n";
        for key in &self.keys {
            let (name, default) = (&key.name, &key.default);
            let kinds = key.kinds.join(" or ");
            let meaning = key.meaning.replace('|', "\\|");
            let _ = writeln!(text, "| `{name}` | {kinds} | {default} | {meaning} |");
        }
        text
    }

    /// The table with these keys.
    fn text(&self, columns: usize, is_shown: impl Fn(&Key) -> bool) -> String {
        let mut text = format!("{}\n", self.heading.replace('`', ""));
        for key in self.keys.iter().filter(|key| is_shown(key)) {
            let default = match key.default.as_str() {
                "" => String::new(),
                "required" => " (required)".to_owned(),
                default => format!(" (default: {})", default.trim_matches('`')),
            };
            let kinds = key.kinds.join(" or ").replace('`', "");
            let _ = writeln!(text, "  {}: {kinds}{default}", key.name);
            wrap(&mut text, &key.meaning, columns);
        }
        text
    }
}

/// Adds a text in lines with a margin.
fn wrap(to: &mut String, text: &str, columns: usize) {
    const MARGIN: &str = "      ";
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > columns {
            to.push('\n');
            column = 0;
        }
        let before = if column == 0 { MARGIN } else { " " };
        to.extend([before, word]);
        column += before.len() + width;
    }
    if column > 0 {
        to.push('\n');
    }
}

fn list<'v>(node: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    node[key].as_array().into_iter().flatten()
}

fn resolved<'a>(node: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = node["$ref"].as_str();
    let found = reference.map(|reference| schema.pointer(reference.trim_start_matches('#')));
    found.flatten().unwrap_or(node)
}

/// The kinds of value that a key takes.
fn kinds(node: &Value, schema: &Value) -> Vec<String> {
    let node = resolved(node, schema);
    let words = list(node, "enum").chain([&node["const"]]);
    let words = words.filter(|word| !word.is_null());
    let mut kinds: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    for one in list(node, "anyOf").chain(list(node, "oneOf")) {
        kinds.extend(self::kinds(one, schema));
    }
    for name in list(node, "type")
        .chain([&node["type"]])
        .filter_map(Value::as_str)
    {
        match name {
            "null" => {}
            "string" if !kinds.is_empty() => {}
            "array" => {
                let items = self::kinds(&node["items"], schema).join(" or ");
                let is_word = items.ends_with(char::is_alphabetic);
                let plural = if is_word { "s" } else { "" };
                kinds.push(format!("array of {items}{plural}"));
            }
            "object" => kinds.push("table".to_owned()),
            other => kinds.push(other.to_owned()),
        }
    }
    let mut seen = BTreeSet::new();
    kinds.retain(|kind| seen.insert(kind.clone()));
    kinds
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference() -> KeyReference {
        KeyReference::of(&json!({
            "properties": { "platforms": { "properties": { "qemu": {} } } },
            "$defs": {
                "PoolSettings": {
                    "properties": {
                        "keep-for": { "type": "string", "default": "7days", "description": "A time." },
                        "memory": { "$ref": "#/$defs/size" },
                    },
                    "required": ["memory"],
                },
                "size": { "anyOf": [{ "enum": ["all"] }, { "type": "integer" }], "description": "A size." },
                "qemu": { "properties": { "memory": { "type": ["string", "null"] } } },
            },
        }))
    }

    #[test]
    fn a_key_is_found_by_its_name_its_table_and_its_path() {
        let pool = "[pool]\n  memory: \"all\" or integer (required)\n      A size.\n";
        let qemu = "[[targets]] with platform = \"qemu\"\n  memory: string\n";
        for (key, expected) in [
            ("memory", format!("{pool}\n{qemu}")),
            ("pool.memory", pool.to_owned()),
            ("[pool].memory", pool.to_owned()),
            ("qemu", qemu.to_owned()),
            ("platforms.qemu.memory", qemu.to_owned()),
            ("targets.debian.memory", format!("{pool}\n{qemu}")),
            (
                "keep-for",
                "[pool]\n  keep-for: string (default: \"7days\")\n      A time.\n".to_owned(),
            ),
        ] {
            assert_eq!(
                reference().text(Some(key), None).unwrap(),
                expected,
                "{key}"
            );
        }
        let error = reference().text(Some("pool.memroy"), None).unwrap_err();
        assert_eq!(error.hint(), Some("did you mean `memory`?"));
    }

    #[test]
    fn meanings_are_wrapped() {
        let mut text = String::new();
        wrap(&mut text, "some words of a text", 16);
        assert_eq!(text, "      some words\n      of a text\n");
    }
}
