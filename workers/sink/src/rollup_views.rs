//! Aggregates merged on read, in SQL.

/// The rows of `rollup` that pass a filter, merged into one for each series and bucket, with the table's columns.
pub(crate) fn rollup_merged(filter: &str) -> String {
    format!(
        "SELECT name, tenant, source, tags, bucket, resolution, count, sum, total, min, max,
            latest.value AS last, latest.ts AS last_ts, latest.origin AS last_origin, latest.idx AS last_idx,
            hist_merge(hists) AS hist
        FROM (SELECT name, tenant, source, tags, bucket, resolution,
                sum(count)::UBIGINT AS count, sum(sum) AS sum,
                CASE WHEN count(total) = count(*) THEN sum(total) END AS total, min(min) AS min, max(max) AS max,
                max({{'ts': last_ts, 'origin': last_origin, 'idx': last_idx, 'value': last}}) AS latest,
                list(hist) FILTER (hist IS NOT NULL) AS hists
            FROM rollup WHERE {filter} GROUP BY name, tenant, source, tags, bucket, resolution)"
    )
}

/// Views that merge deltas, and quantiles. The numbers are those of [`schemas::rollup::Sketch`].
pub(crate) fn rollup_views() -> String {
    let mut sql = String::from(
        "CREATE OR REPLACE MACRO hist_merge(hists) AS (
            SELECT map_from_entries(list({'key': k, 'value': c} ORDER BY k))
            FROM (SELECT e.key AS k, sum(e.value)::UBIGINT AS c
                FROM (SELECT unnest(flatten(list_transform(hists, lambda h: map_entries(h)))) AS e) GROUP BY e.key));
        CREATE OR REPLACE MACRO hist_value(k) AS CASE WHEN k = 0 THEN 0.0::DOUBLE ELSE
            sign(k) * exp((abs(k) - 40000) * ln(1.01::DOUBLE / 0.99)) * 2 / (1 + 1.01::DOUBLE / 0.99) END;
        CREATE OR REPLACE MACRO quantile_of(hist, q) AS hist_value(
            list_transform([{'entries': list_sort(map_entries(hist)), 'rank': ceil(q::DOUBLE * list_sum(map_values(hist)) - 1e-9) - 1}],
                lambda h: list_reduce(h.entries, lambda seen, next: CASE WHEN seen.value > h.rank THEN seen
                    ELSE {'key': next.key, 'value': seen.value + next.value} END))[1].key);",
    );
    for resolution in ["1m", "1h", "1d"] {
        let rows = rollup_merged(&format!("resolution = '{resolution}'"));
        sql.push_str(&format!(
            "CREATE OR REPLACE VIEW rollup_{resolution} AS \
             SELECT * EXCLUDE (resolution, last_origin, last_idx) FROM ({rows});"
        ));
    }
    sql
}
