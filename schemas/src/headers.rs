//! Names of the NATS headers between workers. Values are one line of text.

/// Media type of the payload; EVENTS messages have [`NDJSON`].
pub const CONTENT_TYPE: &str = "Content-Type";
/// The media type of newline-delimited JSON.
pub const NDJSON: &str = "application/x-ndjson";

/// Media type of one CloudEvent in structured mode.
pub const CLOUD_EVENT: &str = "application/cloudevents+json";
/// Media type of an array of CloudEvents.
pub const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";
/// W3C trace context: `00-<trace id>-<parent id>-<flags>`.
pub const TRACE_PARENT: &str = "traceparent";

/// INGEST sequences whose events a message carries, as [`crate::Origins`] writes them: `1001-1950,1952`.
pub const ORIGINS: &str = "Aiai-Origins";
/// Number of events in a message.
pub const COUNT: &str = "Aiai-Count";
/// ULID of the INGEST stream's epoch.
pub const EPOCH: &str = "Aiai-Epoch";

/// What was made of one EVENTS message: that message's sequence.
pub const EVENTS_SEQUENCE: &str = "Aiai-Events-Sequence";
/// What was made of one EVENTS message: ULID of the EVENTS stream's epoch.
pub const EVENTS_EPOCH: &str = "Aiai-Events-Epoch";

/// Dead letters: the stage which gave up, e.g. `ingest`.
pub const STAGE: &str = "Aiai-Stage";
/// Dead letters: the kind of the event, or [`crate::subjects::UNKNOWN_KIND`].
pub const KIND: &str = "Aiai-Kind";
/// Dead letters: the code of the reason, e.g. `unknown_field`.
pub const REASON: &str = "Aiai-Reason";
/// Dead letters: where in the payload, e.g. `tags.region`.
pub const PLACE: &str = "Aiai-Place";
/// Dead letters: what is wrong there.
pub const PROBLEM: &str = "Aiai-Problem";
/// Dead letters: what to do about it.
pub const FIX: &str = "Aiai-Fix";
/// Dead letters: INGEST sequence of the original message.
pub const ORIGIN: &str = "Aiai-Origin";
/// Dead letters: position of the item in the original message; only where one of several items was rejected.
pub const INDEX: &str = "Aiai-Index";
/// Dead letters: subject of the original message.
pub const SUBJECT: &str = "Aiai-Subject";
/// Dead letters: RFC 3339 time at which NATS stored the original message.
pub const STORED: &str = "Aiai-Stored";

/// A message that is published again: the dead letter it comes from, by its sequence in DEAD. Its [`STORED`] says when
/// the message was stored first.
pub const REPLAY_OF: &str = "Aiai-Replay-Of";
/// A message that is published again: how often it has been, this time counted.
pub const REPLAY_COUNT: &str = "Aiai-Replay-Count";
/// Notes about dead letters: the letters, as [`crate::Origins`] writes them; for who reads headers only.
pub const LETTERS: &str = "Aiai-Letters";
/// What stands before the name of an original header that must not act again.
pub const ORIGINAL_PREFIX: &str = "Aiai-Original-";
