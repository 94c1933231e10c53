//! Messages that no client can read: taken out of their stream, kept as dead letters.
//!
//! JetStream stores and acknowledges a message whose headers are not well-formed. Delivered, it
//! breaks the reader's connection, or is taken for a word of the server, and is never acknowledged:
//! the acknowledgement floor stands still and the stream can never be trimmed. Whoever reads a
//! durable therefore watches its floor; where it stands still, the messages behind it are looked at
//! through the API, which carries them encoded. Readable ones are left alone.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::{Reason, headers};
use serde::Deserialize;

use crate::context::Context;
use crate::dead::{kind_of, printable};
use crate::error::{Error, Result, chain};
use crate::source::Input;

/// Between two looks at the floor.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// Messages behind the floor looked at in one round; the floor comes to the others.
const LOOKED_AT_MAX: u64 = 64;
/// Original headers kept, encoded, in bytes.
const KEPT_HEADER_BYTES_MAX: usize = 32 * 1024;

/// JetStream's code for a sequence that the stream does not have; a missing stream has another.
const NO_MESSAGE: u64 = 10_037;

/// A stored message as the API has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Raw {
    pub(crate) subject: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    pub(crate) time: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    message: Option<Raw>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Watches a durable until the process is to end.
pub(crate) async fn watch(context: Context, input: Input, stage: &'static str) {
    let mut stood_at = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            () = context.shutdown().cancelled() => return,
        }
        let Ok(state) = context.durable_state(input.stream, input.durable).await else {
            continue;
        };
        let stands = state.ack_pending > 0 && stood_at == Some(state.ack_floor);
        stood_at = Some(state.ack_floor);
        if stands && let Err(error) = sweep(&context, input, stage, state.ack_floor).await {
            tracing::debug!(
                worker = stage,
                error = chain(&error),
                "unreadable messages not looked for"
            );
        }
    }
}

/// Looks at the messages behind the floor.
async fn sweep(context: &Context, input: Input, stage: &str, floor: u64) -> Result<()> {
    let state = context.stream_state(input.stream).await?;
    let first = state.first_sequence.max(floor + 1);
    for sequence in first..=state.last_sequence.min(first + LOOKED_AT_MAX) {
        let Some(raw) = read(context, input.stream, sequence).await? else {
            continue;
        };
        if let Some(problem) = problem_of(&raw) {
            bury(
                context,
                input.stream,
                stage,
                &state.epoch,
                sequence,
                &raw,
                problem,
            )
            .await?;
        }
    }
    Ok(())
}

/// Makes a dead letter of a message if no client can read it; none if one can. False: the stream no longer has it.
pub(crate) async fn bury_if_unreadable(
    context: &Context,
    stream: &str,
    stage: &str,
    epoch: &str,
    sequence: u64,
) -> Result<Option<bool>> {
    let Some(raw) = read(context, stream, sequence).await? else {
        return Ok(Some(false));
    };
    let Some(problem) = problem_of(&raw) else {
        return Ok(None);
    };
    bury(context, stream, stage, epoch, sequence, &raw, problem).await?;
    Ok(Some(true))
}

/// Whether the stream no longer has this message.
pub(crate) async fn is_gone(context: &Context, stream: &str, sequence: u64) -> Result<bool> {
    Ok(read(context, stream, sequence).await?.is_none())
}

pub(crate) async fn read(context: &Context, stream: &str, sequence: u64) -> Result<Option<Raw>> {
    let what = || format!("reading message {sequence} of {stream}");
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    let body = Bytes::from(format!("{{\"seq\":{sequence}}}"));
    let answer = context
        .client()
        .request(subject, body)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    let answer: Answer =
        serde_json::from_slice(&answer.payload).map_err(|error| Error::jetstream(what(), error))?;
    match answer.error {
        // No such message, which is what was asked.
        Some(refusal) if refusal.err_code != NO_MESSAGE => Err(Error::jetstream(what(), refusal.description)),
        _ => Ok(answer.message),
    }
}

/// What keeps a client from reading it; `None`: nothing.
fn problem_of(raw: &Raw) -> Option<&'static str> {
    if raw.subject.contains(char::REPLACEMENT_CHARACTER) {
        return Some("its subject is not UTF-8");
    }
    if raw.hdrs.is_empty() {
        return None;
    }
    let Ok(bytes) = STANDARD.decode(&raw.hdrs) else {
        return Some("its headers cannot be decoded");
    };
    header_problem(&bytes)
}

