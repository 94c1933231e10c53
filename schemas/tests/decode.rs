//! What golden files cannot show well: large inputs, headers, subjects, bytes handed back, borrowing.

use std::borrow::Cow;

use schemas::{Decoded, Incoming, Item, Kind, Reason, Text, Time, decode, limits};

const STORED: Time = Time(1_795_158_001_000_000);

fn run<'a>(subject: &'a str, content_type: Option<&'a str>, payload: &'a [u8]) -> Vec<Decoded<'a>> {
    let mut all = Vec::new();
    decode(
        &Incoming {
            subject,
            content_type,
            payload,
            origin: 7,
            stored: STORED,
        },
        |decoded| all.push(decoded),
    );
    all
}

/// Index and reason of everything rejected.
fn rejections(all: &[Decoded<'_>]) -> Vec<(Option<u32>, Reason)> {
    all.iter().filter_map(rejection).collect()
}

fn rejection(decoded: &Decoded<'_>) -> Option<(Option<u32>, Reason)> {
    match decoded {
        Decoded::Rejected { index, rejection, .. } => Some((*index, rejection.reason)),
        Decoded::Item { .. } => None,
    }
}

#[test]
fn a_good_event_borrows_everything() {
    let payload = br#"{"name":"a","value":1,"source":"s","session":"t","work_item":"w","trace_id":"x"}"#;
    let all = run("ingest.acme.metric", None, payload);
    let [
        Decoded::Item {
            kind: Kind::Metric,
            index: 0,
            item: Item::Metric(metric),
        },
    ] = &all[..]
    else {
        panic!("{all:?}");
    };
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
}

#[test]
fn a_bad_subject_rejects_the_whole_payload() {
    let all = run("ingest.metrics", None, b"{}");
    let [
        Decoded::Rejected {
            index: None,
            payload: b"{}",
            rejection,
        },
    ] = &all[..]
    else {
        panic!("{all:?}")
    };
    assert_eq!(
        (rejection.reason, rejection.place.as_str()),
        (Reason::UnknownKind, "subject")
    );
}

#[test]
fn bad_items_come_back_as_their_own_bytes() {
    let payload = br#" [ {"name":"a"} , {"name":"b","value":1},7]"#;
    let all = run("ingest.metric", None, payload);
    let Decoded::Rejected {
        index: Some(0),
        payload: br#"{"name":"a"}"#,
        ..
    } = all[0]
    else {
        panic!("{all:?}")
    };
    let Decoded::Item { index: 1, .. } = all[1] else {
        panic!("{all:?}")
    };
    let Decoded::Rejected {
        index: Some(2),
        payload: b"7",
        ..
    } = all[2]
    else {
        panic!("{all:?}")
    };
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
    ] {
        let (subject, payload) = (format!("ingest.{kind}"), format!("{{{own},{common}}}"));
        let all = run(&subject, None, payload.as_bytes());
        let [Decoded::Item { item, .. }] = &all[..] else {
            panic!("{:?}", rejections(&all))
        };
        let mut line = Vec::new();
        item.write_line(&mut line);
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
        let all = run("ingest.metric", None, payload.as_bytes());
        let [
            Decoded::Item {
                item: Item::Metric(metric),
                ..
            },
        ] = &all[..]
        else {
            panic!("{all:?}")
        };
        assert_eq!(
            metric.value.to_bits(),
            text.parse::<f64>().unwrap().to_bits(),
            "{text}"
        );
    }
}
