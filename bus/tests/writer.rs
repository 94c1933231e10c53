//! The writer runtime against a real server: batches, positions, rejected messages, a stream made anew.

mod common;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::topology::StreamsConfig;
use bus::writer::CommitConfig;
use bus::{CommitFailure, Context, DurableState, Input, Received, StreamState, Unstored, Writer};
use schemas::{Reason, Rejection};

/// What a writer would have on disk: outlives it.
#[derive(Default)]
struct Disk {
    /// (epoch, sequence) to payload; a second write of the same key fails the test.
    rows: BTreeMap<(String, u64), String>,
    buried: Vec<u64>,
    gone: Vec<u64>,
    refusals_left: u32,
}

struct Recorder(Arc<Mutex<Disk>>);

impl Writer for Recorder {
    const NAME: &'static str = "sink";

    fn inputs() -> Vec<Input> {
        vec![Input::new("EVENTS", "sink")]
    }

    fn ahead_of(&self, _: usize, _: &StreamState) -> Option<u64> {
        None
    }

    fn resume(&mut self, _: usize, stream: &StreamState, _: Option<&DurableState>) -> anyhow::Result<u64> {
        let disk = self.0.lock().expect("no panic holds it");
        let known = |sequence: &u64| {
            disk.gone.contains(sequence) || disk.rows.contains_key(&(stream.epoch.clone(), *sequence))
        };
        Ok((1..).find(|sequence| !known(sequence)).unwrap_or(1))
    }

    fn commit(&mut self, batch: &[Received]) -> Result<Unstored, CommitFailure> {
        let mut disk = self.0.lock().expect("no panic holds it");
        if disk.refusals_left > 0 {
            disk.refusals_left -= 1;
            return Err(CommitFailure::Retry(anyhow::anyhow!("disk full")));
        }
        let mut rejected = Vec::new();
        for (at, received) in batch.iter().enumerate() {
            let text = String::from_utf8_lossy(received.delivery.payload()).into_owned();
            if text == "bad" {
                rejected.push((
                    at,
                    Rejection::new(Reason::MalformedBatch, "payload", "bad", "none"),
                ));
            }
            let key = (received.epoch.to_string(), received.delivery.sequence());
            match disk.rows.insert(key, text.clone()) {
                None => {}
                Some(before) => assert_eq!(before, text, "another message with the same sequence"),
            }
        }
        Ok(Unstored {
            rejected,
            ..Unstored::default()
        })
    }

    fn buried(&mut self, received: &Received) {
        self.0
            .lock()
            .expect("no panic holds it")
            .buried
            .push(received.delivery.sequence());
    }

    fn hole(&self, _: usize, epoch: &str) -> Option<u64> {
        let disk = self.0.lock().expect("no panic holds it");
        let known = |sequence: &u64| {
            disk.gone.contains(sequence) || disk.rows.contains_key(&(epoch.to_owned(), *sequence))
        };
        let last = disk.rows.keys().map(|(_, sequence)| *sequence).max()?;
        (1..last).find(|sequence| !known(sequence))
    }

    fn gone(&mut self, _: usize, _: &str, sequences: RangeInclusive<u64>) {
        self.0.lock().expect("no panic holds it").gone.extend(sequences);
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("not yet: {what}"));
}

fn start(context: &Context, disk: &Arc<Mutex<Disk>>) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    tokio::spawn(bus::writer::run(
        Recorder(disk.clone()),
        CommitConfig::default(),
        context.clone(),
    ))
}

#[tokio::test]
async fn a_batch_is_tried_until_it_is_stored_and_a_rejected_message_becomes_a_dead_letter() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let disk = Arc::new(Mutex::new(Disk {
        refusals_left: 2,
        ..Disk::default()
    }));
    for body in ["a", "bad", "b"] {
        context
            .publish("events.metric", body.into())
            .await
            .expect("stored");
    }
    let worker = start(&context, &disk);
    until("all acknowledged", async || {
        let state = context.durable_state("EVENTS", "sink").await.expect("durable");
        state.ack_pending == 0 && state.pending == 0 && disk.lock().expect("no panic holds it").buried == [2]
    })
    .await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
    let dead = common::read_all(server.url(), "DEAD").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].subject.as_str(), "dead.sink.metric");
    assert_eq!(disk.lock().expect("no panic holds it").rows.len(), 3);
}

