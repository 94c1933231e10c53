//! CloudEvents: lines of the input are the headers of binary mode, the content type and the trace parent; the rest is the
//! payload, in whatever mode that makes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schemas::{CloudEvent, Decoded, Incoming, Kind, Time, decode};

const NAMES: [&str; 9] = [
    "content-type",
    "traceparent",
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-time",
    "ce-subject",
    "ce-dataschema",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let kind = Kind::ALL[usize::from(*choice) % Kind::ALL.len()];
    let mut parts = rest.splitn(NAMES.len() + 1, |byte| *byte == b'\n');
    let values: Vec<&str> = parts
        .by_ref()
        .take(NAMES.len())
        .map(|part| std::str::from_utf8(part).unwrap_or_default())
        .collect();
    let payload = parts.next().unwrap_or_default();
    let header = |name: &str| {
        let at = NAMES.iter().position(|known| *known == name)?;
        values.get(at).copied().filter(|value| !value.is_empty())
    };
    let subject = format!("ingest.{kind}");
    let incoming = Incoming {
        subject: &subject,
        content_type: header("content-type"),
        trace_parent: header("traceparent"),
        cloud_event: CloudEvent::from_headers(header),
        payload,
        origin: 1,
        stored: Time(1_795_158_001_000_000),
    };
    decode(&incoming, |decoded| match decoded {
        Decoded::Item { item, .. } => {
            let mut line = Vec::new();
            item.write_line(&mut line);
            assert!(line.ends_with(b"}\n"));
        }
        Decoded::Rejected { rejection, .. } => assert!(!rejection.fix.is_empty()),
    });
});
