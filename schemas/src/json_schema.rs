//! JSON Schemas of what agents send, generated from the Rust types (draft 2020-12).
//!
//! They say what a schema language can say: `decode` also checks bytes (a schema counts characters), the
//! clock, and fields against each other. Fields which only aiai writes are left out.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::{Kind, with_kind};

/// The JSON Schema of one object of this kind, as published in `schemas/json/<kind>.schema.json`.
pub fn json_schema(kind: Kind) -> Value {
    schema_as(kind, SchemaSettings::draft2020_12())
}

/// The same in another draft, or without references.
pub(crate) fn schema_as(kind: Kind, settings: SchemaSettings) -> Value {
    let generator = settings.into_generator();
    let schema = with_kind!(kind, T => generator.into_root_schema_for::<T<'static>>());
    let mut schema = schema.to_value();
    schema["title"] = json!(kind.as_str());
    match kind {
        // Optional for all other kinds, so their types cannot say it.
        Kind::Session => require(&mut schema, "session"),
        Kind::WorkItem => require(&mut schema, "work_item"),
        Kind::Metric => {
            let or = [
                json!({"required": ["value"]}),
                json!({"required": ["distribution"], "properties": {"distribution": {"type": "object"}}}),
            ];
            schema["anyOf"] = json!(or);
            // Not a number that JSON has: the type's own way to say that there is none.
            if let Some(value) = schema["properties"]["value"].as_object_mut() {
                value.remove("default");
            }
        }
        Kind::Event | Kind::Usage | Kind::Step | Kind::Message => {}
    }
    schema
}

fn require(schema: &mut Value, field: &str) {
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(json!(field));
    }
    // It may be neither null nor blank then.
    let property = &mut schema["properties"][field];
    property["minLength"] = json!(1);
    property["pattern"] = json!("\\S");
    if property["type"].is_array() {
        property["type"] = json!("string");
    }
}
