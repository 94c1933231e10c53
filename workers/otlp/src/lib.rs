//! otlp: what OpenTelemetry SDKs send, over HTTP and gRPC, as messages on `ingest.<kind>`.
//!
//! Spans become steps, those of model calls also usage; log records become events; data points become metrics. One
//! mapping for both protocols, pure functions in [`map`].
//!
//! Invariants: a request is answered only after NATS has acknowledged all that was made of it; what could not be made an
//! item is counted in the answer; a request sent again after a lost answer is stored once. Every request is bounded in bytes,
//! time and memory, before it is decoded.
//!
//! Deliberately absent: state that a crash could lose (but see `map::Recent`), buffers of its own (the sender has one),
//! TLS (a proxy does that), and profiles, which OTLP still changes.

mod auth;
mod body;
mod config;
mod figures;
mod grpc;
mod http;
mod idle;
mod json;
pub mod map;
mod receive;
mod refusal;
mod serve;
mod status;
mod weigh;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bus::Context;
use schemas::Time;
use tokio::net::TcpListener;

pub use config::Config;
pub use receive::{Encoding, Signal};

use crate::http::App;
use crate::receive::Receiver;

/// A connection may wait so long for the end of a request's headers, and for another request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// What is under way at the order to stop may take so long to end.
const GRACE: Duration = Duration::from_secs(3);

/// The ports.
#[derive(Debug)]
pub struct Listeners {
    http: TcpListener,
    grpc: TcpListener,
}

impl Listeners {
    /// Where OTLP/gRPC is.
    ///
    /// # Errors
    /// When the listener is not usable.
    pub fn grpc_address(&self) -> std::io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where OTLP/HTTP is.
    ///
    /// # Errors
    /// When the listener is not usable.
    pub fn http_address(&self) -> std::io::Result<SocketAddr> {
        self.http.local_addr()
    }
}

/// Checks the configuration and takes the ports.
///
/// # Errors
/// A key out of bounds, or a port that is taken: each with its fix.
pub async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    config.validate()?;
    Ok(Listeners {
        http: listen("otlp.listen_http", config.listen_http).await?,
        grpc: listen("otlp.listen_grpc", config.listen_grpc).await?,
    })
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for OpenTelemetry: stop what uses it, or set {key} to another address"
        )
    })
}

/// Takes what is sent until the process is to end.
///
/// # Errors
/// When the listeners are not usable.
pub async fn run(config: Config, listeners: Listeners, context: Context) -> anyhow::Result<()> {
    let shutdown = context.shutdown().clone();
    let receiver = Receiver::new(context.clone(), config.memory_megabytes << 20);
    let app = App {
        receiver: receiver.clone(),
        tokens: Arc::new(config.tokens),
        body_bytes_max: config.body_megabytes_max << 20,
    };
    let address = listeners
        .grpc_address()
        .context("the gRPC listener has no address")?;
    tracing::info!(worker = "otlp", address = %format_args!("http://{address}"), "listening for OTLP/gRPC");
    let limits = bus::http::Limits {
        connections_max: config.connections_max,
        idle_timeout: IDLE_TIMEOUT,
        write_timeout: IDLE_TIMEOUT,
        grace: GRACE,
    };
    let http = bus::http::serve(
        listeners.http,
        http::routes(app.clone()),
        limits,
        shutdown.clone(),
    );
    let grpc = serve::serve(
        listeners.grpc,
        grpc::routes(app),
        config.connections_max,
        GRACE,
        shutdown.clone(),
    );
    tokio::join!(http, grpc, figures::publish(&receiver.figures, &context));
    Ok(())
}

/// Decodes and maps one request: all that the worker does but publishing. For benchmarks and tests.
///
/// # Errors
/// What is wrong with the bytes.
pub fn map_bytes(signal: Signal, encoding: Encoding, body: &[u8], now: Time) -> Result<map::Mapped, String> {
    receive::map_request(signal, encoding, body, now, 0, &Mutex::default())
        .map_err(|refusal| refusal.to_string())
}
