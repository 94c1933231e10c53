//! Log records become events; those of Claude Code's model calls also usage, and its sessions sessions.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use schemas::{Time, limits};

use super::claude::{self, Sessions};
use super::cut::Cuts;
use super::facts::text_named;
use super::origin::Origin;
use super::value::{Room, any, members};
use super::write::Object;
use super::{AHEAD, Kind, Mapped, SET_CLOCK, time, too_far_ahead};

/// Bytes of an event's data as JSON: some room below the limit.
const DATA_BYTES: usize = limits::DATA_BYTES - 48 * 1024;

/// Maps a request.
pub fn logs(request: &ExportLogsServiceRequest, now: Time) -> Mapped {
    let mut mapped = Mapped::default();
    let mut sessions = Sessions::default();
    for resource in &request.resource_logs {
        let mut origin = Origin::of(resource.resource.as_ref(), &mut mapped.cuts);
        for scope in &resource.scope_logs {
            origin.enter(scope.scope.as_ref(), &mut mapped.cuts);
            for record in &scope.log_records {
                event(record, &origin, now, &mut mapped, &mut sessions);
            }
        }
    }
    sessions.write(&mut mapped);
    mapped
}

/// When it happened, or was seen.
fn record_time(record: &LogRecord) -> Option<Time> {
    time(record.time_unix_nano).or_else(|| time(record.observed_time_unix_nano))
}

fn event<'a>(
    record: &'a LogRecord,
    origin: &Origin<'a>,
    now: Time,
    mapped: &mut Mapped,
    sessions: &mut Sessions<'a>,
) {
    let at = record_time(record);
    let name = name(record, origin);
    if too_far_ahead(at, now) {
        mapped.reject("log record", name, AHEAD, SET_CLOCK);
        return;
    }
    let agent = || text_named(&record.attributes, "gen_ai.agent.name");
    let source = origin.service.or_else(agent).unwrap_or_default();
    let session = text_named(&record.attributes, "gen_ai.conversation.id");
    let session = session.or_else(|| text_named(&record.attributes, "session.id"));
    let Mapped { batch, cuts, .. } = &mut *mapped;
    batch.item(Kind::Event, |item| {
        item.time("timestamp", at);
        item.text_if("source", Some(source), limits::TEXT_BYTES, cuts);
        item.text("name", name, limits::NAME_BYTES, cuts);
        item.text_if("session", session, limits::TEXT_BYTES, cuts);
        if is_trace(&record.trace_id) {
            item.hex("trace_id", &record.trace_id);
        }
        data(item, record, origin, cuts);
    });
    if claude::is_claude(record, origin) {
        sessions.see(session, source, at, &record.attributes);
        claude::usage(record, name, source, at, mapped);
    }
}

fn is_trace(id: &[u8]) -> bool {
    id.len() == 16 && id.iter().any(|byte| *byte != 0)
}

/// What happened: the event's name, or else who wrote it, or how severe it is.
fn name<'a>(record: &'a LogRecord, origin: &Origin<'a>) -> &'a str {
    let given = [
        &*record.event_name,
        text_named(&record.attributes, "event.name").unwrap_or_default(),
    ];
    let scope = origin.scope_name;
    let names = given.into_iter().chain([scope, severity(record)]);
    let mut names = names.filter(|name| !name.trim().is_empty());
    names.next().unwrap_or("log")
}

fn severity(record: &LogRecord) -> &str {
    if !record.severity_text.is_empty() {
        return &record.severity_text;
    }
    let number = SeverityNumber::try_from(record.severity_number).unwrap_or_default();
    if number == SeverityNumber::Unspecified {
        return "";
    }
    number.as_str_name().trim_start_matches("SEVERITY_NUMBER_")
}

fn data(item: &mut Object<'_>, record: &LogRecord, origin: &Origin<'_>, cuts: &mut Cuts) {
    let out = item.member("data");
    let end = out.len() + DATA_BYTES;
    let mut object = Object::begin(out);
    let mut room = Room { end, cuts };
    if let Some(body) = record.body.as_ref().filter(|body| body.value.is_some()) {
        any(object.member("body"), Some(body), &mut room);
    }
    object.text_if("severity", Some(severity(record)), limits::TEXT_BYTES, room.cuts);
    object.raw_if(
        "severity_number",
        (record.severity_number != 0).then_some(record.severity_number),
    );
    if record.span_id.len() == 8 && record.span_id.iter().any(|byte| *byte != 0) {
        object.hex("span_id", &record.span_id);
    }
    if !record.attributes.is_empty() {
        let mut inner = Object::begin(object.member("attributes"));
        members(&mut inner, &record.attributes, &[], &mut room);
        inner.end();
    }
    origin.write(&mut object);
    object.end();
}

/// The body, where it is a text.
pub(super) fn body_text(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}
