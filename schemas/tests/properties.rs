//! What holds for every input.

use proptest::collection::vec;
use proptest::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};
use schemas::{
    Decoded, Incoming, Item, Kind, Metric, Money, Rejection, Time, decode, json_schema, read_lines, with_kind,
};

const STORED: Time = Time(1_795_158_001_000_000);

const VALID: [(Kind, &str); 12] = [
    (
        Kind::Metric,
        r#"{"name":"queue.depth","value":42.5,"source":"agent-7","tags":{"region":"fsn1","k":"\u00e9"},"timestamp":"2026-11-20T07:00:00.123Z"}"#,
    ),
    (
        Kind::Metric,
        "[{\"name\":\"a\",\"value\":1},\n {\"name\":\"b\",\"value\":-1.5e-3,\"v\":1}]",
    ),
    (
        Kind::Metric,
        "{\"name\":\"a\",\"value\":1}\n\n{\"name\":\"b\",\"value\":2}\n",
    ),
    (
        Kind::Event,
        r#"{"name":"build.finished","data":{"ok":true,"steps":[1,2.5,{"n":null}]},"timestamp":1795158000123}"#,
    ),
    (
        Kind::Usage,
        r#"{"model":"opus","tokens_in":1200,"tokens_out":80,"cost_usd":0.0123,"status":"ok","task_complexity":"complex"}"#,
    ),
    (
        Kind::Usage,
        r#"[{"model":"m","latency_ms":812.5,"error":"\ud83e\udd16 x"},{"model":"n","tokens_cache_read":1}]"#,
    ),
    (
        Kind::Metric,
        r#"{"name":"h","metric_type":"histogram","distribution":{"count":3,"sum":4.5,"bounds":[1,2],"counts":[1,2,0]}}"#,
    ),
    (
        Kind::Metric,
        r#"{"name":"h","value":1,"metric_type":"cumulative","distribution":{"count":3,"scale":2,"zero_count":1,"positive":{"offset":-3,"counts":[1,0,1]}}}"#,
    ),
    (
        Kind::Step,
        r#"{"name":"plan","span_id":"00f067aa0ba902b7","operation":"chat","start":1795158000123,"end":"2026-11-20T07:00:00.5Z","status":"error","error":"x","attributes":{"a":[1]}}"#,
    ),
    (
        Kind::Message,
        r#"{"body":"done \u00e9","channel":"builds","from":"a","to":"b"}"#,
    ),
    (
        Kind::Session,
        r#"{"session":"s-1","state":"active","title":"t","data":null}"#,
    ),
    (
        Kind::WorkItem,
        r#"[{"work_item":"w-1","state":"blocked","project":"p","assignee":"a","parent":"w-0"}]"#,
    ),
];

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
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

/// Decodes, and checks what must hold whatever the bytes are.
fn check(kind: Kind, content_type: Option<&str>, payload: &[u8]) -> Result<(), TestCaseError> {
    let subject = format!("ingest.{kind}");
    let message = incoming(&subject, content_type, payload);
    let (mut next, mut whole, mut lines, mut covered) = (0, 0, Vec::new(), 0);
    let mut failure = None;
    decode(&message, |decoded| match decoded {
        Decoded::Item {
            index,
            item,
            kind: found,
        } => {
            failure = failure
                .take()
                .or((index != next || found != kind || item.kind() != kind).then_some("index"));
            next += 1;
            item.write_line(&mut lines);
        }
        Decoded::Rejected {
            index: Some(index),
            payload: part,
            rejection,
        } => {
            failure = failure
                .take()
                .or((index != next).then_some("index"))
                .or(fault(&rejection));
            failure = failure
                .take()
                .or((!is_within(part, payload)).then_some("bytes from elsewhere"));
            next += 1;
            covered += part.len();
        }
        Decoded::Rejected {
            index: None,
            payload: part,
            rejection,
        } => {
            failure = failure
                .take()
                .or((part != payload).then_some("not the payload"))
                .or(fault(&rejection));
            whole += 1;
        }
    });
    prop_assert_eq!(failure, None);
    prop_assert!(
        (whole == 1 && next == 0) || (whole == 0 && next > 0),
        "{} whole, {} items",
        whole,
        next
    );
    prop_assert!(covered <= payload.len());
    if content_type.is_some() && whole == 0 {
        let blank = |line: &[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
        prop_assert_eq!(
            next as usize,
            payload
                .split(|byte| *byte == b'\n')
                .filter(|line| !blank(line))
                .count()
        );
    }
    prop_assert_eq!(rewrite(kind, &lines), lines);
    Ok(())
}

fn fault(rejection: &Rejection) -> Option<&'static str> {
    let texts = [&rejection.place, &rejection.problem, &rejection.fix];
    let good = |text: &&String| !text.is_empty() && text.len() <= 400 && !text.contains(char::is_control);
    (!texts.iter().all(good)).then_some("a text unfit for a header")
}

fn is_within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

