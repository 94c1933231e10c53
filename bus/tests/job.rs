//! The job runtime, ranges and fenced publishes against a real server.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::topology::StreamsConfig;
use bus::{CancellationToken, Context, Delivery, Failure, Input, Job, Notice, Report};
use schemas::{Reason, Rejection, headers};

/// Writes down what it did on a subject of ROLLUP, any stream would do.
struct Clerk {
    begun: Arc<AtomicU64>,
}

impl Job for Clerk {
    const NAME: &'static str = "archive";

    fn input() -> Input {
        Input::new("ARCHIVE", "archive")
    }

    async fn run(&self, job: &Delivery) -> Result<Report, Failure> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        match &job.payload()[..] {
            b"reject" => Err(Failure::Reject {
                rejection: Rejection::new(Reason::WrongType, "first", "no number", "send a number"),
            }),
            b"panic" => panic!("as asked"),
            b"never" => Err(Failure::Retry {
                after: Duration::from_millis(10),
                reason: "never works".into(),
            }),
            b"endless" if job.attempt() == 1 => std::future::pending().await,
            body => Ok(Report {
                notices: vec![Notice {
                    subject: "archive.file".into(),
                    payload: bus::Bytes::copy_from_slice(body),
                    id: format!("archive:{}", job.sequence()),
                    stored: true,
                }],
            }),
        }
    }
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached)
        .await
        .unwrap_or_else(|_| panic!("waited a minute in vain: {what}"));
}

async fn settled(context: &Context) -> bool {
    let durable = context.durable_state("ARCHIVE", "archive").await;
    matches!(durable, Ok(state) if state.pending == 0 && state.ack_pending == 0)
}

#[tokio::test]
async fn every_job_ends_with_its_report_or_as_a_dead_letter() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    for body in ["one", "reject", "panic", "never", "two"] {
        let stored = context.publish("archive.job", body.into()).await;
        stored.expect("stored");
    }
    let begun = Arc::new(AtomicU64::new(0));
    let clerk = Clerk { begun: begun.clone() };
    let worker = tokio::spawn(bus::job::run(clerk, 2, context.clone()));
    until("all settled", || settled(&context)).await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("ended");

    let files: Vec<_> = common::read_all(server.url(), "ARCHIVE").await;
    let mut files: Vec<_> = files
        .iter()
        .filter(|message| message.subject.as_str() == "archive.file")
        .map(|message| message.payload.clone())
        .collect();
    files.sort();
    assert_eq!(files, ["one", "two"]);
    let dead: BTreeMap<_, _> = common::read_all(server.url(), "DEAD")
        .await
        .iter()
        .map(|message| {
            let header = |name: &str| message.headers.get(name).expect("header").to_string();
            assert_eq!(message.subject.as_str(), "dead.archive.job");
            (message.payload.to_vec(), header(headers::REASON))
        })
        .collect();
    let expected = [
        ("never", "retries_exhausted"),
        ("panic", "worker_panicked"),
        ("reject", "wrong_type"),
    ];
    assert_eq!(
        dead,
        expected
            .map(|(body, reason)| (body.as_bytes().to_vec(), reason.to_owned()))
            .into()
    );
    assert_eq!(begun.load(Ordering::Relaxed), 4 + bus::ATTEMPTS_MAX);
}

#[tokio::test]
async fn a_job_that_was_cut_off_by_the_end_comes_again_at_once() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    context
        .publish("archive.job", "endless".into())
        .await
        .expect("stored");
    let begun = Arc::new(AtomicU64::new(0));
    let first = tokio::spawn(bus::job::run(Clerk { begun: begun.clone() }, 1, context.clone()));
    until("the job to begin", async || begun.load(Ordering::Relaxed) == 1).await;
    context.shutdown().cancel();
    first.await.expect("joined").expect("ended");

    let config = StreamsConfig::default();
    let context = Context::connect(&server.config(), &config, "archive", CancellationToken::new())
        .await
        .expect("connected");
    let started = std::time::Instant::now();
    let second = tokio::spawn(bus::job::run(Clerk { begun: begun.clone() }, 1, context.clone()));
    until("the report", || settled(&context)).await;
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it was not given back"
    );
    context.shutdown().cancel();
    second.await.expect("joined").expect("ended");
    assert_eq!(common::read_all(server.url(), "ARCHIVE").await.len(), 2);
}

#[tokio::test]
async fn a_range_is_complete_and_passes_over_what_was_removed() {
    let (_server, context) = common::bus_with(&StreamsConfig::default()).await;
    for number in 1..=1300 {
        let pending = context.publish_pipelined("events.metric", number.to_string().into(), None);
        let pending = pending.await.expect("sent");
        if number % 100 == 0 {
            pending.wait().await.expect("stored");
        }
    }
    context.trim("EVENTS", 11).await.expect("trimmed");
    for (first, last, expected) in [(1, 1250, 11..=1250), (1201, 5000, 1201..=1300)] {
        let mut range = context.range("EVENTS", first, last).await.expect("opened");
        let mut sequences = Vec::new();
        while let Some(delivery) = range.next().await.expect("read") {
            assert_eq!(delivery.payload(), delivery.sequence().to_string().as_bytes());
            sequences.push(delivery.sequence());
        }
        assert_eq!(sequences, expected.collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn of_two_who_expect_the_same_sequence_one_wins() {
    let (_server, context) = common::bus_with(&StreamsConfig::default()).await;
    assert_eq!(
        context.newest("ARCHIVE", "archive.job").await.expect("asked"),
        None
    );
    let publish =
        |body: &'static str, expected| context.publish_expecting("archive.job", body.into(), expected);
    let first = publish("1-10", 0).await.expect("answered").expect("won");
    assert_eq!(publish("1-20", 0).await.expect("answered"), None);
    let newest = context
        .newest("ARCHIVE", "archive.job")
        .await
        .expect("asked")
        .expect("one");
    assert_eq!(
        (newest.sequence, &newest.payload[..]),
        (first.sequence, &b"1-10"[..])
    );
    let second = publish("11-20", newest.sequence).await.expect("answered");
    assert!(second.is_some_and(|stored| stored.sequence > first.sequence));
}

#[tokio::test]
async fn a_range_of_large_messages_is_complete_and_one_whose_server_dies_is_an_error() {
    let (mut server, context) = common::bus_with(&StreamsConfig::default()).await;
    let large = bus::Bytes::from(vec![b'x'; 300_000]);
    for _ in 0..60 {
        context
            .publish("events.event", large.clone())
            .await
            .expect("stored");
    }
    let mut range = context.range("EVENTS", 1, 60).await.expect("opened");
    for sequence in 1..=60 {
        let message = range.next().await.expect("read").expect("a message");
        assert_eq!((message.sequence(), message.payload().len()), (sequence, 300_000));
    }
    assert!(range.next().await.expect("the end").is_none());

    let mut range = context.range("EVENTS", 1, 60).await.expect("opened");
    range.next().await.expect("read").expect("a message");
    server.kill_and_restart().await.expect("restarted");
    let ended = async {
        while range.next().await?.is_some() {}
        bus::Result::<(), bus::Error>::Ok(())
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    assert!(
        ended.expect("it does not wait for ever").is_err(),
        "its reader died with the server"
    );
    let mut range = context.range("EVENTS", 60, 60).await.expect("opened again");
    assert!(range.next().await.expect("read").is_some());
}
