//! Rows of one kind as Arrow columns: names and types of the tables, for readers that know nothing of aiai.
//!
//! Two columns differ from the table's: epochs are numbers in a database, which mean nothing outside it, and
//! ULIDs here (`ingest_epoch`, `events_epoch`). JSON is text.

use std::sync::Arc;

use arrow_array::builder::{
    Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Field, Schema};
use schemas::{Event, Message, Metric, Session, Step, Time, Usage, WorkItem};

mod work;

pub(crate) use work::{MessageColumns, SessionColumns, StepColumns, WorkItemColumns};

/// Columns, in the table's order.
type Columns = Vec<(&'static str, ArrayRef)>;

/// What the rows of one EVENTS message have in common.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// ULID of INGEST's epoch.
    pub ingest_epoch: &'a str,
    /// ULID of the epoch of EVENTS.
    pub events_epoch: &'a str,
    /// Sequence in EVENTS.
    pub sequence: u64,
    /// When NATS stored the message.
    pub stored: Time,
}

/// A kind whose rows can be gathered.
pub(crate) trait Row {
    /// The columns of its own.
    type Own: Own<Self>;
    /// Sequence in INGEST of the message that carried it.
    fn origin(&self) -> u64;
    /// Adds the shared fields, and gives when it happened.
    fn share(&self, shared: &mut Shared) -> i64;
}

/// The columns that only one kind has.
pub(crate) trait Own<T: ?Sized>: Default {
    fn push(&mut self, row: &T);
    fn take(&mut self) -> Columns;
}

/// The columns all kinds share.
pub(crate) struct Shared {
    ts: TimestampMicrosecondBuilder,
    tenant: StringBuilder,
    source: StringBuilder,
    tags: StringBuilder,
    session: StringBuilder,
    work_item: StringBuilder,
    trace_id: StringBuilder,
    v: UInt16Builder,
    origin: UInt64Builder,
    idx: UInt32Builder,
    ingest_epoch: StringBuilder,
    stored: TimestampMicrosecondBuilder,
    events_seq: UInt64Builder,
    events_epoch: StringBuilder,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            ts: TimestampMicrosecondBuilder::new(),
            tenant: StringBuilder::new(),
            source: StringBuilder::new(),
            tags: StringBuilder::new(),
            session: StringBuilder::new(),
            work_item: StringBuilder::new(),
            trace_id: StringBuilder::new(),
            v: UInt16Builder::new(),
            origin: UInt64Builder::new(),
            idx: UInt32Builder::new(),
            ingest_epoch: StringBuilder::new(),
            stored: TimestampMicrosecondBuilder::new(),
            events_seq: UInt64Builder::new(),
            events_epoch: StringBuilder::new(),
        }
    }
}

impl Shared {
    fn stamp(&mut self, stamp: Stamp<'_>) {
        self.ingest_epoch.append_value(stamp.ingest_epoch);
        self.stored.append_value(stamp.stored.0);
        self.events_seq.append_value(stamp.sequence);
        self.events_epoch.append_value(stamp.events_epoch);
    }

    fn take(&mut self, own: Columns) -> Columns {
        let mut columns: Columns = vec![
            ("ts", Arc::new(self.ts.finish())),
            ("tenant", Arc::new(self.tenant.finish())),
            ("source", Arc::new(self.source.finish())),
        ];
        columns.extend(own);
        let rest: Columns = vec![
            ("tags", Arc::new(self.tags.finish())),
            ("session", Arc::new(self.session.finish())),
            ("work_item", Arc::new(self.work_item.finish())),
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("v", Arc::new(self.v.finish())),
            ("origin", Arc::new(self.origin.finish())),
            ("idx", Arc::new(self.idx.finish())),
            ("ingest_epoch", Arc::new(self.ingest_epoch.finish())),
            ("stored", Arc::new(self.stored.finish())),
            ("events_seq", Arc::new(self.events_seq.finish())),
            ("events_epoch", Arc::new(self.events_epoch.finish())),
        ];
        columns.extend(rest);
        columns
    }
}

