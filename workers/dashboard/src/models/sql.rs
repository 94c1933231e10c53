//! The SELECTs behind the page. Pure.
//!
//! They read the table `rollup` and not the views that merge it: sums and counts of deltas are the sums and counts of
//! what is merged, and merging every series first costs several times as much.

use super::view::{By, Show, View};

/// The time that is looked at, in seconds since 1970; whole bars, the last one still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: i64,
    /// Width of a bar.
    pub(crate) width: i64,
    pub(crate) bars: i64,
}

impl Window {
    /// The window of a view as of now.
    pub(crate) fn new(view: &View, now_ms: i64) -> Self {
        let (_, width, bars) = view.range.bars();
        let end = (now_ms.div_euclid(1000).div_euclid(width) + 1) * width;
        Self {
            start: end - bars * width,
            width,
            bars,
        }
    }

    pub(crate) fn end(self) -> i64 {
        self.start + self.width * self.bars
    }
}

/// Calls, errors, tokens and money of each group: `grp, name, count, total`.
pub(crate) fn totals(view: &View, window: Window) -> String {
    let names: Vec<_> = super::report::MEASURES.iter().map(|name| text(name)).collect();
    let from = from(view, window, &names.join(", "));
    let group = group(view.by);
    // First by whole sets of tags, of which there are few, so that JSON is read once for each.
    format!(
        "WITH sets AS (SELECT name, tags, sum(count) AS n, sum(total) AS total {from} GROUP BY ALL) \
         SELECT {group} AS grp, name, sum(n)::UBIGINT AS count, coalesce(sum(total), 0)::DECIMAL(38,9)::VARCHAR AS total \
         FROM sets GROUP BY ALL"
    )
}

/// Quantiles of latency of each group, and of all calls (`whole`): `whole, grp, count, p50, p95, p99`.
pub(crate) fn quantiles(view: &View, window: Window) -> String {
    let from = from(view, window, &text("usage.latency_ms"));
    let (group, quantiles) = (group(view.by), [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")]);
    let quantiles = quantiles
        .map(|(name, share)| format!("{} AS {name}", quantile(share)))
        .join(", ");
    format!(
        "WITH entries AS (SELECT tags, unnest(map_entries(hist)) AS e {from} AND hist IS NOT NULL), \
         sets AS (SELECT tags, e.key AS k, sum(e.value) AS n FROM entries GROUP BY ALL), \
         sums AS (SELECT false AS whole, {group} AS grp, k, sum(n) AS n FROM sets GROUP BY ALL \
             UNION ALL SELECT true, NULL, k, sum(n) FROM sets GROUP BY k), \
         ranks AS (SELECT whole, grp, k, sum(n) OVER (PARTITION BY whole, grp ORDER BY k) AS upto, \
             sum(n) OVER (PARTITION BY whole, grp) AS n FROM sums) \
         SELECT whole, grp, any_value(n)::UBIGINT AS count, {quantiles} FROM ranks GROUP BY whole, grp"
    )
}

/// The chart's values: `bar` (start of the bar, seconds since 1970), `grp`, `value`.
pub(crate) fn chart(view: &View, window: Window) -> String {
    let names: Vec<_> = view.show.measures().iter().map(|name| text(name)).collect();
    let from = from(view, window, &names.join(", "));
    let Window { start, width, .. } = window;
    let at = format!("epoch(bucket)::BIGINT - (epoch(bucket)::BIGINT - {start}) % {width}");
    let group = group(view.by);
    if view.show != Show::Latency {
        return format!(
            "SELECT {at} AS bar, {group} AS grp, sum(total)::DECIMAL(38,9)::VARCHAR AS value {from} GROUP BY ALL"
        );
    }
    format!(
        "WITH entries AS (SELECT {at} AS bar, tags, unnest(map_entries(hist)) AS e {from} AND hist IS NOT NULL), \
         sets AS (SELECT bar, tags, e.key AS k, sum(e.value) AS n FROM entries GROUP BY ALL), \
         sums AS (SELECT bar, {group} AS grp, k, sum(n) AS n FROM sets GROUP BY ALL), \
         ranks AS (SELECT bar, grp, k, sum(n) OVER (PARTITION BY bar, grp ORDER BY k) AS upto, \
             sum(n) OVER (PARTITION BY bar, grp) AS n FROM sums) \
         SELECT bar, grp, {}::VARCHAR AS value FROM ranks GROUP BY bar, grp",
        quantile("0.95")
    )
}

/// The same for people, to be typed.
pub(crate) fn example(view: &View, window: Window) -> String {
    let (resolution, _, _) = view.range.bars();
    let (group, name) = (group(view.by), view.show.measures()[0]);
    let value = match view.show {
        Show::Latency => "quantile_of(hist_merge(list(hist)), 0.95)",
        _ => "sum(total)",
    };
    let since = crate::format::stamp(window.start * 1000);
    let filters: Vec<String> = filters(view).collect();
    format!(
        "SELECT {group} AS {by}, {value} AS {show} FROM rollup_{resolution} WHERE name = {name}{filters} \
         AND bucket >= {since} GROUP BY ALL ORDER BY 2 DESC",
        by = view.by.key(),
        show = view.show.key(),
        name = text(name),
        filters = filters.concat(),
        since = text(&since),
    )
}

fn from(view: &View, window: Window, names: &str) -> String {
    let (resolution, _, _) = view.range.bars();
    let filters: Vec<String> = filters(view).collect();
    format!(
        "FROM rollup WHERE resolution = '{resolution}' AND name IN ({names}) \
         AND bucket >= make_timestamp({}) AND bucket < make_timestamp({}){}",
        window.start * 1_000_000,
        window.end() * 1_000_000,
        filters.concat()
    )
}

fn filters(view: &View) -> impl Iterator<Item = String> {
    view.filters()
        .map(|(by, value)| format!(" AND {} = {}", group(by), text(value)))
}

/// In brackets: `=` binds more tightly than `->>`.
fn group(by: By) -> String {
    format!("(tags->>'{}')", by.tag())
}

/// The value that this share of values does not exceed: as `quantile_of` finds it in one distribution.
fn quantile(share: &str) -> String {
    format!("hist_value(min(k) FILTER (upto >= ceil({share} * n)))")
}

/// A text as an SQL literal.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\0', "").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::view::Range;

    #[test]
    fn a_window_is_of_whole_bars_and_holds_now() {
        let now_ms = 1_795_176_000_123;
        for range in Range::ALL {
            let view = View {
                range,
                ..View::default()
            };
            let window = Window::new(&view, now_ms);
            assert_eq!(window.start % window.width, 0);
            assert!(window.end() * 1000 > now_ms && (window.end() - window.width) * 1000 <= now_ms);
        }
    }

    #[test]
    fn what_comes_in_a_url_stays_a_text() {
        let view = View {
            model: Some("x' OR '1'='1\0".into()),
            ..View::default()
        };
        let window = Window::new(&view, 0);
        for sql in [
            totals(&view, window),
            quantiles(&view, window),
            chart(&view, window),
            example(&view, window),
        ] {
            assert!(sql.contains("(tags->>'model') = 'x'' OR ''1''=''1'"), "{sql}");
        }
    }
}
