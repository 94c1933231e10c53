//! Connections: so many at most, none that stalls, and an end that does not wait for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bus::CancellationToken;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::idle::Idle;

/// Connections at the same time, of each protocol.
const CONNECTIONS: usize = 1024;
/// A request's head comes within this time; between two requests it is as long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection on which nothing moves is closed. gRPC's are asked whether they live.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Calls at the same time on one gRPC connection.
const STREAMS: u32 = 64;
/// Open requests get this long to end after a shutdown began.
const GRACE: Duration = Duration::from_secs(3);

/// Serves HTTP/1.1, or HTTP/2 for gRPC, until `shutdown` is cancelled, then for at most 3 s more.
pub(crate) async fn serve(listener: TcpListener, router: Router, grpc: bool, shutdown: CancellationToken) {
    let builder = Arc::new(if grpc { http2() } else { http1() });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files: the next one may be closed already.
                tracing::warn!(error = error.to_string(), "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let io = TokioIo::new(Idle::new(stream, IDLE_TIMEOUT));
        let service = TowerToHyperService::new(router.clone());
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        tokio::spawn(async move {
            let connection = watcher.watch(builder.serve_connection(io, service).into_owned());
            if let Err(error) = connection.await {
                tracing::debug!(error = error.to_string(), "a connection ended early");
            }
            drop(place);
        });
    }
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open {} s after the stop, they are cut off", GRACE.as_secs());
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

fn http1() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 * 1024);
    builder
}

fn http2() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(32 * 1024)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}
