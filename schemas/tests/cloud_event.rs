//! CloudEvents 1.0 in each mode, on every kind's subject, and W3C trace context.

use schemas::{CloudEvent, Decoded, Incoming, Kind, Reason, Time, decode, headers};
use serde_json::{Value, json};

const STORED: Time = Time(1_795_158_001_000_000);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A message as it came: kind, headers, payload.
#[derive(Clone, Copy)]
struct Message<'a> {
    kind: Kind,
    headers: &'a [(&'a str, &'a str)],
    payload: &'a [u8],
}

/// Of what was rejected: index, reason and place.
type Refused = (Option<u32>, Reason, String);

/// Its events, and what was rejected.
fn run(message: Message<'_>) -> (Vec<Value>, Vec<Refused>) {
    let header = |name: &str| {
        let found = message.headers.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| *value)
    };
    let subject = format!("ingest.acme.{}", message.kind);
    let incoming = Incoming {
        subject: &subject,
        content_type: header("content-type"),
        trace_parent: header(headers::TRACE_PARENT),
        cloud_event: CloudEvent::from_headers(header),
        payload: message.payload,
        origin: 7,
        stored: STORED,
    };
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    decode(&incoming, |decoded| match decoded {
        Decoded::Item { item, .. } => {
            let mut line = Vec::new();
            item.write_line(&mut line);
            events.push(serde_json::from_slice(&line).expect("JSON"));
        }
        Decoded::Rejected {
            index,
            payload,
            rejection,
        } => {
            let (part, whole) = (payload.as_ptr_range(), message.payload.as_ptr_range());
            assert!(
                whole.start <= part.start && part.end <= whole.end,
                "bytes from elsewhere"
            );
            rejected.push((index, rejection.reason, rejection.place));
        }
    });
    (events, rejected)
}

fn one(message: Message<'_>) -> Value {
    let (mut events, rejected) = run(message);
    assert_eq!((events.len(), rejected.len()), (1, 0), "{events:?} {rejected:?}");
    events.remove(0)
}

fn refused(message: Message<'_>) -> Vec<Refused> {
    let (events, rejected) = run(message);
    assert!(events.is_empty(), "{events:?}");
    rejected
}

const ATTRIBUTES: [(&str, &str); 6] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "A234-1234"),
    ("ce-source", "/ci/%E2%82%AC"),
    ("ce-type", "build.finished"),
    ("ce-time", "2026-11-20T06:00:00Z"),
    ("ce-subject", "main"),
];

fn with<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&ATTRIBUTES[..], extra].concat()
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    ATTRIBUTES
        .into_iter()
        .filter(|(found, _)| *found != name)
        .collect()
}

#[test]
fn in_binary_mode_headers_say_what_happened() {
    for (content_type, payload, data) in [
        (
            "application/json",
            &br#"{"ok":[true]}"#[..],
            json!({"ok": [true]}),
        ),
        ("application/vnd.acme+json; charset=utf-8", b"7", json!(7)),
        ("text/plain", b"{not json", json!("{not json")),
        ("text/plain", b"7", json!("7")),
        (
            "application/octet-stream",
            b"\xff\x00",
            json!({"data_base64": "/wA="}),
        ),
        ("text/plain", b"\xff", json!({"data_base64": "/w=="})),
    ] {
        let event = one(Message {
            kind: Kind::Event,
            headers: &with(&[("content-type", content_type)]),
            payload,
        });
        let wanted = json!({
            "o": 7, "i": 0, "tenant": "acme", "timestamp": "2026-11-20T06:00:00.000000Z", "source": "/ci/€",
            "name": "build.finished", "data": data, "tags": {"ce_id": "A234-1234", "ce_subject": "main"}, "v": 1,
        });
        assert_eq!(event, wanted, "{content_type}");
    }
    let bare = |payload| {
        one(Message {
            kind: Kind::Event,
            headers: &without("ce-subject"),
            payload,
        })
    };
    assert_eq!(
        (bare(b"").get("data"), bare(b"x")["data"].clone()),
        (None, json!("x"))
    );
    assert_eq!(bare(b"[1]")["tags"], json!({"ce_id": "A234-1234"}));
}

