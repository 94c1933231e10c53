//! Aggregates in the table `rollup`: deltas are appended in every resolution, merged on read, folded later.
//!
//! Each fact is in the table once for each resolution, so that a late delta simply lands in its three buckets and
//! what is kept of one resolution never depends on another. Folding replaces the rows of a bucket by their merge,
//! which changes no number: it may happen at any time, and only saves work and space.

use std::collections::BTreeMap;

use anyhow::Context;
use duckdb::Connection;
use duckdb::arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use schemas::Time;
use schemas::alert::Match;
use schemas::rollup::{
    Aggregate, DAY_MICROSECONDS, HOUR_MICROSECONDS, MINUTE_MICROSECONDS, Partial, SeriesKey,
};

use crate::alerts::about_series;
use crate::appending::{self, MapColumn, NumberColumn, TextColumn, numbers};
use crate::config::RollupConfig;
use crate::rollup_views::rollup_merged;
use crate::series::SeriesLimit;

/// Buckets folded in one round at most.
const FOLDED_MAX: usize = 256;
/// An open bucket is folded once so many rows were added to it.
const DELTAS_MIN: u64 = 1000;
/// What DECIMAL(38,9) holds.
const NANOS_MAX: i128 = 10_i128.pow(38) - 1;

/// Name and width of each resolution.
const RESOLUTIONS: [(&str, i64); 3] = [
    ("1m", MINUTE_MICROSECONDS),
    ("1h", HOUR_MICROSECONDS),
    ("1d", DAY_MICROSECONDS),
];

/// What is known about the table besides its rows.
pub(crate) struct Rollups {
    series: SeriesLimit,
    /// Rows added to a bucket since it was last folded, by resolution and start.
    unfolded: BTreeMap<(usize, i64), u64>,
    folded_at: Option<Time>,
}

impl Rollups {
    /// For deltas that come from elsewhere than the writer: it knows no bucket, and folds none.
    pub(crate) fn apart(series_max: usize) -> Self {
        Rollups {
            series: SeriesLimit::new(series_max),
            unfolded: BTreeMap::new(),
            folded_at: None,
        }
    }

    /// Looks for buckets that were not folded.
    pub(crate) fn load(connection: &Connection, series_max: usize) -> anyhow::Result<Self> {
        let mut unfolded = BTreeMap::new();
        let sql = "SELECT resolution, epoch_us(bucket), count(*)::UBIGINT FROM rollup GROUP BY ALL \
                   HAVING count(*) > count(DISTINCT (tenant, name, source, tags))";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let at = RESOLUTIONS.iter().position(|(known, _)| *known == name);
            let at = at.with_context(|| format!("rollup.resolution is `{name}`, not 1m, 1h or 1d"))?;
            unfolded.insert((at, row.get(1)?), row.get(2)?);
        }
        Ok(Rollups {
            series: SeriesLimit::new(series_max),
            unfolded,
            folded_at: None,
        })
    }

    pub(crate) const fn series_max(&self) -> usize {
        self.series.series_max()
    }

    /// Forgets what a failed transaction may have added.
    pub(crate) fn forget(&mut self) {
        self.series.forget();
    }

    /// Appends a delta in every resolution, within the caller's transaction. Says what is to be told of series past
    /// the limit.
    pub(crate) fn append(&mut self, connection: &Connection, delta: Partial) -> anyhow::Result<Vec<Match>> {
        if delta.is_empty() {
            return Ok(Vec::new());
        }
        let (delta, limited) = self.series.limit(connection, delta)?;
        let series_max = self.series.series_max();
        let mut columns = RollupColumns::default();
        for (at, (name, width)) in RESOLUTIONS.iter().enumerate() {
            for (key, values) in delta.clone().map_keys(|key| key.in_bucket_of(*width)).iter() {
                columns.push(name, key, values);
                *self.unfolded.entry((at, key.bucket.0)).or_default() += 1;
            }
        }
        columns.append(connection)?;
        Ok(limited
            .iter()
            .map(|limited| about_series(limited, series_max))
            .collect())
    }

    /// Folds what is due and deletes what is too old, each in a transaction of its own; mostly does nothing.
    pub(crate) fn maintain(
        &mut self,
        connection: &Connection,
        config: &RollupConfig,
        now: Time,
    ) -> anyhow::Result<()> {
        let interval = i64::from(config.compact_interval_seconds) * 1_000_000;
        if self.folded_at.is_some_and(|at| now.0 - at.0 < interval) {
            return Ok(());
        }
        self.folded_at = Some(now);
        for at in 0..RESOLUTIONS.len() {
            self.fold(connection, at, now.0 - interval)?;
        }
        let keep = [config.keep_1m_days, config.keep_1h_days, config.keep_1d_days];
        for ((name, _), days) in RESOLUTIONS.iter().zip(keep) {
            let oldest = now.0 - i64::from(days) * DAY_MICROSECONDS;
            connection.execute(
                "DELETE FROM rollup WHERE resolution = ? AND bucket < make_timestamp(?::BIGINT)",
                duckdb::params![name, oldest],
            )?;
        }
        Ok(())
    }

    /// Folds the buckets of one resolution that ended before `closed`, or have grown.
    fn fold(&mut self, connection: &Connection, at: usize, closed: i64) -> anyhow::Result<()> {
        let (name, width) = RESOLUTIONS[at];
        let due: Vec<i64> = self
            .unfolded
            .range((at, i64::MIN)..=(at, i64::MAX))
            .filter(|((_, bucket), rows)| bucket + width <= closed || **rows >= DELTAS_MIN)
            .map(|((_, bucket), _)| *bucket)
            .take(FOLDED_MAX)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let buckets: Vec<String> = due
            .iter()
            .map(|bucket| format!("make_timestamp({bucket}::BIGINT)"))
            .collect();
        let filter = format!("resolution = '{name}' AND bucket IN ({})", buckets.join(", "));
        let folded = connection.execute_batch(&format!(
            "BEGIN;
             CREATE OR REPLACE TEMP TABLE rollup_folded AS {};
             DELETE FROM rollup WHERE {filter};
             INSERT INTO rollup BY NAME SELECT * FROM rollup_folded;
             DROP TABLE rollup_folded;
             COMMIT;",
            rollup_merged(&filter)
        ));
        if folded.is_err() {
            // Fails where no transaction is open any more.
            let _ = connection.execute_batch("ROLLBACK");
        }
        folded.with_context(|| format!("rollups of {name} could not be folded"))?;
        for bucket in due {
            self.unfolded.remove(&(at, bucket));
        }
        Ok(())
    }
}

