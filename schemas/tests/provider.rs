//! `golden/provider/<name>.json`: usage objects as providers' responses have them, and what an event with one of them becomes.
//! The costs were worked out by hand, with the prices of `golden/provider/prices.toml`.

#[expect(dead_code, reason = "nothing is blessed here")]
mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::price::PriceTable;
use schemas::{Decoded, Incoming, Item, Reason, Rejection, Time, decode};
use serde_json::{Value, json};

const STORED: Time = Time(1_795_158_001_000_000);
/// The fields that a usage object may fill.
const FIELDS: [&str; 9] = [
    "tokens_in",
    "tokens_out",
    "tokens_cache_read",
    "tokens_cache_write",
    "tokens_cache_write_1h",
    "tokens_reasoning",
    "service_tier",
    "cost_usd",
    "cost_source",
];

fn prices() -> PriceTable {
    let text = std::fs::read_to_string(common::path("golden/provider/prices.toml")).expect("prices");
    PriceTable::parse("prices.toml", &text).expect("sound")
}

/// The fields of the canonical event, or why it is none.
fn canonical(event: &Value) -> Result<BTreeMap<String, Value>, Rejection> {
    let payload = event.to_string();
    let incoming = Incoming {
        subject: "ingest.usage",
        content_type: None,
        trace_parent: None,
        cloud_event: None,
        payload: payload.as_bytes(),
        origin: 1,
        stored: STORED,
    };
    let table = prices();
    let mut found = None;
    decode(&incoming, |decoded| {
        found = Some(match decoded {
            Decoded::Item {
                item: Item::Usage(mut usage),
                ..
            } => {
                table.apply(&mut usage);
                let mut line = Vec::new();
                Item::Usage(usage).write_line(&mut line);
                Ok(serde_json::from_slice(&line).expect("an object"))
            }
            Decoded::Item { .. } => panic!("another kind"),
            Decoded::Rejected { rejection, .. } => Err(rejection),
        });
    });
    found.expect("one item")
}

#[test]
fn every_providers_usage_becomes_inclusive_counts_and_a_cost() {
    let mut cases = 0;
    for file in std::fs::read_dir(common::path("golden/provider")).expect("a folder") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let case: Value = serde_json::from_str(&text).expect("JSON");
        let event = canonical(&case["event"]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!event.contains_key("usage"), "{}: it is not kept", path.display());
        for field in FIELDS {
            let found = event.get(field);
            let wanted = case["expected"].get(field);
            // Costs are compared as text: a double would hide the last digits.
            let same = match (found, wanted) {
                (Some(Value::Number(found)), Some(Value::String(wanted))) => {
                    let found: schemas::Money = found.to_string().parse().expect("money");
                    found.to_string() == *wanted
                }
                (found, wanted) => found == wanted,
            };
            assert!(same, "{}: {field} is {found:?}, not {wanted:?}", path.display());
        }
        cases += 1;
    }
    assert!(cases >= 15, "{cases} fixtures");
}

#[test]
fn what_the_event_says_itself_must_agree() {
    let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5});
    let agreeing = json!({"model": "m", "tokens_in": 100, "usage": usage, "tokens_out": 5});
    assert_eq!(canonical(&agreeing).expect("accepted")["tokens_in"], 100);
    let filling = json!({"model": "m", "tokens_reasoning": 3, "usage": usage});
    assert_eq!(canonical(&filling).expect("accepted")["tokens_reasoning"], 3);
    let contradicting = json!({"model": "m", "tokens_in": 10, "usage": usage});
    let rejection = canonical(&contradicting).expect_err("refused");
    assert_eq!(
        (rejection.reason, rejection.place.as_str()),
        (Reason::Inconsistent, "tokens_in")
    );
    assert_eq!(rejection.problem, "is 10, but usage says 100");
}

