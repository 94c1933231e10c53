//! `aiai dead show`: one letter, whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bus::Context;
use serde::{Deserialize, Serialize};

use super::contents::{self, Contents};
use super::plan::{self, Asked, Step};
use super::select::{self, Letter};
use crate::cli::dead::DeadShow;
use crate::command::sql;
use crate::config::Config;
use crate::output::{self, harmless};

/// Of a payload in text, this much is shown; --payload writes all of it.
const SHOWN_BYTES: usize = 16 * 1024;
/// Of a payload that is no text.
const HEX_BYTES: usize = 256;

/// What the table says besides headers and payload.
#[derive(Debug, Deserialize, Serialize)]
struct Details {
    dead_at: String,
    kind: Option<String>,
    source: Option<String>,
    place: Option<String>,
    problem: Option<String>,
    fix: Option<String>,
    stored: Option<String>,
    state_at: Option<String>,
}

/// What was done about it.
#[derive(Debug, Deserialize, Serialize)]
struct Deed {
    noted_at: String,
    deed: String,
    count: Option<u8>,
    stream: Option<String>,
    sequence: Option<u64>,
}

/// Prints it.
pub(super) async fn show(config: &Config, options: &DeadShow) -> anyhow::Result<ExitCode> {
    let context = crate::command::connect(config).await?;
    let letter = select::one(&context, &options.id).await?;
    let contents = contents::read(&context, &[&letter]).await?.remove(&letter.id);
    if options.payload {
        let contents =
            contents.ok_or_else(|| anyhow::anyhow!("the payload of letter {} was dropped", letter.id))?;
        std::io::stdout().lock().write_all(&contents.payload)?;
        return Ok(ExitCode::SUCCESS);
    }
    let details = details(&context, &letter).await?;
    let history = history(&context, &letter).await?;
    let text = if options.output == "json" {
        json(&letter, &details, contents.as_ref(), &history)? + "\n"
    } else {
        text(&letter, &details, contents.as_ref(), &history)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn details(context: &Context, letter: &Letter) -> anyhow::Result<Details> {
    let select = format!(
        "SELECT dead_at, kind, source, place, problem, fix, stored, state_at FROM dead WHERE {}",
        letter.condition()
    );
    let found: Vec<Details> = sql::rows(context, &select).await?;
    let found = found.into_iter().next();
    found.ok_or_else(|| anyhow::anyhow!("letter {} is there no more; ask again", letter.id))
}

async fn history(context: &Context, letter: &Letter) -> anyhow::Result<Vec<Deed>> {
    let select = format!(
        "SELECT noted_at, deed, count, stream, sequence FROM dead_note WHERE {} ORDER BY noted_at",
        letter.condition()
    );
    sql::rows(context, &select).await
}

fn json(
    letter: &Letter,
    details: &Details,
    contents: Option<&Contents>,
    history: &[Deed],
) -> anyhow::Result<String> {
    let text = contents.and_then(|contents| std::str::from_utf8(&contents.payload).ok());
    let other = contents.filter(|_| text.is_none());
    let value = serde_json::json!({
        "id": letter.id, "dead_epoch": letter.epoch, "state": letter.state, "state_at": details.state_at,
        "stage": letter.stage, "kind": details.kind, "source": details.source, "reason": letter.reason,
        "place": details.place, "problem": details.problem, "fix": details.fix,
        "subject": letter.subject, "stored": details.stored, "dead_at": details.dead_at,
        "origin": letter.origin, "idx": letter.idx, "replay_of": letter.replay_of, "replay_count": letter.replay_count,
        "headers": contents.map(|contents| &contents.headers),
        "payload": text, "payload_base64": other.map(|contents| STANDARD.encode(&contents.payload)),
        "history": history,
    });
    Ok(serde_json::to_string_pretty(&value)?)
}

fn text(letter: &Letter, details: &Details, contents: Option<&Contents>, history: &[Deed]) -> String {
    let mut out = format!("dead letter {}, {}\n", letter.id, letter.state);
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(out, "  {name:<10}{}", harmless(value));
        }
    };
    line("reason", letter.reason.as_deref());
    line("place", details.place.as_deref());
    line("problem", details.problem.as_deref());
    line("fix", details.fix.as_deref());
    line("stage", Some(&letter.stage));
    line("kind", details.kind.as_deref());
    line("source", details.source.as_deref());
    line("subject", letter.subject.as_deref());
    let origin = letter.origin.map(|origin| match letter.idx {
        Some(idx) => format!("{origin}, item {idx}"),
        None => origin.to_string(),
    });
    line("sequence", origin.as_deref());
    line("stored", details.stored.as_deref());
    line("dead", Some(&details.dead_at));
    let replay = letter
        .replay_of
        .map(|of| format!("{of}, for the {}. time", letter.replay_count));
    line("replay of", replay.as_deref());
    if let Some(contents) = contents {
        headers_text(&mut out, &contents.headers);
        payload_text(&mut out, &contents.payload);
    }
    for deed in history {
        let place = deed.stream.as_ref().zip(deed.sequence);
        let place = place.map(|(stream, sequence)| format!(", {stream} sequence {sequence}"));
        let _ = writeln!(
            out,
            "{} {}{}",
            deed.noted_at,
            deed.deed,
            place.unwrap_or_default()
        );
    }
    let asked = Asked {
        by_number: true,
        again: false,
    };
    let _ = match plan::step(letter, asked, false) {
        Step::Replay { stream, .. } => writeln!(
            out,
            "to publish it again, into {stream}: aiai dead replay {} --dry-run",
            letter.id
        ),
        Step::Skip(why) => writeln!(out, "not to be replayed: {why}"),
    };
    out
}

fn headers_text(out: &mut String, headers: &BTreeMap<String, String>) {
    // What the letter itself says is above.
    let carried = headers.iter().filter(|(name, _)| {
        name.starts_with(schemas::headers::ORIGINAL_PREFIX)
            || !(name.starts_with("Aiai-") || name.starts_with("Nats-"))
    });
    for (name, value) in carried {
        let _ = writeln!(out, "  {}: {}", harmless(name), harmless(value));
    }
}

fn payload_text(out: &mut String, payload: &[u8]) {
    let _ = writeln!(out, "payload, {} bytes:", payload.len());
    let is_text = |text: &&str| !text.contains(|c: char| c.is_control() && !"\n\r\t".contains(c));
    let cut = &payload[..payload.len().min(SHOWN_BYTES)];
    // A cut may fall within a character.
    let text = match std::str::from_utf8(cut) {
        Err(error) if cut.len() < payload.len() && error.error_len().is_none() => {
            std::str::from_utf8(&cut[..error.valid_up_to()])
        }
        other => other,
    };
    let shown = match text.ok().filter(is_text) {
        Some(text) => {
            out.push_str(text);
            text.len()
        }
        None => {
            let bytes = &payload[..payload.len().min(HEX_BYTES)];
            for row in bytes.chunks(32) {
                let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
                let _ = writeln!(out, "{hex}");
            }
            bytes.len()
        }
    };
    if !out.ends_with('\n') {
        out.push('\n');
    }
    if shown < payload.len() {
        let _ = writeln!(
            out,
            "… {} bytes more; --payload writes all",
            payload.len() - shown
        );
    }
}
