//! The JSON Schema of playbooks, for editors.
//!
//! Owns how common keys and platforms' parameters are put together. The parts come from the types
//! that read them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    PlatformSyntax,
    criteria::Rule,
    overrides::Override,
    recipe::Recipe,
    scenario::{Mode, Scenario},
    schema::{Common, OWN_KEYS, PoolSettings, Select},
    tables::MetadataSettings,
};

/// The JSON Schema (draft 2020-12) of a playbook for these platforms.
///
/// Required parameters are not required in a target: `[platforms.X]` may give them.
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
                "type": "array", "minItems": 1,
                "items": {
                    "type": "object", "properties": target, "required": OWN_KEYS, "allOf": cases,
                },
            },
        },
        "required": ["targets"],
        "additionalProperties": false,
        "$defs": definitions,
    });
    let properties = schema["properties"].as_object_mut();
    properties
        .into_iter()
        .for_each(|properties| properties.extend(tables()));
    schema
}

/// The tables beside platforms and targets.
fn tables() -> Map<String, Value> {
    let all = json!({
        "include": {
            "description": "Playbooks that this one adds to and overrides, relative to this file.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        },
        "metadata": { "$ref": "#/$defs/metadata" },
        "recipes": by_name("Steps that prepare an instance before its first test, by name.", "recipe"),
        "criteria": several("Rules that include, exclude or repeat cases.", "rule"),
        "overrides": several("Changes of what tests declare.", "override"),
        "modes": by_name("Options that could be typed, by name.", "mode"),
        "scenarios": several("What is run together under one name.", "scenario"),
    });
    all.as_object().cloned().unwrap_or_default()
}

/// What is the same for all platforms, by name.
fn shared() -> impl Iterator<Item = (String, Value)> {
    let all = [
        ("recipe", root::<Recipe>()),
        ("pool", root::<PoolSettings>()),
        ("metadata", root::<MetadataSettings>()),
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

/// `[recipes]` and the like.
fn by_name(description: &str, of: &str) -> Value {
    json!({
        "description": description,
        "type": "object", "additionalProperties": { "$ref": format!("#/$defs/{of}") },
    })
}

/// `[[criteria]]` and the like.
fn several(description: &str, of: &str) -> Value {
    json!({
        "description": description,
        "type": "array", "items": { "$ref": format!("#/$defs/{of}") },
    })
}

/// `[platforms.NAME]`.
fn section(name: &str, common: &Value, own: &Value) -> Value {
    let mut keys = properties(common);
    keys.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    keys.extend(properties(own));
    json!({
        "description": format!("Defaults for every target of platform `{name}`."),
        "type": "object", "properties": keys, "additionalProperties": open(own),
    })
}

/// What a target is where it is on this platform.
fn case(name: &str, common: &Value, own: &Value) -> Value {
    let mut keys = properties(common);
    keys.extend(properties(own));
    keys.insert("platform".to_owned(), json!({ "const": name }));
    json!({
        "if": { "properties": { "platform": { "const": name } }, "required": ["platform"] },
        "then": { "properties": keys, "additionalProperties": open(own) },
    })
}

/// Whether keys that the schema does not know are allowed.
fn open(schema: &Value) -> bool {
    schema.get("additionalProperties") != Some(&Value::Bool(false))
}

/// A schema that stood alone, for use at `#/$defs/NAME`: its own references say so.
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
            // What an absent key is to serde: nothing that TOML could say.
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

/// An object schema's properties.
fn properties(schema: &Value) -> Map<String, Value> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}
