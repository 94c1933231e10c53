//! Messages no client can read, published by hand: they end as dead letters and hold nothing up.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bus::stage::BatchConfig;
use bus::topology::StreamsConfig;
use bus::{Context, Delivery, Failure, Input, Outbox, Stage};

/// Copies every message to `events.metric`.
struct Copier;

impl Stage for Copier {
    const NAME: &'static str = "ingest";
    type Config = ();

    fn input() -> Input {
        Input::new("INGEST", "ingest")
    }

    fn start((): (), _: &Context) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), Failure> {
        out.line("events.metric", |lines| {
            lines.extend_from_slice(message.payload());
            lines.push(b'\n');
        });
        Ok(())
    }
}

/// Publishes with these header bytes, as no client library would, and waits for the server's PONG.
fn publish_raw(url: &str, header: &[u8], payload: &[u8]) {
    let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let total = header.len() + payload.len();
    let mut text = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
    text.extend_from_slice(format!("HPUB ingest.metric {} {total}\r\n", header.len()).as_bytes());
    text.extend_from_slice(header);
    text.extend_from_slice(payload);
    text.extend_from_slice(b"\r\nPING\r\n");
    stream.write_all(&text).expect("sent");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|window| window == b"PONG") {
        let read = stream.read(&mut buffer).expect("an answer");
        assert!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test]
async fn they_become_dead_letters_and_the_others_go_on() {
    let (server, context) = common::bus_with(&StreamsConfig {
        ack_wait_seconds: 1,
        ..StreamsConfig::default()
    })
    .await;
    let url = server.url().to_owned();
    let bad: [&[u8]; 3] = [
        b"NATS/1.0\r\nno colon here\r\n\r\n",
        b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
        b"HTTP/1.1\r\nA: b\r\n\r\n",
    ];
    for header in bad {
        context
            .publish("ingest.metric", "good".into())
            .await
            .expect("stored");
        publish_raw(&url, header, b"bad");
    }
    context
        .publish("ingest.metric", "good".into())
        .await
        .expect("stored");
    // A status, which a reader might take for a word of the server: a message like any other.
    publish_raw(&url, b"NATS/1.0 503\r\n\r\n", b"status");
    let stored = async {
        while context.stream_state("INGEST").await.expect("state").last_sequence < 8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), stored)
        .await
        .expect("all eight are in the stream");

    let worker = tokio::spawn(bus::stage::run::<Copier>(
        (),
        BatchConfig::default(),
        context.clone(),
    ));
    let floor = async {
        while context
            .durable_state("INGEST", "ingest")
            .await
            .map_or(0, |state| state.ack_floor)
            < 8
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), floor)
        .await
        .expect("the floor passes them");
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");

    assert_dead(&url).await;
    let events = common::read_all(&url, "EVENTS").await;
    let good: usize = events
        .iter()
        .map(|message| message.payload.iter().filter(|byte| **byte == b'\n').count())
        .sum();
    assert!(good >= 5, "{good} good ones");
    assert!(
        events
            .iter()
            .any(|message| message.payload.windows(6).any(|part| part == b"status")),
        "the one with a status is among them"
    );
}

/// The three unreadable ones, each with its place in INGEST and its payload.
async fn assert_dead(url: &str) {
    let dead = common::read_all(url, "DEAD").await;
    let mut found: Vec<_> = dead
        .iter()
        .map(|message| {
            let header = |name: &str| message.headers.get(name).expect("header").to_string();
            (
                header("Aiai-Origin"),
                header("Aiai-Reason"),
                message.payload.to_vec(),
            )
        })
        .collect();
    found.sort();
    found.dedup();
    let expected =
        ["2", "4", "6"].map(|origin| (origin.into(), "unreadable_headers".into(), b"bad".to_vec()));
    assert_eq!(found, expected);
}
