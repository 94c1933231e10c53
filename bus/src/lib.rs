//! The bus: the only crate that knows NATS.
//!
//! Invariants: a message is acknowledged only after everything made from it is stored
//! (`stage`, `writer`, `job`, `flight` are the only code that acknowledges); every buffer, retry and wait is bounded;
//! every request has a timeout. Deliberately absent: at-most-once paths, except live messages nobody must have.
//!
//! A worker sees [`Context`] (its connection and name), [`Delivery`] (a message), [`Stage`], [`Job`] or [`Writer`]
//! (what it implements) and [`Outbox`] (what it publishes).

mod access;
mod advisory;
mod apply;
pub mod bucket;
mod claim;
mod commit;
mod connect;
mod context;
mod counting;
mod dead;
mod delivery;
mod epoch;
mod error;
mod figures;
mod find;
mod flight;
mod gauge;
pub mod heartbeat;
mod hole;
pub mod http;
pub mod job;
mod journal;
mod live;
pub mod monitor;
mod outbox;
mod plan;
mod publish;
mod pull;
mod range;
mod retry;
pub mod server;
mod service;
mod source;
pub mod stage;
mod survey;
mod suspect;
pub mod telemetry;
pub mod testing;
pub mod topology;
mod unreadable;
pub mod writer;

pub use bytes::Bytes;
pub use tokio_util::sync::CancellationToken;

pub use access::{Token, Tokens, is_tenant, subject};
pub use advisory::Advisory;
pub use apply::Scope;
pub use bucket::{Bucket, Watched};
pub use claim::Claim;
pub use connect::{NatsConfig, without_credentials};
pub use context::{Context, Counters, DurableState, StreamState};
pub use counting::Placed;
pub use delivery::{ATTEMPTS_MAX, Delivery, Failure};
pub use error::{Error, Result, chain};
pub use figures::{DurableFigures, StreamFigures};
pub use gauge::Gauge;
pub use job::{Job, Report};
pub use live::{Live, LiveMessage};
pub use outbox::{DeadLetter, Notice, Outbox};
pub use plan::{Action, Change, Difference, Plan};
pub use publish::{PendingAck, Stored};
pub use range::{Newest, Range};
pub use retry::Policy;
pub use service::{Endpoint, Handler, PART, PARTS, Request};
pub use source::Input;
pub use stage::Stage;
pub use survey::{Held, ReaderSurvey, StreamSurvey};
pub use writer::{CommitFailure, Received, Unstored, Writer};