#[test]
fn in_structured_mode_the_payload_says_it() {
    let structured = [("content-type", "application/cloudevents+json; charset=UTF-8")];
    let event = |data: Value| {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "traceparent": PARENT, "more": 1});
        event
            .as_object_mut()
            .expect("an object")
            .extend(data.as_object().expect("an object").clone());
        one(Message {
            kind: Kind::Event,
            headers: &structured,
            payload: event.to_string().as_bytes(),
        })
    };
    let found = event(json!({"data": {"a": "\n"}}));
    let wanted = json!({
        "o": 7, "i": 0, "tenant": "acme", "timestamp": "2026-11-20T07:00:01.000000Z", "source": "s", "name": "t",
        "data": {"a": "\n"}, "tags": {"ce_id": "1"}, "trace_id": TRACE, "v": 1,
    });
    assert_eq!(found, wanted);
    assert_eq!(
        event(json!({"data_base64": "AQ=="}))["data"],
        json!({"data_base64": "AQ=="})
    );
    assert_eq!(event(json!({})).get("data"), None);
}

#[test]
fn a_batch_gives_good_ones_and_names_bad_ones() {
    let payload = br#"[{"specversion":"1.0","id":"1","source":"s","type":"t"}, {"specversion":"0.3","id":"2","source":"s","type":"t"},
        {"specversion":"1.0","id":"3","source":"s","type":"t","time":"yesterday"}, 7, {"specversion":"1.0","id":"5","source":"s","type":"u"}]"#;
    let (events, rejected) = run(Message {
        kind: Kind::Event,
        headers: &[("content-type", headers::CLOUD_EVENTS)],
        payload,
    });
    let found: Vec<_> = events
        .iter()
        .map(|event| (event["i"].clone(), event["name"].clone()))
        .collect();
    assert_eq!(found, [(json!(0), json!("t")), (json!(4), json!("u"))]);
    let wanted = [
        (Some(1), Reason::UnknownValue, "[1].specversion".to_owned()),
        (Some(2), Reason::BadTime, "[2].time".to_owned()),
        (Some(3), Reason::WrongType, "[3]".to_owned()),
    ];
    assert_eq!(rejected, wanted);
}

#[test]
fn on_another_kind_the_data_is_that_kind() {
    let message = Message {
        kind: Kind::Usage,
        headers: &with(&[]),
        payload: br#"[{"model":"m","tags":{"a":"b"}},{"model":"n","source":"mine","timestamp":"2026-11-20T05:00:00Z"}]"#,
    };
    let (events, rejected) = run(message);
    assert!(rejected.is_empty(), "{rejected:?}");
    let of = |event: &Value| {
        (
            event["source"].clone(),
            event["timestamp"].clone(),
            event.get("tags").cloned(),
        )
    };
    assert_eq!(
        of(&events[0]),
        (
            json!("/ci/€"),
            json!("2026-11-20T06:00:00.000000Z"),
            Some(json!({"a": "b"}))
        )
    );
    assert_eq!(
        of(&events[1]),
        (json!("mine"), json!("2026-11-20T05:00:00.000000Z"), None)
    );
    for kind in Kind::ALL {
        let data = match kind {
            Kind::Metric => r#"{"name":"a","value":1}"#,
            Kind::Event => "1",
            Kind::Usage => r#"{"model":"m"}"#,
            Kind::Step => r#"{"name":"a"}"#,
            Kind::Message => r#"{"body":"a"}"#,
            Kind::Session => r#"{"session":"a","state":"ended"}"#,
            Kind::WorkItem => r#"{"work_item":"a","state":"done"}"#,
        };
        let payload = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{data}}}"#);
        let found = one(Message {
            kind,
            headers: &[("content-type", headers::CLOUD_EVENT)],
            payload: payload.as_bytes(),
        });
        assert_eq!(found["source"], "s", "{kind}");
    }
}

