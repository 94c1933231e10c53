//! From what an agent published to canonical events: pure, and run for every event.
//!
//! Two paths. The fast one parses typed and borrowed, checks the limits and allocates nothing for an event
//! (strings with escapes excepted). Only when it fails does the slow one look at the same bytes again, to say
//! in words what is wrong. Invariant: whatever the bytes, each item ends as one [`Decoded`], and a message
//! without items as one rejection; nothing is dropped silently but blank lines.
//!
//! Deliberately absent: repair. What is not accepted as it stands is rejected with its fix.

mod check;
mod cloud_event;
mod diagnose;
mod frame;
mod kinds;
mod raw;
pub(crate) mod syntax;

pub use cloud_event::CloudEvent;

use crate::{Item, Kind, Rejection, Time, subjects, with_kind};

/// A message as it lies in INGEST.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// `ingest.<kind>` or `ingest.<tenant>.<kind>`.
    pub subject: &'a str,
    /// The header `Content-Type`, if there is one.
    pub content_type: Option<&'a str>,
    /// The header `traceparent` of W3C trace context: fills `trace_id` (its 32 hexadecimal digits) where the body has none.
    pub trace_parent: Option<&'a str>,
    /// CloudEvents in binary mode: the `ce-` headers, if there are any. Structured mode is known by the content type.
    pub cloud_event: Option<CloudEvent<'a>>,
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
    /// The timestamp of an item that has none.
    time: Time,
    /// The source of an item that names none.
    source: &'a str,
    /// The trace of an item that names none.
    trace_id: Option<&'a str>,
}

/// Calls `emit` once for each item, in order, with its index; once if the message as a whole is rejected.
///
/// What it is called with does not outlive the call: an item made of a CloudEvent is in no payload. The payload of what is
/// rejected is always part of the message's.
pub fn decode(message: &Incoming<'_>, mut emit: impl FnMut(Decoded<'_>)) {
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
        time: message.stored,
        source: subjects::UNKNOWN_SOURCE,
        trace_id: message.trace_parent.and_then(trace_id),
    };
    match cloud_event::Mode::of(message) {
        Some(mode) => mode.decode(kind, message, context, &mut emit),
        None => with_kind!(kind, T => frame::decode_payload::<T<'_>>(message, context, &mut emit)),
    }
}

/// The trace that a W3C `traceparent` names; none if it is not one, which that standard says to pass over.
fn trace_id(parent: &str) -> Option<&str> {
    let mut parts = parent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let is_whole = is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    (is_known && is_whole && !is_zero(trace) && !is_zero(span)).then_some(trace)
}
