//! The live picture: what the overview shows, kept in memory and fed by commits.
//!
//! At 100,000 events a second, the 15 minutes the first screen shows are 90 million rows: reading them back
//! every second would cost more than writing them. They are read once, when the database is opened, so that a
//! restart shows the same picture.

use std::collections::BTreeMap;

use duckdb::{Connection, params};
use schemas::overview::{BUCKETS, KindTotal, UsageToday};
use schemas::{Kind, Money, Time};

use crate::Activity;
use crate::activity::{DAY, NODE_METRIC, NODE_SOURCE, NodeSample, SECOND, UsageSum};
use crate::rate_window::{BUCKET, RateWindow};
use crate::vitals::Vitals;

/// Days of usage kept: yesterday's is still asked for around midnight, tomorrow's may be an hour early.
const DAYS_MAX: usize = 4;

/// Everything the overview shows besides the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) rates: RateWindow,
    pub(crate) vitals: Vitals,
    totals: BTreeMap<Kind, u64>,
    newest: Option<i64>,
    usage: BTreeMap<i64, UsageSum>,
}

impl Live {
    /// Reads the picture as of `now` from the database.
    pub(crate) fn load(connection: &Connection, now: Time) -> anyhow::Result<Self> {
        let mut live = Live {
            rates: RateWindow::new(),
            vitals: Vitals::default(),
            totals: BTreeMap::new(),
            newest: None,
            usage: BTreeMap::new(),
        };
        // One bucket more than is shown.
        let start = now.0 - (BUCKETS as i64 + 1) * BUCKET * SECOND;
        for kind in Kind::ALL {
            live.load_kind(connection, kind, start)?;
        }
        live.load_vitals(connection, start)?;
        live.load_usage(connection, now.0.div_euclid(DAY) - 1)?;
        Ok(live)
    }

    fn load_kind(&mut self, connection: &Connection, kind: Kind, start: i64) -> anyhow::Result<()> {
        let cold = format!(
            "SELECT coalesce(sum(rows), 0) FROM archive_file WHERE kind = '{kind}' AND state <> 'copy'"
        );
        let totals = format!("SELECT (count(*) + ({cold}))::UBIGINT, max(epoch_us(stored)) FROM {kind}");
        let (rows, newest) = connection.query_row(&totals, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.totals.insert(kind, rows);
        self.newest = self.newest.max(newest);
        let mut counts = connection.prepare(&format!(
            "SELECT epoch_us(stored) // {SECOND} AS second, coalesce(source, ''), count(*)
             FROM {kind} WHERE stored >= make_timestamp(?::BIGINT) GROUP BY ALL ORDER BY second"
        ))?;
        let mut rows = counts.query(params![start])?;
        while let Some(row) = rows.next()? {
            let source: String = row.get(1)?;
            self.rates.add(row.get(0)?, kind, &source, row.get(2)?);
        }
        Ok(())
    }

    fn load_vitals(&mut self, connection: &Connection, start: i64) -> anyhow::Result<()> {
        let mut samples = connection.prepare(&format!(
            "SELECT source, name, value, epoch_us(ts), tags::VARCHAR FROM metric
             WHERE ts >= make_timestamp(?::BIGINT)
               AND starts_with(source, '{NODE_SOURCE}') AND starts_with(name, '{NODE_METRIC}')
             ORDER BY ts"
        ))?;
        let mut rows = samples.query(params![start])?;
        while let Some(row) = rows.next()? {
            let (source, name): (String, String) = (row.get(0)?, row.get(1)?);
            let tags: Option<String> = row.get(4)?;
            let sample = NodeSample::read(&source, &name, row.get(2)?, row.get(3)?, tags.as_deref());
            if let Some(sample) = sample {
                self.vitals.add(&sample);
            }
        }
        Ok(())
    }

    fn load_usage(&mut self, connection: &Connection, first_day: i64) -> anyhow::Result<()> {
        let mut days = connection.prepare(&format!(
            "SELECT epoch_us(ts) // {DAY} AS day, count(*), count(*) FILTER (status <> 'ok'),
                    count(*) FILTER (cost_usd IS NULL),
                    coalesce(sum(cost_usd), 0)::DECIMAL(38,9)::VARCHAR,
                    coalesce(sum(tokens_in), 0)::UBIGINT, coalesce(sum(tokens_out), 0)::UBIGINT,
                    coalesce(sum(tokens_cache_read), 0)::UBIGINT, coalesce(sum(tokens_reasoning), 0)::UBIGINT
             FROM usage WHERE ts >= make_timestamp(?::BIGINT) GROUP BY day"
        ))?;
        let mut rows = days.query(params![first_day * DAY])?;
        while let Some(row) = rows.next()? {
            let cost: Result<Money, _> = row.get::<_, String>(4)?.parse();
            let sum = UsageSum {
                calls: row.get(1)?,
                errors: row.get(2)?,
                unpriced: row.get(3)?,
                cost_nanos: cost.map_or(i64::MAX, |cost| cost.0),
                tokens_in: row.get(5)?,
                tokens_out: row.get(6)?,
                tokens_cache_read: row.get(7)?,
                tokens_reasoning: row.get(8)?,
            };
            self.add_usage(row.get(0)?, &sum);
        }
        Ok(())
    }

    /// Adds what a commit wrote.
    pub(crate) fn add(&mut self, activity: &Activity) {
        for ((second, kind), sources) in &activity.counts {
            for (source, count) in sources {
                self.rates.add(*second, *kind, source, *count);
                *self.totals.entry(*kind).or_default() += count;
            }
        }
        self.newest = self.newest.max(activity.newest);
        for (day, sum) in &activity.usage {
            self.add_usage(*day, sum);
        }
        for sample in &activity.samples {
            self.vitals.add(sample);
        }
    }

    fn add_usage(&mut self, day: i64, sum: &UsageSum) {
        self.usage.entry(day).or_default().add(sum);
        if self.usage.len() > DAYS_MAX {
            self.usage.pop_first();
        }
    }

    /// Arrival of the newest stored event.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.newest.map(|newest| newest.div_euclid(1000))
    }

    pub(crate) fn kinds_total(&self) -> Vec<KindTotal> {
        let totals = self.totals.iter();
        let totals = totals.map(|(kind, events)| KindTotal {
            kind: kind.as_str().to_owned(),
            events: *events,
        });
        totals.collect()
    }

    /// Model calls of the UTC day `now` is in.
    pub(crate) fn usage_today(&self, now: Time) -> Option<UsageToday> {
        let sum = self.usage.get(&now.0.div_euclid(DAY))?;
        Some(UsageToday {
            calls: sum.calls,
            errors: sum.errors,
            unpriced: sum.unpriced,
            cost_usd: Money(sum.cost_nanos).to_string(),
            tokens_in: sum.tokens_in,
            tokens_out: sum.tokens_out,
            tokens_cache_read: sum.tokens_cache_read,
            tokens_reasoning: sum.tokens_reasoning,
        })
    }
}
