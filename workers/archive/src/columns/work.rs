//! The columns of steps, messages, sessions and tasks.

use std::sync::Arc;

use arrow_array::builder::{StringBuilder, TimestampMicrosecondBuilder};
use schemas::{Message, Session, Step, WorkItem};

use super::{Columns, Own};

#[derive(Default)]
pub(crate) struct StepColumns {
    name: StringBuilder,
    span_id: StringBuilder,
    parent_id: StringBuilder,
    operation: StringBuilder,
    start: TimestampMicrosecondBuilder,
    end: TimestampMicrosecondBuilder,
    status: StringBuilder,
    error: StringBuilder,
    attributes: StringBuilder,
}

impl Own<Step<'_>> for StepColumns {
    fn push(&mut self, row: &Step<'_>) {
        self.name.append_value(&*row.name);
        self.span_id.append_option(row.span_id.as_deref());
        self.parent_id.append_option(row.parent_id.as_deref());
        self.operation.append_option(row.operation.as_deref());
        self.start.append_option(row.start.map(|time| time.0));
        self.end.append_option(row.end.map(|time| time.0));
        self.status
            .append_option(row.status.map(|status| status.as_str()));
        self.error.append_option(row.error.as_deref());
        self.attributes
            .append_option(row.attributes.map(|attributes| attributes.get()));
    }

    fn take(&mut self) -> Columns {
        vec![
            ("name", Arc::new(self.name.finish())),
            ("span_id", Arc::new(self.span_id.finish())),
            ("parent_id", Arc::new(self.parent_id.finish())),
            ("operation", Arc::new(self.operation.finish())),
            ("start", Arc::new(self.start.finish())),
            ("end", Arc::new(self.end.finish())),
            ("status", Arc::new(self.status.finish())),
            ("error", Arc::new(self.error.finish())),
            ("attributes", Arc::new(self.attributes.finish())),
        ]
    }
}

#[derive(Default)]
pub(crate) struct MessageColumns {
    body: StringBuilder,
    channel: StringBuilder,
    from: StringBuilder,
    to: StringBuilder,
}

impl Own<Message<'_>> for MessageColumns {
    fn push(&mut self, row: &Message<'_>) {
        self.body.append_value(&*row.body);
        self.channel.append_option(row.channel.as_deref());
        self.from.append_option(row.from.as_deref());
        self.to.append_option(row.to.as_deref());
    }

    fn take(&mut self) -> Columns {
        vec![
            ("body", Arc::new(self.body.finish())),
            ("channel", Arc::new(self.channel.finish())),
            ("from", Arc::new(self.from.finish())),
            ("to", Arc::new(self.to.finish())),
        ]
    }
}

#[derive(Default)]
pub(crate) struct SessionColumns {
    state: StringBuilder,
    title: StringBuilder,
    data: StringBuilder,
}

impl Own<Session<'_>> for SessionColumns {
    fn push(&mut self, row: &Session<'_>) {
        self.state.append_value(row.state.as_str());
        self.title.append_option(row.title.as_deref());
        self.data.append_option(row.data.map(|data| data.get()));
    }

    fn take(&mut self) -> Columns {
        vec![
            ("state", Arc::new(self.state.finish())),
            ("title", Arc::new(self.title.finish())),
            ("data", Arc::new(self.data.finish())),
        ]
    }
}

#[derive(Default)]
pub(crate) struct WorkItemColumns {
    state: StringBuilder,
    title: StringBuilder,
    project: StringBuilder,
    assignee: StringBuilder,
    parent: StringBuilder,
    data: StringBuilder,
}

impl Own<WorkItem<'_>> for WorkItemColumns {
    fn push(&mut self, row: &WorkItem<'_>) {
        self.state.append_value(row.state.as_str());
        self.title.append_option(row.title.as_deref());
        self.project.append_option(row.project.as_deref());
        self.assignee.append_option(row.assignee.as_deref());
        self.parent.append_option(row.parent.as_deref());
        self.data.append_option(row.data.map(|data| data.get()));
    }

    fn take(&mut self) -> Columns {
        vec![
            ("state", Arc::new(self.state.finish())),
            ("title", Arc::new(self.title.finish())),
            ("project", Arc::new(self.project.finish())),
            ("assignee", Arc::new(self.assignee.finish())),
            ("parent", Arc::new(self.parent.finish())),
            ("data", Arc::new(self.data.finish())),
        ]
    }
}
