//! What is sent to do harm: it is named, and costs no more memory than a few times its own size.

use proptest::prelude::*;
use schemas::{CloudEvent, Decoded, Incoming, Kind, Reason, Time, decode, headers, limits};

const STORED: Time = Time(1_795_158_001_000_000);
const MB: usize = 1024 * 1024;
/// Beside a multiple of the payload: room for the largest number of items.
const ROOM_BYTES: u64 = 24 * MB as u64;

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

/// Index, reason and place of all that was rejected, after what it cost was checked; and how many items were fine.
fn run(message: &Incoming<'_>) -> (Vec<(Option<u32>, Reason, String)>, usize) {
    let (mut rejected, mut accepted) = (Vec::new(), 0);
    let mut texts = 0;
    let cost = allocation_counter::measure(|| {
        decode(message, |decoded| match decoded {
            Decoded::Item { .. } => accepted += 1,
            Decoded::Rejected { index, rejection, .. } => {
                texts += rejection.to_string().len();
                if rejected.len() < 10 {
                    rejected.push((index, rejection.reason, rejection.place));
                }
            }
        });
    });
    let bytes_max = 4 * message.payload.len() as u64 + ROOM_BYTES;
    assert!(
        cost.bytes_max <= bytes_max,
        "{} bytes at once, more than {bytes_max}",
        cost.bytes_max
    );
    assert!(texts <= 1300 * 10_000, "{texts} bytes of reasons");
    (rejected, accepted)
}

fn whole(kind: Kind, payload: &[u8]) -> (Reason, String) {
    let subject = format!("ingest.{kind}");
    let (mut rejected, accepted) = run(&incoming(&subject, None, payload));
    assert_eq!((rejected.len(), accepted), (1, 0), "{rejected:?}");
    let (index, reason, place) = rejected.remove(0);
    assert_eq!(index, None);
    (reason, place)
}

