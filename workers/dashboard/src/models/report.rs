//! From the rows of the SELECTs to figures by group. Pure.

use std::collections::BTreeMap;

use schemas::Money;
use schemas::query::{self, Line};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::sql::Window;

/// What is summed for each group.
pub(crate) const MEASURES: [&str; 8] = [
    "usage.requests",
    "usage.errors",
    "usage.cost_usd",
    "usage.tokens_in",
    "usage.tokens_out",
    "usage.tokens_cache_read",
    "usage.tokens_cache_write",
    "usage.tokens_reasoning",
];
/// Groups that a chart tells apart; the rest is added up.
pub(crate) const SERIES_MAX: usize = 6;

/// Figures of a group, or of all calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// Calls without a price; they are not in the cost.
    pub(crate) unpriced: u64,
    /// Exact decimal.
    pub(crate) cost_usd: String,
    pub(crate) tokens_in: u64,
    pub(crate) tokens_out: u64,
    /// `tokens_in` without what was read from or written to a cache.
    pub(crate) tokens_fresh: u64,
    pub(crate) tokens_cache_read: u64,
    pub(crate) tokens_cache_write: u64,
    pub(crate) tokens_reasoning: u64,
    /// Half of the calls took at most this.
    pub(crate) latency_ms_p50: Option<f64>,
    pub(crate) latency_ms_p95: Option<f64>,
    pub(crate) latency_ms_p99: Option<f64>,
    /// Calls with a price.
    #[serde(skip)]
    pub(crate) priced: u64,
    /// The cost in thousand-millionths of a dollar.
    #[serde(skip)]
    pub(crate) cost_nanos: i128,
}

/// Everything the page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) total: Figures,
    /// Most expensive first, then by calls. No name: the calls did not say.
    pub(crate) groups: Vec<Group>,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) name: Option<String>,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

#[derive(Deserialize)]
struct Total {
    grp: Option<String>,
    name: String,
    count: u64,
    total: String,
}

#[derive(Deserialize)]
struct Quantiles {
    whole: bool,
    grp: Option<String>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Deserialize)]
struct Point {
    bar: i64,
    grp: Option<String>,
    value: Option<String>,
}

/// Values over time, a series a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// No name: the calls did not say.
    pub(crate) name: Option<String>,
    /// Added up from the groups that have no series of their own.
    pub(crate) others: bool,
    /// One a bar; none: nothing was measured.
    pub(crate) values: Vec<Option<f64>>,
}

impl Report {
    /// From the answers of [`super::sql::totals`] and [`super::sql::quantiles`].
    ///
    /// # Errors
    /// In words, when they are not what was asked for.
    pub(crate) fn read(totals: &[u8], quantiles: &[u8]) -> Result<Self, String> {
        let mut total = Figures::default();
        let mut groups: BTreeMap<Option<String>, Figures> = BTreeMap::new();
        for row in rows::<Total>(totals)? {
            let figures = groups.entry(row.grp.clone()).or_default();
            figures.add(&row)?;
            total.add(&row)?;
        }
        for row in rows::<Quantiles>(quantiles)? {
            let figures = match row.whole {
                true => &mut total,
                false => groups.entry(row.grp.clone()).or_default(),
            };
            figures.latency_ms_p50 = row.p50;
            figures.latency_ms_p95 = row.p95;
            figures.latency_ms_p99 = row.p99;
        }
        let groups = groups.into_iter().map(|(name, figures)| Group {
            name,
            figures: figures.closed(),
        });
        let mut groups: Vec<Group> = groups.collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.figures.cost_nanos, group.figures.calls)));
        Ok(Self {
            total: total.closed(),
            groups,
        })
    }
}

impl Figures {
    fn add(&mut self, row: &Total) -> Result<(), String> {
        let nanos = nanos(&row.total)?;
        let whole = u64::try_from(nanos / i128::from(Money::NANOS_PER_DOLLAR)).unwrap_or(0);
        let sum = match row.name.as_str() {
            "usage.requests" => &mut self.calls,
            "usage.errors" => &mut self.errors,
            "usage.tokens_in" => &mut self.tokens_in,
            "usage.tokens_out" => &mut self.tokens_out,
            "usage.tokens_cache_read" => &mut self.tokens_cache_read,
            "usage.tokens_cache_write" => &mut self.tokens_cache_write,
            "usage.tokens_reasoning" => &mut self.tokens_reasoning,
            "usage.cost_usd" => {
                self.cost_nanos = self.cost_nanos.saturating_add(nanos);
                self.priced = self.priced.saturating_add(row.count);
                return Ok(());
            }
            _ => return Ok(()),
        };
        *sum = sum.saturating_add(whole);
        Ok(())
    }

    /// With what follows from the sums.
    fn closed(mut self) -> Self {
        self.unpriced = self.calls.saturating_sub(self.priced);
        let cached = self.tokens_cache_read.saturating_add(self.tokens_cache_write);
        self.tokens_fresh = self.tokens_in.saturating_sub(cached);
        self.cost_usd = decimal(self.cost_nanos);
        self
    }

    /// Whether any call has a price.
    pub(crate) fn is_priced(&self) -> bool {
        self.unpriced < self.calls
    }
}