#[tokio::test]
async fn it_continues_at_its_own_position_whatever_the_durable_says() {
    let (_server, context) = common::bus_with(&StreamsConfig::default()).await;
    let epoch = context.stream_state("EVENTS").await.expect("state").epoch;
    let disk = Arc::new(Mutex::new(Disk::default()));
    for number in 1..=5_u64 {
        context
            .publish("events.metric", number.to_string().into())
            .await
            .expect("stored");
        if number <= 3 {
            disk.lock()
                .unwrap()
                .rows
                .insert((epoch.clone(), number), number.to_string());
        }
    }
    let worker = start(&context, &disk);
    until("the rest is stored", async || {
        disk.lock().expect("no panic holds it").rows.len() == 5
    })
    .await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
}

#[tokio::test]
async fn a_stream_made_anew_is_read_from_its_start_under_its_own_epoch() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let disk = Arc::new(Mutex::new(Disk::default()));
    let worker = start(&context, &disk);
    for body in ["a", "b"] {
        context
            .publish("events.metric", body.into())
            .await
            .expect("stored");
    }
    until("first epoch stored", async || {
        disk.lock().expect("no panic holds it").rows.len() == 2
    })
    .await;

    let client = async_nats::connect(server.url()).await.expect("connects");
    async_nats::jetstream::new(client)
        .delete_stream("EVENTS")
        .await
        .expect("deleted");
    context.ensure_topology().await.expect("made anew");
    context
        .publish("events.metric", "c".into())
        .await
        .expect("stored");
    until("second epoch stored", async || {
        disk.lock().expect("no panic holds it").rows.len() == 3
    })
    .await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
    let epoch = context.stream_state("EVENTS").await.expect("state").epoch;
    assert_eq!(
        disk.lock()
            .expect("no panic holds it")
            .rows
            .get(&(epoch, 1))
            .map(String::as_str),
        Some("c")
    );
}

#[tokio::test]
async fn an_absurd_count_in_a_header_stops_nothing() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let disk = Arc::new(Mutex::new(Disk::default()));
    let client = async_nats::connect(server.url()).await.expect("connects");
    let jetstream = async_nats::jetstream::new(client);
    for _ in 0..2 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Aiai-Count", "18446744073709551615");
        let sent = jetstream
            .publish_with_headers("events.metric", headers, "x".into())
            .await;
        sent.expect("sent").await.expect("stored");
    }
    let worker = start(&context, &disk);
    until("both stored", async || {
        disk.lock().expect("no panic holds it").rows.len() == 2
    })
    .await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
}

#[tokio::test]
async fn what_was_taken_away_from_it_is_fetched_and_what_is_gone_is_given_up() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let client = async_nats::connect(server.url()).await.expect("connects");
    let stream = async_nats::jetstream::new(client)
        .get_stream("EVENTS")
        .await
        .expect("stream");
    for number in 1..=6_u64 {
        let stored = context.publish("events.metric", number.to_string().into());
        stored.await.expect("stored");
    }
    // As an operator does with `nats consumer next`, before there is a writer.
    let durable: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("sink").await.expect("durable");
    let mut taken = durable
        .fetch()
        .max_messages(6)
        .messages()
        .await
        .expect("messages");
    while let Some(message) = futures_util::StreamExt::next(&mut taken).await {
        message.expect("a message").ack().await.expect("acknowledged");
    }
    // What the writer has is not what the durable says.
    let epoch = context.stream_state("EVENTS").await.expect("state").epoch;
    let disk = Arc::new(Mutex::new(Disk::default()));
    let row = |number: u64| ((epoch.clone(), number), number.to_string());
    disk.lock().unwrap().rows.extend([row(1), row(4)]);
    stream.delete_message(2).await.expect("deleted");
    let worker = start(&context, &disk);
    until("all others stored, one given up", async || {
        let disk = disk.lock().expect("no panic holds it");
        disk.rows.len() == 5 && disk.gone == [2]
    })
    .await;
    // While it runs: behind its back and with later messages stored.
    let mut taken = durable
        .batch()
        .max_messages(1)
        .expires(Duration::from_secs(20))
        .messages()
        .await
        .expect("messages");
    let mut stolen = None;
    for number in 7..=40_u64 {
        let stored = context.publish("events.metric", number.to_string().into());
        stored.await.expect("stored");
        let next = tokio::time::timeout(
            Duration::from_millis(200),
            futures_util::StreamExt::next(&mut taken),
        );
        if let (None, Ok(Some(Ok(message)))) = (stolen, next.await) {
            message.ack().await.expect("acknowledged");
            stolen = Some(number);
        }
    }
    assert!(stolen.is_some(), "nothing could be taken away");
    until("the stolen one too", async || {
        disk.lock().expect("no panic holds it").rows.len() == 39
    })
    .await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
}
