//! Assembles the JSON Schema of playbooks, for editors, from the schemas of the types that read them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    PlatformSyntax,
    criteria::Rule,
    overrides::Override,
    recipe::Recipe,
    scenario::{Mode, Scenario},
    schema::{Common, HistorySettings, OWN_KEYS, PoolSettings, Select},
    tables::{Defaults, MetadataSettings},
};

/// Returns the JSON Schema (draft 2020-12) of a playbook for these platforms.
///
/// Required parameters are optional in a target, since `[platforms.X]` may set them.
pub fn schema(platforms: &[&dyn PlatformSyntax]) -> Value {
    let common = local(root::<Common>(), "target");
    let select = local(root::<Select>(), "select");
    let (mut definitions, mut sections, mut cases) = (Map::new(), Map::new(), Vec::new());
    for platform in platforms {
        let own = local(platform.schema(), platform.name());
        sections.insert(
            platform.name().to_owned(),
            section(platform.name(), &common, &own),
        );
        cases.push(case(platform.name(), &common, &own));
        definitions.insert(platform.name().to_owned(), own);
    }
    let mut target = properties(&common);
    if let Some(platform) = target.get_mut("platform") {
        platform["enum"] = sections.keys().cloned().collect();
    }
    definitions.extend(shared());
    definitions.insert("target".to_owned(), common);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A playbook of `cargo target-test`",
        "type": "object",
        "properties": {
            "select": select,
            "pool": { "$ref": "#/$defs/pool" },
            "platforms": {
                "description": "Defaults for every target of a platform.",
                "type": "object", "properties": sections, "additionalProperties": false,
            },
            "targets": {
                "description": "The kinds of system under test.",
                "type": "array",
                "items": {
                    "type": "object", "properties": target, "required": OWN_KEYS, "allOf": cases,
                },
            },
        },
        "additionalProperties": false,
        "$defs": definitions,
    });
    let properties = schema["properties"].as_object_mut();
    properties
        .into_iter()
        .for_each(|properties| properties.extend(tables()));
    schema
}

/// The schemas of all tables other than `select`, `pool`, `platforms` and `targets`.
fn tables() -> Map<String, Value> {
    let all = json!({
        "include": {
            "description": "Playbooks to include, relative to this file. This file adds to them and overrides them.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        },
        "history": { "$ref": "#/$defs/history" },
        "metadata": { "$ref": "#/$defs/metadata" },
        "defaults": { "$ref": "#/$defs/defaults" },
        "recipes": by_name("Steps that prepare an instance before its first test, by name.", "recipe"),
        "criteria": several("Rules that include, exclude or repeat cases.", "rule"),
        "overrides": several("Changes to the metadata that tests declare.", "override"),
        "modes": by_name("Named sets of command-line options.", "mode"),
        "scenarios": several("Named combinations of targets, a recipe and tests.", "scenario"),
    });
    all.as_object().cloned().unwrap_or_default()
}

/// The definitions that all platforms share, by name.
fn shared() -> impl Iterator<Item = (String, Value)> {
    let all = [
        ("recipe", root::<Recipe>()),
        ("pool", root::<PoolSettings>()),
        ("history", root::<HistorySettings>()),
        ("metadata", root::<MetadataSettings>()),
        ("defaults", root::<Defaults>()),
        ("rule", root::<Rule>()),
        ("override", root::<Override>()),
        ("mode", root::<Mode>()),
        ("scenario", root::<Scenario>()),
    ];
    let named = all.map(|(name, schema)| (name.to_owned(), local(schema, name)));
    named.into_iter()
}

fn root<T: schemars::JsonSchema>() -> schemars::Schema {
    let settings = SchemaSettings::draft2020_12();
    settings.into_generator().into_root_schema_for::<T>()
}

/// The schema of a table of named tables, such as `[recipes]`.
fn by_name(description: &str, of: &str) -> Value {
    json!({
        "description": description,
        "type": "object", "additionalProperties": { "$ref": format!("#/$defs/{of}") },
    })
}

/// The schema of an array of tables, such as `[[criteria]]`.
fn several(description: &str, of: &str) -> Value {
    json!({
        "description": description,
        "type": "array", "items": { "$ref": format!("#/$defs/{of}") },
    })
}

/// The schema of `[platforms.NAME]`.
fn section(name: &str, common: &Value, own: &Value) -> Value {
    let mut keys = properties(common);
    keys.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    keys.extend(properties(own));
    json!({
        "description": format!("Defaults for every target of platform `{name}`."),
        "type": "object", "properties": keys, "additionalProperties": is_open(own),
    })
}

/// The condition and schema of a target on this platform.
fn case(name: &str, common: &Value, own: &Value) -> Value {
    let mut keys = properties(common);
    keys.extend(properties(own));
    keys.insert("platform".to_owned(), json!({ "const": name }));
    json!({
        "if": { "properties": { "platform": { "const": name } }, "required": ["platform"] },
        "then": { "properties": keys, "additionalProperties": is_open(own) },
    })
}

/// True if the schema allows unknown keys.
fn is_open(schema: &Value) -> bool {
    schema.get("additionalProperties") != Some(&Value::Bool(false))
}

/// Turns a root schema into a definition at `#/$defs/NAME`, with its references adjusted.
fn local(schema: schemars::Schema, name: &str) -> Value {
    let mut value = schema.to_value();
    if let Some(map) = value.as_object_mut() {
        map.remove("$schema");
    }
    rebase(&mut value, &format!("#/$defs/{name}/"));
    value
}

fn rebase(value: &mut Value, root: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, root)),
        Value::Object(map) => {
            // `null` is serde's default of an absent key; TOML has no null.
            map.retain(|key, value| key != "default" || !value.is_null());
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => *text = text.replacen("#/", root, 1),
                    value => rebase(value, root),
                }
            }
        }
        _ => {}
    }
}

/// The properties of an object schema.
fn properties(schema: &Value) -> Map<String, Value> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}
