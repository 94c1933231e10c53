//! The OpenAPI 3.1 document, made from the types that are sent and accepted.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemas::{Kind, headers, json_schema, limits};
use serde_json::{Map, Value, json};

use crate::problem::{self, Problem, SORTS, Sort};
use crate::ready::Readiness;
use crate::receive::Accepted;
use crate::{Config, request};

/// Where definitions are, as a JSON pointer in a reference.
const COMPONENTS: &str = "/components/schemas";

/// One path that takes events.
pub(crate) struct Door {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    what: &'static str,
}

const fn door(path: &'static str, kind: Kind, what: &'static str) -> Door {
    Door { path, kind, what }
}

/// All of them.
pub(crate) const DOORS: &[Door] = &[
    door("/v1/metrics", Kind::Metric, "measurements"),
    door("/v1/metrics/batch", Kind::Metric, "many measurements"),
    door("/v1/events", Kind::Event, "things that happened"),
    door("/v1/usage", Kind::Usage, "model calls"),
    door("/v1/steps", Kind::Step, "steps of workflows"),
    door(
        "/v1/messages",
        Kind::Message,
        "messages between agents and people",
    ),
    door("/v1/sessions", Kind::Session, "what became of sessions"),
    door("/v1/work-items", Kind::WorkItem, "what became of tasks"),
];

/// The document for a gateway with this configuration.
pub(crate) fn document(config: &Config) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = COMPONENTS.into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let secured = !config.tokens.is_empty();
    let mut paths = Map::new();
    for door in DOORS {
        paths.insert(
            door.path.to_owned(),
            json!({ "post": post(door, secured, &mut schemas) }),
        );
    }
    paths.extend(looks(&mut schemas));
    let mut components = Map::new();
    for kind in Kind::ALL {
        let schema = kind_schema(kind, &mut components);
        components.insert(kind.as_str().to_owned(), schema);
        components.insert(cloud_event_name(kind), cloud_event(kind));
    }
    components.extend(schemas.take_definitions(true));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "aiai gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Publishes what agents did. A 202 says that everything of the request is on disk; after any \
                            other answer nothing of it is, unless a 503 says that it may be: then try again with the \
                            same Idempotency-Key. Bodies may be compressed (Content-Encoding gzip or zstd).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": components },
    });
    if secured {
        document["components"]["securitySchemes"] = json!({
            "token": { "type": "http", "scheme": "bearer", "description": "A token of gateway.tokens." }
        });
    }
    document
}

/// A kind's schema without what is of no use inside a document; its definitions go beside it.
fn kind_schema(kind: Kind, components: &mut Map<String, Value>) -> Value {
    let mut schema = json_schema(kind);
    rehomed(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        if let Some(Value::Object(definitions)) = object.remove("$defs") {
            components.extend(definitions);
        }
    }
    schema
}

/// References lead to where the document keeps definitions.
fn rehomed(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#{COMPONENTS}/{name}");
            }
            members.values_mut().for_each(rehomed);
        }
        Value::Array(items) => items.iter_mut().for_each(rehomed),
        _ => {}
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#{COMPONENTS}/{name}") })
}

fn post(door: &Door, secured: bool, schemas: &mut SchemaGenerator) -> Value {
    let name = door.path.trim_start_matches("/v1/").replace(['/', '-'], "_");
    let mut operation = json!({
        "operationId": format!("publish_{name}"),
        "summary": format!("Publishes {}: all of them, or none.", door.what),
        "parameters": parameters(secured),
        "requestBody": { "required": true, "content": bodies(door.kind) },
        "responses": answers(secured, schemas),
    });
    if secured {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

fn bodies(kind: Kind) -> Value {
    let list =
        |items: &Value| json!({ "type": "array", "items": items, "minItems": 1, "maxItems": limits::ITEMS });
    let one = reference(kind.as_str());
    let event = reference(&cloud_event_name(kind));
    let mut content = Map::new();
    let one_or_many = json!({ "schema": { "anyOf": [one, list(&one)] } });
    content.insert(request::JSON.to_owned(), one_or_many);
    content.insert(headers::CLOUD_EVENT.to_owned(), json!({ "schema": event }));
    content.insert(
        headers::CLOUD_EVENTS.to_owned(),
        json!({ "schema": list(&event) }),
    );
    for name in request::LINES {
        content.insert(name.to_owned(), json!({}));
    }
    Value::Object(content)
}

fn cloud_event_name(kind: Kind) -> String {
    format!("cloud_event_{kind}")
}

/// A CloudEvent in structured mode on the path of a kind.
fn cloud_event(kind: Kind) -> Value {
    let mut schema = json!({
        "type": "object",
        "title": format!("CloudEvent with a {kind}"),
        "description": "A CloudEvent 1.0 in structured mode. Its source and time stand in for what the data leaves out; \
                        extension attributes are accepted and not kept.",
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1 },
            "type": { "type": "string", "minLength": 1 },
            "time": { "anyOf": [{ "type": "string", "format": "date-time" }, { "type": "null" }] },
            "subject": { "type": ["string", "null"] },
            "datacontenttype": { "enum": ["application/json", null] },
            "dataschema": true,
            "traceparent": { "type": ["string", "null"] },
            "data": reference(kind.as_str()),
        },
        "required": ["specversion", "id", "source", "type", "data"],
    });
    if kind == Kind::Event {
        // They become the name, the source and tags.
        schema["properties"]["source"]["maxLength"] = json!(limits::TEXT_BYTES);
        schema["properties"]["id"]["maxLength"] = json!(limits::TAG_VALUE_BYTES);
        schema["properties"]["type"] =
            json!({ "type": "string", "minLength": 1, "maxLength": limits::NAME_BYTES, "pattern": "\\S" });
        schema["properties"]["subject"]["maxLength"] = json!(limits::TAG_VALUE_BYTES);
        schema["properties"]["data"] = json!(true);
        schema["properties"]["data_base64"] =
            json!({ "type": ["string", "null"], "contentEncoding": "base64" });
        schema["required"] = json!(["specversion", "id", "source", "type"]);
        schema["description"] = json!(
            "A CloudEvent 1.0 in structured mode: its type becomes the name, its id and subject become tags. Extension \
             attributes are accepted and not kept."
        );
    }
    schema
}

