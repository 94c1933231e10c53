//! Serving HTTP/2 for gRPC: so many connections at most, none that stalls, and an end that does not wait for ever.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use bus::CancellationToken;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::idle::Idle;

/// A connection on which nothing moves is closed; a client is asked whether it lives more often than that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Calls at the same time on one connection.
const STREAMS: u32 = 64;
/// No more connections can be had (too many open files, for example): before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` is cancelled, then for the grace period at most.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    grace: Duration,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < connections_max;
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), shutdown.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, ended).await.is_err() {
        tracing::warn!(
            "gRPC calls were still open {} s after the stop, they are cut off",
            grace.as_secs()
        );
    }
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(32 * 1024)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let io = TokioIo::new(Idle::new(stream, IDLE_TIMEOUT));
    let mut served = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
