//! `asyncapi.json` is what the Rust types say, and every reference in it leads somewhere.

mod common;

use schemas::{Kind, async_api};
use serde_json::Value;

#[test]
fn the_published_document_is_current() {
    let mut text = serde_json::to_string_pretty(&async_api()).expect("JSON");
    text.push('\n');
    common::check_file(&common::path("asyncapi.json"), text.as_bytes())
        .unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn every_reference_leads_somewhere_and_every_kind_has_its_subjects() {
    let document = async_api();
    let mut references = 0;
    visit(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference
                .strip_prefix('#')
                .expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            references += 1;
        }
    });
    assert!(references > 0, "nothing was checked");
    for kind in Kind::ALL {
        let address = |channel: &str| {
            document["channels"][channel]["address"]
                .as_str()
                .map(str::to_owned)
        };
        assert_eq!(address(kind.as_str()), Some(format!("ingest.{kind}")));
        assert_eq!(
            address(&format!("{kind}_of_tenant")),
            Some(format!("ingest.{{tenant}}.{kind}"))
        );
        let schema = &document["components"]["messages"][kind.as_str()]["payload"]["schema"];
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert!(schema["required"].is_array(), "{kind}");
    }
}

fn visit(value: &Value, see: &mut impl FnMut(&Value)) {
    see(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, see)),
        Value::Object(members) => members.values().for_each(|member| visit(member, see)),
        _ => {}
    }
}