/// The table `rollup` as columns being filled.
struct RollupColumns {
    name: TextColumn,
    tenant: TextColumn,
    source: TextColumn,
    tags: TextColumn,
    bucket: Vec<i64>,
    resolution: TextColumn,
    count: Vec<u64>,
    sum: Vec<f64>,
    total: NumberColumn<Decimal128Type>,
    min: Vec<f64>,
    max: Vec<f64>,
    last: Vec<f64>,
    last_ts: Vec<i64>,
    last_origin: Vec<u64>,
    last_idx: Vec<u32>,
    hist: MapColumn,
}

impl Default for RollupColumns {
    fn default() -> Self {
        RollupColumns {
            name: TextColumn::default(),
            tenant: TextColumn::default(),
            source: TextColumn::default(),
            tags: TextColumn::default(),
            bucket: Vec::new(),
            resolution: TextColumn::default(),
            count: Vec::new(),
            sum: Vec::new(),
            total: NumberColumn::with_type(DataType::Decimal128(38, 9)),
            min: Vec::new(),
            max: Vec::new(),
            last: Vec::new(),
            last_ts: Vec::new(),
            last_origin: Vec::new(),
            last_idx: Vec::new(),
            hist: MapColumn::default(),
        }
    }
}

impl RollupColumns {
    fn push(&mut self, resolution: &str, key: &SeriesKey, values: &Aggregate) {
        self.name.push(Some(&key.name));
        self.tenant.push(Some(&key.tenant));
        self.source.push(Some(&key.source));
        self.tags.push(Some(&key.tags));
        self.bucket.push(key.bucket.0);
        self.resolution.push(Some(resolution));
        self.count.push(values.count);
        self.sum.push(values.sum);
        let total = values.total_nanos.map(|total| total.clamp(-NANOS_MAX, NANOS_MAX));
        self.total.push(total);
        self.min.push(values.min);
        self.max.push(values.max);
        self.last.push(values.last);
        self.last_ts.push(values.last_ts.0);
        self.last_origin.push(values.last_origin);
        self.last_idx.push(values.last_idx);
        self.hist.push(values.hist.as_ref().map(|hist| hist.buckets()));
    }

    fn append(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let columns = vec![
            ("name", self.name.take()),
            ("tenant", self.tenant.take()),
            ("source", self.source.take()),
            ("tags", self.tags.take()),
            ("bucket", numbers::<TimestampMicrosecondType>(&mut self.bucket)),
            ("resolution", self.resolution.take()),
            ("count", numbers::<UInt64Type>(&mut self.count)),
            ("sum", numbers::<Float64Type>(&mut self.sum)),
            ("total", self.total.take()),
            ("min", numbers::<Float64Type>(&mut self.min)),
            ("max", numbers::<Float64Type>(&mut self.max)),
            ("last", numbers::<Float64Type>(&mut self.last)),
            ("last_ts", numbers::<TimestampMicrosecondType>(&mut self.last_ts)),
            ("last_origin", numbers::<UInt64Type>(&mut self.last_origin)),
            ("last_idx", numbers::<UInt32Type>(&mut self.last_idx)),
            ("hist", self.hist.take()),
        ];
        appending::append(connection, "rollup", columns)
    }
}
