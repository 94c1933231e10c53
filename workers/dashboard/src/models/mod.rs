//! The page `GET /models`: what model calls cost, by model, provider, agent, complexity.
//!
//! What is looked at is in the URL. The figures are asked once for each view, from the rollups in the database: the
//! page waits for them a moment only, and otherwise comes without them and fetches its panel
//! (`GET /models/panel`) when it is there. `GET /api/models` gives the same figures as JSON.

mod chart;
mod panel;
mod report;
mod sql;
mod view;

use std::time::Duration;

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Json,
    extract::{Query, State},
    http::header::CACHE_CONTROL,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use crate::{
    page::{Frame, Page, unavailable},
    queries::{Asked, QueryError},
    server::App,
};
use panel::Panel;
use report::{Report, Series};
use sql::Window;
use view::{Link, View};

/// The page itself waits so long for its panel.
const PAGE_PATIENCE: Duration = Duration::from_millis(900);
/// A panel waits so long for its turn and its figures.
const PANEL_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Template, WebTemplate)]
#[template(path = "models.html")]
struct ModelsPage {
    frame: Frame,
    links: [(&'static str, Vec<Link>); 3],
    /// Name, value, and the page without it.
    filters: Vec<(&'static str, String, String)>,
    /// Where the panel comes from.
    panel_url: String,
    json_url: String,
    /// None: it comes later.
    panel: Option<Panel>,
}

/// `GET /models`
pub(crate) async fn page(State(app): State<App>, Query(view): Query<View>) -> Response {
    let asked = timeout(PAGE_PATIENCE, look(&app, &view));
    let (picture, panel) = tokio::join!(app.follower.fresh(), asked);
    let page = ModelsPage {
        frame: Frame::new(Page::Models, picture, &app.follower),
        links: view.links(),
        filters: view
            .filters()
            .map(|(by, value)| (by.key(), value.to_owned(), view.without(by)))
            .collect(),
        panel_url: view.url("/models/panel"),
        json_url: view.url("/api/models"),
        panel: panel.ok().map(|found| Panel::new(&view, found)),
    };
    ([(CACHE_CONTROL, "no-store")], page).into_response()
}

/// `GET /models/panel`: the part of the page that needs the database. An answer in any case: figures or why not.
pub(crate) async fn panel(State(app): State<App>, Query(view): Query<View>) -> Response {
    let found = patiently(&app, &view).await;
    ([(CACHE_CONTROL, "no-store")], Panel::new(&view, found)).into_response()
}

/// `GET /api/models`: the figures as JSON; 503 with a problem and its fix when there are none.
pub(crate) async fn json(State(app): State<App>, Query(view): Query<View>) -> Response {
    match patiently(&app, &view).await {
        Ok(found) => {
            let body = serde_json::json!({
                "range": view.range.key(),
                "by": view.by.key(),
                "start_ms": found.window.start * 1000,
                "end_ms": found.window.end() * 1000,
                "total": found.report.total,
                "groups": found.report.groups,
            });
            ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(problem) => unavailable(&problem),
    }
}

async fn patiently(app: &App, view: &View) -> Result<Found, QueryError> {
    let asked = timeout(PANEL_PATIENCE, look(app, view)).await;
    asked.unwrap_or(Err(QueryError::Timeout(Asked::Sink)))
}

/// What the database says of a view.
struct Found {
    window: Window,
    at_ms: i64,
    report: Report,
    series: Vec<Series>,
}

/// Asks one thing after the other, and for one view at a time: the sink has few places for queries.
async fn look(app: &App, view: &View) -> Result<Found, QueryError> {
    let failed = |problem: String| QueryError::Failed(Asked::Sink, problem);
    let closed = |_| failed("the dashboard is shutting down".to_owned());
    let _turn = app.queries_turn.acquire().await.map_err(closed)?;
    let at_ms = jiff::Timestamp::now().as_millisecond();
    let window = Window::new(view, at_ms);
    let chart = app.queries.sql(sql::chart(view, window)).await?;
    let totals = app.queries.sql(sql::totals(view, window)).await?;
    let quantiles = app.queries.sql(sql::quantiles(view, window)).await?;
    let additive = view.show != view::Show::Latency;
    Ok(Found {
        window,
        at_ms,
        report: Report::read(&totals, &quantiles).map_err(failed)?,
        series: report::series(&chart, window, additive).map_err(failed)?,
    })
}

#[cfg(test)]
mod tests;