/// What stands under `usage`, why it is refused, where, and a part of what is said.
fn no_usage_objects() -> Vec<(Value, Reason, &'static str, &'static str)> {
    vec![
        (json!({}), Reason::UnknownValue, "usage", "is empty"),
        (
            json!({"tokens": 5}),
            Reason::UnknownValue,
            "usage",
            "no shape that is known, but the fields tokens",
        ),
        (json!([1]), Reason::WrongType, "usage", "is not an object"),
        (json!("x"), Reason::WrongType, "usage", "is not an object"),
        (
            json!({"prompt_tokens": -1, "completion_tokens": 2}),
            Reason::WrongType,
            "usage.prompt_tokens",
            "is -1, not a whole number",
        ),
        (
            json!({"prompt_tokens": 1.5}),
            Reason::WrongType,
            "usage.prompt_tokens",
            "is 1.5",
        ),
        (
            json!({"input_tokens": 1, "output_tokens_details": {"reasoning_tokens": "3"}, "output_tokens": 4}),
            Reason::WrongType,
            "usage.output_tokens_details.reasoning_tokens",
            "is \"3\"",
        ),
        (
            json!({"input_tokens": 1, "output_tokens": 4, "cache_read_input_tokens": 3, "input_tokens_details": {}}),
            Reason::Inconsistent,
            "usage",
            "both Anthropic and OpenAI",
        ),
        (
            json!({"input_tokens": 1, "output_tokens": 4, "cache_creation_input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 4}}),
            Reason::Inconsistent,
            "usage.cache_creation_input_tokens",
            "adds up to 4",
        ),
        (
            json!({"inputTokens": 900_000_000_000_u64, "cacheReadInputTokens": 900_000_000_000_u64}),
            Reason::OutOfRange,
            "usage.inputTokens",
            "adds up to",
        ),
        (
            json!({"prompt_tokens": 1, "completion_tokens": 1, "cost": -0.5}),
            Reason::WrongType,
            "usage.cost",
            "is -0.5, not an amount",
        ),
        (
            json!({"prompt_tokens": 1, "x": "y".repeat(20_000)}),
            Reason::TooLarge,
            "usage",
            "bytes of JSON",
        ),
    ]
}

#[test]
fn what_is_no_usage_object_is_refused_with_its_place() {
    for (usage, reason, place, part) in no_usage_objects() {
        let event = json!({"model": "m", "usage": usage});
        let rejection = canonical(&event).expect_err(&event.to_string());
        assert_eq!(
            (rejection.reason, rejection.place.as_str()),
            (reason, place),
            "{rejection}"
        );
        assert!(rejection.problem.contains(part), "{rejection}");
        assert!(!rejection.fix.is_empty());
    }
    let twice = r#"{"model":"m","usage":{"prompt_tokens":1,"prompt_tokens":2}}"#;
    let incoming = Incoming {
        subject: "ingest.usage",
        content_type: None,
        trace_parent: None,
        cloud_event: None,
        payload: twice.as_bytes(),
        origin: 1,
        stored: STORED,
    };
    decode(&incoming, |decoded| match decoded {
        Decoded::Rejected { rejection, .. } => assert_eq!(rejection.place, "usage.prompt_tokens"),
        Decoded::Item { .. } => panic!("accepted"),
    });
}

/// A usage object made of known names and whatever values.
fn any_usage() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "cache_creation",
        "cache_read_input_tokens",
        "input_tokens_details",
        "prompt_tokens_details",
        "promptTokenCount",
        "inputTokens",
        "cacheDetails",
        "cost",
        "cost_details",
        "billed_units",
        "reasoning_tokens",
        "cached_tokens",
        "ttl",
    ]);
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::from),
        (0_u64..1000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
        "[a-z1]{0,3}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 6, move |inner| {
        let names = names.clone();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    });
    value.prop_filter("an object", |value| value.is_object() || value.is_array())
}

proptest! {
    /// Whatever the object: no panic, and what is accepted is inclusive.
    #[test]
    fn any_usage_object_is_counted_or_refused(usage in any_usage()) {
        if let Ok(event) = canonical(&json!({"model": "m", "usage": usage})) {
            let count = |name: &str| event.get(name).and_then(Value::as_u64).unwrap_or(0);
            if event.contains_key("tokens_in") {
                prop_assert!(count("tokens_in") >= count("tokens_cache_read") + count("tokens_cache_write"));
            }
            if event.contains_key("tokens_out") {
                prop_assert!(count("tokens_out") >= count("tokens_reasoning"));
            }
            prop_assert!(count("tokens_cache_write") >= count("tokens_cache_write_1h"));
        }
    }
}
