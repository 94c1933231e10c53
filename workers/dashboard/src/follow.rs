//! One task follows a feed and renders what it says; everybody else looks at its last result.
//!
//! Whoever holds a receiver is a viewer: without viewers nobody is followed, and an unheard feed rests. A slow
//! viewer holds nothing up, because a `watch` channel keeps only the newest value.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use schemas::live::{self, Message, SILENCE_MAX_MS, Snapshot};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    picture::{Known, Picture, STALE_AFTER_MS},
    queries::{Queries, QueryError},
};

/// A page load takes numbers heard this recently, and waits no longer than this for newer ones.
const PAGE_PATIENCE: Duration = Duration::from_secs(1);
/// A question without an answer is given up after this.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// A page that was loaded opens its stream within this time: until then it counts as looking.
const LINGER: Duration = Duration::from_secs(2);

/// Shared by the task, the pages and the streams.
pub(crate) struct Follower {
    queries: Arc<dyn Queries>,
    picture: watch::Sender<Arc<Picture>>,
    wake: Notify,
}

impl Follower {
    /// A follower that knows nothing yet.
    ///
    /// # Errors
    /// See [`Picture::render`].
    pub(crate) fn new(queries: Arc<dyn Queries>) -> askama::Result<Self> {
        let (picture, _) = watch::channel(Arc::new(Picture::render(Known::default())?));
        Ok(Self {
            queries,
            picture,
            wake: Notify::new(),
        })
    }

    /// Follows the pictures from now on, the present one included.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Picture>> {
        let mut receiver = self.picture.subscribe();
        receiver.mark_changed();
        self.wake.notify_one();
        receiver
    }

    /// The present picture; a new one if nothing was heard for a second. Returns after one second at the latest,
    /// then with what is known.
    pub(crate) async fn fresh(&self) -> Arc<Picture> {
        let mut receiver = self.picture.subscribe();
        let recent = |picture: &Picture| {
            picture
                .known
                .tried_at
                .is_some_and(|at| at.elapsed() < PAGE_PATIENCE)
        };
        if !recent(&receiver.borrow()) {
            self.wake.notify_one();
            // Too late, or shutting down: what is known is shown, with its age.
            let _ = timeout(PAGE_PATIENCE, receiver.changed()).await;
        }
        receiver.borrow().clone()
    }

    /// From which age on numbers are not shown as live.
    pub(crate) fn stale_after_ms(&self) -> u64 {
        STALE_AFTER_MS
    }

    /// Follows while somebody looks, until the token is cancelled.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        loop {
            select! {
                () = shutdown.cancelled() => return,
                () = self.looked_at() => {}
            }
            select! {
                () = shutdown.cancelled() => return,
                () = self.follow() => {}
                () = self.unwatched() => {}
            }
        }
    }

    async fn looked_at(&self) {
        while self.picture.receiver_count() == 0 {
            self.wake.notified().await;
        }
    }

    /// Returns when nobody looks any more.
    async fn unwatched(&self) {
        loop {
            self.picture.closed().await;
            sleep(LINGER).await;
            if self.picture.receiver_count() == 0 {
                return;
            }
        }
    }

    /// Listens first and asks then, so that nothing falls in between.
    async fn follow(&self) {
        loop {
            match self.queries.follow().await {
                Ok(messages) => self.listen(messages).await,
                Err(problem) => self.change(|known| known.fail(problem)),
            }
            sleep(RETRY).await;
        }
    }

    async fn listen(&self, mut messages: BoxStream<'static, Message>) {
        loop {
            let snapshot = timeout(QUERY_TIMEOUT, self.queries.snapshot()).await;
            let patience = match snapshot {
                Ok(Ok(snapshot)) => {
                    self.begin(snapshot);
                    Duration::from_millis(SILENCE_MAX_MS)
                }
                Ok(Err(problem)) => {
                    self.change(|known| known.fail(problem));
                    RETRY
                }
                Err(_) => {
                    self.change(|known| known.fail(QueryError::Timeout(crate::queries::Asked::Feed)));
                    RETRY
                }
            };
            if self.hear(&mut messages, patience).await.is_none() {
                return;
            }
        }
    }

    /// Takes in messages until the feed is silent; none: there will be no more.
    async fn hear(&self, messages: &mut BoxStream<'static, Message>, patience: Duration) -> Option<()> {
        let mut deadline = Instant::now() + patience;
        loop {
            let message = select! {
                message = messages.next() => message?,
                () = sleep_until(deadline) => return Some(()),
            };
            if self.picture.borrow().known.follows(&message) {
                deadline = Instant::now() + patience;
                let changes = !matches!(message.body, live::Body::Beat {});
                if changes {
                    self.change(|known| known.take(message));
                }
            }
        }
    }

    fn begin(&self, snapshot: Snapshot) {
        if let Some(problem) = &self.picture.borrow().known.problem {
            info!(feed = snapshot.feed, before = %problem, "a feed answers");
        }
        self.change(|known| known.begin(snapshot));
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let before = self.picture.borrow().clone();
        let mut known = before.known.clone();
        known.tried_at = Some(Instant::now());
        change(&mut known);
        report(before.known.problem.as_ref(), known.problem.as_ref());
        match Picture::render(known) {
            Ok(picture) => {
                let sequence = before.sequence + 1;
                self.picture
                    .send_replace(Arc::new(Picture { sequence, ..picture }));
            }
            Err(problem) => error!(%problem, "a template failed: this is a defect of the dashboard"),
        }
    }
}

/// Logs when the feed stops answering, not at every question.
fn report(before: Option<&QueryError>, now: Option<&QueryError>) {
    if let Some(problem) = now.filter(|now| before != Some(now)) {
        warn!(%problem, fix = problem.fix(), command = problem.command(), "no live numbers");
    }
}
