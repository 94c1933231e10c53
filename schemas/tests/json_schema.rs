//! `json/*.schema.json` are what the Rust types say.

mod common;

use schemas::{Kind, json_schema};

#[test]
fn published_schemas_are_current() {
    let faults: Vec<String> = Kind::ALL
        .into_iter()
        .filter_map(|kind| check(kind).err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn check(kind: Kind) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(&json_schema(kind)).map_err(|error| error.to_string())?;
    text.push('\n');
    common::check_file(
        &common::path(&format!("json/{kind}.schema.json")),
        text.as_bytes(),
    )
}
