//! Limits and defaults of a parsed item. Allocates only to say what is wrong.

use super::kinds::{Checked, output_only};
use super::{Context, raw};
use crate::rejection::{Reason, Rejection};
use crate::{Text, Time, limits};

/// Checks every limit and fills in what aiai writes.
pub(super) fn admit<'a, T: Checked<'a>>(
    item: &mut T,
    context: Context<'a>,
    index: u32,
) -> Result<(), Rejection> {
    item.check_own()?;
    let common = item.common();
    if common.origin.is_some() {
        return Err(output_only("o"));
    }
    if common.index.is_some() {
        return Err(output_only("i"));
    }
    if common.tenant.is_some() {
        return Err(output_only("tenant"));
    }
    check_text("session", common.session, limits::TEXT_BYTES)?;
    check_text("work_item", common.work_item, limits::TEXT_BYTES)?;
    check_text("trace_id", common.trace_id.as_ref(), limits::TEXT_BYTES)?;
    common.tags.map_or(Ok(()), raw::check_tags)?;
    let timestamp = *common.timestamp.get_or_insert(context.time);
    check_timestamp(timestamp, context.stored)?;
    check_version(*common.v.get_or_insert(limits::VERSION))?;
    common.source.get_or_insert(Text::from(context.source));
    if let (None, Some(trace_id)) = (&common.trace_id, context.trace_id) {
        *common.trace_id = Some(Text::from(trace_id));
    }
    // After the default, which may come from a CloudEvent.
    check_text("source", common.source.as_ref(), limits::TEXT_BYTES)?;
    *common.origin = Some(context.origin);
    *common.index = Some(index);
    *common.tenant = Some(Text::from(context.tenant));
    Ok(())
}

pub(super) fn check_name(place: &str, name: &str, bytes_max: usize) -> Result<(), Rejection> {
    check_length(place, name, bytes_max)?;
    if name.trim().is_empty() {
        return Err(Rejection::new(
            Reason::EmptyName,
            place,
            "is blank",
            "give it a name",
        ));
    }
    Ok(())
}

pub(super) fn check_text(place: &str, text: Option<&Text<'_>>, bytes_max: usize) -> Result<(), Rejection> {
    text.map_or(Ok(()), |text| check_length(place, text, bytes_max))
}

pub(super) fn check_length(place: &str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    let problem = format!("has {} bytes, more than {bytes_max}", text.len());
    Err(Rejection::new(Reason::TooLarge, place, problem, "shorten it"))
}

pub(super) fn check_count(place: &str, count: Option<u64>) -> Result<(), Rejection> {
    match count {
        Some(count) if count > limits::TOKENS => {
            let problem = format!("is {count}, more than {}", limits::TOKENS);
            Err(Rejection::new(
                Reason::OutOfRange,
                place,
                problem,
                "send the tokens of one call",
            ))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_duration(place: &str, millis: Option<f64>) -> Result<(), Rejection> {
    match millis {
        Some(millis) if !(0.0..=limits::DURATION_MS).contains(&millis) => {
            let problem = format!("is {millis}, not from 0 to {}", limits::DURATION_MS);
            Err(Rejection::new(
                Reason::OutOfRange,
                place,
                problem,
                "send milliseconds",
            ))
        }
        _ => Ok(()),
    }
}

fn check_timestamp(timestamp: Time, stored: Time) -> Result<(), Rejection> {
    let allowed_seconds = limits::TIMESTAMP_AHEAD_SECONDS;
    if timestamp.0.saturating_sub(stored.0) <= allowed_seconds * 1_000_000 {
        return Ok(());
    }
    let problem =
        format!("is {timestamp}, over {allowed_seconds} s after {stored}, when the message was stored");
    let fix = "set the sender's clock, or check its time zone";
    Err(Rejection::new(Reason::BadTime, "timestamp", problem, fix))
}

fn check_version(version: u16) -> Result<(), Rejection> {
    if version == limits::VERSION {
        return Ok(());
    }
    let problem = format!("is {version}, not {}", limits::VERSION);
    Err(Rejection::new(
        Reason::OutOfRange,
        "v",
        problem,
        "send 1, or leave it out",
    ))
}
