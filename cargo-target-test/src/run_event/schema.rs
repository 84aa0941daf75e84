//! The JSON Schema of a line of the feed, and the schemas of types of `target-fixtures`, which has none.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::RunEvent;

/// Returns the JSON Schema (draft 2020-12) of a run event.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let schema = settings.into_generator().into_root_schema_for::<RunEvent>();
    let mut schema = schema.to_value();
    schema["title"] = "A line of the feed of `cargo target-test`".into();
    schema
}

/// The schema of [`Exit`](target_fixtures::wire::Exit).
#[derive(JsonSchema)]
#[schemars(rename = "Exit", rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum ExitSchema {
    /// The program exited with this code.
    Code(i32),
    /// A signal killed the program; its name without `SIG`.
    Signal(String),
}

/// The schema of [`Stream`](target_fixtures::wire::Stream).
#[derive(JsonSchema)]
#[schemars(rename = "Stream", rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum StreamSchema {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// The schema of [`Measurement`](target_fixtures::wire::Measurement).
#[derive(JsonSchema)]
#[schemars(rename = "Measurement")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct MeasurementSchema {
    /// The name.
    name: String,
    /// The value.
    value: f64,
    /// The unit.
    #[schemars(default)]
    unit: Option<String>,
}

/// The schema of [`SubResult`](target_fixtures::wire::SubResult).
#[derive(JsonSchema)]
#[schemars(rename = "SubResult")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct SubResultSchema {
    /// The path of the subtest, outermost first.
    path: Vec<String>,
    /// The lane, such as an instance.
    #[schemars(default)]
    lane: Option<String>,
    verdict: VerdictKindSchema,
    /// The start, in microseconds since 1970.
    started: u64,
    /// The duration in microseconds.
    took: u64,
    /// The reason of a failure or a skip.
    #[schemars(default)]
    message: Option<String>,
}

/// The schema of [`VerdictKind`](target_fixtures::wire::VerdictKind).
#[derive(JsonSchema)]
#[schemars(rename = "VerdictKind", rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum VerdictKindSchema {
    Pass,
    Fail,
    Crash,
    Skip,
    Infra,
}