fn rewrite(kind: Kind, lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let items: Vec<Item<'_>> =
        with_kind!(kind, T => rows::<T<'_>>(lines).into_iter().map(Item::from).collect());
    items.iter().for_each(|item| item.write_line(&mut out));
    out
}

fn rows<'a, T: serde::Deserialize<'a>>(lines: &'a [u8]) -> Vec<T> {
    read_lines(lines).expect("canonical lines")
}

/// Pieces that JSON of these kinds is made of, so that nonsense gets past the first byte.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\n",
        " ",
        "\"",
        "\\",
        "\"name\":",
        "\"value\":",
        "\"model\":",
        "\"data\":",
        "\"tags\":",
        "\"timestamp\":",
        "\"distribution\":",
        "\"body\":",
        "\"session\":",
        "\"work_item\":",
        "\"state\":\"done\"",
        "\"start\":1795158000123",
        "\"end\":1795158000122",
        "\"attributes\":",
        "\"x\"",
        "1",
        "-1.5e3",
        "1e999",
        "NaN",
        "null",
        "true",
        "\"\\ud800\"",
        "{\"name\":\"a\",\"value\":1}",
        "{\"name\":\"a\"}",
        "{\"model\":\"m\"}",
        "\u{feff}",
        "é",
    ]);
    vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_accounted_for(kind in kinds(), payload in vec(any::<u8>(), 0..200), lines in any::<bool>()) {
        check(kind, lines.then_some("application/x-ndjson"), &payload)?;
    }

    #[test]
    fn any_fragments_are_accounted_for(kind in kinds(), payload in fragments(), lines in any::<bool>()) {
        check(kind, lines.then_some("application/x-ndjson"), &payload)?;
    }

    #[test]
    fn damaged_payloads_are_accounted_for(
        case in prop::sample::select(VALID.to_vec()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..4),
    ) {
        let (kind, text) = case;
        let mut payload = text.as_bytes().to_vec();
        for (at, byte, action) in damage {
            if payload.is_empty() {
                break;
            }
            let at = at.index(payload.len());
            match action {
                0 => payload[at] = byte,
                1 => payload.insert(at, byte),
                2 => drop(payload.remove(at)),
                _ => payload.truncate(at),
            }
        }
        check(kind, None, &payload)?;
    }

    #[test]
    fn any_text_and_number_survive(name in ".{1,60}", value in any::<f64>(), source in ".{0,60}", tag in ".{0,60}") {
        prop_assume!(value.is_finite() && !name.trim().is_empty());
        let payload = serde_json::json!({ "name": name, "value": value, "source": source, "tags": { "k": tag } });
        let payload = payload.to_string();
        let message = Incoming {
            subject: "ingest.metric", content_type: None, trace_parent: None, cloud_event: None,
            payload: payload.as_bytes(), origin: 7, stored: STORED,
        };
        let (mut line, mut rejected) = (Vec::new(), None);
        decode(&message, |decoded| match decoded {
            Decoded::Item { item, .. } => item.write_line(&mut line),
            Decoded::Rejected { rejection, .. } => rejected = Some(rejection),
        });
        prop_assert_eq!(rejected, None);
        let read = rows::<Metric<'_>>(&line);
        prop_assert_eq!(&*read[0].name, name.as_str());
        prop_assert_eq!(read[0].value.to_bits(), value.to_bits());
        prop_assert_eq!(read[0].source.as_deref(), Some(source.as_str()));
        let tags: serde_json::Value = serde_json::from_str(read[0].tags.map_or("", |raw| raw.get()))?;
        prop_assert_eq!(&tags["k"], &serde_json::Value::from(tag));
    }

    #[test]
    fn money_agrees_with_a_decimal(digits in -10_i64.pow(18)..10_i64.pow(18), scale in 0_u32..20) {
        let decimal = Decimal::new(digits, scale);
        let rounded = decimal.round_dp_with_strategy(9, RoundingStrategy::MidpointNearestEven);
        let nanos = (rounded * Decimal::from(Money::NANOS_PER_DOLLAR)).try_into().ok();
        let text = decimal.to_string();
        prop_assert_eq!(text.parse::<Money>().ok(), nanos.map(Money), "{}", text);
        let exponential = format!("{digits}e-{scale}");
        prop_assert_eq!(exponential.parse::<Money>().ok(), nanos.map(Money), "{}", exponential);
    }

    #[test]
    fn money_is_printed_exactly(nanos in any::<i64>()) {
        let text = Money(nanos).to_string();
        prop_assert_eq!(text.parse::<Decimal>().ok(), Some(Decimal::new(nanos, 9).normalize()), "{}", text);
        let json = serde_json::to_string(&Money(nanos))?;
        prop_assert_eq!(serde_json::from_str::<Money>(&json)?, Money(nanos));
    }

    #[test]
    fn times_survive(micros in -62_167_219_200_000_000_i64..253_402_207_200_000_000) {
        let time = Time(micros);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        prop_assert_eq!(serde_json::from_str::<Time>(&serde_json::to_string(&time)?)?, time);
        let written = (time.to_string(), Time(micros + 1).to_string());
        prop_assert!(written.0 < written.1, "{:?}", written);
    }

    #[test]
    fn any_text_may_be_tried_as_time_or_money(text in "\\PC{0,40}|[-0-9.eE+]{0,40}|[-0-9TZtz:+ .]{0,40}") {
        let _ = (text.parse::<Money>(), text.parse::<schemas::Origins>());
        if let Ok(time) = text.parse::<Time>() {
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}

#[test]
fn valid_payloads_are_accepted() {
    for (kind, payload) in VALID {
        let subject = format!("ingest.{kind}");
        let payload = payload.as_bytes();
        decode(
            &Incoming {
                subject: &subject,
                content_type: None,
                trace_parent: None,
                cloud_event: None,
                payload,
                origin: 7,
                stored: STORED,
            },
            |decoded| {
                assert!(matches!(decoded, Decoded::Item { .. }), "{decoded:?}");
            },
        );
        assert!(json_schema(kind)["properties"].is_object());
    }
}
