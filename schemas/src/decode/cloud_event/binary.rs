//! Binary mode: what headers and payload hold, as JSON.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::decode::syntax;
use crate::rejection::Rejection;

/// The data of an event in binary mode as JSON: what is JSON as it is, other text as a string, other bytes in base 64.
pub(super) fn data(media_type: Option<&str>, payload: &[u8]) -> Result<Option<Box<RawValue>>, Rejection> {
    if payload.is_empty() {
        return Ok(None);
    }
    let says_json = media_type.is_some_and(|found| {
        let found = found.to_ascii_lowercase();
        found == "application/json" || found == "text/json" || found.ends_with("+json")
    });
    let says_text =
        media_type.is_some_and(|found| found.to_ascii_lowercase().starts_with("text/")) && !says_json;
    let text = std::str::from_utf8(payload);
    let json = text
        .ok()
        .filter(|_| !says_text && (says_json || media_type.is_none()));
    if let Some(text) = json {
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) => return Ok(Some(json)),
            Err(error) if says_json => return Err(syntax::reject(text, &error)),
            Err(_) => {}
        }
    } else if says_json {
        super::text_of(payload)?;
    }
    let json = match text {
        Ok(text) if says_text || media_type.is_none() => serde_json::value::to_raw_value(text),
        _ => serde_json::value::to_raw_value(&Base64 {
            data_base64: &STANDARD.encode(payload),
        }),
    };
    // A text can always be written.
    Ok(json.ok())
}

/// Bytes that are no text.
#[derive(Serialize)]
pub(super) struct Base64<'a> {
    pub(super) data_base64: &'a str,
}

/// Whether a text is bytes in base 64. Nothing is kept of them.
pub(super) fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

/// What HTTP and NATS headers escape as `%E2%82%AC`. What is no such escape stays as it is.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}
