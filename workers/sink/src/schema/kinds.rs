//! The tables of events: one for each kind, with the columns that all share around its own.

use schemas::Kind;

use super::Column;

pub(super) const EVENT_START: &[Column] = &[
    ("ts", "TIMESTAMP", "when it happened, UTC"),
    ("tenant", "VARCHAR", "whose it is, from the subject"),
    ("source", "VARCHAR", "who sent it"),
];

pub(super) const EVENT_END: &[Column] = &[
    ("tags", "JSON", "labels, string to string: tags->>'region'"),
    ("session", "VARCHAR", "the agent's session"),
    ("work_item", "VARCHAR", "the task it belongs to"),
    ("trace_id", "VARCHAR", "the trace it belongs to"),
    ("v", "USMALLINT", "contract version"),
    (
        "origin",
        "UBIGINT",
        "sequence in INGEST of the message that carried it",
    ),
    ("idx", "UINTEGER", "position in that message, from 0"),
    ("epoch", "USMALLINT", "INGEST's epoch: epochs.id"),
    (
        "stored",
        "TIMESTAMP",
        "when NATS stored the EVENTS message, UTC: arrival",
    ),
    (
        "events_seq",
        "UBIGINT",
        "sequence in EVENTS of the message that carried it; null: stored before version 3",
    ),
    (
        "events_epoch",
        "USMALLINT",
        "the epoch of EVENTS: epochs.id; null: stored before version 3",
    ),
];

const METRIC: &[Column] = &[
    ("name", "VARCHAR", "what was measured"),
    ("value", "DOUBLE", "the value measured, in the metric's own unit"),
    (
        "metric_type",
        "VARCHAR",
        "counter, cumulative, gauge or histogram",
    ),
    (
        "distribution",
        "JSON",
        "many observations at once, by buckets; value is their mean",
    ),
];

const EVENT: &[Column] = &[
    ("name", "VARCHAR", "what happened"),
    ("data", "JSON", "anything more"),
];

const USAGE: &[Column] = &[
    ("model", "VARCHAR", "the model that answered"),
    ("provider", "VARCHAR", "who runs the model"),
    (
        "tokens_in",
        "BIGINT",
        "tokens sent, including cache reads and writes",
    ),
    ("tokens_out", "BIGINT", "tokens received, including reasoning"),
    (
        "tokens_cache_read",
        "BIGINT",
        "the part of tokens_in read from a cache",
    ),
    (
        "tokens_cache_write",
        "BIGINT",
        "the part of tokens_in written to a cache",
    ),
    (
        "tokens_cache_write_1h",
        "BIGINT",
        "the part of tokens_cache_write that is kept for an hour",
    ),
    (
        "tokens_reasoning",
        "BIGINT",
        "the part of tokens_out spent on reasoning",
    ),
    (
        "service_tier",
        "VARCHAR",
        "what the provider charges for: standard, batch, flex, priority, …",
    ),
    (
        "cost_usd",
        "DECIMAL(18,9)",
        "US dollars, exact; null when unpriced",
    ),
    (
        "cost_source",
        "VARCHAR",
        "provider, unpriced or price_table@<version>",
    ),
    ("latency_ms", "DOUBLE", "milliseconds to the last token"),
    ("ttft_ms", "DOUBLE", "milliseconds to the first token"),
    (
        "task_complexity",
        "VARCHAR",
        "trivial, simple, medium, complex or critical",
    ),
    ("status", "VARCHAR", "ok, error, rate_limited or timeout"),
    ("error", "VARCHAR", "what went wrong"),
    (
        "reservation",
        "VARCHAR",
        "the budget reservation the call used up",
    ),
];

const STEP: &[Column] = &[
    ("name", "VARCHAR", "what was done"),
    ("span_id", "VARCHAR", "the step itself, unique within its trace"),
    (
        "parent_id",
        "VARCHAR",
        "the step it is part of: that one's span_id",
    ),
    (
        "operation",
        "VARCHAR",
        "what sort of step: chat, execute_tool, invoke_agent and so on",
    ),
    ("start", "TIMESTAMP", "when it started, UTC"),
    (
        "end",
        "TIMESTAMP",
        "when it ended, UTC; write it in double quotes",
    ),
    ("status", "VARCHAR", "ok or error"),
    ("error", "VARCHAR", "what went wrong"),
    ("attributes", "JSON", "anything more, an object"),
];

const MESSAGE: &[Column] = &[
    ("body", "VARCHAR", "what was said"),
    ("channel", "VARCHAR", "where it was said"),
    ("from", "VARCHAR", "who said it; write it in double quotes"),
    ("to", "VARCHAR", "to whom; write it in double quotes"),
];

const SESSION: &[Column] = &[
    ("state", "VARCHAR", "started, active, ended or failed"),
    ("title", "VARCHAR", "what it is about"),
    ("data", "JSON", "anything more"),
];

const WORK_ITEM: &[Column] = &[
    ("state", "VARCHAR", "open, claimed, blocked, done or failed"),
    ("title", "VARCHAR", "what is to be done"),
    ("project", "VARCHAR", "the project it is part of"),
    ("assignee", "VARCHAR", "who works on it"),
    (
        "parent",
        "VARCHAR",
        "the task it is part of: that one's work_item",
    ),
    ("data", "JSON", "anything more"),
];

/// The columns that only this kind has, in order.
pub(crate) const fn own(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Metric => METRIC,
        Kind::Event => EVENT,
        Kind::Usage => USAGE,
        Kind::Step => STEP,
        Kind::Message => MESSAGE,
        Kind::Session => SESSION,
        Kind::WorkItem => WORK_ITEM,
    }
}
