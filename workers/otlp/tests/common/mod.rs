//! What the tests of the mapping share: requests become items as worker ingest reads them.

#![allow(dead_code, reason = "no test program uses all of it")]

use otlp::map::Mapped;
use otlp::{Encoding, Signal, map_bytes};
use schemas::{Decoded, Incoming, Kind, Time, decode};
use serde_json::Value;

/// After everything in the fixtures.
pub const NOW: Time = Time(1_900_000_000_000_000);

/// Maps protobuf.
pub fn mapped(signal: Signal, body: &[u8]) -> Mapped {
    map_bytes(signal, Encoding::Protobuf, body, NOW).expect("a request")
}

/// The items, as worker ingest accepts them; panics if it rejects any.
pub fn items(mapped: Mapped) -> Vec<(Kind, Value)> {
    let mut items = Vec::new();
    for (kind, _, message) in mapped.batch.into_messages() {
        let subject = schemas::subjects::ingest(kind);
        let incoming = Incoming {
            subject: &subject,
            content_type: None,
            trace_parent: None,
            cloud_event: None,
            payload: &message.lines,
            origin: 1,
            stored: NOW,
        };
        let before = items.len();
        decode(&incoming, |decoded| match decoded {
            Decoded::Item { item, .. } => {
                let mut line = Vec::new();
                item.write_line(&mut line);
                items.push((kind, serde_json::from_slice(&line).expect("a line of JSON")));
            }
            Decoded::Rejected {
                payload, rejection, ..
            } => {
                panic!(
                    "{rejection}: {}",
                    String::from_utf8_lossy(&payload[..payload.len().min(2000)])
                )
            }
        });
        assert_eq!(items.len() - before, message.items);
    }
    items
}

/// The items of one kind.
pub fn of(kind: Kind, items: &[(Kind, Value)]) -> Vec<&Value> {
    items
        .iter()
        .filter(|(of, _)| *of == kind)
        .map(|(_, item)| item)
        .collect()
}
