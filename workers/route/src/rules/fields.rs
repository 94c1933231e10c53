//! The fields of each kind by name, as rules know them. A step's times are milliseconds since 1970, as `ts` is.

use schemas::{
    CallStatus, Event, Kind, Message, Metric, MetricType, Session, Step, StepStatus, Time, Usage, WorkItem,
};
use serde_json::value::RawValue;

/// What all events have.
pub(super) const COMMON: &[&str] = &[
    "kind",
    "tenant",
    "source",
    "ts",
    "tags",
    "session",
    "work_item",
    "trace_id",
];
/// The fields of a kind, besides [`COMMON`].
pub(super) const fn fields_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Metric => &["name", "value", "metric_type", "distribution"],
        Kind::Event => &["name", "data"],
        Kind::Usage => &[
            "model",
            "provider",
            "tokens_in",
            "tokens_out",
            "tokens_cache_read",
            "tokens_cache_write",
            "tokens_cache_write_1h",
            "tokens_reasoning",
            "service_tier",
            "cost_usd",
            "cost_source",
            "latency_ms",
            "ttft_ms",
            "task_complexity",
            "status",
            "error",
            "reservation",
        ],
        Kind::Step => &[
            "name",
            "span_id",
            "parent_id",
            "operation",
            "start",
            "end",
            "duration_ms",
            "status",
            "error",
            "attributes",
        ],
        Kind::Message => &["body", "channel", "from", "to"],
        Kind::Session => &["state", "title", "data"],
        Kind::WorkItem => &["state", "title", "project", "assignee", "parent", "data"],
    }
}

/// A field's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'f> {
    Text(&'f str),
    Int(i64),
    Float(f64),
    /// The tags, the data and so on: JSON.
    Json(&'f RawValue),
}

/// One kind's row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'r> {
    Metric(&'r Metric<'r>),
    Event(&'r Event<'r>),
    Usage(&'r Usage<'r>),
    Step(&'r Step<'r>),
    Message(&'r Message<'r>),
    Session(&'r Session<'r>),
    WorkItem(&'r WorkItem<'r>),
}

/// Whether it is kept as JSON, so that a path may go on within it.
pub(super) fn is_json(field: &str) -> bool {
    matches!(field, "tags" | "data" | "attributes" | "distribution")
}

/// Whichever kind it is.
macro_rules! of_any {
    ($row:expr, $each:ident => $what:expr) => {
        match $row {
            Row::Metric($each) => $what,
            Row::Event($each) => $what,
            Row::Usage($each) => $what,
            Row::Step($each) => $what,
            Row::Message($each) => $what,
            Row::Session($each) => $what,
            Row::WorkItem($each) => $what,
        }
    };
}

fn count(tokens: Option<u64>) -> Option<Field<'static>> {
    tokens.map(|tokens| Field::Int(i64::try_from(tokens).unwrap_or(i64::MAX)))
}

impl<'r> Row<'r> {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Row::Metric(_) => Kind::Metric,
            Row::Event(_) => Kind::Event,
            Row::Usage(_) => Kind::Usage,
            Row::Step(_) => Kind::Step,
            Row::Message(_) => Kind::Message,
            Row::Session(_) => Kind::Session,
            Row::WorkItem(_) => Kind::WorkItem,
        }
    }

    /// When it happened, in milliseconds since 1970.
    pub(super) fn time_ms(self) -> Option<i64> {
        of_any!(self, row => row.timestamp).map(|time| time.0.div_euclid(1000))
    }

    /// The INGEST message it came with, and its place there.
    pub(super) fn place(self) -> Option<(u64, u32)> {
        of_any!(self, row => row.origin.zip(row.index))
    }

    pub(super) fn tenant(self) -> &'r str {
        of_any!(self, row => row.tenant.as_deref()).unwrap_or_default()
    }

    pub(super) fn field(self, name: &str) -> Option<Field<'r>> {
        match name {
            "kind" => Some(Field::Text(self.kind().as_str())),
            "tenant" => Some(Field::Text(self.tenant())),
            "source" => of_any!(self, row => row.source.as_deref()).map(Field::Text),
            "ts" => self.time_ms().map(Field::Int),
            "tags" => of_any!(self, row => row.tags).map(Field::Json),
            "session" => of_any!(self, row => row.session.as_deref()).map(Field::Text),
            "work_item" => of_any!(self, row => row.work_item.as_deref()).map(Field::Text),
            "trace_id" => of_any!(self, row => row.trace_id.as_deref()).map(Field::Text),
            name => match self {
                Row::Metric(row) => metric(row, name),
                Row::Event(row) => event(row, name),
                Row::Usage(row) => usage(row, name),
                Row::Step(row) => step(row, name),
                Row::Message(row) => message(row, name),
                Row::Session(row) => session(row, name),
                Row::WorkItem(row) => work_item(row, name),
            },
        }
    }
}

