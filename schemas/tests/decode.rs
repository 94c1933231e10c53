//! What golden files cannot show well: large inputs, headers, subjects, bytes handed back, borrowing.

use std::borrow::Cow;

use schemas::{Decoded, Incoming, Item, Kind, Reason, Rejection, Text, Time, decode, limits};

const STORED: Time = Time(1_795_158_001_000_000);

/// What became of an item, kept.
#[derive(Debug)]
enum Seen {
    Item {
        index: u32,
        line: Vec<u8>,
    },
    Rejected {
        index: Option<u32>,
        payload: Vec<u8>,
        rejection: Rejection,
    },
}

fn incoming<'a>(subject: &'a str, content_type: Option<&'a str>, payload: &'a [u8]) -> Incoming<'a> {
    Incoming {
        subject,
        content_type,
        trace_parent: None,
        cloud_event: None,
        payload,
        origin: 7,
        stored: STORED,
    }
}

fn run(subject: &str, content_type: Option<&str>, payload: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    decode(&incoming(subject, content_type, payload), |decoded| {
        all.push(match decoded {
            Decoded::Item { index, item, .. } => {
                let mut line = Vec::new();
                item.write_line(&mut line);
                Seen::Item { index, line }
            }
            Decoded::Rejected {
                index,
                payload,
                rejection,
            } => Seen::Rejected {
                index,
                payload: payload.to_vec(),
                rejection,
            },
        });
    });
    all
}

/// Index and reason of everything rejected.
fn rejections(all: &[Seen]) -> Vec<(Option<u32>, Reason)> {
    all.iter().filter_map(rejection).collect()
}

fn rejection(seen: &Seen) -> Option<(Option<u32>, Reason)> {
    match seen {
        Seen::Rejected { index, rejection, .. } => Some((*index, rejection.reason)),
        Seen::Item { .. } => None,
    }
}

#[test]
fn a_good_event_borrows_everything() {
    let payload = br#"{"name":"a","value":1,"source":"s","session":"t","work_item":"w","trace_id":"x"}"#;
    let mut seen = 0;
    decode(&incoming("ingest.acme.metric", None, payload), |decoded| {
        let Decoded::Item {
            kind: Kind::Metric,
            index: 0,
            item: Item::Metric(metric),
        } = decoded
        else {
            panic!("{decoded:?}");
        };
        seen += 1;
        let texts = [
            &metric.tenant,
            &metric.source,
            &metric.session,
            &metric.work_item,
            &metric.trace_id,
        ];
        assert!(matches!(metric.name, Text(Cow::Borrowed("a"))));
        assert!(
            texts
                .iter()
                .all(|text| matches!(text, Some(Text(Cow::Borrowed(_))))),
            "{texts:?}"
        );
        assert_eq!(
            (metric.origin, metric.index, metric.timestamp),
            (Some(7), Some(0), Some(STORED))
        );
    });
    assert_eq!(seen, 1);
}

#[test]
fn a_bad_subject_rejects_the_whole_payload() {
    let all = run("ingest.metrics", None, b"{}");
    let [
        Seen::Rejected {
            index: None,
            payload,
            rejection,
        },
    ] = &all[..]
    else {
        panic!("{all:?}")
    };
    assert_eq!(
        (rejection.reason, rejection.place.as_str(), &payload[..]),
        (Reason::UnknownKind, "subject", &b"{}"[..])
    );
}

