//! CloudEvents 1.0: in binary mode the attributes are headers and the data is the payload; in structured mode the payload
//! is one JSON object with both, in batch mode an array of those.
//!
//! On `ingest.event` a CloudEvent becomes an event: its type the name, its id (and subject) tags. On the subject of any other
//! kind its data is that kind's object; source and time stand in for what that leaves out.
//!
//! Deliberately absent: extension attributes, except `traceparent`. They change nothing and are not kept.

mod binary;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use binary::{Base64, unescaped};

use super::diagnose::found;
use super::frame::{Elements, decode_item, decode_payload};
use super::kinds::Checked;
use super::{Context, Decoded, Incoming, syntax, trace_id};
use crate::rejection::{Reason, Rejection, shown};
use crate::{Event, Kind, Text, Time, headers, with_kind};

/// A CloudEvent's attributes as headers have them. What is absent of those required is empty.
#[derive(Debug, Clone, Copy)]
pub struct CloudEvent<'a> {
    /// `ce-specversion`.
    pub spec_version: &'a str,
    /// `ce-id`.
    pub id: &'a str,
    /// `ce-source`.
    pub source: &'a str,
    /// `ce-type`.
    pub event_type: &'a str,
    /// `ce-time`.
    pub time: Option<&'a str>,
    /// `ce-subject`.
    pub subject: Option<&'a str>,
    /// `ce-dataschema`. Not kept.
    pub data_schema: Option<&'a str>,
}

impl<'a> CloudEvent<'a> {
    /// The attributes among a message's headers; none if none of those that are required is there.
    pub fn from_headers(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let required = ["ce-specversion", "ce-id", "ce-source", "ce-type"].map(&get);
        required.iter().any(Option::is_some).then(|| {
            let [spec_version, id, source, event_type] = required.map(Option::unwrap_or_default);
            CloudEvent {
                spec_version,
                id,
                source,
                event_type,
                time: get("ce-time"),
                subject: get("ce-subject"),
                data_schema: get("ce-dataschema"),
            }
        })
    }
}

/// How a message carries CloudEvents.
pub(super) enum Mode<'a> {
    Binary(CloudEvent<'a>),
    Structured,
    Batch,
}

impl<'a> Mode<'a> {
    /// None: it carries none.
    pub(super) fn of(message: &Incoming<'a>) -> Option<Self> {
        let media_type = message.content_type.map(media_type);
        let is = |wanted: &str| media_type.is_some_and(|found| found.eq_ignore_ascii_case(wanted));
        if is(headers::CLOUD_EVENTS) {
            Some(Mode::Batch)
        } else if is(headers::CLOUD_EVENT) {
            Some(Mode::Structured)
        } else {
            message.cloud_event.map(Mode::Binary)
        }
    }

