//! What a request's headers ask for: pure.

use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use bus::Tokens;
use schemas::{Kind, headers, subjects};

use crate::problem::{self, Problem};

/// Whose events they are, where no token says it.
pub(crate) const TENANT: &str = "aiai-tenant";
/// Makes trying again safe.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What CloudEvents' attributes begin with in binary mode.
const ATTRIBUTE: &str = "ce-";
/// Bytes of an idempotency key.
pub(crate) const KEY_BYTES_MAX: usize = 128;
/// Bytes of all headers that travel on with the message.
pub(crate) const FORWARDED_BYTES_MAX: usize = 3 * 1024;

/// JSON: an object, or an array of objects.
pub(crate) const JSON: &str = "application/json";
/// One object a line, by each of its names.
pub(crate) const LINES: [&str; 4] = [
    headers::NDJSON,
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
];

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    None,
    Gzip,
    Zstd,
}

/// A request whose headers are good.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where its body is published.
    pub(crate) subject: String,
    pub(crate) encoding: Encoding,
    /// Headers that travel on: names as NATS has them.
    pub(crate) headers: Vec<(String, String)>,
    /// What NATS knows the message by.
    pub(crate) message_id: Option<String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

type Result<T> = std::result::Result<T, Box<Problem>>;

/// Looks at the headers.
pub(crate) fn asked(parts: &Parts, kind: Kind, tokens: &Tokens) -> Result<Asked> {
    let map = &parts.headers;
    let tenant = tenant(map, tokens)?;
    let subject = bus::subject(tenant, kind);
    let message_id = idempotency_key(map)?.map(|key| format!("{subject}:{key}"));
    let encoding = encoding(map)?;
    let headers = forwarded(map, kind)?;
    Ok(Asked {
        subject,
        encoding,
        headers,
        message_id,
    })
}

fn tenant<'t>(map: &'t HeaderMap, tokens: &'t Tokens) -> Result<&'t str> {
    if !tokens.is_empty() {
        let given = map.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        return tokens.tenant(given).ok_or_else(|| {
            let detail = "send the header `Authorization: Bearer <token>` with a token of gateway.tokens";
            Problem::new(problem::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, r#"Bearer realm="aiai""#)
        });
    }
    match text(map, TENANT)? {
        None => Ok(subjects::DEFAULT_TENANT),
        Some(tenant) if bus::is_tenant(tenant) => Ok(tenant),
        Some(_) => Err(Problem::new(
            problem::BAD_HEADER,
            format!("{TENANT} has to be a name of up to 256 letters, digits, - and _"),
        )),
    }
}

fn idempotency_key(map: &HeaderMap) -> Result<Option<&str>> {
    let key = text(map, IDEMPOTENCY_KEY)?;
    let is_good = |key: &str| {
        (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if key.is_none_or(is_good) {
        return Ok(key);
    }
    let detail = format!(
        "{IDEMPOTENCY_KEY} has to have 1 to {KEY_BYTES_MAX} characters without blanks: a UUID is fine"
    );
    Err(Problem::new(problem::BAD_HEADER, detail))
}

fn encoding(map: &HeaderMap) -> Result<Encoding> {
    let mut all = map.get_all(CONTENT_ENCODING).iter();
    let encoding = match (all.next().map(HeaderValue::as_bytes), all.next()) {
        (None, _) => Some(Encoding::None),
        (Some(name), None) => [
            ("identity", Encoding::None),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("zstd", Encoding::Zstd),
        ]
        .into_iter()
        .find_map(|(known, encoding)| {
            name.trim_ascii()
                .eq_ignore_ascii_case(known.as_bytes())
                .then_some(encoding)
        }),
        _ => None,
    };
    encoding.ok_or_else(|| {
        let detail = "send the body as it is, or with `Content-Encoding: gzip` or `zstd`, packed once";
        Problem::new(problem::WRONG_TYPE, detail).with(ACCEPT_ENCODING, "gzip, zstd")
    })
}

/// The headers that travel on with the message.
fn forwarded(map: &HeaderMap, kind: Kind) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    // The data of an event may be anything: what it is, decode tells by its type.
    let content_type = if kind == Kind::Event && is_cloud_event(map) {
        text(map, CONTENT_TYPE.as_str())?
    } else {
        content_type(map)?
    };
    if let Some(content_type) = content_type {
        all.push((headers::CONTENT_TYPE.to_owned(), content_type.to_owned()));
    }
    for (name, value) in map {
        let name = name.as_str();
        if name == headers::TRACE_PARENT || name.starts_with(ATTRIBUTE) {
            if all.iter().any(|(known, _)| known == name) {
                let detail = format!("{name} is there twice: send it once");
                return Err(Problem::new(problem::BAD_HEADER, detail));
            }
            all.push((name.to_owned(), readable(name, value)?.to_owned()));
        }
    }
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if bytes > FORWARDED_BYTES_MAX {
        let detail = format!(
            "the headers that travel on ({trace}, {ATTRIBUTE}…, content-type) have {bytes} bytes together, more \
             than {FORWARDED_BYTES_MAX}: shorten them",
            trace = headers::TRACE_PARENT
        );
        return Err(Problem::new(problem::BAD_HEADER, detail));
    }
    Ok(all)
}

/// Whether it is a CloudEvent in binary mode.
fn is_cloud_event(map: &HeaderMap) -> bool {
    map.keys().any(|name| name.as_str().starts_with(ATTRIBUTE))
}

/// The content type as `decode` has to know it; none where it is plain JSON.
fn content_type(map: &HeaderMap) -> Result<Option<&str>> {
    let refused = || {
        let lines = LINES[0];
        let detail = format!(
            "send `Content-Type: {JSON}`, or `{lines}` with one object a line, in UTF-8; CloudEvents are `{}` or `{}`",
            headers::CLOUD_EVENT,
            headers::CLOUD_EVENTS
        );
        Problem::new(problem::WRONG_TYPE, detail).with(ACCEPT, ACCEPTED)
    };
    let mut all = map.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(refused());
    };
    let value = value.to_str().map_err(|_| refused())?;
    let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
    let is = |known: &&str| media_type.trim().eq_ignore_ascii_case(known);
    if !is_utf8(parameters) {
        return Err(refused());
    }
    if is(&JSON) {
        return Ok(None);
    }
    let events = [headers::CLOUD_EVENT, headers::CLOUD_EVENTS];
    let lines = LINES.iter().find(|known| is(known)).map(|_| headers::NDJSON);
    lines
        .or(events.into_iter().find(is))
        .map(Some)
        .ok_or_else(refused)
}

const ACCEPTED: &str = "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json";

/// Whether the parameters of a media type name no other charset than UTF-8, of which ASCII is a part.
fn is_utf8(parameters: &str) -> bool {
    let charsets = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charsets
        .map(|(_, value)| value.trim().trim_matches('"'))
        .all(|charset| {
            ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        })
}

fn text<'m>(map: &'m HeaderMap, name: &str) -> Result<Option<&'m str>> {
    let mut all = map.get_all(name).iter();
    let value = all.next();
    if all.next().is_some() {
        let detail = format!("{name} is there twice: send it once");
        return Err(Problem::new(problem::BAD_HEADER, detail));
    }
    value.map(|value| readable(name, value)).transpose()
}

fn readable<'v>(name: &str, value: &'v HeaderValue) -> Result<&'v str> {
    value.to_str().map_err(|_| {
        let detail = format!("{name} has characters other than visible ASCII: percent-encode them");
        Problem::new(problem::BAD_HEADER, detail)
    })
}
