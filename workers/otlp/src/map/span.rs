//! Spans become steps; those of model calls also usage.

use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use schemas::{Time, limits};

use super::cut::Cuts;
use super::facts::{Fact, Facts, text_named};
use super::genai::{Call, is_duration};
use super::operation::{is_model_call, operation};
use super::origin::Origin;
use super::tokens::Tokens;
use super::value::{Room, members};
use super::wrappers::Recent;
use super::write::Object;
use super::{AHEAD, Kind, Mapped, SET_CLOCK, time, too_far_ahead};

/// Bytes of a span's attributes, events and links, resource and scope included, as JSON: some room below the limit.
const ATTRIBUTES_BYTES: usize = limits::DATA_BYTES - 48 * 1024;
/// Members of the attributes that are not attributes.
const RESERVED: [&str; 5] = ["resource", "scope", "events", "links", "trace_state"];

/// Maps a request. `tenant`: a number that stands for whose it is.
pub fn traces(request: &ExportTraceServiceRequest, now: Time, tenant: u64, recent: &Mutex<Recent>) -> Mapped {
    let mut mapped = Mapped::default();
    let mut calls = Vec::new();
    for resource in &request.resource_spans {
        let mut origin = Origin::of(resource.resource.as_ref(), &mut mapped.cuts);
        for scope in &resource.scope_spans {
            origin.enter(scope.scope.as_ref(), &mut mapped.cuts);
            for span in &scope.spans {
                calls.extend(step(span, &origin, now, &mut mapped));
            }
        }
    }
    if !calls.is_empty() {
        let twice = {
            let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.told_twice(tenant, &calls)
        };
        for (call, _) in calls.iter().zip(twice).filter(|(_, twice)| !twice) {
            let Mapped { batch, cuts, .. } = &mut mapped;
            batch.item(Kind::Usage, |item| call.write(item, cuts));
        }
    }
    mapped
}

/// Writes a span as a step; gives the model call that it is, if so.
fn step<'a>(span: &'a Span, origin: &Origin<'a>, now: Time, mapped: &mut Mapped) -> Option<Call<'a>> {
    if let Some((problem, fix)) = fault(span, now) {
        mapped.reject("span", &span.name, problem, fix);
        return None;
    }
    let facts = Facts::read(&span.attributes);
    let operation = operation(&facts, span.kind);
    let source = origin
        .service
        .or_else(|| facts.text(Fact::Agent))
        .unwrap_or_default();
    let (start, end) = (time(span.start_time_unix_nano), time(span.end_time_unix_nano));
    let error = error(span);
    let Mapped { batch, cuts, .. } = &mut *mapped;
    batch.item(Kind::Step, |item| {
        item.text_if("source", Some(source), limits::TEXT_BYTES, cuts);
        item.text("name", &span.name, limits::NAME_BYTES, cuts);
        item.hex("trace_id", &span.trace_id);
        item.hex("span_id", &span.span_id);
        if span.parent_span_id.iter().any(|byte| *byte != 0) {
            item.hex("parent_id", &span.parent_span_id);
        }
        item.text_if("operation", operation, limits::TEXT_BYTES, cuts);
        item.time("start", start);
        item.time("end", end);
        item.plain("status", if error.is_some() { "error" } else { "ok" });
        item.text_if("error", error.as_deref(), limits::ERROR_BYTES, cuts);
        item.text_if(
            "session",
            facts.text(Fact::Conversation),
            limits::TEXT_BYTES,
            cuts,
        );
        attributes(item, span, origin, cuts);
    });
    if !is_model_call(&facts, operation) {
        return None;
    }
    let tokens = Tokens::of(&facts);
    if origin.scope_name.starts_with("logfire.") && error.is_none() && is_told_by_log(&facts, &tokens) {
        return None;
    }
    let model = facts.model()?;
    if !tokens.are_possible() {
        mapped.cuts.0 += 1;
        return None;
    }
    let scope = origin.scope_name;
    Some(Call {
        span,
        tokens,
        operation,
        source,
        model,
        scope,
        start: streamed_from(&facts, end).or(start),
        facts,
        end,
        error,
    })
}

/// Of a streamed call, Logfire's span is only the request: answer and tokens are in the log that it writes at the end.
fn is_told_by_log(facts: &Facts<'_>, tokens: &Tokens) -> bool {
    let answered = facts.has(Fact::ResponseId) || tokens.input.is_some() || tokens.output.is_some();
    facts.text(Fact::LogfireKind) == Some("span") && !answered
}

