//! The JSON Schema of a description, which accepts what the reader accepts.

use std::borrow::Cow;

use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema,
    transform::RecursiveTransform,
};
use serde_json::Value;

use super::Description;

/// Returns the JSON Schema of a description.
pub fn description_schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = settings.with_transform(RecursiveTransform(without_null));
    let generator = settings.into_generator();
    generator.into_root_schema_for::<Description>().to_value()
}

/// The schema of an argument: any value but `null`, at any depth.
pub(super) struct Argument;

impl JsonSchema for Argument {
    fn schema_name() -> Cow<'static, str> {
        "Argument".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inner = generator.subschema_for::<Self>();
        let types = ["string", "number", "boolean", "array", "object"];
        json_schema!({ "type": types, "items": inner, "additionalProperties": inner })
    }
}

/// Removes `null` from a schema: the reader refuses it, and a key can be left out.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
}
