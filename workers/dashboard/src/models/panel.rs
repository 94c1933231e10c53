//! The part of the page that the database fills.

use askama::Template;
use askama_web::WebTemplate;

use super::{
    Found,
    chart::Chart,
    report::{Figures, Group},
    sql,
    view::{By, View},
};
use crate::{
    format::{Amount, clock, count, dollars, duration, percent, stamp},
    queries::QueryError,
};

/// Groups listed; the rest is told.
const GROUPS_MAX: usize = 100;
/// One call, for the empty state.
const EXAMPLE: &str = concat!(
    r#"aiai pub usage '{"model":"claude-sonnet-4","provider":"anthropic","#,
    r#""tokens_in":1200,"tokens_out":340,"latency_ms":840}'"#
);

/// Figures, chart and table; or why there are none.
#[derive(Template, WebTemplate)]
#[template(path = "models/panel.html")]
pub(crate) struct Panel {
    figures: Option<Full>,
    /// There were no calls.
    empty: bool,
    /// Filters are set: they may be why.
    filtered: bool,
    problem: Option<QueryError>,
    example: &'static str,
    retry_url: String,
}

struct Full {
    total: Row,
    chart: Chart,
    by: &'static str,
    rows: Vec<Row>,
    omitted: usize,
    from: String,
    at: String,
    sql: String,
}

/// Figures as they are read.
struct Row {
    name: String,
    /// The group alone; none where calls did not say.
    url: Option<String>,
    /// None: no call has a price.
    cost: Option<Amount>,
    share: f64,
    calls: Amount,
    errors: Amount,
    error_share: Option<Amount>,
    unpriced: Option<Amount>,
    fresh: Amount,
    cache_read: Amount,
    cache_write: Amount,
    out: Amount,
    reasoning: Amount,
    latency: [(&'static str, Option<Amount>); 3],
}

impl Panel {
    /// From what was found, or from why nothing was.
    pub(super) fn new(view: &View, found: Result<Found, QueryError>) -> Self {
        let retry_url = view.url("/models");
        let (figures, empty, problem) = match found {
            Ok(found) if found.report.total.calls == 0 => (None, true, None),
            Ok(found) => (Some(Full::new(view, &found)), false, None),
            Err(problem) => (None, false, Some(problem)),
        };
        Self {
            figures,
            empty,
            filtered: view.filters().next().is_some(),
            problem,
            example: EXAMPLE,
            retry_url,
        }
    }
}

impl Full {
    fn new(view: &View, found: &Found) -> Self {
        let report = &found.report;
        let most = report.groups.iter().map(|group| group.figures.cost_nanos).max();
        let row = |group: &Group| {
            let url = group.name.as_deref().map(|name| view.group_alone(name));
            let name = group.name.clone().unwrap_or_else(|| "not given".to_owned());
            Row::new(name, url, &group.figures, most.unwrap_or(0))
        };
        Self {
            total: Row::new(String::new(), None, &report.total, 0),
            chart: Chart::new(view, found.window, &found.series),
            by: match view.by {
                By::Model => "Model",
                By::Provider => "Provider",
                By::Agent => "Agent",
                By::Complexity => "Complexity",
            },
            rows: report.groups.iter().take(GROUPS_MAX).map(row).collect(),
            omitted: report.groups.len().saturating_sub(GROUPS_MAX),
            from: stamp(found.window.start * 1000),
            at: clock(found.at_ms, found.at_ms),
            sql: sql::example(view, found.window),
        }
    }
}

impl Row {
    fn new(name: String, url: Option<String>, figures: &Figures, most_nanos: i128) -> Self {
        let share = figures.cost_nanos as f64 / most_nanos.max(1) as f64;
        let errors = figures.errors as f64 / figures.calls.max(1) as f64;
        Self {
            name,
            url,
            cost: figures.is_priced().then(|| dollars(&figures.cost_usd)),
            share: (share * 1000.0).round() / 10.0,
            calls: count(figures.calls),
            errors: count(figures.errors),
            error_share: (figures.errors > 0).then(|| percent(errors * 100.0)),
            unpriced: (figures.unpriced > 0).then(|| count(figures.unpriced)),
            fresh: count(figures.tokens_fresh),
            cache_read: count(figures.tokens_cache_read),
            cache_write: count(figures.tokens_cache_write),
            out: count(figures.tokens_out),
            reasoning: count(figures.tokens_reasoning),
            latency: [
                ("p50", figures.latency_ms_p50.map(duration)),
                ("p95", figures.latency_ms_p95.map(duration)),
                ("p99", figures.latency_ms_p99.map(duration)),
            ],
        }
    }
}
