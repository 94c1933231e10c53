//! OpenTelemetry's values as JSON, within bounds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use schemas::limits;

use super::cut::{Cuts, cut};
use super::write::{Object, mark, number, show, text};

/// Bytes of one text among the attributes.
const TEXT_BYTES: usize = 128 * 1024;
/// Levels of arrays and objects; what they are in adds a few.
const DEPTH: usize = 48;
/// Members of one array or object: bounds the work, whatever their size.
const MEMBERS: usize = 4096;

/// Where a JSON text is written, and how far it may go.
pub(super) struct Room<'c> {
    /// Position in the output that nothing but marks and closing brackets passes.
    pub(super) end: usize,
    /// What did not fit.
    pub(super) cuts: &'c mut Cuts,
}

impl Room<'_> {
    fn is_full(&self, out: &[u8]) -> bool {
        out.len() >= self.end
    }
}

/// Adds attributes as members of an object. `reserved` names are the object's own.
pub(super) fn members(
    object: &mut Object<'_>,
    attributes: &[KeyValue],
    reserved: &[&str],
    room: &mut Room<'_>,
) {
    for (at, attribute) in attributes.iter().enumerate() {
        if at == MEMBERS || object.len() >= room.end {
            room.cuts.0 += 1;
            object.raw("aiai.attributes_left_out", attributes.len() - at);
            return;
        }
        let key = cut(&attribute.key, limits::TAG_KEY_BYTES, room.cuts);
        let out = if reserved.contains(&&*key) {
            object.member(&format!("attribute.{key}"))
        } else {
            object.member(&key)
        };
        value(out, attribute.value.as_ref(), DEPTH, room);
    }
}

/// Writes a value.
pub(super) fn any(out: &mut Vec<u8>, any: Option<&AnyValue>, room: &mut Room<'_>) {
    value(out, any, DEPTH, room);
}

fn value(out: &mut Vec<u8>, any: Option<&AnyValue>, depth_left: usize, room: &mut Room<'_>) {
    let Some(value) = any.and_then(|any| any.value.as_ref()) else {
        out.extend_from_slice(b"null");
        return;
    };
    match value {
        Value::StringValue(value) => bounded_text(out, value, room),
        Value::BoolValue(value) => show(out, value),
        Value::IntValue(value) => show(out, value),
        Value::DoubleValue(value) => number(out, *value),
        Value::BytesValue(bytes) => bounded_bytes(out, bytes, room),
        Value::StringValueStrindex(index) => show(out, index),
        _ if depth_left == 0 || room.is_full(out) => {
            room.cuts.0 += 1;
            mark(out);
        }
        Value::ArrayValue(array) => {
            out.push(b'[');
            for (at, member) in array.values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                if at == MEMBERS || room.is_full(out) {
                    room.cuts.0 += 1;
                    mark(out);
                    break;
                }
                self::value(out, Some(member), depth_left - 1, room);
            }
            out.push(b']');
        }
        Value::KvlistValue(list) => object(out, &list.values, depth_left - 1, room),
    }
}

fn object(out: &mut Vec<u8>, pairs: &[KeyValue], depth_left: usize, room: &mut Room<'_>) {
    let mut object = Object::begin(out);
    for (at, pair) in pairs.iter().enumerate() {
        if at == MEMBERS || object.len() >= room.end {
            room.cuts.0 += 1;
            object.raw("aiai.members_left_out", pairs.len() - at);
            break;
        }
        let key = cut(&pair.key, limits::TAG_KEY_BYTES, room.cuts);
        value(object.member(&key), pair.value.as_ref(), depth_left, room);
    }
    object.end();
}

fn bounded_text(out: &mut Vec<u8>, value: &str, room: &mut Room<'_>) {
    let start = out.len();
    let bytes_max = TEXT_BYTES.min(room.end.saturating_sub(start).max(64));
    let value = cut(value, bytes_max, room.cuts);
    text(out, &value);
    // Escapes may have made it up to six times as long.
    if out.len() > room.end.max(start + 512) {
        out.truncate(start);
        room.cuts.0 += 1;
        mark(out);
    }
}

fn bounded_bytes(out: &mut Vec<u8>, bytes: &[u8], room: &mut Room<'_>) {
    let left = room.end.saturating_sub(out.len()).min(TEXT_BYTES);
    if bytes.len() / 3 * 4 > left {
        room.cuts.0 += 1;
        return mark(out);
    }
    text(out, &STANDARD.encode(bytes));
}

/// A value as the text of a tag.
pub(super) fn tag_text<'v>(any: Option<&'v AnyValue>, cuts: &mut Cuts) -> std::borrow::Cow<'v, str> {
    match any.and_then(|any| any.value.as_ref()) {
        None => "".into(),
        Some(Value::StringValue(value)) => cut(value, limits::TAG_VALUE_BYTES, cuts),
        Some(Value::BoolValue(value)) => (if *value { "true" } else { "false" }).into(),
        Some(Value::IntValue(value)) => value.to_string().into(),
        Some(Value::DoubleValue(value)) => value.to_string().into(),
        Some(_) => {
            let mut json = Vec::new();
            let mut room = Room {
                end: limits::TAG_VALUE_BYTES / 2,
                cuts,
            };
            value(&mut json, any, DEPTH, &mut room);
            let json = String::from_utf8_lossy(&json).into_owned();
            cut(&json, limits::TAG_VALUE_BYTES, cuts).into_owned().into()
        }
    }
}
