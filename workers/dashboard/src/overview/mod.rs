//! The page `GET /`, its regions, and the JSON twin `GET /api/overview`.
//!
//! A region is a fragment of HTML with an id. The feed renders all of them once an answer; the page embeds them,
//! and the live stream sends those that changed. An element that must survive an update (a heading, an opened
//! `<details>`) stands in `page.html`, outside the regions.

mod chart;
mod ledger;
mod nodes;
mod rate;
mod sources;
mod sparkline;
mod status;
mod usage;

use std::sync::Arc;

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Json,
    extract::State,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use schemas::overview::Overview;
use serde::Serialize;

use crate::{
    assets::{ICON, SCRIPT, STYLE},
    feed::Snapshot,
    format,
    queries::QueryError,
    server::App,
};

/// The changing parts of the page, rendered.
#[derive(Clone, Debug)]
pub(crate) struct Regions(Vec<Region>);

/// A fragment and the id of the element it fills.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Region {
    /// Id of the element.
    pub(crate) id: &'static str,
    /// What is inside it.
    pub(crate) html: String,
}

impl Regions {
    /// Renders what is known: the last answer of the sink, and the problem if the last question got none.
    ///
    /// # Errors
    /// Only if a template itself fails, which is a defect.
    pub(crate) fn render(overview: Option<&Overview>, problem: Option<&QueryError>) -> askama::Result<Self> {
        let status = region("status", &status::judge(overview, problem))?;
        let Some(overview) = overview else {
            let unanswered =
                ["rate-now", "ledger", "sources", "nodes", "usage"].map(|id| region(id, &Unanswered));
            return [Ok(status)]
                .into_iter()
                .chain(unanswered)
                .collect::<askama::Result<_>>()
                .map(Self);
        };
        Ok(Self(vec![
            status,
            region("rate-now", &rate::RateNow::new(overview))?,
            region("rate-chart", &rate::RateChart::new(overview))?,
            region("rate-table", &rate::RateTable::new(overview))?,
            region("ledger", &ledger::LedgerLine::new(overview))?,
            region("sources", &sources::Sources::new(overview))?,
            region("nodes", &nodes::Nodes::new(overview))?,
            region("usage", &usage::Usage::new(overview))?,
            region("database", &Database::new(overview))?,
        ]))
    }

    /// The fragment with this id; empty if there is nothing to show.
    fn html(&self, id: &str) -> &str {
        self.0
            .iter()
            .find(|region| region.id == id)
            .map_or("", |region| &region.html)
    }

    /// The regions that differ from those in `before`; all of them if there was nothing before.
    pub(crate) fn changed_since<'a>(&'a self, before: Option<&Self>) -> Vec<&'a Region> {
        let same = |region: &Region| before.is_some_and(|before| before.html(region.id) == region.html);
        self.0.iter().filter(|region| !same(region)).collect()
    }
}

fn region(id: &'static str, template: &impl Template) -> askama::Result<Region> {
    Ok(Region {
        id,
        html: template.render()?,
    })
}

/// Stands where numbers will be once the sink has answered.
#[derive(Template)]
#[template(source = r#"<p class="quiet">No answer from the sink yet.</p>"#, ext = "html")]
struct Unanswered;

/// The file everything is in.
#[derive(Template)]
#[template(path = "overview/database.html")]
struct Database<'a> {
    path: &'a str,
    size: format::Amount,
    log_size: format::Amount,
}

impl<'a> Database<'a> {
    fn new(overview: &'a Overview) -> Self {
        let database = &overview.database;
        Self {
            path: &database.path,
            size: format::bytes(database.bytes as f64),
            log_size: format::bytes(database.wal_bytes as f64),
        }
    }
}

/// The whole page.
#[derive(Template, WebTemplate)]
#[template(path = "page.html")]
struct Page {
    style_url: &'static str,
    script_url: &'static str,
    icon_url: &'static str,
    snapshot: Arc<Snapshot>,
    /// Age of the numbers; none if there are none.
    age_ms: Option<u64>,
    age: String,
    stale_after_ms: u64,
    stale: bool,
}

/// `GET /`: waits for fresh numbers at most as long as [`crate::feed::Feed::fresh`] does.
pub(crate) async fn page(State(app): State<App>) -> Response {
    let snapshot = app.feed.fresh().await;
    let age_ms = snapshot.age_ms();
    let stale_after_ms = app.feed.stale_after_ms();
    let page = Page {
        style_url: &STYLE.url,
        script_url: &SCRIPT.url,
        icon_url: &ICON.url,
        age_ms,
        age: age_ms.map_or_else(
            || "no data yet".to_owned(),
            |ms| format!("{} old", format::age(ms.cast_signed())),
        ),
        stale_after_ms,
        stale: age_ms.is_some_and(|age_ms| age_ms > stale_after_ms),
        snapshot,
    };
    ([(CACHE_CONTROL, "no-store")], page).into_response()
}

/// `GET /api/overview`: the numbers of the page as JSON, as `schemas::overview` defines them.
/// 503 with a problem and its fix while the sink does not answer: old numbers are never given as new ones.
pub(crate) async fn json(State(app): State<App>) -> Response {
    let snapshot = app.feed.fresh().await;
    let fresh = snapshot
        .age_ms()
        .is_some_and(|age_ms| age_ms <= app.feed.stale_after_ms());
    if let (Some(overview), true, None) = (&snapshot.overview, fresh, &snapshot.problem) {
        return ([(CACHE_CONTROL, "no-store")], Json(overview.as_ref())).into_response();
    }
    let problem = snapshot.problem.clone().unwrap_or(QueryError::Timeout);
    let body = Json(
        serde_json::json!({ "problem": problem.to_string(), "fix": problem.fix(), "command": problem.command() }),
    );
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(CACHE_CONTROL, "no-store"), (RETRY_AFTER, "1")],
        body,
    )
        .into_response()
}

/// The CSS class of a kind's colour. Kinds come from data, class names never do.
fn kind_class(kind: &str) -> &'static str {
    match kind {
        "metric" => "kind-metric",
        "event" => "kind-event",
        "usage" => "kind-usage",
        _ => "kind-other",
    }
}

#[cfg(test)]
mod tests;