/// The rules of the client library, and that a stored message has no status of its own.
fn header_problem(bytes: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some("its headers are not UTF-8");
    };
    let mut lines = text.lines();
    let Some(status) = lines.next().and_then(|line| line.strip_prefix("NATS/1.0")) else {
        return Some("its headers do not begin with NATS/1.0");
    };
    // A status means nothing on a stored message, and is read as one.
    let code = status.split_whitespace().next();
    if code.is_some_and(|code| !code.parse().is_ok_and(|code: u16| (100..1000).contains(&code))) {
        return Some("its headers do not begin with NATS/1.0 alone, nor with a status");
    }
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with(char::is_whitespace)) {
        match line.split_once(':') {
            None => return Some("a header has no colon"),
            Some((name, _)) if name.parse::<HeaderName>().is_err() => {
                return Some("a header's name has characters that names may not have");
            }
            Some(_) => {}
        }
    }
    None
}

/// Keeps it as a dead letter, then takes it out of the stream.
async fn bury(
    context: &Context,
    stream: &str,
    stage: &str,
    epoch: &str,
    sequence: u64,
    raw: &Raw,
    problem: &str,
) -> Result<()> {
    let kind = kind_of(&raw.subject);
    let kind = if kind.contains(char::REPLACEMENT_CHARACTER) {
        schemas::subjects::UNKNOWN_KIND
    } else {
        kind
    };
    let mut map = HeaderMap::new();
    for (name, value) in [
        (headers::STAGE, stage),
        (headers::KIND, kind),
        (headers::REASON, Reason::UnreadableHeaders.as_str()),
        (headers::PLACE, "headers"),
        (headers::PROBLEM, problem),
        (
            headers::FIX,
            "send headers as NATS/1.0 and name: value lines in UTF-8, or none",
        ),
        (headers::EPOCH, epoch),
        (headers::SUBJECT, &printable(&raw.subject)),
        (headers::STORED, raw.time.as_str()),
    ] {
        map.insert(name, value);
    }
    if stream == crate::topology::INGEST {
        map.insert(headers::ORIGIN, sequence.to_string());
    }
    if raw.hdrs.len() <= KEPT_HEADER_BYTES_MAX {
        map.insert("Aiai-Original-Headers-Base64", raw.hdrs.as_str());
    }
    let subject = format!("dead.{stage}.{kind}");
    let payload = Bytes::from(STANDARD.decode(&raw.data).unwrap_or_default());
    let failed = |source| Error::NotAcknowledged {
        subject: subject.clone(),
        source,
    };
    let ack = context
        .jetstream()
        .publish_with_headers(subject.clone(), map, payload)
        .await
        .map_err(|error| failed(error.into()))?;
    ack.await.map_err(|error| failed(error.into()))?;
    let what = || format!("taking the unreadable message {sequence} out of {stream}");
    let handle = context
        .jetstream()
        .get_stream_no_info(stream)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    handle
        .delete_message(sequence)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    context.count(|counters| &counters.dead, 1);
    tracing::warn!(
        worker = stage,
        stream,
        sequence,
        problem,
        "an unreadable message became a dead letter"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_read_is_left_alone() {
        for good in [
            "NATS/1.0\r\n\r\n",
            "NATS/1.0\r\nA: b\r\nC:\r\n\r\n",
            "NATS/1.0\r\nA: b\r\n folded\r\n\r\n",
            "NATS/1.0 503\r\n\r\n",
            "NATS/1.0 408 Request Timeout\r\nA: b\r\n\r\n",
        ] {
            assert_eq!(header_problem(good.as_bytes()), None, "{good:?}");
        }
    }

    #[test]
    fn what_clients_cannot_read_is_named() {
        for bad in [
            &b"HTTP/1.1\r\nA: b\r\n\r\n"[..],
            b"NATS/1.0 none\r\n\r\n",
            b"NATS/1.0 99999\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\nbad name: x\r\n\r\n",
            b"NATS/1.0\r\nA: \xff\r\n\r\n",
            b"",
        ] {
            assert!(header_problem(bad).is_some(), "{bad:?}");
        }
    }
}
