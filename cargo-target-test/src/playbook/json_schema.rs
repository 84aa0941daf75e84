//! Assembles the JSON Schema of playbooks, for editors, from the schemas of the types that read them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    PlatformSyntax,
    schema::{OWN_KEYS, PlaybookTables},
};

/// Returns the JSON Schema (draft 2020-12) of a playbook for these platforms.
///
/// Required parameters are optional in a target, since `[platforms.X]` may set them.
pub fn schema(platforms: &[&dyn PlatformSyntax]) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = rebased(generator.into_root_schema_for::<PlaybookTables>(), "#/");
    let common = schema["$defs"]["Common"].take();
    let role = properties(&schema["$defs"]["RoleTable"]);
    let (mut sections, mut cases, mut role_cases) = (Map::new(), Vec::new(), Vec::new());
    for platform in platforms {
        let name = platform.name();
        let mut own = rebased(platform.schema(), &format!("#/$defs/{name}/"));
        own.as_object_mut().map(|own| own.remove("$schema"));
        sections.insert(name.to_owned(), section(name, &common, &own));
        cases.push(case(name, &common, &own, &Map::new()));
        role_cases.push(case(name, &common, &own, &role));
        schema["$defs"][name] = own;
    }
    let mut target = properties(&common);
    target["platform"]["enum"] = sections.keys().cloned().collect();
    let role: Map<_, _> = target.clone().into_iter().chain(role).collect();
    let either = json!([{ "required": ["platform"] }, { "required": ["target"] }]);
    let roles = &mut schema["$defs"]["EnvironmentTable"]["properties"]["roles"];
    roles["additionalProperties"] = json!({
        "type": "object", "properties": role, "anyOf": either, "allOf": role_cases,
    });
    schema["$defs"]["Common"] = common;
    let tables = &mut schema["properties"];
    tables["platforms"]["properties"] = sections.into();
    tables["platforms"]["additionalProperties"] = false.into();
    tables["targets"]["items"] = json!({
        "type": "object", "properties": target, "required": OWN_KEYS, "allOf": cases,
    });
    schema
        .as_object_mut()
        .map(|schema| schema.remove("required"));
    schema
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

/// The condition and schema of a target on this platform, with `more` keys.
fn case(name: &str, common: &Value, own: &Value, more: &Map<String, Value>) -> Value {
    let mut keys = properties(common);
    keys.extend(properties(own));
    keys.extend(more.clone());
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

/// Returns a schema whose references start at `root`.
fn rebased(schema: schemars::Schema, root: &str) -> Value {
    let mut value = schema.to_value();
    rebase(&mut value, root);
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
