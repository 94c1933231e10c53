//! The tables of events as columns being filled.

use duckdb::arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt16Type, UInt32Type,
    UInt64Type,
};
use schemas::{Event, Metric, Usage};

use crate::appending::{Columns, NumberColumn, TextColumn, numbers};
use crate::decode::Canonical;

mod work;

pub(crate) use work::{MessageColumns, SessionColumns, StepColumns, WorkItemColumns};

/// What the rows of one message have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// Id of INGEST's epoch.
    pub(crate) epoch: u16,
    /// When NATS stored the EVENTS message, in microseconds.
    pub(crate) stored: i64,
    /// Sequence of the EVENTS message.
    pub(crate) events_seq: u64,
    /// Id of the epoch of EVENTS.
    pub(crate) events_epoch: u16,
}

/// A table being filled with rows `T`.
pub(crate) trait Fill<T> {
    /// The table's name.
    const TABLE: &'static str;
    /// Adds a row.
    fn push(&mut self, row: &T, stamp: Stamp);
    /// How many rows there are.
    fn rows(&self) -> usize;
    /// All columns; starts anew.
    fn take(&mut self) -> Columns;
}

/// The columns all kinds share.
#[derive(Default)]
struct Shared {
    ts: Vec<i64>,
    tenant: TextColumn,
    source: TextColumn,
    tags: TextColumn,
    session: TextColumn,
    work_item: TextColumn,
    trace_id: TextColumn,
    v: Vec<u16>,
    origin: Vec<u64>,
    idx: Vec<u32>,
    epoch: Vec<u16>,
    stored: Vec<i64>,
    events_seq: Vec<u64>,
    events_epoch: Vec<u16>,
}

impl Shared {
    fn push(&mut self, row: &impl Canonical, stamp: Stamp) {
        let row = row.common();
        self.ts.push(row.timestamp.unwrap_or_default().0);
        self.tenant.push(row.tenant);
        self.source.push(row.source);
        self.tags.push(row.tags);
        self.session.push(row.session);
        self.work_item.push(row.work_item);
        self.trace_id.push(row.trace_id);
        self.v.push(row.v.unwrap_or(1));
        self.origin.push(row.origin.unwrap_or_default());
        self.idx.push(row.index.unwrap_or_default());
        self.epoch.push(stamp.epoch);
        self.stored.push(stamp.stored);
        self.events_seq.push(stamp.events_seq);
        self.events_epoch.push(stamp.events_epoch);
    }

    fn take(&mut self, own: Columns) -> Columns {
        let mut columns = own;
        columns.extend([
            ("ts", numbers::<TimestampMicrosecondType>(&mut self.ts)),
            ("tenant", self.tenant.take()),
            ("source", self.source.take()),
            ("tags", self.tags.take()),
            ("session", self.session.take()),
            ("work_item", self.work_item.take()),
            ("trace_id", self.trace_id.take()),
            ("v", numbers::<UInt16Type>(&mut self.v)),
            ("origin", numbers::<UInt64Type>(&mut self.origin)),
            ("idx", numbers::<UInt32Type>(&mut self.idx)),
            ("epoch", numbers::<UInt16Type>(&mut self.epoch)),
            ("stored", numbers::<TimestampMicrosecondType>(&mut self.stored)),
            ("events_seq", numbers::<UInt64Type>(&mut self.events_seq)),
            ("events_epoch", numbers::<UInt16Type>(&mut self.events_epoch)),
        ]);
        columns
    }
}

/// The table `metric`.
#[derive(Default)]
pub(crate) struct MetricColumns {
    shared: Shared,
    name: TextColumn,
    value: Vec<f64>,
    metric_type: TextColumn,
    distribution: TextColumn,
}

impl Fill<Metric<'_>> for MetricColumns {
    const TABLE: &'static str = "metric";

    fn push(&mut self, row: &Metric<'_>, stamp: Stamp) {
        self.shared.push(row, stamp);
        self.name.push(Some(&row.name));
        self.value.push(row.value);
        self.metric_type
            .push(row.metric_type.map(|metric_type| metric_type.as_str()));
        self.distribution
            .push(row.distribution.map(|distribution| distribution.get()));
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared.take(vec![
            ("name", self.name.take()),
            ("value", numbers::<Float64Type>(&mut self.value)),
            ("metric_type", self.metric_type.take()),
            ("distribution", self.distribution.take()),
        ])
    }
}

/// The table `event`.
#[derive(Default)]
pub(crate) struct EventColumns {
    shared: Shared,
    name: TextColumn,
    data: TextColumn,
}