#[test]
fn bad_items_come_back_as_their_own_bytes() {
    let payload = br#" [ {"name":"a"} , {"name":"b","value":1},7]"#;
    let all = run("ingest.metric", None, payload);
    let rejected: Vec<_> = all
        .iter()
        .map(|seen| match seen {
            Seen::Item { index, .. } => (Some(*index), &b""[..]),
            Seen::Rejected { index, payload, .. } => (*index, &payload[..]),
        })
        .collect();
    assert_eq!(
        rejected,
        [
            (Some(0), &br#"{"name":"a"}"#[..]),
            (Some(1), b""),
            (Some(2), b"7")
        ]
    );
}

#[test]
fn a_declared_line_stands_for_itself() {
    for content_type in ["application/x-ndjson", "Application/JSONL; charset=utf-8"] {
        let all = run(
            "ingest.event",
            Some(content_type),
            b"{\"name\":\n{\"name\":\"b\"}\n[]\n",
        );
        let found = rejections(&all);
        assert_eq!(
            found,
            [(Some(0), Reason::TruncatedJson), (Some(2), Reason::WrongType)],
            "{content_type}"
        );
    }
    let pretty = b"{\n\"name\":\n\"b\"}";
    assert!(rejections(&run("ingest.event", Some("application/json"), pretty)).is_empty());
    assert_eq!(
        rejections(&run("ingest.event", Some("application/jsonl"), pretty)).len(),
        3
    );
}

#[test]
fn a_nested_object_on_its_own_line_is_not_a_second_event() {
    let all = run("ingest.event", None, b"{\"name\":\"a\",\n\"dta\":\n{\"b\":1}}");
    assert_eq!(rejections(&all), [(None, Reason::UnknownField)]);
    let all = run("ingest.event", None, b"{\"dta\":\n{\"b\":1}}");
    assert_eq!(rejections(&all), [(None, Reason::UnknownField)]);
}

#[test]
fn a_broken_pretty_printed_array_is_rejected_as_one() {
    let all = run("ingest.event", None, b"[\n{\"name\":\"a\"},\n{\"name\":\"b\"");
    assert_eq!(rejections(&all), [(None, Reason::TruncatedJson)]);
    assert_eq!(all.len(), 1);
}

#[test]
fn a_vertical_tab_is_not_a_blank_line() {
    let all = run(
        "ingest.event",
        None,
        b"{\"name\":\"a\"}\n\x0c\n \t\r\n{\"name\":\"b\"}",
    );
    assert_eq!(
        (all.len(), rejections(&all)),
        (3, vec![(Some(1), Reason::InvalidJson)])
    );
}

#[test]
fn ten_thousand_items_are_the_most() {
    let item = r#"{"name":"a"}"#;
    for (items, rejected) in [(limits::ITEMS, false), (limits::ITEMS + 1, true)] {
        let lines = vec![item; items].join("\n\n");
        let array = format!("[{}]", vec![item; items].join(","));
        let bad_array = format!("[1,{}]", vec![item; items - 1].join(","));
        for payload in [lines, array, bad_array] {
            let all = run("ingest.event", None, payload.as_bytes());
            let whole = rejections(&all) == [(None, Reason::TooLarge)];
            assert_eq!((whole, all.len()), (rejected, if rejected { 1 } else { items }));
        }
    }
}

#[test]
fn data_is_limited_in_bytes_and_levels() {
    let event = |data: &str| format!(r#"{{"name":"a","data":{data}}}"#);
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (data, reason) in [
        (text(limits::DATA_BYTES), None),
        (text(limits::DATA_BYTES + 1), Some(Reason::TooLarge)),
        (nested(limits::DATA_DEPTH), None),
        (nested(limits::DATA_DEPTH + 1), Some(Reason::TooDeep)),
        (nested(100_000), Some(Reason::TooDeep)),
    ] {
        let payload = event(&data);
        let found = rejections(&run("ingest.event", None, payload.as_bytes()));
        assert_eq!(
            found.first().map(|(_, reason)| *reason),
            reason,
            "{} bytes",
            data.len()
        );
    }
    let deep = "[".repeat(1_000_000);
    assert_eq!(
        rejections(&run("ingest.event", None, deep.as_bytes())),
        [(None, Reason::TruncatedJson)]
    );
}

#[test]
fn tags_are_limited_as_json_too() {
    let blanks = " ".repeat(limits::TAGS_BYTES);
    let payload = format!(r#"{{"name":"a","tags":{{{blanks}}}}}"#);
    assert_eq!(
        rejections(&run("ingest.event", None, payload.as_bytes())),
        [(None, Reason::TooLarge)]
    );
}

#[test]
fn the_largest_line_keeps_its_limit() {
    let escaped = |bytes: usize| "\\u0001".repeat(bytes);
    let padded = |json: &str, bytes: usize| format!("{json}{}", " ".repeat(bytes - json.len()));
    let short = escaped(limits::TEXT_BYTES);
    let common = format!(
        r#""source":"{short}","session":"{short}","work_item":"{short}","trace_id":"{short}","tags":{{{}}}"#,
        padded(r#""k":"v""#, limits::TAGS_BYTES - 2)
    );
    let data = format!("[{}]", padded("1", limits::DATA_BYTES - 2));
    let error = escaped(limits::ERROR_BYTES);
    for (kind, own) in [
        (
            "event",
            format!(r#""name":"a{}","data":{data}"#, escaped(limits::NAME_BYTES - 1)),
        ),
        (
            "usage",
            format!(
                r#""model":"a{}","provider":"{short}","error":"{error}","reservation":"{short}""#,
                escaped(limits::TEXT_BYTES - 1)
            ),
        ),
        (
            "step",
            format!(
                r#""name":"a{}","span_id":"{short}","parent_id":"{short}","operation":"{short}","error":"{error}","attributes":{{{}}}"#,
                escaped(limits::NAME_BYTES - 1),
                padded(r#""a":1"#, limits::DATA_BYTES - 2)
            ),
        ),
        (
            "message",
            format!(
                r#""body":"a{}","channel":"{short}","from":"{short}","to":"{short}""#,
                escaped((limits::BODY_BYTES - 1) / 6)
            ),
        ),
        (
            "work_item",
            format!(
                r#""state":"open","title":"{}","project":"{short}","assignee":"{short}","parent":"{short}","data":{data}"#,
                escaped(limits::TITLE_BYTES)
            ),
        ),
    ] {
        let (subject, payload) = (format!("ingest.{kind}"), format!("{{{own},{common}}}"));
        let all = run(&subject, None, payload.as_bytes());
        let [Seen::Item { line, .. }] = &all[..] else {
            panic!("{:?}", rejections(&all))
        };
        assert!(line.len() <= limits::LINE_BYTES, "{kind}: {} bytes", line.len());
    }
}

#[test]
fn numbers_keep_their_last_bit() {
    for text in [
        "0.1",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "8.41e21",
        "9007199254740993",
        "-0.0",
    ] {
        let payload = format!(r#"{{"name":"a","value":{text}}}"#);
        decode(&incoming("ingest.metric", None, payload.as_bytes()), |decoded| {
            let Decoded::Item {
                item: Item::Metric(metric),
                ..
            } = decoded
            else {
                panic!("{decoded:?}")
            };
            assert_eq!(
                metric.value.to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        });
    }
}
