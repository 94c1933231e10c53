//! The AsyncAPI 3.0 document of what agents publish, generated from the Rust types: `schemas/asyncapi.json`.
//!
//! One channel for each kind and one for each kind of a tenant. Payloads are JSON Schemas of draft 07, which tools for
//! AsyncAPI read, and without references, which would mean another place within this document.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::json_schema::schema_as;
use crate::{Kind, headers, limits, subjects};

/// The document.
pub fn async_api() -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    for kind in Kind::ALL {
        let name = kind.as_str();
        let message = json!({ name: reference(&["components", "messages", name]) });
        let parameters =
            json!({ "tenant": { "description": "Whose it is: one token of a subject, at most 256 bytes." } });
        let of_tenant = format!("{name}_of_tenant");
        channels.insert(
            name.to_owned(),
            json!({ "address": subjects::ingest(kind), "messages": message }),
        );
        channels.insert(
            of_tenant.clone(),
            json!({ "address": format!("{}.{{tenant}}.{kind}", subjects::INGEST), "parameters": parameters, "messages": message }),
        );
        for channel in [name, &of_tenant] {
            let operation = json!({
                "action": "receive",
                "channel": reference(&["channels", channel]),
                "messages": [reference(&["channels", channel, "messages", name])],
                "bindings": { "nats": {} },
            });
            operations.insert(format!("receive_{channel}"), operation);
        }
        messages.insert(name.to_owned(), message_of(kind));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "aiai",
            "version": format!("{}", limits::VERSION),
            "description": "What agents publish. The payload of a message is one object, an array of objects, or one object a \
                line; its reply, where one is asked for, is JetStream's acknowledgement.",
        },
        "defaultContentType": "application/json",
        "servers": { "local": { "host": "127.0.0.1:4222", "protocol": "nats" } },
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "messageTraits": { "headers": { "headers": header_schema() } } },
    })
}

fn reference(path: &[&str]) -> Value {
    json!({ "$ref": format!("#/{}", path.join("/")) })
}

fn message_of(kind: Kind) -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let schema = schema_as(kind, settings);
    json!({
        "name": kind.as_str(),
        "summary": schema["description"],
        "contentType": "application/json",
        "traits": [reference(&["components", "messageTraits", "headers"])],
        "payload": { "schemaFormat": "application/schema+json;version=draft-07", "schema": schema },
    })
}

/// The headers that mean something; all may be absent.
fn header_schema() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            headers::CONTENT_TYPE: text("application/x-ndjson: one object a line; application/cloudevents+json: a CloudEvent; \
                application/cloudevents-batch+json: an array of CloudEvents. Otherwise the payload tells."),
            "Nats-Msg-Id": text("The same for a message that is published again: it is stored once within two minutes."),
            headers::TRACE_PARENT: text("W3C trace context: fills trace_id where the body has none."),
            "ce-specversion": text("CloudEvents in binary mode: 1.0."),
            "ce-id": text("CloudEvents in binary mode: becomes the tag ce_id of an event."),
            "ce-source": text("CloudEvents in binary mode: the source."),
            "ce-type": text("CloudEvents in binary mode: the name of an event."),
            "ce-time": text("CloudEvents in binary mode: the timestamp."),
            "ce-subject": text("CloudEvents in binary mode: becomes the tag ce_subject of an event."),
        },
    })
}
