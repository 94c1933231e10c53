//! gateway: what agents publish by HTTP goes to INGEST.
//!
//! Invariants:
//! - All or nothing: every item of a request is checked as ingest checks it, and if one is bad nothing is stored.
//! - A 202 comes after the acknowledgement of NATS: what was accepted is on disk. The body is published as it came,
//!   as one message, so the pipeline sees what the sender wrote.
//! - Everything is bounded: connections, requests at once, bytes held, the time for headers, body and acknowledgement,
//!   and what a compressed body becomes. A slow client holds its own connection only.
//! - Every refusal is problem details (RFC 9457) with its fix.
//!
//! Keeps nothing; any number of copies. Deliberately absent: TLS (a proxy does it), reading data back, batches of several
//! kinds, and retries here: the sender has the data, and tries again with the same `Idempotency-Key`.

mod body;
mod config;
mod figures;
mod openapi;
mod problem;
mod ready;
mod receive;
mod request;
mod server;

pub use config::Config;
pub use server::{bind, run};
