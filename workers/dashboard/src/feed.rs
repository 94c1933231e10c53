//! One task asks the sink and renders the answer; everybody else looks at its last result.
//!
//! Whoever holds a receiver is a viewer: without viewers nothing is asked. A slow viewer holds nothing up,
//! because a `watch` channel keeps only the newest value.

use std::{sync::Arc, time::Duration};

use schemas::overview::Overview;
use tokio::{
    select,
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    overview::Regions,
    queries::{Queries, QueryError},
};

/// A page load takes numbers of this age without asking, and waits no longer than this for newer ones.
const PAGE_PATIENCE: Duration = Duration::from_secs(1);
/// A question without an answer is given up after this.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Numbers older than this (or than two and a half refreshes) are not shown as live.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// What is known at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Counts the questions since the start of the process.
    pub(crate) sequence: u64,
    /// The last answer.
    pub(crate) overview: Option<Arc<Overview>>,
    /// Why the last question got no answer, if so.
    pub(crate) problem: Option<QueryError>,
    /// Both of them, as HTML.
    pub(crate) regions: Regions,
    answered_at: Option<Instant>,
    asked_at: Option<Instant>,
}

impl Snapshot {
    fn render(overview: Option<Arc<Overview>>, problem: Option<QueryError>) -> askama::Result<Self> {
        let regions = Regions::render(overview.as_deref(), problem.as_ref())?;
        Ok(Self {
            sequence: 0,
            overview,
            problem,
            regions,
            answered_at: None,
            asked_at: None,
        })
    }

    /// How old the answer is; none if there is none.
    pub(crate) fn age_ms(&self) -> Option<u64> {
        self.answered_at
            .map(|at| at.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// Shared by the task, the pages and the streams.
pub(crate) struct Feed {
    queries: Arc<dyn Queries>,
    refresh: Duration,
    snapshot: watch::Sender<Arc<Snapshot>>,
    wake: Notify,
}

impl Feed {
    /// A feed that knows nothing yet.
    ///
    /// # Errors
    /// See [`Regions::render`].
    pub(crate) fn new(queries: Arc<dyn Queries>, refresh: Duration) -> askama::Result<Self> {
        let (snapshot, _) = watch::channel(Arc::new(Snapshot::render(None, None)?));
        Ok(Self {
            queries,
            refresh,
            snapshot,
            wake: Notify::new(),
        })
    }

    /// Follows the snapshots from now on, the present one included.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        let mut receiver = self.snapshot.subscribe();
        receiver.mark_changed();
        self.wake.notify_one();
        receiver
    }

    /// The present snapshot, after a new question if the last one was asked more than a second ago.
    /// Returns after one second at the latest, then with what is known.
    pub(crate) async fn fresh(&self) -> Arc<Snapshot> {
        let mut receiver = self.snapshot.subscribe();
        let recent = |snapshot: &Snapshot| snapshot.asked_at.is_some_and(|at| at.elapsed() < PAGE_PATIENCE);
        if !recent(&receiver.borrow()) {
            self.wake.notify_one();
            // Too late, or shutting down: what is known is shown, with its age.
            let _ = timeout(PAGE_PATIENCE, receiver.changed()).await;
        }
        receiver.borrow().clone()
    }

    /// From which age on numbers are not shown as live.
    pub(crate) fn stale_after_ms(&self) -> u64 {
        STALE_AFTER
            .max(self.refresh * 5 / 2)
            .as_millis()
            .try_into()
            .unwrap_or(u64::MAX)
    }

    /// Asks while somebody looks, until the token is cancelled.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let mut asked_at = None;
        loop {
            select! {
                () = shutdown.cancelled() => return,
                () = self.due(asked_at) => {}
            }
            asked_at = Some(Instant::now());
            select! {
                () = shutdown.cancelled() => return,
                () = self.ask() => {}
            }
        }
    }

    /// Returns when a question is due: every refresh while somebody looks, and soon after somebody new does.
    async fn due(&self, asked_at: Option<Instant>) {
        let after = |pause: Duration| asked_at.map_or_else(Instant::now, |at| at + pause);
        loop {
            let looked_at = self.snapshot.receiver_count() > 0;
            select! {
                () = sleep_until(after(self.refresh)), if looked_at => {}
                () = self.wake.notified() => sleep_until(after(self.refresh.min(PAGE_PATIENCE))).await,
            }
            if self.snapshot.receiver_count() > 0 {
                return;
            }
        }
    }

    async fn ask(&self) {
        let asked_at = Instant::now();
        let answer = timeout(QUERY_TIMEOUT, self.queries.overview())
            .await
            .unwrap_or(Err(QueryError::Timeout));
        let before = self.snapshot.borrow().clone();
        report(before.problem.as_ref(), answer.as_ref().err());
        let answered_at = if answer.is_ok() {
            Some(Instant::now())
        } else {
            before.answered_at
        };
        let (overview, problem) = match answer {
            Ok(overview) => (Some(Arc::new(overview)), None),
            Err(problem) => (before.overview.clone(), Some(problem)),
        };
        match Snapshot::render(overview, problem) {
            Ok(snapshot) => {
                let sequence = before.sequence + 1;
                self.snapshot.send_replace(Arc::new(Snapshot {
                    sequence,
                    answered_at,
                    asked_at: Some(asked_at),
                    ..snapshot
                }));
            }
            Err(problem) => error!(%problem, "a template failed: this is a defect of the dashboard"),
        }
    }
}

/// Logs when the sink stops and starts answering, not at every question.
fn report(before: Option<&QueryError>, now: Option<&QueryError>) {
    match (before, now) {
        (before, Some(problem)) if before != Some(problem) => {
            warn!(%problem, fix = problem.fix(), command = problem.command(), "no answer");
        }
        (Some(_), None) => info!("the sink answers again"),
        _ => {}
    }
}
