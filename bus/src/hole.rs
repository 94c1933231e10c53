//! Holes: messages that a writer waits for and that will never be delivered to it.
//!
//! A message can be taken out of its stream (an unreadable one is, see `unreadable`), or be acknowledged by
//! somebody else (an operator's `nats consumer next`). The server alone is asked which it is: what is still in
//! the stream is never given up, it is delivered again.

use std::ops::RangeInclusive;

use crate::context::Context;
use crate::error::Result;
use crate::source::Input;
use crate::unreadable;

/// Sequences looked at in one round; the next round goes on.
const LOOKED_AT_MAX: u64 = 64;

/// What a hole is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    /// These sequences are not in the stream any more.
    Gone(RangeInclusive<u64>),
    /// It is in the stream, and whoever acknowledged it was not the writer.
    TakenAway,
    /// It is in the stream, and will be delivered (again).
    Waiting,
}

/// Looks at the hole that begins at `sequence`.
pub(crate) async fn look(context: &Context, input: Input, sequence: u64) -> Result<Hole> {
    let state = context.stream_state(input.stream).await?;
    if sequence < state.first_sequence {
        return Ok(Hole::Gone(sequence..=state.first_sequence - 1));
    }
    let mut end = sequence;
    while end <= state.last_sequence
        && end < sequence + LOOKED_AT_MAX
        && unreadable::is_gone(context, input.stream, end).await?
    {
        end += 1;
    }
    if end > sequence {
        return Ok(Hole::Gone(sequence..=end - 1));
    }
    let durable = context.durable_state(input.stream, input.durable).await?;
    Ok(if durable.ack_floor >= sequence {
        Hole::TakenAway
    } else {
        Hole::Waiting
    })
}