#[test]
fn a_million_elements_are_too_many_by_name() {
    let elements = 1_000_000;
    for payload in [
        format!("[{}]", vec!["1"; elements].join(",")),
        format!("[{}]", vec![r#"{"name":"a","value":1}"#; elements].join(",")),
        vec![r#"{"name":"a","value":1}"#; elements].join("\n"),
    ] {
        assert_eq!(
            whole(Kind::Metric, payload.as_bytes()),
            (Reason::TooLarge, "payload".into())
        );
    }
    let batch = format!("[{}]", vec!["{}"; elements].join(","));
    let (rejected, _) = run(&incoming(
        "ingest.event",
        Some(headers::CLOUD_EVENTS),
        batch.as_bytes(),
    ));
    assert_eq!(rejected, [(None, Reason::TooLarge, "payload".into())]);
    let bounds: Vec<String> = (0..elements).map(|bound| bound.to_string()).collect();
    let distribution = format!(
        r#"{{"name":"a","metric_type":"histogram","distribution":{{"count":0,"bounds":[{}],"counts":[]}}}}"#,
        bounds.join(",")
    );
    assert_eq!(
        whole(Kind::Metric, distribution.as_bytes()),
        (Reason::TooLarge, "distribution".into())
    );
}

#[test]
fn ten_megabytes_of_a_name_are_named_in_short() {
    let long = "x".repeat(10 * MB);
    for (kind, payload, reason, place) in [
        (
            Kind::Metric,
            format!(r#"{{"name":"{long}","value":1}}"#),
            Reason::TooLarge,
            "name",
        ),
        (
            Kind::Step,
            format!(r#"{{"name":"a","span_id":"{long}"}}"#),
            Reason::TooLarge,
            "span_id",
        ),
        (
            Kind::Message,
            format!(r#"{{"body":"{long}"}}"#),
            Reason::TooLarge,
            "body",
        ),
        (
            Kind::Session,
            format!(r#"{{"session":"{long}","state":"ended"}}"#),
            Reason::TooLarge,
            "session",
        ),
        (
            Kind::WorkItem,
            format!(r#"{{"work_item":"w","state":"open","title":"{long}"}}"#),
            Reason::TooLarge,
            "title",
        ),
        (
            Kind::Step,
            format!(r#"{{"name":"a","attributes":{{"{long}":1}}}}"#),
            Reason::TooLarge,
            "attributes",
        ),
        (
            Kind::Event,
            format!(r#"{{"name":"a","tags":{{"{long}":"b"}}}}"#),
            Reason::TooLarge,
            "tags",
        ),
        (
            Kind::WorkItem,
            format!(r#"{{"work_item":"w","state":"{long}"}}"#),
            Reason::UnknownValue,
            "state",
        ),
        (
            Kind::Usage,
            format!(r#"{{"model":"m","error":"{long}"}}"#),
            Reason::TooLarge,
            "error",
        ),
    ] {
        assert_eq!(
            whole(kind, payload.as_bytes()),
            (reason, place.to_owned()),
            "{kind}"
        );
    }
    let unknown = format!(r#"{{"{long}":1}}"#);
    let (reason, place) = whole(Kind::Event, unknown.as_bytes());
    assert_eq!(reason, Reason::UnknownField);
    assert!(place.len() < 100, "{} bytes", place.len());
}

#[test]
fn json_a_hundred_levels_deep_is_too_deep_wherever_it_is() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    for (kind, field, own) in [
        (Kind::Event, "data", r#""name":"a""#),
        (Kind::Session, "data", r#""session":"a","state":"ended""#),
        (Kind::WorkItem, "data", r#""work_item":"a","state":"done""#),
    ] {
        for levels in [100, 100_000] {
            let payload = format!(r#"{{{own},"{field}":{}}}"#, deep(levels));
            assert_eq!(
                whole(kind, payload.as_bytes()),
                (Reason::TooDeep, field.to_owned())
            );
        }
    }
    let attributes = format!(r#"{{"name":"a","attributes":{{"a":{}}}}}"#, deep(100));
    assert_eq!(
        whole(Kind::Step, attributes.as_bytes()),
        (Reason::TooDeep, "attributes".into())
    );
    let structured = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}}}"#,
        deep(100)
    );
    let (rejected, _) = run(&incoming(
        "ingest.event",
        Some(headers::CLOUD_EVENT),
        structured.as_bytes(),
    ));
    assert_eq!(rejected, [(None, Reason::TooDeep, "data".into())]);
}

#[test]
fn a_body_of_control_characters_is_measured_as_it_is_written() {
    let fits = (limits::BODY_BYTES) / 6;
    let body = |bytes: usize| format!(r#"{{"body":"{}"}}"#, "\\u0001".repeat(bytes));
    let (rejected, accepted) = run(&incoming("ingest.message", None, body(fits).as_bytes()));
    // Control characters alone are no text; that is not what is asked here.
    assert!(
        accepted == 1 || rejected[0].1 == Reason::EmptyName,
        "{rejected:?}"
    );
    assert_eq!(
        whole(Kind::Message, body(fits + 1).as_bytes()),
        (Reason::TooLarge, "body".into())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cloud_event_is_accounted_for(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        attributes in prop::collection::vec("\\PC{0,40}|1\\.0|%[0-9a-fA-F]{0,4}", 7),
        content_type in prop::option::of("application/(json|cloudevents\\+json|cloudevents-batch\\+json|x)|text/plain|\\PC{0,20}"),
        trace_parent in prop::option::of("[0-9a-f]{2}-[0-9a-f]{30,34}-[0-9a-f]{16}-01|\\PC{0,60}"),
        payload in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let [spec_version, id, source, event_type, time, subject, data_schema] = &attributes[..] else { unreachable!() };
        let cloud_event = CloudEvent {
            spec_version, id, source, event_type,
            time: Some(time), subject: Some(subject), data_schema: Some(data_schema),
        };
        let name = format!("ingest.{kind}");
        let message = Incoming {
            trace_parent: trace_parent.as_deref(),
            cloud_event: Some(cloud_event),
            ..incoming(&name, content_type.as_deref(), &payload)
        };
        let mut seen = 0;
        decode(&message, |decoded| {
            seen += 1;
            if let Decoded::Rejected { rejection, .. } = decoded {
                assert!(rejection.place.len() <= 400 && !rejection.fix.is_empty());
            }
        });
        prop_assert!(seen > 0 || payload.iter().all(|byte| byte.is_ascii_whitespace()));
    }
}
