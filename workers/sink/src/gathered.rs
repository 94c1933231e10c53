//! Rows on their way into the tables: gathered as columns, handed to DuckDB many at a time.

use duckdb::Connection;
use duckdb::arrow::datatypes::{UInt16Type, UInt64Type};
use schemas::rollup::Partial;

use crate::alerts::MatchColumns;
use crate::appending::{self, TextColumn, numbers};
use crate::columns::{
    EventColumns, Fill, MessageColumns, MetricColumns, SessionColumns, StepColumns, UsageColumns,
    WorkItemColumns,
};
use crate::dead::DeadColumns;

/// Columns not handed to DuckDB yet.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) metric: MetricColumns,
    pub(crate) event: EventColumns,
    pub(crate) usage: UsageColumns,
    pub(crate) step: StepColumns,
    pub(crate) message: MessageColumns,
    pub(crate) session: SessionColumns,
    pub(crate) work_item: WorkItemColumns,
    pub(crate) dead: DeadColumns,
    pub(crate) duplicate_events_epoch: TextColumn,
    pub(crate) duplicate_events_seq: Vec<u64>,
    pub(crate) duplicate_origin: Vec<u64>,
    pub(crate) duplicate_epoch: Vec<u16>,
    /// What rules found, of the whole transaction.
    pub(crate) matches: MatchColumns,
    /// Aggregates, of the whole transaction.
    pub(crate) partial: Partial,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl Gathered {
    /// Hands everything to DuckDB, within the caller's transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> anyhow::Result<()> {
        flush(connection, &mut self.metric)?;
        flush(connection, &mut self.event)?;
        flush(connection, &mut self.usage)?;
        flush(connection, &mut self.step)?;
        flush(connection, &mut self.message)?;
        flush(connection, &mut self.session)?;
        flush(connection, &mut self.work_item)?;
        if self.dead.rows() > 0 {
            appending::append(connection, "dead", self.dead.take())?;
        }
        if !self.duplicate_origin.is_empty() {
            let columns = vec![
                ("events_epoch", self.duplicate_events_epoch.take()),
                (
                    "events_seq",
                    numbers::<UInt64Type>(&mut self.duplicate_events_seq),
                ),
                ("origin", numbers::<UInt64Type>(&mut self.duplicate_origin)),
                ("epoch", numbers::<UInt16Type>(&mut self.duplicate_epoch)),
            ];
            appending::append(connection, "duplicates", columns)?;
        }
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

fn flush<T, C: Fill<T>>(connection: &Connection, columns: &mut C) -> anyhow::Result<()> {
    if columns.rows() == 0 {
        return Ok(());
    }
    appending::append(connection, C::TABLE, columns.take())
}
