//! JSON Schemas of what agents send, generated from the Rust types (draft 2020-12).
//!
//! They say what a schema language can say: `decode` also checks bytes (a schema counts characters), the
//! clock, and fields against each other. Fields which only aiai writes are left out.

use serde_json::{Value, json};

use crate::{Event, Kind, Metric, Usage};

/// The JSON Schema of one object of this kind, as published in `schemas/json/<kind>.schema.json`.
pub fn json_schema(kind: Kind) -> Value {
    let schema = match kind {
        Kind::Metric => schemars::schema_for!(Metric<'static>),
        Kind::Event => schemars::schema_for!(Event<'static>),
        Kind::Usage => schemars::schema_for!(Usage<'static>),
    };
    let mut schema = schema.to_value();
    schema["title"] = json!(kind.as_str());
    schema
}
