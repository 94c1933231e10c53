//! `GET /live?page=overview|models|pipeline`: the changed regions of a page as server-sent events.
//!
//! A stream begins with every region, whatever `Last-Event-ID` says, so that nothing depends on replay.
//! Events: `region` with `{"age_ms", "regions": [{"id", "html"}]}` whenever the feed said something,
//! `heartbeat` every 10 s. Ids are `<start of the process>.<sequence>`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    http::{
        HeaderName, StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER},
    },
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{page::Page, picture::Picture, regions::Region, server::App};

/// The page recreates its stream when it misses two and a half of these.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two updates of a page: what changes meanwhile is told at once.
const PACE: Duration = Duration::from_millis(250);
/// Tells a proxy not to collect the stream.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Serialize)]
struct Update<'a> {
    /// Age of the numbers when sent; none if there are none.
    age_ms: Option<u64>,
    regions: Vec<&'a Region>,
}

/// What is asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    page: Page,
}

/// One viewer.
struct Viewer {
    page: Page,
    pictures: watch::Receiver<Arc<Picture>>,
    sent: Option<Arc<Picture>>,
    not_before: Instant,
    heartbeat: Interval,
    started_ms: i64,
    shutdown: CancellationToken,
    /// Gives its place back when the stream ends, however it ends.
    _place: OwnedSemaphorePermit,
}

/// Streams until the browser goes or the process stops. 503 when `viewers_max` streams are open.
pub(crate) async fn live(State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    let Ok(place) = app.viewers.clone().try_acquire_owned() else {
        let problem = "all live streams are taken: close a tab, or raise dashboard.viewers_max\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], problem).into_response();
    };
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let viewer = Viewer {
        page: asked.page,
        pictures: app.follower.watch(),
        sent: None,
        not_before: Instant::now(),
        heartbeat,
        started_ms: app.started_ms,
        shutdown: app.shutdown.clone(),
        _place: place,
    };
    let events = stream::unfold(viewer, |mut viewer| async move {
        let event = viewer.next().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    (
        [(CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")],
        Sse::new(events),
    )
        .into_response()
}

impl Viewer {
    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        select! {
            biased;
            () = self.shutdown.cancelled() => None,
            changed = changed_after(self.not_before, &mut self.pictures) => {
                changed.ok()?;
                self.not_before = Instant::now() + PACE;
                let picture = self.pictures.borrow_and_update().clone();
                self.update(picture)
            }
            _ = self.heartbeat.tick() => Some(Event::default().event("heartbeat").data("{}")),
        }
    }

    fn update(&mut self, picture: Arc<Picture>) -> Option<Event> {
        let before = self.sent.as_deref().map(|sent| &sent.regions);
        let regions = picture.regions.changed_since(self.page, before);
        let update = Update {
            age_ms: self.page.age_ms(&picture.known),
            regions,
        };
        let id = format!("{}.{}", self.started_ms, picture.sequence);
        let event = Event::default().event("region").id(id).json_data(update);
        self.sent = Some(picture);
        event
            .inspect_err(|problem| error!(%problem, "cannot write an update, the stream ends"))
            .ok()
    }
}

async fn changed_after(
    moment: Instant,
    pictures: &mut watch::Receiver<Arc<Picture>>,
) -> Result<(), watch::error::RecvError> {
    sleep_until(moment).await;
    pictures.changed().await
}
