//! The limit on series: past so many of a name in an hour, further ones are added up as `__other__`.
//!
//! An alert says so, once for each name and hour. The table says which series an hour has; hours in use are remembered here as hashes, so that it is asked once.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use duckdb::Connection;
use schemas::rollup::{HOUR_MICROSECONDS, OTHER, Partial, SeriesKey};

/// Hours remembered; the oldest is forgotten first.
const HOURS_MAX: usize = 48;

/// Hashes of source and tags by tenant and name.
type Hour = HashMap<(String, String), HashSet<u64>>;

/// A name with more series in an hour than the limit.
pub(crate) struct Limited {
    pub(crate) tenant: String,
    pub(crate) name: String,
    /// Start of the hour.
    pub(crate) hour: i64,
    /// Values added up as `__other__` now.
    pub(crate) count: u64,
    /// When the first and the last of their minutes began.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

pub(crate) struct SeriesLimit {
    series_max: usize,
    hours: BTreeMap<i64, Hour>,
    hasher: RandomState,
}

impl SeriesLimit {
    pub(crate) fn new(series_max: usize) -> Self {
        SeriesLimit {
            series_max: series_max.max(1),
            hours: BTreeMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Asks the table again from now on.
    pub(crate) fn forget(&mut self) {
        self.hours.clear();
    }

    /// The delta with every series past the limit folded into the one that stands for them all, and which names
    /// that happened to.
    pub(crate) fn limit(
        &mut self,
        connection: &Connection,
        delta: Partial,
    ) -> anyhow::Result<(Partial, Vec<Limited>)> {
        let hours: Vec<i64> = delta.iter().map(|(key, _)| hour_of(key)).collect();
        for hour in hours {
            if !self.hours.contains_key(&hour) {
                let known = self.load(connection, hour)?;
                self.hours.insert(hour, known);
            }
        }
        let mut limited = BTreeMap::new();
        for (key, values) in delta.iter() {
            if !self.admits(key) {
                note(&mut limited, key, values.count);
            }
        }
        let delta = delta.map_keys(|key| if self.admits(&key) { key } else { key.as_other() });
        while self.hours.len() > HOURS_MAX {
            self.hours.pop_first();
        }
        Ok((delta, limited.into_values().collect()))
    }

    pub(crate) const fn series_max(&self) -> usize {
        self.series_max
    }

    fn load(&self, connection: &Connection, hour: i64) -> anyhow::Result<Hour> {
        let mut known = Hour::new();
        let sql = "SELECT DISTINCT tenant, name, source, tags FROM rollup \
                   WHERE resolution = '1h' AND bucket = make_timestamp(?::BIGINT) AND source <> ?";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(duckdb::params![hour, OTHER])?;
        while let Some(row) = rows.next()? {
            let (source, tags): (String, String) = (row.get(2)?, row.get(3)?);
            let hash = self.hasher.hash_one((&source, &tags));
            known.entry((row.get(0)?, row.get(1)?)).or_default().insert(hash);
        }
        Ok(known)
    }

    fn admits(&mut self, key: &SeriesKey) -> bool {
        let hash = self.hasher.hash_one((&key.source, &key.tags));
        let hour = self.hours.entry(hour_of(key)).or_default();
        let known = hour.entry((key.tenant.clone(), key.name.clone())).or_default();
        if known.contains(&hash) {
            return true;
        }
        if known.len() < self.series_max {
            return known.insert(hash);
        }
        false
    }
}

fn note(limited: &mut BTreeMap<(String, String, i64), Limited>, key: &SeriesKey, count: u64) {
    let (tenant, name, hour, bucket) = (key.tenant.clone(), key.name.clone(), hour_of(key), key.bucket.0);
    let known = limited
        .entry((tenant.clone(), name.clone(), hour))
        .or_insert_with(|| Limited {
            tenant,
            name,
            hour,
            count: 0,
            first: bucket,
            last: bucket,
        });
    known.count += count;
    known.first = known.first.min(bucket);
    known.last = known.last.max(bucket);
}

fn hour_of(key: &SeriesKey) -> i64 {
    key.bucket.0 - key.bucket.0.rem_euclid(HOUR_MICROSECONDS)
}