#[test]
fn what_is_wrong_is_named_as_its_sender_knows_it() {
    let structured = [("content-type", headers::CLOUD_EVENT)];
    let long = "x".repeat(300);
    let refusal = |kind, headers: &[(&str, &str)], payload: &str| {
        let mut all = refused(Message {
            kind,
            headers,
            payload: payload.as_bytes(),
        });
        assert_eq!(all.len(), 1, "{all:?}");
        let (index, reason, place) = all.remove(0);
        assert_eq!(index, None);
        (reason, place)
    };
    for (name, place) in [
        ("ce-specversion", "specversion"),
        ("ce-id", "id"),
        ("ce-source", "source"),
        ("ce-type", "type"),
    ] {
        assert_eq!(
            refusal(Kind::Event, &without(name), "1"),
            (Reason::MissingField, place.to_owned())
        );
        assert_eq!(refusal(Kind::Step, &without(name), r#"{"name":"a"}"#).1, place);
    }
    let mut late = without("ce-time");
    late.push(("ce-time", "2027-01-01T00:00:00Z"));
    assert_eq!(refusal(Kind::Event, &late, "1"), (Reason::BadTime, "time".into()));
    let mut named = without("ce-type");
    named.push(("ce-type", &long));
    assert_eq!(
        refusal(Kind::Event, &named, "1"),
        (Reason::TooLarge, "type".into())
    );
    let json = with(&[("content-type", "application/json")]);
    assert_eq!(refusal(Kind::Event, &json, "{").0, Reason::TruncatedJson);
    for (payload, reason, place) in [
        ("{", Reason::TruncatedJson, "payload"),
        ("[]", Reason::WrongType, "payload"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s"}"#,
            Reason::MissingField,
            "type",
        ),
        (
            r#"{"specversion":"1.0","id":7,"source":"s","type":"t"}"#,
            Reason::WrongType,
            "payload",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#,
            Reason::MissingField,
            "data",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"nam":"x"}}"#,
            Reason::UnknownField,
            "data.nam",
        ),
    ] {
        assert_eq!(
            refusal(Kind::Step, &structured, payload),
            (reason, place.to_owned()),
            "{payload}"
        );
    }
}

#[test]
fn a_trace_parent_fills_what_the_body_leaves_out() {
    let trace = |parent: &str, body: &str| {
        one(Message {
            kind: Kind::Metric,
            headers: &[(headers::TRACE_PARENT, parent)],
            payload: body.as_bytes(),
        })
        .get("trace_id")
        .cloned()
    };
    let bare = r#"{"name":"a","value":1}"#;
    assert_eq!(trace(PARENT, bare), Some(json!(TRACE)));
    assert_eq!(trace(&PARENT.replacen("00", "cc", 1), bare), Some(json!(TRACE)));
    assert_eq!(
        trace(&format!("cc{}-what-comes-later", &PARENT[2..]), bare),
        Some(json!(TRACE))
    );
    assert_eq!(
        trace(PARENT, r#"{"name":"a","value":1,"trace_id":"mine"}"#),
        Some(json!("mine"))
    );
    let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    let upper = PARENT.to_uppercase();
    let longer = format!("{PARENT}-00");
    for parent in [
        "",
        "00",
        &zero,
        &upper,
        &longer,
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(trace(parent, bare), None, "{parent}");
    }
}

#[test]
fn data_is_there_once_and_base_64_is_base_64() {
    let structured = [("content-type", headers::CLOUD_EVENT)];
    for (data, reason) in [
        (r#""data":{"a":1},"data_base64":"AAA=""#, Reason::Inconsistent),
        (r#""data_base64":"!!!""#, Reason::UnknownValue),
        (
            r#""data":{"name":"n","kind":"gauge","value":1},"data_base64":"AAA=""#,
            Reason::Inconsistent,
        ),
    ] {
        let payload = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{data}}}"#);
        for kind in [Kind::Event, Kind::Metric] {
            let message = Message {
                kind,
                headers: &structured,
                payload: payload.as_bytes(),
            };
            assert_eq!(
                refused(message),
                [(None, reason, "data_base64".to_owned())],
                "{payload}"
            );
        }
    }
    let payload =
        br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":null,"data_base64":"AAA="}"#;
    let event = one(Message {
        kind: Kind::Event,
        headers: &structured,
        payload,
    });
    assert_eq!(event["data"], json!({"data_base64": "AAA="}));
}
