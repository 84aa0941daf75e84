//! The playbook's reference in the book, made from the schema that `schema` prints.

use std::{fmt::Write as _, fs};

use serde_json::Value;

use super::BOOK;
use crate::support::{examples, repository};

const BEGIN: &str = "<!-- made from the schema -->\n";

#[test]
fn the_reference_is_the_schema() {
    let path = repository().join(BOOK).join("playbook.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, _) = page.split_once(BEGIN).expect("the mark");
    let printed = examples().run(&["schema"]).code(0).stdout;
    let schema: Value = serde_json::from_str(&printed).expect("JSON");
    let made = format!("{before}{BEGIN}{}", reference(&schema));
    if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        fs::write(&path, made).expect("the page");
    } else {
        snapbox::assert_data_eq!(page, snapbox::Data::text(made).raw());
    }
}

/// The tables of a playbook: heading, and place in the schema.
const TABLES: &[(&str, &str)] = &[
    ("`[pool]`", "/$defs/pool"),
    ("`[[targets]]`, all platforms", "/$defs/target"),
    ("`[recipes.NAME]`", "/$defs/recipe"),
    ("Steps of a recipe", "/$defs/recipe/$defs/Step"),
    ("`wait`", "/$defs/recipe/$defs/Wait"),
    ("`[metadata]`", "/$defs/metadata"),
    ("`[[criteria]]`", "/$defs/rule"),
    ("`[[overrides]]`", "/$defs/override"),
    ("`[[scenarios]]`", "/$defs/scenario"),
    ("`[modes.NAME]`", "/$defs/mode"),
];

fn reference(schema: &Value) -> String {
    let mut text = table("Top level", schema, schema);
    for (heading, pointer) in TABLES {
        text += &table(heading, schema.pointer(pointer).expect("a table"), schema);
    }
    let platforms = schema["properties"]["platforms"]["properties"].as_object();
    for name in platforms.expect("platforms").keys() {
        let heading = format!("`[[targets]]` with `platform = \"{name}\"`");
        text += &table(&heading, &schema["$defs"][name], schema);
    }
    text
}

/// A heading and the keys of one table.
fn table(heading: &str, of: &Value, schema: &Value) -> String {
    let mut text = format!("\n## {heading}\n\n");
    if let Some(description) = of["description"].as_str() {
        let _ = writeln!(text, "{description}\n");
    }
    text += "| key | value | default | meaning |\n|---|---|---|---|\n";
    let required = of["required"].as_array().into_iter().flatten();
    let required: Vec<_> = required.filter_map(Value::as_str).collect();
    for (key, node) in of["properties"].as_object().expect("keys") {
        let default = match &node["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            default => format!("`{default}`"),
        };
        let (kinds, resolved) = (kinds(node, schema).join(" or "), resolved(node, schema));
        let mut meaning = [node, resolved]
            .into_iter()
            .map(|node| &node["description"]);
        let meaning = meaning.find_map(Value::as_str).unwrap_or_default();
        let meaning = meaning.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(text, "| `{key}` | {kinds} | {default} | {meaning} |");
    }
    text
}

fn resolved<'a>(node: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = node["$ref"].as_str();
    reference.map_or(node, |reference| {
        let found = schema.pointer(reference.trim_start_matches('#'));
        found.unwrap_or_else(|| panic!("no {reference}"))
    })
}

/// The values that a key takes, in words.
fn kinds(node: &Value, schema: &Value) -> Vec<String> {
    let node = resolved(node, schema);
    let list = |key: &str| node[key].as_array().into_iter().flatten();
    let words = list("enum").chain([&node["const"]]);
    let mut kinds: Vec<String> = words
        .filter(|word| !word.is_null())
        .map(|word| format!("`{word}`"))
        .collect();
    for one in list("anyOf").chain(list("oneOf")) {
        kinds.extend(self::kinds(one, schema));
    }
    let types = list("type").chain([&node["type"]]);
    for name in types.filter_map(Value::as_str) {
        match name {
            "null" => {}
            "string" if !kinds.is_empty() => {}
            "array" => {
                let items = self::kinds(&node["items"], schema).join(" or ");
                let plural = if items.ends_with(char::is_alphabetic) {
                    "s"
                } else {
                    ""
                };
                kinds.push(format!("array of {items}{plural}"));
            }
            "object" => kinds.push("table".to_owned()),
            other => kinds.push(other.to_owned()),
        }
    }
    let mut seen = Vec::new();
    kinds.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(kind.clone());
            true
        }
    });
    kinds
}