macro_rules! row {
    ($row:ident, $own:ident) => {
        impl Row for $row<'_> {
            type Own = $own;

            fn origin(&self) -> u64 {
                self.origin.unwrap_or_default()
            }

            fn share(&self, shared: &mut Shared) -> i64 {
                let ts = self.timestamp.unwrap_or_default().0;
                shared.ts.append_value(ts);
                shared.tenant.append_option(self.tenant.as_deref());
                shared.source.append_option(self.source.as_deref());
                shared.tags.append_option(self.tags.map(|tags| tags.get()));
                shared.session.append_option(self.session.as_deref());
                shared.work_item.append_option(self.work_item.as_deref());
                shared.trace_id.append_option(self.trace_id.as_deref());
                shared.v.append_value(self.v.unwrap_or(1));
                shared.origin.append_value(self.origin.unwrap_or_default());
                shared.idx.append_value(self.index.unwrap_or_default());
                ts
            }
        }
    };
}

row!(Metric, MetricColumns);
row!(Event, EventColumns);
row!(Usage, UsageColumns);
row!(Step, StepColumns);
row!(Message, MessageColumns);
row!(Session, SessionColumns);
row!(WorkItem, WorkItemColumns);

#[derive(Default)]
pub(crate) struct MetricColumns {
    name: StringBuilder,
    value: Float64Builder,
    metric_type: StringBuilder,
    distribution: StringBuilder,
}

impl Own<Metric<'_>> for MetricColumns {
    fn push(&mut self, row: &Metric<'_>) {
        self.name.append_value(&*row.name);
        self.value.append_value(row.value);
        self.metric_type
            .append_option(row.metric_type.map(|metric_type| metric_type.as_str()));
        self.distribution
            .append_option(row.distribution.map(|distribution| distribution.get()));
    }

    fn take(&mut self) -> Columns {
        vec![
            ("name", Arc::new(self.name.finish())),
            ("value", Arc::new(self.value.finish())),
            ("metric_type", Arc::new(self.metric_type.finish())),
            ("distribution", Arc::new(self.distribution.finish())),
        ]
    }
}

#[derive(Default)]
pub(crate) struct EventColumns {
    name: StringBuilder,
    data: StringBuilder,
}

impl Own<Event<'_>> for EventColumns {
    fn push(&mut self, row: &Event<'_>) {
        self.name.append_value(&*row.name);
        self.data.append_option(row.data.map(|data| data.get()));
    }

    fn take(&mut self) -> Columns {
        vec![
            ("name", Arc::new(self.name.finish())),
            ("data", Arc::new(self.data.finish())),
        ]
    }
}

pub(crate) struct UsageColumns {
    model: StringBuilder,
    provider: StringBuilder,
    /// In, out, cache read, cache write, reasoning.
    tokens: [Int64Builder; 6],
    service_tier: StringBuilder,
    cost_usd: Decimal128Builder,
    cost_source: StringBuilder,
    latency_ms: Float64Builder,
    ttft_ms: Float64Builder,
    task_complexity: StringBuilder,
    status: StringBuilder,
    error: StringBuilder,
    reservation: StringBuilder,
}

impl Default for UsageColumns {
    fn default() -> Self {
        let cost_usd = arrow_schema::DataType::Decimal128(18, 9);
        Self {
            model: StringBuilder::new(),
            provider: StringBuilder::new(),
            tokens: Default::default(),
            service_tier: StringBuilder::new(),
            cost_usd: Decimal128Builder::new().with_data_type(cost_usd),
            cost_source: StringBuilder::new(),
            latency_ms: Float64Builder::new(),
            ttft_ms: Float64Builder::new(),
            task_complexity: StringBuilder::new(),
            status: StringBuilder::new(),
            error: StringBuilder::new(),
            reservation: StringBuilder::new(),
        }
    }
}

