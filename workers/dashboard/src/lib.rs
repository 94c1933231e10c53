//! The live page: what the pipeline is doing now, and whether anything is wrong.
//!
//! Invariants:
//! - One task asks the sink, and only while somebody looks ([`feed`]): viewers cost no queries.
//! - A page never waits longer than a second for the sink; it then shows the last known numbers
//!   marked as stale, or says that the sink does not answer.
//! - Server-rendered first: one set of fragments serves the page, the live stream and a browser without JavaScript.
//! - Nothing is fetched from elsewhere, and nothing inline runs: the content security policy is `'self'`.
//!
//! Deliberately absent: a database, NATS beyond `over_nats` (pages see [`Queries`]), authentication (hence loopback only), a JavaScript framework.

mod assets;
mod config;
mod feed;
mod format;
mod live;
mod over_nats;
mod overview;
mod queries;
mod route;
mod security;
mod server;

pub use config::Config;
pub use over_nats::run;
pub use queries::{Queries, QueryError, RouteError};
pub use server::{bind, serve};