impl Fill<Event<'_>> for EventColumns {
    const TABLE: &'static str = "event";

    fn push(&mut self, row: &Event<'_>, stamp: Stamp) {
        self.shared.push(row, stamp);
        self.name.push(Some(&row.name));
        self.data.push(row.data.map(|data| data.get()));
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared
            .take(vec![("name", self.name.take()), ("data", self.data.take())])
    }
}

/// The table `usage`.
pub(crate) struct UsageColumns {
    shared: Shared,
    model: TextColumn,
    provider: TextColumn,
    tokens_in: NumberColumn<Int64Type>,
    tokens_out: NumberColumn<Int64Type>,
    tokens_cache_read: NumberColumn<Int64Type>,
    tokens_cache_write: NumberColumn<Int64Type>,
    tokens_cache_write_1h: NumberColumn<Int64Type>,
    tokens_reasoning: NumberColumn<Int64Type>,
    service_tier: TextColumn,
    cost_usd: NumberColumn<Decimal128Type>,
    cost_source: TextColumn,
    latency_ms: NumberColumn<Float64Type>,
    ttft_ms: NumberColumn<Float64Type>,
    task_complexity: TextColumn,
    status: TextColumn,
    error: TextColumn,
    reservation: TextColumn,
}

impl Default for UsageColumns {
    fn default() -> Self {
        UsageColumns {
            shared: Shared::default(),
            model: TextColumn::default(),
            provider: TextColumn::default(),
            tokens_in: NumberColumn::default(),
            tokens_out: NumberColumn::default(),
            tokens_cache_read: NumberColumn::default(),
            tokens_cache_write: NumberColumn::default(),
            tokens_cache_write_1h: NumberColumn::default(),
            tokens_reasoning: NumberColumn::default(),
            service_tier: TextColumn::default(),
            cost_usd: NumberColumn::with_type(DataType::Decimal128(18, 9)),
            cost_source: TextColumn::default(),
            latency_ms: NumberColumn::default(),
            ttft_ms: NumberColumn::default(),
            task_complexity: TextColumn::default(),
            status: TextColumn::default(),
            error: TextColumn::default(),
            reservation: TextColumn::default(),
        }
    }
}

impl Fill<Usage<'_>> for UsageColumns {
    const TABLE: &'static str = "usage";

    fn push(&mut self, row: &Usage<'_>, stamp: Stamp) {
        // Counts over 2^63 were refused when the message was decoded.
        let tokens = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
        self.shared.push(row, stamp);
        self.model.push(Some(&row.model));
        self.provider.push(row.provider.as_deref());
        self.tokens_in.push(tokens(row.tokens_in));
        self.tokens_out.push(tokens(row.tokens_out));
        self.tokens_cache_read.push(tokens(row.tokens_cache_read));
        self.tokens_cache_write.push(tokens(row.tokens_cache_write));
        self.tokens_cache_write_1h.push(tokens(row.tokens_cache_write_1h));
        self.service_tier.push(row.service_tier.as_deref());
        self.tokens_reasoning.push(tokens(row.tokens_reasoning));
        self.cost_usd.push(row.cost_usd.map(|cost| i128::from(cost.0)));
        self.cost_source.push(row.cost_source.as_deref());
        self.latency_ms.push(row.latency_ms);
        self.ttft_ms.push(row.ttft_ms);
        self.task_complexity
            .push(row.task_complexity.map(|complexity| complexity.as_str()));
        self.status.push(row.status.map(|status| status.as_str()));
        self.error.push(row.error.as_deref());
        self.reservation.push(row.reservation.as_deref());
    }

    fn rows(&self) -> usize {
        self.shared.ts.len()
    }

    fn take(&mut self) -> Columns {
        self.shared.take(vec![
            ("model", self.model.take()),
            ("provider", self.provider.take()),
            ("tokens_in", self.tokens_in.take()),
            ("tokens_out", self.tokens_out.take()),
            ("tokens_cache_read", self.tokens_cache_read.take()),
            ("tokens_cache_write", self.tokens_cache_write.take()),
            ("tokens_cache_write_1h", self.tokens_cache_write_1h.take()),
            ("tokens_reasoning", self.tokens_reasoning.take()),
            ("service_tier", self.service_tier.take()),
            ("cost_usd", self.cost_usd.take()),
            ("cost_source", self.cost_source.take()),
            ("latency_ms", self.latency_ms.take()),
            ("ttft_ms", self.ttft_ms.take()),
            ("task_complexity", self.task_complexity.take()),
            ("status", self.status.take()),
            ("error", self.error.take()),
            ("reservation", self.reservation.take()),
        ])
    }
}