impl Own<Usage<'_>> for UsageColumns {
    fn push(&mut self, row: &Usage<'_>) {
        let counts = [
            row.tokens_in,
            row.tokens_out,
            row.tokens_cache_read,
            row.tokens_cache_write,
            row.tokens_cache_write_1h,
            row.tokens_reasoning,
        ];
        for (column, count) in self.tokens.iter_mut().zip(counts) {
            // Larger counts were refused when the message was stored.
            column.append_option(count.and_then(|count| i64::try_from(count).ok()));
        }
        self.service_tier.append_option(row.service_tier.as_deref());
        self.model.append_value(&*row.model);
        self.provider.append_option(row.provider.as_deref());
        self.cost_usd
            .append_option(row.cost_usd.map(|cost| i128::from(cost.0)));
        self.cost_source.append_option(row.cost_source.as_deref());
        self.latency_ms.append_option(row.latency_ms);
        self.ttft_ms.append_option(row.ttft_ms);
        self.task_complexity
            .append_option(row.task_complexity.map(|complexity| complexity.as_str()));
        self.status
            .append_option(row.status.map(|status| status.as_str()));
        self.error.append_option(row.error.as_deref());
        self.reservation.append_option(row.reservation.as_deref());
    }

    fn take(&mut self) -> Columns {
        let [
            tokens_in,
            tokens_out,
            cache_read,
            cache_write,
            cache_write_1h,
            reasoning,
        ] = &mut self.tokens;
        vec![
            ("model", Arc::new(self.model.finish())),
            ("provider", Arc::new(self.provider.finish())),
            ("tokens_in", Arc::new(tokens_in.finish())),
            ("tokens_out", Arc::new(tokens_out.finish())),
            ("tokens_cache_read", Arc::new(cache_read.finish())),
            ("tokens_cache_write", Arc::new(cache_write.finish())),
            ("tokens_cache_write_1h", Arc::new(cache_write_1h.finish())),
            ("tokens_reasoning", Arc::new(reasoning.finish())),
            ("service_tier", Arc::new(self.service_tier.finish())),
            ("cost_usd", Arc::new(self.cost_usd.finish())),
            ("cost_source", Arc::new(self.cost_source.finish())),
            ("latency_ms", Arc::new(self.latency_ms.finish())),
            ("ttft_ms", Arc::new(self.ttft_ms.finish())),
            ("task_complexity", Arc::new(self.task_complexity.finish())),
            ("status", Arc::new(self.status.finish())),
            ("error", Arc::new(self.error.finish())),
            ("reservation", Arc::new(self.reservation.finish())),
        ]
    }
}

/// Rows of one kind being gathered.
pub(crate) struct Table<O> {
    shared: Shared,
    own: O,
    /// When each row happened, in microseconds.
    times: Vec<i64>,
}

impl<O: Default> Default for Table<O> {
    fn default() -> Self {
        Self {
            shared: Shared::default(),
            own: O::default(),
            times: Vec::new(),
        }
    }
}

impl<O> Table<O> {
    pub(crate) fn push<T: Row<Own = O>>(&mut self, row: &T, stamp: Stamp<'_>)
    where
        O: Own<T>,
    {
        let ts = row.share(&mut self.shared);
        self.times.push(ts);
        self.own.push(row);
        self.shared.stamp(stamp);
    }

    /// The rows in the order in which they came, and when each happened; starts anew.
    pub(crate) fn take<T: Row<Own = O>>(&mut self) -> Result<(RecordBatch, Vec<i64>), ArrowError>
    where
        O: Own<T>,
    {
        let own = self.own.take();
        let (names, arrays): (Vec<&str>, Vec<ArrayRef>) = self.shared.take(own).into_iter().unzip();
        let fields = names.iter().zip(&arrays);
        let fields: Vec<Field> = fields
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        Ok((rows, std::mem::take(&mut self.times)))
    }
}
