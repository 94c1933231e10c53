//! Rollups and raw rows of one sender, side by side.

use std::time::Duration;

use super::{World, until};

/// For the last partial to arrive: one that came before its events comes again after a second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Count, and whole or summed values, of each kind, from the raw rows.
const RAW: &str = "SELECT 'metric' AS k, count(*)::BIGINT AS n, sum(value)::DOUBLE AS s FROM metric WHERE source = '{}' \
    UNION ALL SELECT 'event', count(*)::BIGINT, count(*)::DOUBLE FROM event WHERE source = '{}' \
    UNION ALL SELECT 'usage', count(*)::BIGINT, sum(tokens_in)::DOUBLE FROM usage WHERE source = '{}' ORDER BY k";

/// The same from rollups of a minute, an hour or a day.
const ROLLED: &str = "SELECT 'metric' AS k, sum(count)::BIGINT AS n, sum(sum) AS s FROM rollup_{w} \
    WHERE source = '{}' AND name NOT LIKE 'usage.%' AND name <> 'event.count' \
    UNION ALL SELECT 'event', sum(count)::BIGINT, sum(total)::DOUBLE FROM rollup_{w} \
    WHERE source = '{}' AND name = 'event.count' \
    UNION ALL SELECT 'usage', sum(count) FILTER (name = 'usage.requests')::BIGINT, \
    sum(total) FILTER (name = 'usage.tokens_in')::DOUBLE FROM rollup_{w} WHERE source = '{}' ORDER BY k";

impl World {
    /// Waits until the rollups of what `source` sent say what its raw rows say. They never say more: the rows of a
    /// message are stored before, or together with, its aggregates.
    pub fn rollups_agree(&self, source: &str) {
        let raw = self.query(&RAW.replace("{}", source));
        let total = |rows: &[serde_json::Value]| rows.iter().filter_map(|row| row["n"].as_u64()).sum::<u64>();
        assert!(total(&raw) > 0, "nothing stored of {source}");
        for width in ["1m", "1h", "1d"] {
            let sql = ROLLED.replace("{}", source).replace("{w}", width);
            until("rollups to agree with the rows", TIMEOUT, || {
                let rolled = self.query(&sql);
                assert!(total(&rolled) <= total(&raw), "{width}: {rolled:?} of {raw:?}");
                (rolled == raw).then_some(())
            });
        }
    }
}
