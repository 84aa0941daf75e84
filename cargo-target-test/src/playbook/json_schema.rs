//! The JSON Schema of playbooks, for editors.
//!
//! Owns how common keys and platforms' parameters are put together. The parts come from the types
//! that read them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    PlatformSyntax,
    schema::{Common, OWN_KEYS, Select},
};

/// The JSON Schema (draft 2020-12) of a playbook for these platforms.
///
/// Required parameters are not required in a target: `[platforms.X]` may give them.
pub fn schema(platforms: &[PlatformSyntax<'_>]) -> Value {
    let names: Vec<&str> = platforms.iter().map(|platform| platform.name).collect();
    let mut definitions = Map::new();
    let mut sections = Map::new();
    let mut cases = Vec::new();
    let common = local(
        SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<Common>(),
        "target",
    );
    let select = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Select>();
    for platform in platforms {
        let name = platform.name;
        let own = local((platform.schema)(), name);
        let mut keys = properties(&common);
        keys.extend(properties(&own));
        let mut inherited = keys.clone();
        inherited.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
        keys.insert("platform".to_owned(), json!({ "const": name }));
        let open = own.get("additionalProperties") != Some(&Value::Bool(false));
        cases.push(json!({
            "if": { "properties": { "platform": { "const": name } }, "required": ["platform"] },
            "then": { "properties": keys, "additionalProperties": open },
        }));
        sections.insert(
            name.to_owned(),
            json!({
                "description": format!("Defaults for every target of platform `{name}`."),
                "type": "object", "properties": inherited, "additionalProperties": open,
            }),
        );
        definitions.insert(name.to_owned(), own);
    }
    let mut target = properties(&common);
    if let Some(platform) = target.get_mut("platform") {
        platform["enum"] = json!(names);
    }
    definitions.insert("target".to_owned(), common);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A playbook of `cargo target-test`",
        "type": "object",
        "properties": {
            "select": without_schema(select.to_value()),
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
    })
}

/// A schema that stood alone, for use at `#/$defs/NAME`: its own references say so.
fn local(schema: schemars::Schema, name: &str) -> Value {
    let mut value = without_schema(schema.to_value());
    rebase(&mut value, &format!("#/$defs/{name}/"));
    value
}

fn without_schema(mut schema: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
    }
    schema
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