fn metric<'r>(row: &'r Metric<'r>, name: &str) -> Option<Field<'r>> {
    match name {
        "name" => Some(Field::Text(&row.name)),
        "value" => Some(Field::Float(row.value)),
        "metric_type" => Some(Field::Text(row.metric_type.unwrap_or(MetricType::Gauge).as_str())),
        "distribution" => row.distribution.map(Field::Json),
        _ => None,
    }
}

fn event<'r>(row: &'r Event<'r>, name: &str) -> Option<Field<'r>> {
    match name {
        "name" => Some(Field::Text(&row.name)),
        "data" => row.data.map(Field::Json),
        _ => None,
    }
}

fn usage<'r>(row: &'r Usage<'r>, name: &str) -> Option<Field<'r>> {
    match name {
        "model" => Some(Field::Text(&row.model)),
        "provider" => row.provider.as_deref().map(Field::Text),
        "tokens_in" => count(row.tokens_in),
        "tokens_out" => count(row.tokens_out),
        "tokens_cache_read" => count(row.tokens_cache_read),
        "tokens_cache_write" => count(row.tokens_cache_write),
        "tokens_cache_write_1h" => count(row.tokens_cache_write_1h),
        "service_tier" => row.service_tier.as_deref().map(Field::Text),
        "tokens_reasoning" => count(row.tokens_reasoning),
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rule compares amounts, it does not add them up"
        )]
        "cost_usd" => row.cost_usd.map(|cost| Field::Float(cost.0 as f64 / 1e9)),
        "cost_source" => row.cost_source.as_deref().map(Field::Text),
        "latency_ms" => row.latency_ms.map(Field::Float),
        "ttft_ms" => row.ttft_ms.map(Field::Float),
        "task_complexity" => row
            .task_complexity
            .map(|complexity| Field::Text(complexity.as_str())),
        "status" => Some(Field::Text(row.status.unwrap_or(CallStatus::Ok).as_str())),
        "error" => row.error.as_deref().map(Field::Text),
        "reservation" => row.reservation.as_deref().map(Field::Text),
        _ => None,
    }
}

fn step<'r>(row: &'r Step<'r>, name: &str) -> Option<Field<'r>> {
    let time = |time: Option<Time>| time.map(|time| Field::Int(time.as_millis()));
    match name {
        "name" => Some(Field::Text(&row.name)),
        "span_id" => row.span_id.as_deref().map(Field::Text),
        "parent_id" => row.parent_id.as_deref().map(Field::Text),
        "operation" => row.operation.as_deref().map(Field::Text),
        "start" => time(row.start),
        "end" => time(row.end),
        "duration_ms" => row.duration_ms().map(Field::Float),
        "status" => Some(Field::Text(row.status.unwrap_or(StepStatus::Ok).as_str())),
        "error" => row.error.as_deref().map(Field::Text),
        "attributes" => row.attributes.map(Field::Json),
        _ => None,
    }
}

fn message<'r>(row: &'r Message<'r>, name: &str) -> Option<Field<'r>> {
    match name {
        "body" => Some(Field::Text(&row.body)),
        "channel" => row.channel.as_deref().map(Field::Text),
        "from" => row.from.as_deref().map(Field::Text),
        "to" => row.to.as_deref().map(Field::Text),
        _ => None,
    }
}

fn session<'r>(row: &'r Session<'r>, name: &str) -> Option<Field<'r>> {
    match name {
        "state" => Some(Field::Text(row.state.as_str())),
        "title" => row.title.as_deref().map(Field::Text),
        "data" => row.data.map(Field::Json),
        _ => None,
    }
}

fn work_item<'r>(row: &'r WorkItem<'r>, name: &str) -> Option<Field<'r>> {
    match name {
        "state" => Some(Field::Text(row.state.as_str())),
        "title" => row.title.as_deref().map(Field::Text),
        "project" => row.project.as_deref().map(Field::Text),
        "assignee" => row.assignee.as_deref().map(Field::Text),
        "parent" => row.parent.as_deref().map(Field::Text),
        "data" => row.data.map(Field::Json),
        _ => None,
    }
}
