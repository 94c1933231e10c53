//! From what an agent published to canonical events: pure, and run for every event.
//!
//! Two paths. The fast one parses typed and borrowed, checks the limits and allocates nothing for an event
//! (strings with escapes excepted). Only when it fails does the slow one look at the same bytes again, to say
//! in words what is wrong. Invariant: whatever the bytes, each item ends as one [`Decoded`], and a message
//! without items as one rejection; nothing is dropped silently but blank lines.
//!
//! Deliberately absent: repair. What is not accepted as it stands is rejected with its fix.

mod check;
mod diagnose;
mod frame;
mod kinds;
mod raw;
pub(crate) mod syntax;

use crate::{Event, Item, Kind, Metric, Rejection, Time, Usage, subjects};

/// A message as it lies in INGEST.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// `ingest.<kind>` or `ingest.<tenant>.<kind>`.
    pub subject: &'a str,
    /// The header `Content-Type`, if there is one.
    pub content_type: Option<&'a str>,
    /// One JSON object, an array of objects, or NDJSON.
    pub payload: &'a [u8],
    /// Its sequence.
    pub origin: u64,
    /// When NATS stored it.
    pub stored: Time,
}

/// What became of an item, or of a whole message.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation for every event"
)]
pub enum Decoded<'a> {
    /// A canonical event: defaults, origin, index and tenant filled in.
    Item {
        /// Its kind.
        kind: Kind,
        /// Its position among the items of the message, rejected ones counted.
        index: u32,
        /// The event.
        item: Item<'a>,
    },
    /// Not accepted.
    Rejected {
        /// The item's position in an array or among lines; none if the whole message is rejected.
        index: Option<u32>,
        /// The bytes rejected: the item alone, or the whole payload.
        payload: &'a [u8],
        /// Why.
        rejection: Rejection,
    },
}

/// What the message says about each of its items.
#[derive(Clone, Copy)]
struct Context<'a> {
    tenant: &'a str,
    origin: u64,
    stored: Time,
}

/// Calls `emit` once for each item, in order, with its index; once if the message as a whole is rejected.
pub fn decode<'a>(message: &Incoming<'a>, mut emit: impl FnMut(Decoded<'a>)) {
    let (tenant, kind) = match subjects::parse_ingest(message.subject) {
        Ok(parsed) => parsed,
        Err(rejection) => {
            return emit(Decoded::Rejected {
                index: None,
                payload: message.payload,
                rejection,
            });
        }
    };
    let context = Context {
        tenant,
        origin: message.origin,
        stored: message.stored,
    };
    match kind {
        Kind::Metric => frame::decode_payload::<Metric<'a>>(message, context, &mut emit),
        Kind::Event => frame::decode_payload::<Event<'a>>(message, context, &mut emit),
        Kind::Usage => frame::decode_payload::<Usage<'a>>(message, context, &mut emit),
    }
}
