//! The tables `step`, `message`, `session` and `work_item` as columns being filled.

use duckdb::arrow::datatypes::TimestampMicrosecondType;
use schemas::{Message, Session, Step, WorkItem};

use super::{Fill, Shared, Stamp};
use crate::appending::{Columns, NumberColumn, TextColumn};

/// The table `step`.
#[derive(Default)]
pub(crate) struct StepColumns {
    shared: Shared,
    name: TextColumn,
    span_id: TextColumn,
    parent_id: TextColumn,
    operation: TextColumn,
    start: NumberColumn<TimestampMicrosecondType>,
    end: NumberColumn<TimestampMicrosecondType>,
    status: TextColumn,
    error: TextColumn,
    attributes: TextColumn,
}

impl Fill<Step<'_>> for StepColumns {
    const TABLE: &'static str = "step";

    fn push(&mut self, row: &Step<'_>, stamp: Stamp) {
        self.shared.push(row, stamp);
        self.name.push(Some(&row.name));
        self.span_id.push(row.span_id.as_deref());
        self.parent_id.push(row.parent_id.as_deref());
        self.operation.push(row.operation.as_deref());
        self.start.push(row.start.map(|time| time.0));
        self.end.push(row.end.map(|time| time.0));
        self.status.push(row.status.map(|status| status.as_str()));
        self.error.push(row.error.as_deref());
        self.attributes
            .push(row.attributes.map(|attributes| attributes.get()));
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared.take(vec![
            ("name", self.name.take()),
            ("span_id", self.span_id.take()),
            ("parent_id", self.parent_id.take()),
            ("operation", self.operation.take()),
            ("start", self.start.take()),
            ("end", self.end.take()),
            ("status", self.status.take()),
            ("error", self.error.take()),
            ("attributes", self.attributes.take()),
        ])
    }
}

/// The table `message`.
#[derive(Default)]
pub(crate) struct MessageColumns {
    shared: Shared,
    body: TextColumn,
    channel: TextColumn,
    from: TextColumn,
    to: TextColumn,
}

impl Fill<Message<'_>> for MessageColumns {
    const TABLE: &'static str = "message";

    fn push(&mut self, row: &Message<'_>, stamp: Stamp) {
        self.shared.push(row, stamp);
        self.body.push(Some(&row.body));
        self.channel.push(row.channel.as_deref());
        self.from.push(row.from.as_deref());
        self.to.push(row.to.as_deref());
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared.take(vec![
            ("body", self.body.take()),
            ("channel", self.channel.take()),
            ("from", self.from.take()),
            ("to", self.to.take()),
        ])
    }
}

/// The table `session`.
#[derive(Default)]
pub(crate) struct SessionColumns {
    shared: Shared,
    state: TextColumn,
    title: TextColumn,
    data: TextColumn,
}

impl Fill<Session<'_>> for SessionColumns {
    const TABLE: &'static str = "session";

    fn push(&mut self, row: &Session<'_>, stamp: Stamp) {
        self.shared.push(row, stamp);
        self.state.push(Some(row.state.as_str()));
        self.title.push(row.title.as_deref());
        self.data.push(row.data.map(|data| data.get()));
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared.take(vec![
            ("state", self.state.take()),
            ("title", self.title.take()),
            ("data", self.data.take()),
        ])
    }
}

/// The table `work_item`.
#[derive(Default)]
pub(crate) struct WorkItemColumns {
    shared: Shared,
    state: TextColumn,
    title: TextColumn,
    project: TextColumn,
    assignee: TextColumn,
    parent: TextColumn,
    data: TextColumn,
}

impl Fill<WorkItem<'_>> for WorkItemColumns {
    const TABLE: &'static str = "work_item";

    fn push(&mut self, row: &WorkItem<'_>, stamp: Stamp) {
        self.shared.push(row, stamp);
        self.state.push(Some(row.state.as_str()));
        self.title.push(row.title.as_deref());
        self.project.push(row.project.as_deref());
        self.assignee.push(row.assignee.as_deref());
        self.parent.push(row.parent.as_deref());
        self.data.push(row.data.map(|data| data.get()));
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared.take(vec![
            ("state", self.state.take()),
            ("title", self.title.take()),
            ("project", self.project.take()),
            ("assignee", self.assignee.take()),
            ("parent", self.parent.take()),
            ("data", self.data.take()),
        ])
    }
}