/// When the stream began of which Logfire's log tells, which has the time of its end.
fn streamed_from(facts: &Facts<'_>, end: Option<Time>) -> Option<Time> {
    let seconds = facts.number(Fact::DurationSeconds)?;
    let told = facts.text(Fact::LogfireKind) == Some("log") && is_duration(seconds * 1000.0);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a duration that the contract accepts"
    )]
    told.then(|| Time(end.map_or(0, |end| end.0) - (seconds * 1e6) as i64))
        .filter(|start| start.0 > 0)
}

/// What a span has that no step may have: problem and fix.
fn fault(span: &Span, now: Time) -> Option<(&'static str, &'static str)> {
    let is_id = |id: &[u8], length: usize| id.len() == length && id.iter().any(|byte| *byte != 0);
    let (start, end) = (time(span.start_time_unix_nano), time(span.end_time_unix_nano));
    let backwards = start.zip(end).is_some_and(|(start, end)| end < start);
    if span.name.trim().is_empty() {
        return Some(("it has no name", "name it"));
    }
    if !is_id(&span.trace_id, 16) {
        return Some((
            "its trace id is not 16 bytes, or all zero",
            "send the id of its trace",
        ));
    }
    if !is_id(&span.span_id, 8) {
        return Some((
            "its span id is not 8 bytes, or all zero",
            "send the id of the span",
        ));
    }
    if !matches!(span.parent_span_id.len(), 0 | 8) {
        return Some((
            "its parent's id is not 8 bytes",
            "send the id of the parent, or none",
        ));
    }
    if backwards {
        return Some(("it ends before it starts", "send times of one clock"));
    }
    (too_far_ahead(start, now) || too_far_ahead(end, now)).then_some((AHEAD, SET_CLOCK))
}

/// What went wrong, if the span says that something did: its status, or else the exception it saw.
fn error(span: &Span) -> Option<String> {
    let status = span.status.as_ref();
    status.filter(|status| status.code == StatusCode::Error as i32)?;
    let message = status.map_or("", |status| status.message.trim());
    if !message.is_empty() {
        return Some(message.to_owned());
    }
    let exception = span.events.iter().rfind(|event| event.name == "exception");
    let told = exception.map(|event| {
        let part = |key| text_named(&event.attributes, key).unwrap_or_default();
        let (kind, text) = (part("exception.type"), part("exception.message"));
        let between = if kind.is_empty() || text.is_empty() {
            ""
        } else {
            ": "
        };
        format!("{kind}{between}{text}")
    });
    let told = told.filter(|told| !told.is_empty());
    told.or_else(|| text_named(&span.attributes, "error.type").map(str::to_owned))
        .or_else(|| Some(String::new()))
}

fn attributes(item: &mut Object<'_>, span: &Span, origin: &Origin<'_>, cuts: &mut Cuts) {
    let out = item.member("attributes");
    let end = out.len() + ATTRIBUTES_BYTES;
    let mut object = Object::begin(out);
    let mut room = Room { end, cuts };
    members(&mut object, &span.attributes, &RESERVED, &mut room);
    origin.write(&mut object);
    object.text_if("trace_state", Some(&span.trace_state), 1024, room.cuts);
    list(
        &mut object,
        "events",
        &span.events,
        &mut room,
        |entry, event, room| {
            entry.text("name", &event.name, limits::NAME_BYTES, room.cuts);
            entry.time("time", time(event.time_unix_nano));
            inner_attributes(entry, &event.attributes, room);
        },
    );
    list(
        &mut object,
        "links",
        &span.links,
        &mut room,
        |entry, link, room| {
            entry.hex("trace_id", link.trace_id.get(..16).unwrap_or_default());
            entry.hex("span_id", link.span_id.get(..8).unwrap_or_default());
            inner_attributes(entry, &link.attributes, room);
        },
    );
    object.end();
}

fn inner_attributes(entry: &mut Object<'_>, attributes: &[KeyValue], room: &mut Room<'_>) {
    if !attributes.is_empty() {
        let mut inner = Object::begin(entry.member("attributes"));
        members(&mut inner, attributes, &[], room);
        inner.end();
    }
}

/// Writes entries while there is room.
fn list<T>(
    object: &mut Object<'_>,
    name: &str,
    entries: &[T],
    room: &mut Room<'_>,
    write: impl Fn(&mut Object<'_>, &T, &mut Room<'_>),
) {
    if entries.is_empty() {
        return;
    }
    let out = object.member(name);
    out.push(b'[');
    for (at, entry) in entries.iter().enumerate() {
        if out.len() >= room.end {
            room.cuts.0 += 1;
            break;
        }
        if at > 0 {
            out.push(b',');
        }
        let mut entry_object = Object::begin(out);
        write(&mut entry_object, entry, room);
        entry_object.end();
    }
    out.push(b']');
}
