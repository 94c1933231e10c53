//! What is known, who wants to know it, and the tasks that run while somebody does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::{Bytes, Context, Endpoint, Error};
use schemas::live::{self, Body, Message, Snapshot};
use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::Config;
use crate::copies::Copies;
use crate::traffic::Traffic;
use crate::{asking, passing, streams};

/// Between two beats, each of which also finds out whether somebody listens.
const BEAT: Duration = Duration::from_secs(1);
/// The server says at once that nobody listens.
const NOBODY: Duration = Duration::from_millis(300);
/// Who asks for a snapshot is about to listen.
const ABOUT_TO_LISTEN: Duration = Duration::from_secs(5);
/// A snapshot of this age needs no new figures.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_millis(1500);
/// A snapshot waits so long for figures, then says what is known.
const SNAPSHOT_PATIENCE: Duration = Duration::from_millis(700);
/// Snapshots made at the same time.
const SNAPSHOTS: usize = 16;

/// Shared by the tasks.
pub(crate) struct Feed {
    pub(crate) context: Context,
    pub(crate) refresh: Duration,
    /// There may be an alert that the sink's answer does not have.
    pub(crate) alerted: Notify,
    pub(crate) copies: Mutex<Copies>,
    pub(crate) traffic: Mutex<Traffic>,
    known: watch::Sender<Known>,
    listened: watch::Sender<bool>,
    asked_at: Mutex<Option<Instant>>,
    sequence: AtomicU64,
}

/// The newest picture.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) overview: live::Overview,
    pub(crate) pipeline: live::Pipeline,
    overview_at: Option<Instant>,
    pipeline_at: Option<Instant>,
}

/// Feeds until the process is to end.
pub(crate) async fn run(config: &Config, context: Context) -> anyhow::Result<()> {
    let feed = Arc::new(Feed {
        refresh: Duration::from_millis(config.refresh_milliseconds),
        alerted: Notify::new(),
        copies: Mutex::default(),
        traffic: Mutex::default(),
        known: watch::Sender::new(Known::default()),
        listened: watch::Sender::new(false),
        asked_at: Mutex::new(None),
        sequence: AtomicU64::new(0),
        context,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(passing::heartbeats(feed.clone()));
    tasks.spawn(beats(feed.clone()));
    tasks.spawn(while_listened(feed.clone(), asking::overview));
    tasks.spawn(while_listened(feed.clone(), asking::alerts));
    tasks.spawn(while_listened(feed.clone(), asking::archive));
    tasks.spawn(while_listened(feed.clone(), asking::ledger));
    tasks.spawn(while_listened(feed.clone(), streams::follow));
    tasks.spawn(while_listened(feed.clone(), passing::events));
    tasks.spawn(while_listened(feed.clone(), passing::alerts));

    let served = feed.clone();
    let snapshot = Endpoint {
        name: "snapshot",
        subject: live::SNAPSHOT,
        concurrency: SNAPSHOTS,
        handler: Arc::new(move |request| {
            let feed = served.clone();
            Box::pin(async move { request.end(feed.snapshot().await).await })
        }),
    };
    let context = feed.context.clone();
    context
        .serve("dashboard-feed", "what live views begin with", vec![snapshot])
        .await?;
    tasks.shutdown().await;
    Ok(())
}

/// Runs a task while somebody listens, from its beginning each time.
async fn while_listened<F>(feed: Arc<Feed>, task: fn(Arc<Feed>) -> F)
where
    F: Future<Output = ()>,
{
    let mut listened = feed.listened.subscribe();
    // The sender lives as long as the feed, so that waiting never fails.
    while listened.wait_for(|yes| *yes).await.is_ok() {
        select! {
            () = task(feed.clone()) => return,
            _ = listened.wait_for(|yes| !yes) => {}
            () = feed.context.shutdown().cancelled() => return,
        }
    }
}

/// Says every second that the feed lives. The server tells at once when nobody hears it.
async fn beats(feed: Arc<Feed>) {
    let mut ticks = paced(BEAT);
    loop {
        select! {
            _ = ticks.tick() => {}
            () = feed.context.shutdown().cancelled() => return,
        }
        let beat = Bytes::from(feed.message(Body::Beat {}).to_json());
        let heard = feed.context.request(live::BEAT, "dashboard", beat, NOBODY).await;
        let nobody = matches!(heard, Err(Error::NoResponders { .. }));
        let about_to = lock(&feed.asked_at).is_some_and(|at| at.elapsed() < ABOUT_TO_LISTEN);
        feed.set_listened(!nobody || about_to);
    }
}

impl Feed {
    fn set_listened(&self, yes: bool) {
        self.listened.send_if_modified(|listened| {
            let modified = *listened != yes;
            *listened = yes;
            modified
        });
    }

    /// Changes what is known of the first page.
    pub(crate) fn update_overview(&self, change: impl FnOnce(&mut live::Overview)) {
        self.known.send_modify(|known| change(&mut known.overview));
    }

    /// Changes what is known of streams and workers.
    pub(crate) fn update_pipeline(&self, change: impl FnOnce(&mut live::Pipeline)) {
        self.known.send_modify(|known| change(&mut known.pipeline));
    }

    /// Tells the first page's picture.
    pub(crate) async fn tell_overview(&self) {
        let traffic = lock(&self.traffic).rates(now_ms());
        self.known.send_modify(|known| {
            known.overview.traffic = traffic;
            known.overview_at = Some(Instant::now());
        });
        let overview = self.known.borrow().overview.clone();
        self.tell(live::OVERVIEW, Body::Overview(Box::new(overview)))
            .await;
    }

    /// Tells the picture of streams and workers.
    pub(crate) async fn tell_pipeline(&self) {
        let (workers, omitted) = lock(&self.copies).list(now_ms());
        self.known.send_modify(|known| {
            known.pipeline.workers = workers;
            known.pipeline.workers_omitted = omitted;
            known.pipeline_at = Some(Instant::now());
        });
        let pipeline = self.known.borrow().pipeline.clone();
        self.tell(live::PIPELINE, Body::Pipeline(Box::new(pipeline)))
            .await;
    }

    /// Sends a live message.
    pub(crate) async fn tell(&self, subject: &str, body: Body) {
        let json = Bytes::from(self.message(body).to_json());
        if let Err(error) = self.context.publish_live(subject, json).await {
            tracing::debug!(subject, error = bus::chain(&error), "live message not sent");
        }
    }

    fn message(&self, body: Body) -> Message {
        Message {
            feed: self.context.instance().to_owned(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            at_ms: now_ms(),
            body,
        }
    }

    /// What is known, waiting a moment for new figures if they are old.
    async fn snapshot(&self) -> Bytes {
        *lock(&self.asked_at) = Some(Instant::now());
        self.set_listened(true);
        let recent = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < SNAPSHOT_AGE_MAX);
        let mut known = self.known.subscribe();
        let fresh = known.wait_for(|known| recent(known.overview_at) && recent(known.pipeline_at));
        // Too late: what is known says itself how old it is.
        drop(timeout(SNAPSHOT_PATIENCE, fresh).await);
        let known = self.known.borrow();
        let snapshot = Snapshot {
            feed: self.context.instance().to_owned(),
            sequence: self.sequence.load(Ordering::Relaxed),
            at_ms: now_ms(),
            overview: known.overview.clone(),
            pipeline: known.pipeline.clone(),
        };
        Bytes::from(serde_json::to_vec(&snapshot).unwrap_or_default())
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A clock that never hurries after what it missed.
pub(crate) fn paced(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A panic elsewhere leaves figures that are still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
