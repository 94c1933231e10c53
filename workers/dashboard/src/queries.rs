//! What the dashboard asks of the rest of the system, free of any transport.

use std::fmt;

use bus::Bytes;
use futures_util::future::BoxFuture;
use schemas::overview::Overview;

/// Answers the questions of the pages. The executable implements it over NATS, tests with values.
pub trait Queries: Send + Sync + 'static {
    /// The numbers of the overview page, as the sink knows them now.
    ///
    /// # Errors
    /// See [`QueryError`]. An implementation should give up by itself; the dashboard stops waiting after 5 s.
    fn overview(&self) -> BoxFuture<'_, Result<Overview, QueryError>>;

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

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// Nobody takes the question: no sink runs, or NATS cannot be reached.
    Unreachable,
    /// Somebody took the question and did not answer in time.
    Timeout,
    /// The sink answered with this error.
    Failed(String),
}

impl QueryError {
    /// What to do about it, in words without a full stop; followed by [`Self::command`] if there is one.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable => "check nats.url, or start the sink:",
            Self::Timeout => "it may be busy catching up; if this lasts, look at the log of worker sink",
            Self::Failed(_) => "look at the log of worker sink",
        }
    }

    /// The command to run; empty if there is none.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Unreachable => "aiai run sink",
            Self::Timeout | Self::Failed(_) => "",
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no sink answers query.overview"),
            Self::Timeout => f.write_str("the sink did not answer query.overview in time"),
            Self::Failed(problem) => write!(f, "the sink could not answer query.overview: {problem}"),
        }
    }
}

impl std::error::Error for QueryError {}