fn parameters(secured: bool) -> Value {
    let mut all = vec![
        header(
            request::IDEMPOTENCY_KEY,
            "Makes trying again safe: of requests with the same key to the same path, one is stored (within \
             streams.duplicate_window_seconds).",
            &json!({ "type": "string", "minLength": 1, "maxLength": request::KEY_BYTES_MAX, "pattern": "^[!-~]+$" }),
        ),
        header(
            headers::TRACE_PARENT,
            "W3C Trace Context: fills trace_id where an item has none. One that is not valid is of no effect.",
            &json!({ "type": "string" }),
        ),
    ];
    if !secured {
        all.push(header(
            request::TENANT,
            "Whose items they are. With tokens configured, the token says it.",
            &json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}$", "default": "default" }),
        ));
    }
    Value::Array(all)
}

fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
}

/// What a door may answer.
fn answers(secured: bool, schemas: &mut SchemaGenerator) -> Value {
    let mut all = Map::new();
    let accepted = schemas.subschema_for::<Accepted>();
    all.insert(
        "202".to_owned(),
        json!({
            "description": "Everything of the request is on disk.",
            "content": { request::JSON: { "schema": accepted } },
        }),
    );
    let elsewhere = [problem::NOT_FOUND, problem::WRONG_METHOD];
    for sort in SORTS.iter().filter(|sort| !elsewhere.contains(sort)) {
        if *sort != problem::UNAUTHORIZED || secured {
            all.insert(sort.status.as_str().to_owned(), refusal(*sort, schemas));
        }
    }
    Value::Object(all)
}

fn refusal(sort: Sort, schemas: &mut SchemaGenerator) -> Value {
    let names = SORTS.iter().filter(|other| other.status == sort.status);
    let titles: Vec<_> = names.map(|sort| sort.title).collect();
    let mut answer = json!({
        "description": format!("{}.", titles.join(", or: ")),
        "content": { problem::MEDIA_TYPE: { "schema": schemas.subschema_for::<Problem>() } },
    });
    let header = match sort {
        problem::BUSY | problem::UNAVAILABLE => {
            Some(("Retry-After", "Seconds to wait.", json!({ "type": "integer" })))
        }
        problem::UNAUTHORIZED => Some((
            "WWW-Authenticate",
            "How to say who it is.",
            json!({ "type": "string" }),
        )),
        _ => None,
    };
    if let Some((name, description, schema)) = header {
        answer["headers"] =
            json!({ name: { "required": true, "description": description, "schema": schema } });
    }
    answer
}

/// The paths that only tell.
fn looks(schemas: &mut SchemaGenerator) -> Map<String, Value> {
    let look = |id: &str, summary: &str, responses: Value| {
        let mut responses = responses;
        responses["421"] = json!({
            "description": format!("{}.", problem::WRONG_HOST.title),
            "content": { problem::MEDIA_TYPE: { "schema": reference("Problem") } },
        });
        json!({ "get": { "operationId": id, "summary": summary, "responses": responses } })
    };
    let json_answer = |description: &str, schema: Value| json!({ "description": description, "content": { request::JSON: { "schema": schema } } });
    let readiness = schemas.subschema_for::<Readiness>().to_value();
    let mut unready = json_answer("Something is missing.", readiness.clone());
    unready["headers"] = json!({ "Retry-After": { "required": true, "schema": { "type": "integer" } } });
    let alive = json!({
        "type": "object",
        "properties": { "status": { "const": "ok" } },
        "required": ["status"],
        "additionalProperties": false,
    });
    let figures = json!({
        "description": "The Prometheus text format.",
        "content": { "text/plain": { "schema": { "type": "string" } } },
    });
    let mut all = Map::new();
    for (path, operation) in [
        (
            "/health",
            look(
                "health",
                "Whether the process serves.",
                json!({ "200": json_answer("It does.", alive) }),
            ),
        ),
        (
            "/ready",
            look(
                "ready",
                "Whether what is published now gets into the database.",
                json!({ "200": json_answer("It does.", readiness), "503": unready }),
            ),
        ),
        (
            "/metrics",
            look("metrics", "Figures for Prometheus.", json!({ "200": figures })),
        ),
        (
            "/openapi.json",
            look(
                "openapi",
                "This document.",
                json!({ "200": json_answer("It.", json!({ "type": "object" })) }),
            ),
        ),
    ] {
        all.insert(path.to_owned(), operation);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference in a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&Config::default());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for target in found {
            let pointer = target.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn tokens_are_asked_for_where_they_are_configured() {
        let open = document(&Config::default());
        assert!(open["components"]["securitySchemes"].is_null());
        assert!(open["paths"]["/v1/usage"]["post"]["responses"]["401"].is_null());
        let mut config = Config::default();
        config.tokens.0.push(bus::Token {
            token: "0123456789abcdef".into(),
            tenant: "acme".into(),
        });
        let closed = document(&config);
        assert_eq!(
            closed["paths"]["/v1/usage"]["post"]["security"][0]["token"],
            json!([])
        );
        assert!(
            closed["paths"]["/v1/usage"]["post"]["responses"]["401"]["headers"]["WWW-Authenticate"]
                .is_object()
        );
        assert!(!closed.to_string().contains("0123456789abcdef"));
    }
}
