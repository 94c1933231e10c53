//! The live page: what the pipeline is doing now, and whether anything is wrong.
//!
//! Invariants:
//! - What is live comes from `live.>` and its snapshot, and only while somebody looks ([`follow`]): viewers cost no queries.
//! - A page never waits longer than a second for numbers; it then shows the last known ones marked as stale, or says
//!   who does not answer. A slow query holds up its own panel only ([`models`]).
//! - Server-rendered first: one set of fragments serves the page, the live stream and a browser without JavaScript.
//! - Nothing is fetched from elsewhere, and nothing inline runs: the content security policy is `'self'`.
//!
//! Deliberately absent: a database, NATS beyond `over_nats` (pages see [`Queries`]), authentication (hence loopback only), a JavaScript framework.

mod assets;
mod config;
mod follow;
mod format;
mod live;
mod models;
mod over_nats;
mod overview;
mod page;
mod picture;
mod pipeline;
mod queries;
mod regions;
mod route;
mod security;
mod server;

pub use config::Config;
pub use over_nats::run;
pub use queries::{Asked, Queries, QueryError, RouteError};
pub use server::{bind, serve};
