//! What the live pages share: the frame around them, and their JSON twins.

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
use serde::{Deserialize, Serialize};

use crate::{
    assets::{CHART, ICON, SCRIPT, STYLE},
    follow::Follower,
    format,
    picture::{Known, Picture},
    queries::{Asked, QueryError},
    server::App,
};

/// The pages there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Page {
    /// `/`
    #[default]
    Overview,
    /// `/models`
    Models,
    /// `/pipeline`
    Pipeline,
}

impl Page {
    pub(crate) const ALL: [Self; 3] = [Self::Overview, Self::Models, Self::Pipeline];

    /// As in `/live?page=`.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Models => "models",
            Self::Pipeline => "pipeline",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Models => "Models and costs",
            Self::Pipeline => "Pipeline",
        }
    }

    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Models => "/models",
            Self::Pipeline => "/pipeline",
        }
    }

    /// Age of the numbers that the page shows live; none if there are none.
    pub(crate) fn age_ms(self, known: &Known) -> Option<u64> {
        match self {
            Self::Overview => known.sink_age_ms(),
            Self::Pipeline => known.pipeline_age_ms(),
            // Its numbers say themselves of when they are.
            Self::Models => known.feed_age_ms(),
        }
    }
}

/// The frame of a page.
pub(crate) struct Frame {
    pub(crate) style_url: &'static str,
    pub(crate) script_url: &'static str,
    /// Only where there is a chart to read.
    pub(crate) chart_url: Option<&'static str>,
    pub(crate) icon_url: &'static str,
    pub(crate) page: Page,
    pub(crate) picture: Arc<Picture>,
    /// Age of the numbers; none if there are none.
    pub(crate) age_ms: Option<u64>,
    pub(crate) age: String,
    pub(crate) stale_after_ms: u64,
    pub(crate) stale: bool,
}

impl Frame {
    /// The frame around what is known.
    pub(crate) fn new(page: Page, picture: Arc<Picture>, follower: &Follower) -> Self {
        let age_ms = page.age_ms(&picture.known);
        let stale_after_ms = follower.stale_after_ms();
        Self {
            style_url: &STYLE.url,
            script_url: &SCRIPT.url,
            chart_url: (page == Page::Models).then(|| CHART.url.as_str()),
            icon_url: &ICON.url,
            page,
            picture,
            age_ms,
            age: age_ms.map_or_else(
                || "no data yet".to_owned(),
                |ms| format!("{} old", format::age(ms.cast_signed())),
            ),
            stale_after_ms,
            stale: age_ms.is_some_and(|age_ms| age_ms > stale_after_ms),
        }
    }

    pub(crate) fn region(&self, id: &str) -> &str {
        self.picture.regions.html(id)
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
}

#[derive(Template, WebTemplate)]
#[template(path = "pipeline.html")]
struct PipelinePage {
    frame: Frame,
}

/// `GET /`: waits for fresh numbers at most as long as [`Follower::fresh`] does.
pub(crate) async fn overview(State(app): State<App>) -> Response {
    let frame = Frame::new(Page::Overview, app.follower.fresh().await, &app.follower);
    ([(CACHE_CONTROL, "no-store")], OverviewPage { frame }).into_response()
}

/// `GET /pipeline`, in the same way.
pub(crate) async fn pipeline(State(app): State<App>) -> Response {
    let frame = Frame::new(Page::Pipeline, app.follower.fresh().await, &app.follower);
    ([(CACHE_CONTROL, "no-store")], PipelinePage { frame }).into_response()
}

/// `GET /api/overview`: the numbers of the first page as JSON, as `schemas::overview` defines them.
/// 503 with a problem and its fix while the sink does not answer: old numbers are never given as new ones.
pub(crate) async fn overview_json(State(app): State<App>) -> Response {
    let picture = app.follower.fresh().await;
    let known = &picture.known;
    let sink = known.overview.as_ref().map(|overview| &overview.sink);
    let told = sink
        .and_then(|sink| sink.problem.as_ref())
        .map(QueryError::of_sink);
    let problem = known.problem.clone().or(told);
    let value = sink.and_then(|sink| sink.value.as_ref());
    twin(&app, value, known.sink_age_ms(), problem, Asked::Sink)
}

/// `GET /api/pipeline`: the numbers of that page as JSON, as `schemas::live` defines them.
pub(crate) async fn pipeline_json(State(app): State<App>) -> Response {
    let picture = app.follower.fresh().await;
    let known = &picture.known;
    let value = known.pipeline.as_deref();
    twin(
        &app,
        value,
        known.pipeline_age_ms(),
        known.problem.clone(),
        Asked::Feed,
    )
}

fn twin(
    app: &App,
    value: Option<&impl Serialize>,
    age_ms: Option<u64>,
    problem: Option<QueryError>,
    asked: Asked,
) -> Response {
    let fresh = age_ms.is_some_and(|age_ms| age_ms <= app.follower.stale_after_ms());
    if let (Some(value), true, None) = (value, fresh, &problem) {
        return ([(CACHE_CONTROL, "no-store")], Json(value)).into_response();
    }
    unavailable(&problem.unwrap_or(QueryError::Timeout(asked)))
}

/// 503 with the problem, its fix and the command.
pub(crate) fn unavailable(problem: &QueryError) -> Response {
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
