//! `POST /v1/route` over real sockets: passed on as it is, bounded, and only for our own names.

use std::{sync::Arc, time::Duration};

use bus::Bytes;
use dashboard::{Config, Queries, QueryError, RouteError};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use schemas::live::{Message, Snapshot};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Gives the request back, or refuses an empty one.
struct Echo;

impl Queries for Echo {
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Message>, QueryError>> {
        Box::pin(async { Err(QueryError::Disconnected) })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, QueryError>> {
        Box::pin(async { Err(QueryError::Disconnected) })
    }

    fn sql(&self, _: String) -> BoxFuture<'_, Result<Bytes, QueryError>> {
        Box::pin(async { Err(QueryError::Disconnected) })
    }

    fn route(&self, request: Bytes) -> BoxFuture<'_, Result<Bytes, RouteError>> {
        Box::pin(async move {
            if request.is_empty() {
                let text = "name a \"tier\"".to_owned();
                return Err(RouteError { code: 400, text });
            }
            Ok(request)
        })
    }
}

#[tokio::test]
async fn requests_are_passed_on_and_refusals_keep_their_code_and_words() {
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let listener = dashboard::bind(&config).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(dashboard::serve(
        config,
        Arc::new(Echo),
        listener,
        shutdown.clone(),
    ));
    let own = address.to_string();
    let large = "x".repeat(20_000);
    for (method, host, body, status, part) in [
        (
            "POST",
            own.as_str(),
            r#"{"tier":"low"}"#,
            200,
            r#"{"tier":"low"}"#,
        ),
        ("POST", &own, "", 400, r#"{"error":"name a \"tier\""}"#),
        ("POST", &own, &large, 413, r#"{"error":""#),
        (
            "POST",
            "evil.example",
            "{}",
            421,
            "this page answers to localhost",
        ),
        ("GET", &own, "", 405, ""),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} /v1/route HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    shutdown.cancel();
    timeout(Duration::from_secs(6), serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
