//! The body of a message on `ingest.<kind>`: the first byte chooses the kind and whether it is declared as lines. What is
//! accepted must be read back as the sink reads it, and written again alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schemas::{Decoded, Incoming, Item, Kind, Time, decode, headers, limits, read_lines, with_kind};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let kind = Kind::ALL[usize::from(*choice) % Kind::ALL.len()];
    let subject = format!("ingest.{kind}");
    let incoming = Incoming {
        subject: &subject,
        content_type: (*choice >= 128).then_some(headers::NDJSON),
        trace_parent: None,
        cloud_event: None,
        payload,
        origin: 1,
        stored: Time(1_795_158_001_000_000),
    };
    let mut lines = Vec::new();
    decode(&incoming, |decoded| {
        if let Decoded::Item { item, .. } = decoded {
            let start = lines.len();
            item.write_line(&mut lines);
            assert!(lines.len() - start <= limits::LINE_BYTES);
        }
    });
    let mut again = Vec::new();
    with_kind!(kind, T => {
        for row in read_lines::<T<'_>>(&lines).expect("canonical lines") {
            Item::from(row).write_line(&mut again);
        }
    });
    assert_eq!(again, lines);
});
