//! Events a second: the number, the last 15 minutes by kind, the totals.

use askama::Template;
use schemas::overview::{Overview, Rate};

use super::{
    chart::{HEIGHT, Shape, stack},
    kind_class,
};
use crate::format::{Amount, clock, count, minute, rate, tick};

/// More kinds than there are, so that a strange answer stays a small page.
const KINDS_MAX: usize = 16;
/// Buckets shown at most; the contract says 90.
const BUCKETS_MAX: usize = 360;

/// The number, and the legend with totals.
#[derive(Template)]
#[template(path = "overview/rate_now.html")]
pub(crate) struct RateNow {
    per_second: Amount,
    kinds: Vec<KindRow>,
    window: Window,
}

struct KindRow {
    kind: String,
    class: &'static str,
    in_window: Amount,
    in_all: Amount,
}

/// The bars.
#[derive(Template)]
#[template(path = "overview/rate_chart.html")]
pub(crate) struct RateChart {
    width: f64,
    height: f64,
    /// Gridlines at thirds of the width.
    thirds: [f64; 2],
    ceiling: String,
    half: String,
    shapes: Vec<(&'static str, Shape)>,
    /// Times below the drawing: start, thirds, end.
    times: [String; 4],
    summary: String,
    caption: String,
}

/// The same as a table, a row a minute, newest first.
#[derive(Template)]
#[template(path = "overview/rate_table.html")]
pub(crate) struct RateTable {
    kinds: Vec<String>,
    rows: Vec<TableRow>,
}

struct TableRow {
    from: String,
    open: bool,
    cells: Vec<Amount>,
}

/// The time the buckets cover.
#[derive(Clone, Copy)]
struct Window {
    buckets: usize,
    bucket_ms: i64,
    end_ms: i64,
}

impl Window {
    fn new(rate: &Rate) -> Self {
        let buckets = rate
            .kinds
            .iter()
            .map(|series| series.events.len())
            .max()
            .unwrap_or(0)
            .min(BUCKETS_MAX);
        Self {
            buckets,
            bucket_ms: i64::from(rate.bucket_seconds.max(1)) * 1000,
            end_ms: rate.end_ms,
        }
    }

    fn minutes(self) -> i64 {
        self.bucket_ms * self.buckets as i64 / 60_000
    }

    /// Start of a bucket; `buckets` gives the end of the last one.
    fn time_ms(self, bucket: usize) -> i64 {
        self.end_ms
            .saturating_sub((self.buckets - bucket.min(self.buckets)) as i64 * self.bucket_ms)
    }
}

/// The newest buckets of every series, at most [`BUCKETS_MAX`].
fn series(rate: &Rate) -> impl Iterator<Item = (&str, &[u64])> {
    rate.kinds.iter().take(KINDS_MAX).map(|series| {
        let skipped = series.events.len().saturating_sub(BUCKETS_MAX);
        (series.kind.as_str(), &series.events[skipped..])
    })
}

fn sum(events: &[u64]) -> u64 {
    events
        .iter()
        .fold(0, |total, events| total.saturating_add(*events))
}

impl RateNow {
    /// From the sink's answer.
    pub(crate) fn new(overview: &Overview) -> Self {
        let shown = series(&overview.rate).map(|(kind, events)| (kind, sum(events)));
        let quiet = overview.kinds_total.iter().map(|total| total.kind.as_str());
        let mut kinds: Vec<(&str, u64)> = shown.collect();
        for kind in quiet.take(KINDS_MAX) {
            if !kinds.iter().any(|(known, _)| *known == kind) {
                kinds.push((kind, 0));
            }
        }
        let row = |(kind, in_window): (&str, u64)| {
            let in_all = overview
                .kinds_total
                .iter()
                .find(|total| total.kind == kind)
                .map_or(0, |total| total.events);
            KindRow {
                kind: kind.to_owned(),
                class: kind_class(kind),
                in_window: count(in_window),
                in_all: count(in_all),
            }
        };
        Self {
            per_second: rate(overview.rate.per_second_now),
            kinds: kinds.into_iter().map(row).collect(),
            window: Window::new(&overview.rate),
        }
    }
}

impl RateChart {
    /// From the sink's answer.
    pub(crate) fn new(overview: &Overview) -> Self {
        let window = Window::new(&overview.rate);
        let bucket_seconds = (window.bucket_ms / 1000) as f64;
        let (kinds, events): (Vec<&str>, Vec<&[u64]>) = series(&overview.rate).unzip();
        let stack = stack(&events, bucket_seconds);
        let top = stack.ceiling / bucket_seconds;
        let times = [0, window.buckets / 3, window.buckets * 2 / 3, window.buckets]
            .map(|b| minute(window.time_ms(b)));
        Self {
            width: stack.width.max(1.0),
            height: HEIGHT,
            thirds: [stack.width / 3.0, stack.width * 2.0 / 3.0],
            ceiling: tick(top),
            half: tick(top / 2.0),
            shapes: kinds
                .iter()
                .map(|kind| kind_class(kind))
                .zip(stack.shapes)
                .collect(),
            times,
            caption: if stack.peak > 0.0 {
                format!(
                    "Events a second, in bars of {bucket_seconds} s. The outlined last bar is still open."
                )
            } else {
                format!("No events in the last {} minutes.", window.minutes())
            },
            summary: summary(&window, &kinds, &events),
        }
    }
}

/// The drawing in a sentence, for those who cannot see it.
fn summary(window: &Window, kinds: &[&str], events: &[&[u64]]) -> String {
    let totals = kinds
        .iter()
        .zip(events)
        .map(|(kind, events)| format!("{} of kind {kind}", count(sum(events)).text));
    let totals: Vec<String> = totals.collect();
    if totals.is_empty() {
        return "No events yet".to_owned();
    }
    format!(
        "Events in the last {} minutes: {}. The table below has the numbers.",
        window.minutes(),
        totals.join(", ")
    )
}

impl RateTable {
    /// From the sink's answer.
    pub(crate) fn new(overview: &Overview) -> Self {
        let window = Window::new(&overview.rate);
        let per_row = (60_000 / window.bucket_ms).max(1) as usize;
        let (kinds, events): (Vec<&str>, Vec<&[u64]>) = series(&overview.rate).unzip();
        let cell = |events: &[u64], start: usize, end: usize| {
            let missing = window.buckets - events.len();
            let place = |bucket: usize| bucket.saturating_sub(missing).min(events.len());
            count(sum(&events[place(start)..place(end)]))
        };
        let row = |start: usize| {
            let end = (start + per_row).min(window.buckets);
            TableRow {
                from: clock(window.time_ms(start), window.end_ms),
                open: end == window.buckets,
                cells: events.iter().map(|events| cell(events, start, end)).collect(),
            }
        };
        let starts: Vec<usize> = (0..window.buckets).step_by(per_row).collect();
        Self {
            kinds: kinds.into_iter().map(str::to_owned).collect(),
            rows: starts.into_iter().rev().map(row).collect(),
        }
    }
}