    /// Decodes every CloudEvent of the message.
    pub(super) fn decode(
        self,
        kind: Kind,
        message: &Incoming<'_>,
        context: Context<'_>,
        emit: &mut impl FnMut(Decoded<'_>),
    ) {
        let payload = message.payload;
        let outcome = match self {
            Mode::Binary(attributes) => binary(attributes, kind, message, context, emit),
            Mode::Structured => text_of(payload).and_then(|text| {
                let envelope = Envelope::parse(text)?;
                envelope.decode(kind, context, 0, emit)
            }),
            Mode::Batch => batch(kind, payload, context, emit),
        };
        if let Err(rejection) = outcome {
            emit(Decoded::Rejected {
                index: None,
                payload,
                rejection,
            });
        }
    }
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn text_of(payload: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(payload).map_err(|error| super::frame::invalid_utf8(error.valid_up_to()))
}

fn batch(
    kind: Kind,
    payload: &[u8],
    context: Context<'_>,
    emit: &mut impl FnMut(Decoded<'_>),
) -> Result<(), Rejection> {
    let text = text_of(payload)?;
    let items = Elements::of(text).map_err(|error| syntax::reject(text, &error))?;
    let items = items.within_limits()?;
    for (index, item) in (0..).zip(items) {
        let decoded = Envelope::parse(item.get());
        if let Err(rejection) = decoded.and_then(|envelope| envelope.decode(kind, context, index, emit)) {
            emit(Decoded::Rejected {
                index: Some(index),
                payload: item.get().as_bytes(),
                rejection: rejection.within(&format!("[{index}]"), "."),
            });
        }
    }
    Ok(())
}

fn binary(
    attributes: CloudEvent<'_>,
    kind: Kind,
    message: &Incoming<'_>,
    context: Context<'_>,
    emit: &mut impl FnMut(Decoded<'_>),
) -> Result<(), Rejection> {
    let some = |text: &str| (!text.is_empty()).then(|| Text(unescaped(text).into_owned().into()));
    let envelope = Envelope {
        spec_version: some(attributes.spec_version),
        id: some(attributes.id),
        source: some(attributes.source),
        event_type: some(attributes.event_type),
        time: attributes.time.and_then(some),
        subject: attributes.subject.and_then(some),
        trace_parent: None,
        data: None,
        data_base64: None,
    };
    if kind == Kind::Event {
        let data = binary::data(message.content_type.map(media_type), message.payload)?;
        return envelope.event(data.as_deref(), context, 0, emit);
    }
    let checked = envelope.check()?;
    let context = checked.stand_in(context);
    with_kind!(kind, T => decode_payload::<T<'_>>(message, context, emit));
    Ok(())
}

/// A CloudEvent in structured mode.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "specversion")]
    spec_version: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    subject: Option<Text<'a>>,
    #[serde(borrow, rename = "traceparent")]
    trace_parent: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Text<'a>>,
}

/// The attributes after they were checked.
struct Attributes<'e> {
    id: &'e str,
    source: &'e str,
    event_type: &'e str,
    time: Option<Time>,
    subject: Option<&'e str>,
    trace_id: Option<&'e str>,
}

impl<'e> Attributes<'e> {
    /// What they say about an item that does not say it itself.
    fn stand_in<'c: 'e>(&self, context: Context<'c>) -> Context<'e> {
        Context {
            source: self.source,
            time: self.time.unwrap_or(context.time),
            trace_id: context.trace_id.or(self.trace_id),
            ..context
        }
    }
}

/// An event as its sender could have published it.
#[derive(Serialize)]
struct Line<'e> {
    name: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'e RawValue>,
    tags: Tags<'e>,
}

#[derive(Serialize)]
struct Tags<'e> {
    ce_id: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ce_subject: Option<&'e str>,
}

impl<'a> Envelope<'a> {
    fn parse(text: &'a str) -> Result<Self, Rejection> {
        if serde_json::from_str::<IgnoredAny>(text).is_ok() && !text.trim_start().starts_with('{') {
            let problem = format!("is {}, not an object", found(text.trim_start()));
            let fix = "send a CloudEvent; for several the content type is application/cloudevents-batch+json";
            return Err(Rejection::new(
                Reason::WrongType,
                Rejection::PAYLOAD,
                problem,
                fix,
            ));
        }
        serde_json::from_str(text).map_err(|error| match error.is_data() {
            true => syntax::reject_value(Rejection::PAYLOAD, &error),
            false => syntax::reject(text, &error),
        })
    }

    fn check(&self) -> Result<Attributes<'_>, Rejection> {
        let needed = |name: &str, value: &'_ Option<Text<'a>>| match value {
            Some(text) if !text.is_empty() => Ok(()),
            _ => Err(missing(name)),
        };
        needed("specversion", &self.spec_version)?;
        needed("id", &self.id)?;
        needed("source", &self.source)?;
        needed("type", &self.event_type)?;
        if self.spec_version.as_deref() != Some("1.0") {
            let version = self.spec_version.as_deref().unwrap_or_default();
            let problem = format!("is \"{}\", not \"1.0\"", shown(version));
            return Err(Rejection::new(
                Reason::UnknownValue,
                "specversion",
                problem,
                "send CloudEvents 1.0",
            ));
        }
        self.check_data()?;
        let time = self.time.as_deref().map(|time| {
            time.parse::<Time>().map_err(|error| {
                let problem = format!("is \"{}\", which {error}", shown(time));
                Rejection::new(
                    Reason::BadTime,
                    "time",
                    problem,
                    "send an RFC 3339 time, e.g. 2026-11-20T07:00:00Z",
                )
            })
        });
        Ok(Attributes {
            id: self.id.as_deref().unwrap_or_default(),
            source: self.source.as_deref().unwrap_or_default(),
            event_type: self.event_type.as_deref().unwrap_or_default(),
            time: time.transpose()?,
            subject: self.subject.as_deref(),
            trace_id: self.trace_parent.as_deref().and_then(trace_id),
        })
    }

    /// Data is there once, and base 64 is base 64.
    fn check_data(&self) -> Result<(), Rejection> {
        let Some(in_base64) = self.data_base64.as_deref() else {
            return Ok(());
        };
        if self.data.is_some() {
            let problem = "is given beside data, which CloudEvents do not allow";
            let fix = "send data or data_base64, not both";
            return Err(Rejection::new(Reason::Inconsistent, "data_base64", problem, fix));
        }
        if !binary::is_base64(in_base64) {
            let problem = format!("is \"{}\", not base 64", shown(in_base64));
            let fix = "send the bytes in base 64 (RFC 4648 section 4), padded with =";
            return Err(Rejection::new(Reason::UnknownValue, "data_base64", problem, fix));
        }
        Ok(())
    }

    fn decode(
        &self,
        kind: Kind,
        context: Context<'_>,
        index: u32,
        emit: &mut impl FnMut(Decoded<'_>),
    ) -> Result<(), Rejection> {
        if kind == Kind::Event {
            let in_base64 = self
                .data_base64
                .as_deref()
                .map(|data_base64| Base64 { data_base64 });
            let wrapped = in_base64.and_then(|data| serde_json::value::to_raw_value(&data).ok());
            return self.event(self.data.or(wrapped.as_deref()), context, index, emit);
        }
        let context = self.check()?.stand_in(context);
        let Some(data) = self.data else {
            let fix = format!("put the {kind} there, as a JSON object");
            return Err(Rejection::new(Reason::MissingField, "data", "is missing", fix));
        };
        with_kind!(kind, T => self.item::<T<'_>>(data.get(), context, index, emit))
    }

    fn item<'e, T: Checked<'e>>(
        &self,
        data: &'e str,
        context: Context<'e>,
        index: u32,
        emit: &mut impl FnMut(Decoded<'_>),
    ) -> Result<(), Rejection> {
        let item =
            decode_item::<T>(data, context, index).map_err(|rejection| rejection.within("data", "."))?;
        emit(Decoded::Item {
            kind: T::KIND,
            index,
            item,
        });
        Ok(())
    }

    fn event(
        &self,
        data: Option<&RawValue>,
        context: Context<'_>,
        index: u32,
        emit: &mut impl FnMut(Decoded<'_>),
    ) -> Result<(), Rejection> {
        let attributes = self.check()?;
        let line = Line {
            name: attributes.event_type,
            data,
            tags: Tags {
                ce_id: attributes.id,
                ce_subject: attributes.subject,
            },
        };
        // Texts and JSON can always be written.
        let text = serde_json::to_string(&line).unwrap_or_default();
        let item =
            decode_item::<Event<'_>>(&text, attributes.stand_in(context), index).map_err(in_its_words)?;
        emit(Decoded::Item {
            kind: Kind::Event,
            index,
            item,
        });
        Ok(())
    }
}

fn missing(name: &str) -> Rejection {
    let fix = "CloudEvents require specversion, id, source and type: add it";
    Rejection::new(Reason::MissingField, name, "is missing", fix)
}

/// A rejection of the event that was made of a CloudEvent, with the names its sender knows.
fn in_its_words(mut rejection: Rejection) -> Rejection {
    let known = match rejection.place.as_str() {
        "name" => "type",
        "timestamp" => "time",
        "tags.ce_id" => "id",
        "tags.ce_subject" => "subject",
        _ => return rejection,
    };
    known.clone_into(&mut rejection.place);
    rejection
}