/// The chart's series, largest first. Values of the rest are added up, unless they are quantiles.
///
/// # Errors
/// In words, when the answer is not what was asked for.
pub(crate) fn series(answer: &[u8], window: Window, additive: bool) -> Result<Vec<Series>, String> {
    let mut all: BTreeMap<Option<String>, Vec<Option<f64>>> = BTreeMap::new();
    let bars = usize::try_from(window.bars).unwrap_or(0);
    for point in rows::<Point>(answer)? {
        let bar = usize::try_from((point.bar - window.start).div_euclid(window.width)).ok();
        let value = point.value.and_then(|value| value.parse::<f64>().ok());
        let values = all.entry(point.grp).or_insert_with(|| vec![None; bars]);
        if let Some(slot) = bar.and_then(|bar| values.get_mut(bar)) {
            *slot = value.filter(|value| value.is_finite());
        }
    }
    let mut all: Vec<Series> = all
        .into_iter()
        .map(|(name, values)| Series {
            name,
            others: false,
            values,
        })
        .collect();
    let size = |series: &Series| series.values.iter().flatten().sum::<f64>();
    all.sort_by(|left, right| size(right).total_cmp(&size(left)));
    let rest = all.split_off(all.len().min(SERIES_MAX));
    if additive && !rest.is_empty() {
        let sum = |bar: usize| {
            let known = rest.iter().filter_map(|series| series.values[bar]);
            known.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
        };
        all.push(Series {
            name: None,
            others: true,
            values: (0..bars).map(sum).collect(),
        });
    }
    Ok(all)
}

fn rows<T: DeserializeOwned>(answer: &[u8]) -> Result<Vec<T>, String> {
    let text = std::str::from_utf8(answer).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Line::Row(row) = query::line(line).map_err(|error| error.to_string())? {
            rows.push(serde_json::from_str(row).map_err(|error| error.to_string())?);
        }
    }
    Ok(rows)
}

/// Thousand-millionths of a decimal with at most nine places.
fn nanos(decimal: &str) -> Result<i128, String> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{whole}{part:0<9}");
    let fits = part.len() <= 9;
    let read = digits.parse().ok().filter(|_| fits);
    read.ok_or_else(|| format!("`{decimal}` is not a sum"))
}

fn decimal(nanos: i128) -> String {
    let (whole, part) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).unsigned_abs());
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: &str = r#"{"columns":[]}
{"grp":"a","name":"usage.requests","count":2,"total":"3.000000000"}
{"grp":"a","name":"usage.cost_usd","count":2,"total":"0.300000001"}
{"grp":"a","name":"usage.tokens_in","count":3,"total":"100.000000000"}
{"grp":"a","name":"usage.tokens_cache_read","count":1,"total":"60.000000000"}
{"grp":null,"name":"usage.requests","count":1,"total":"1.000000000"}
{"end":{"rows":5,"truncated":null}}
"#;
    const QUANTILES: &str = r#"{"columns":[]}
{"whole":true,"grp":null,"count":4,"p50":10.0,"p95":20.0,"p99":30.0}
{"whole":false,"grp":"a","count":4,"p50":1.5,"p95":null,"p99":null}
{"end":{"rows":2,"truncated":null}}
"#;

    #[test]
    fn figures_are_exact_and_unpriced_calls_are_told() {
        let report = Report::read(TOTALS.as_bytes(), QUANTILES.as_bytes()).unwrap();
        let a = &report.groups[0];
        assert_eq!(a.name.as_deref(), Some("a"));
        assert_eq!((a.figures.calls, a.figures.unpriced), (3, 1));
        assert_eq!(a.figures.cost_usd, "0.300000001");
        assert_eq!(
            (a.figures.tokens_fresh, a.figures.latency_ms_p50),
            (40, Some(1.5))
        );
        let unnamed = &report.groups[1];
        assert_eq!((unnamed.name.as_deref(), unnamed.figures.unpriced), (None, 1));
        assert!(!unnamed.figures.is_priced());
        assert_eq!((report.total.calls, report.total.latency_ms_p99), (4, Some(30.0)));
    }

    #[test]
    fn sums_keep_their_places() {
        for (text, expected) in [("0.000000001", 1), ("12", 12_000_000_000), ("-0.5", -500_000_000)] {
            assert_eq!(nanos(text).unwrap(), expected);
        }
        assert!(nanos("x").is_err() && nanos("0.1234567890").is_err());
        assert_eq!(decimal(1_230_000_000), "1.23");
        assert_eq!(decimal(0), "0");
    }

    #[test]
    fn a_chart_has_few_series_and_its_gaps_stay() {
        let window = Window {
            start: 0,
            width: 60,
            bars: 3,
        };
        let mut answer = String::from("{\"columns\":[]}\n");
        for group in 0..9 {
            answer.push_str(&format!(
                "{{\"bar\":60,\"grp\":\"g{group}\",\"value\":\"{}\"}}\n",
                10 - group
            ));
        }
        answer.push_str("{\"end\":{\"rows\":9,\"truncated\":null}}\n");
        let found = series(answer.as_bytes(), window, true).unwrap();
        assert_eq!(found.len(), SERIES_MAX + 1);
        assert_eq!(found[0].values, [None, Some(10.0), None]);
        assert!(found[SERIES_MAX].others);
        assert_eq!(found[SERIES_MAX].values, [None, Some(4.0 + 3.0 + 2.0), None]);
        assert_eq!(
            series(answer.as_bytes(), window, false).unwrap().len(),
            SERIES_MAX
        );
    }
}
