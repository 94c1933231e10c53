//! The first byte chooses the signal, the rest is the body. Whatever is made of it, worker ingest must accept.

use otlp::{Encoding, Signal, map_bytes};
use schemas::{Decoded, Incoming, Time, decode, headers, subjects};

const NOW: Time = Time(1_795_158_001_000_000);

pub fn look(encoding: Encoding, bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let signal = [Signal::Traces, Signal::Metrics, Signal::Logs][usize::from(*choice % 3)];
    let Ok(mapped) = map_bytes(signal, encoding, body, NOW) else { return };
    for (kind, _, message) in mapped.batch.into_messages() {
        let subject = subjects::ingest(kind);
        let incoming = Incoming {
            subject: &subject,
            content_type: Some(headers::NDJSON),
            trace_parent: None,
            cloud_event: None,
            payload: &message.lines,
            origin: 1,
            stored: NOW,
        };
        let mut items = 0;
        decode(&incoming, |decoded| match decoded {
            Decoded::Item { .. } => items += 1,
            Decoded::Rejected { rejection, .. } => panic!("{rejection}"),
        });
        assert_eq!(items, message.items);
    }
}
