//! What the dashboard asks of the rest of the system, free of any transport.

use std::fmt;

use bus::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use schemas::live::{Message, Problem, Snapshot};

/// Answers the questions of the pages. The worker implements it over NATS, tests with values.
pub trait Queries: Send + Sync + 'static {
    /// Live messages from now on, of every feed. The stream ends only when nothing can come any more.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Message>, QueryError>>;

    /// Everything a live view begins with.
    ///
    /// # Errors
    /// See [`QueryError`]. An implementation gives up by itself.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, QueryError>>;

    /// The answer of `query.sql` to this SELECT, NDJSON as [`schemas::query`] defines it.
    ///
    /// # Errors
    /// See [`QueryError`]. An implementation gives up by itself.
    fn sql(&self, sql: String) -> BoxFuture<'_, Result<Bytes, QueryError>>;

    /// The answer of `route.decide` to this request, both JSON.
    ///
    /// # Errors
    /// See [`RouteError`]. An implementation gives up by itself.
    fn route(&self, request: Bytes) -> BoxFuture<'_, Result<Bytes, RouteError>>;
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    /// As in HTTP.
    pub code: u16,
    /// What is wrong, with the fix.
    pub text: String,
}

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Worker dashboard-feed, for live numbers.
    Feed,
    /// Worker sink, for what is stored.
    Sink,
}

impl Asked {
    fn worker(self) -> &'static str {
        match self {
            Self::Feed => "dashboard-feed",
            Self::Sink => "sink",
        }
    }
}

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// There is no connection to NATS now.
    Disconnected,
    /// Nobody takes the question.
    Unreachable(Asked),
    /// Somebody took the question and did not answer in time.
    Timeout(Asked),
    /// The answer was this error.
    Failed(Asked, String),
}

impl QueryError {
    /// What the feed says about the sink.
    pub(crate) fn of_sink(problem: &Problem) -> Self {
        match problem {
            Problem::Unreachable => Self::Unreachable(Asked::Sink),
            Problem::Timeout => Self::Timeout(Asked::Sink),
            Problem::Failed(text) => Self::Failed(Asked::Sink, text.clone()),
        }
    }

    /// What to do about it, in words without a full stop; followed by [`Self::command`] if there is one.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Disconnected => "it is tried again by itself; check that nats-server runs, and nats.url",
            Self::Unreachable(_) => "start one:",
            Self::Timeout(Asked::Feed) => "if this lasts, look at the log of worker dashboard-feed",
            Self::Timeout(Asked::Sink) => {
                "it may be busy catching up; if this lasts, look at the log of worker sink"
            }
            Self::Failed(Asked::Feed, _) => "look at the log of worker dashboard-feed",
            Self::Failed(Asked::Sink, _) => "look at the log of worker sink",
        }
    }

    /// The command to run; empty if there is none.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Unreachable(Asked::Feed) => "aiai run dashboard-feed",
            Self::Unreachable(Asked::Sink) => "aiai run sink",
            Self::Disconnected | Self::Timeout(_) | Self::Failed(..) => "",
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the dashboard has no connection to NATS"),
            Self::Unreachable(asked) => write!(f, "no {} answers", asked.worker()),
            Self::Timeout(asked) => write!(f, "the {} did not answer in time", asked.worker()),
            Self::Failed(asked, problem) => write!(f, "the {} could not answer: {problem}", asked.worker()),
        }
    }
}

impl std::error::Error for QueryError {}
