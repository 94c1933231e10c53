//! What is particular to the kinds about work: steps, messages, sessions and tasks.

use super::super::check::{check_name, check_text};
use super::super::{diagnose, raw};
use super::{Checked, Field, Shape, optional, required};
use crate::rejection::{Reason, Rejection};
use crate::{Message, Session, SessionState, Step, StepStatus, Text, Time, WorkItem, WorkItemState, limits};

impl<'a> Checked<'a> for Step<'a> {
    const OWN: &'static [Field] = &[
        required("name", Shape::Text),
        optional("span_id", Shape::Text),
        optional("parent_id", Shape::Text),
        optional("operation", Shape::Text),
        optional("start", Shape::Time),
        optional("end", Shape::Time),
        optional("status", Shape::Choice(StepStatus::NAMES)),
        optional("error", Shape::Text),
        optional("attributes", Shape::Raw),
    ];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_name("name", &self.name, limits::NAME_BYTES)?;
        check_text("span_id", self.span_id.as_ref(), limits::TEXT_BYTES)?;
        check_text("parent_id", self.parent_id.as_ref(), limits::TEXT_BYTES)?;
        check_text("operation", self.operation.as_ref(), limits::TEXT_BYTES)?;
        check_text("error", self.error.as_ref(), limits::ERROR_BYTES)?;
        check_order(self.start, self.end)?;
        self.attributes.map_or(Ok(()), raw::check_attributes)?;
        self.timestamp = self.timestamp.or(self.start);
        self.status.get_or_insert(StepStatus::Ok);
        Ok(())
    }
}

fn check_order(start: Option<Time>, end: Option<Time>) -> Result<(), Rejection> {
    match start.zip(end) {
        Some((start, end)) if end < start => {
            let problem = format!("is {end}, before the start {start}");
            let fix = "exchange them, or check the sender's clock";
            Err(Rejection::new(Reason::Inconsistent, "end", problem, fix))
        }
        _ => Ok(()),
    }
}

impl<'a> Checked<'a> for Message<'a> {
    const OWN: &'static [Field] = &[
        required("body", Shape::Text),
        optional("channel", Shape::Text),
        optional("from", Shape::Text),
        optional("to", Shape::Text),
    ];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_body(&self.body)?;
        check_text("channel", self.channel.as_ref(), limits::TEXT_BYTES)?;
        check_text("from", self.from.as_ref(), limits::TEXT_BYTES)?;
        check_text("to", self.to.as_ref(), limits::TEXT_BYTES)
    }
}

/// Not blank, and not too long once its quotes, line breaks and control characters are written as JSON wants them: an
/// EVENTS message must have room for it.
fn check_body(body: &str) -> Result<(), Rejection> {
    /// `\u0000`: what one byte may become.
    const ESCAPE_BYTES: usize = 6;
    if body.len() > limits::BODY_BYTES / ESCAPE_BYTES {
        let written: usize = body.bytes().map(written_bytes).sum();
        if written > limits::BODY_BYTES {
            let problem = format!(
                "has {written} bytes as a JSON string, more than {}",
                limits::BODY_BYTES
            );
            let fix = "send it in parts, or store it elsewhere and send a reference";
            return Err(Rejection::new(Reason::TooLarge, "body", problem, fix));
        }
    }
    if body.trim().is_empty() {
        let fix = "put what was said there, or leave the message out";
        return Err(Rejection::new(Reason::EmptyName, "body", "is blank", fix));
    }
    Ok(())
}

/// How long a byte of text is in JSON.
const fn written_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

impl<'a> Checked<'a> for Session<'a> {
    const OWN: &'static [Field] = &[
        required("session", Shape::Text),
        required("state", Shape::Choice(SessionState::NAMES)),
        optional("title", Shape::Text),
        optional("data", Shape::Raw),
    ];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_identity(&Self::OWN[0], self.session.as_ref())?;
        check_text("title", self.title.as_ref(), limits::TITLE_BYTES)?;
        self.data.map_or(Ok(()), raw::check_data)
    }
}

impl<'a> Checked<'a> for WorkItem<'a> {
    const OWN: &'static [Field] = &[
        required("work_item", Shape::Text),
        required("state", Shape::Choice(WorkItemState::NAMES)),
        optional("title", Shape::Text),
        optional("project", Shape::Text),
        optional("assignee", Shape::Text),
        optional("parent", Shape::Text),
        optional("data", Shape::Raw),
    ];

    fn check_own(&mut self) -> Result<(), Rejection> {
        check_identity(&Self::OWN[0], self.work_item.as_ref())?;
        check_text("title", self.title.as_ref(), limits::TITLE_BYTES)?;
        check_text("project", self.project.as_ref(), limits::TEXT_BYTES)?;
        check_text("assignee", self.assignee.as_ref(), limits::TEXT_BYTES)?;
        check_text("parent", self.parent.as_ref(), limits::TEXT_BYTES)?;
        self.data.map_or(Ok(()), raw::check_data)
    }
}

/// A shared field that this kind cannot do without.
fn check_identity(field: &Field, text: Option<&Text<'_>>) -> Result<(), Rejection> {
    let text = text.ok_or_else(|| diagnose::missing(field))?;
    check_name(field.name, text, limits::TEXT_BYTES)
}
