//! Slow clients, too many of them, NATS away, streams that are full, and the order to stop.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use bus::topology::StreamsConfig;
use common::{Answer, Gateway, METRIC, PATIENCE};
use gateway::Config;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn impatient() -> Config {
    Config {
        body_timeout_seconds: 1,
        idle_timeout_seconds: 1,
        ..Config::default()
    }
}

/// Everything until the server closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes")
        .unwrap();
    bytes
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_cut_off_and_holds_nothing_up() {
    let gateway = Gateway::start_with(impatient(), StreamsConfig::default()).await;
    let mut silent = gateway.connect().await;
    let mut headless = gateway.connect().await;
    headless
        .write_all(b"POST /v1/metrics HTTP/1.1\r\nHost: lo")
        .await
        .unwrap();
    let mut bodiless = gateway.connect().await;
    bodiless.write_all(head(METRIC.len()).as_bytes()).await.unwrap();
    bodiless.write_all(&METRIC.as_bytes()[..10]).await.unwrap();
    assert_eq!(gateway.post("/v1/metrics", METRIC).await.status, 202, "meanwhile");
    let answer = Answer::read(&rest(bodiless).await);
    answer.problem(408, "within 1 s");
    assert_eq!(answer.header("connection"), Some("close"));
    // Without an answer, or with one without a body: the request is not known.
    let cut = rest(headless).await;
    assert!(cut.is_empty() || cut.starts_with(b"HTTP/1.1 408"), "{cut:?}");
    let mut bytes = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(gateway.stored().await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_stalled_clients_hold_nothing_up() {
    let config = Config {
        connections_max: 2000,
        ..Config::default()
    };
    let gateway = Gateway::start_with(config, StreamsConfig::default()).await;
    let mut stalled = Vec::new();
    for _ in 0..300 {
        let mut stream = gateway.connect().await;
        stream.write_all(head(900_000).as_bytes()).await.unwrap();
        stream.write_all(b"[").await.unwrap();
        stalled.push(stream);
    }
    let answer = gateway.post("/v1/metrics", METRIC).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    drop(stalled);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let config = Config {
        connections_max: 1,
        ..impatient()
    };
    let gateway = Gateway::start_with(config, StreamsConfig::default()).await;
    let idle = gateway.connect().await;
    // The idle one is cut off, then it is this one's turn.
    assert_eq!(gateway.post("/v1/metrics", METRIC).await.status, 202);
    drop(idle);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_it_says_when_to_try_again_and_the_key_stores_it_once() {
    let config = Config {
        requests_max: 1,
        ..Config::default()
    };
    let mut gateway = Gateway::start_with(config, StreamsConfig::default()).await;
    let headers = [JSON, ("Idempotency-Key", "again")];
    // It stands still: nobody knows whether it has the message.
    gateway.server.signal(rustix::process::Signal::STOP);
    let begun = Instant::now();
    let (first, second) = tokio::join!(
        gateway.send("POST", "/v1/metrics", &headers, METRIC.as_bytes()),
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            gateway.post("/v1/metrics", METRIC).await
        }
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    first.problem(503, "with the same idempotency-key");
    assert!(first.header("retry-after").is_some());
    second.problem(429, "gateway.requests_max");
    assert_eq!(second.header("retry-after"), Some("1"));
    gateway.server.signal(rustix::process::Signal::CONT);
    let begun = Instant::now();
    let stored = loop {
        let answer = gateway
            .send("POST", "/v1/metrics", &headers, METRIC.as_bytes())
            .await;
        if answer.status == 202 {
            break answer.json();
        }
        answer.problem(503, "");
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((&stored["origin"], &stored["accepted"]), (&json!(1), &json!(1)));
    assert_eq!(gateway.stored().await, 1, "once");
    // Away altogether.
    gateway.server.signal(rustix::process::Signal::KILL);
    let begun = Instant::now();
    while gateway.context.is_connected() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway
        .post("/v1/metrics", METRIC)
        .await
        .problem(503, "no connection to NATS");
    let ready = gateway.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["missing"][0]["problem"]
            .as_str()
            .unwrap()
            .contains("NATS")
    );
    assert_eq!(gateway.get("/health").await.status, 200, "the process is well");
    gateway.server.kill_and_restart().await.unwrap();
    let begun = Instant::now();
    while gateway.post("/v1/metrics", METRIC).await.status != 202 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_told() {
    let streams = StreamsConfig {
        ingest_max_megabytes: 2,
        ..StreamsConfig::default()
    };
    let gateway = Gateway::start_with(Config::default(), streams).await;
    let large = format!(r#"[{METRIC}{}]"#, " ".repeat(800_000));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(gateway.post("/v1/metrics", &large).await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [202, 202, 503, 503]);
    answers[3].problem(503, "nothing of this is stored");
    assert_eq!(answers[3].header("retry-after"), Some("5"));
    let ready = gateway.get("/ready").await.json();
    let problems = ready["missing"].to_string();
    assert!(problems.contains("stream INGEST is full"), "{problems}");
    assert!(gateway.context.trouble().unwrap().contains("cannot publish"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_budget_are_told_to_wait() {
    let config = Config {
        bodies_max_megabytes: 4,
        ..Config::default()
    };
    let gateway = Gateway::start_with(config, StreamsConfig::default()).await;
    let mut holding = Vec::new();
    for _ in 0..5 {
        let mut stream = gateway.connect().await;
        stream.write_all(head(900_000).as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; 830_000]).await.unwrap();
        holding.push(stream);
    }
    gateway.holds(5 * 830_000).await;
    let large = format!("{METRIC}{}", " ".repeat(400_000));
    gateway
        .post("/v1/metrics", &large)
        .await
        .problem(429, "gateway.bodies_max_megabytes");
    assert_eq!(
        gateway.post("/v1/metrics", METRIC).await.status,
        202,
        "a small one has room"
    );
    drop(holding);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_the_stop_is_answered() {
    let gateway = Gateway::start().await;
    let mut late = gateway.connect().await;
    late.write_all(head(METRIC.len()).as_bytes()).await.unwrap();
    late.write_all(&METRIC.as_bytes()[..10]).await.unwrap();
    let idle = gateway.connect().await;
    gateway.holds(10).await;
    let (address, stopping) = (gateway.address, gateway.stop());
    let ending = tokio::spawn(stopping);
    assert!(rest(idle).await.is_empty(), "an idle one is closed");
    late.write_all(&METRIC.as_bytes()[10..]).await.unwrap();
    assert_eq!(Answer::read(&rest(late).await).status, 202);
    timeout(PATIENCE, ending).await.unwrap().unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}
