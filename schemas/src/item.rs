//! One event of any kind.

use crate::{Event, Kind, Metric, Usage};

/// One event of any kind, borrowing from the payload it was read from.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation for every event"
)]
pub enum Item<'a> {
    /// A measurement.
    Metric(Metric<'a>),
    /// Something happened.
    Event(Event<'a>),
    /// One model call.
    Usage(Usage<'a>),
}

impl Item<'_> {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Item::Metric(_) => Kind::Metric,
            Item::Event(_) => Kind::Event,
            Item::Usage(_) => Kind::Usage,
        }
    }

    /// Appends the event as one line of canonical JSON, with the line break. A line of a decoded item is at
    /// most [`crate::limits::LINE_BYTES`] long.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let written = match self {
            Item::Metric(metric) => serde_json::to_writer(&mut *out, metric),
            Item::Event(event) => serde_json::to_writer(&mut *out, event),
            Item::Usage(usage) => serde_json::to_writer(&mut *out, usage),
        };
        // Writing to memory cannot fail, nor can any of these types; never leave half a line behind anyway.
        debug_assert!(written.is_ok(), "{written:?}");
        if written.is_err() {
            out.truncate(start);
            return;
        }
        out.push(b'\n');
    }
}
