//! The stage runtime against a real server: every message ends somewhere, under faults too.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use bus::stage::BatchConfig;
use bus::topology::StreamsConfig;
use bus::{Context, Delivery, Failure, Input, Outbox, Stage};
use schemas::{Origins, Reason, Rejection, headers};

/// Copies good messages to `events.metric`; the payload says what else to do.
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
        match &message.payload()[..] {
            b"reject" => Err(Failure::Reject {
                rejection: Rejection::new(Reason::WrongType, "value", "no\r\nway", "send a number"),
            }),
            b"panic" => panic!("as asked"),
            b"twice" if message.attempt() < 2 => Err(anyhow::anyhow!("not yet").into()),
            b"never" => Err(Failure::Retry {
                after: Duration::from_millis(10),
                reason: "never works".into(),
            }),
            _ => Ok(()),
        }
    }
}

/// Waits until every message of INGEST is settled.
async fn until_settled(context: &Context) {
    let settled = async {
        loop {
            let durable = context.durable_state("INGEST", "ingest").await;
            if matches!(durable, Ok(state) if state.pending == 0 && state.ack_pending == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled)
        .await
        .expect("settled within a minute");
}

async fn stored_origins(url: &str) -> (Origins, u64) {
    let mut all = Origins::default();
    let mut lines = 0;
    for message in common::read_all(url, "EVENTS").await {
        let header = |name: &str| message.headers.get(name).expect("header").as_str().to_owned();
        let origins: Origins = header(headers::ORIGINS).parse().expect("origins");
        let count: u64 = header(headers::COUNT).parse().expect("count");
        let newlines = message.payload.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(count, newlines, "the count is the number of lines");
        assert_eq!(header(headers::EPOCH).len(), 26);
        lines += count;
        for range in origins.ranges() {
            for origin in range.clone() {
                all.push(origin);
            }
        }
    }
    (all, lines)
}

#[tokio::test]
async fn every_message_is_stored_or_dead_with_its_reason() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let bodies = ["good", "reject", "panic", "twice", "never", "good"];
    for body in bodies {
        context
            .publish("ingest.metric", body.into())
            .await
            .expect("stored");
    }
    let worker = tokio::spawn(bus::stage::run::<Copier>(
        (),
        BatchConfig::default(),
        context.clone(),
    ));
    until_settled(&context).await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");

    let (origins, lines) = stored_origins(server.url()).await;
    assert_eq!((origins.to_string().as_str(), lines), ("1,4,6", 3));
    let dead = common::read_all(server.url(), "DEAD").await;
    let mut reasons = BTreeSet::new();
    for message in &dead {
        let header = |name: &str| message.headers.get(name).expect("header").to_string();
        reasons.insert((
            header(headers::ORIGIN),
            header(headers::REASON),
            message.payload.to_vec(),
        ));
        assert_eq!(message.subject.as_str(), "dead.ingest.metric");
        assert_eq!(header(headers::SUBJECT), "ingest.metric");
    }
    let expected = [
        ("2", "wrong_type", "reject"),
        ("3", "worker_panicked", "panic"),
        ("5", "retries_exhausted", "never"),
    ];
    assert_eq!(
        reasons,
        expected
            .map(|(o, r, p)| (o.into(), r.into(), p.as_bytes().to_vec()))
            .into()
    );
}

#[tokio::test]
async fn a_killed_server_costs_no_message() {
    let (mut server, context) = common::bus_with(&StreamsConfig::default()).await;
    let worker = tokio::spawn(bus::stage::run::<Copier>(
        (),
        BatchConfig::default(),
        context.clone(),
    ));
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        for number in 0..2000_u32 {
            let body = format!("{round}-{number}");
            if let Ok(stored) = context
                .publish_pipelined("ingest.metric", body.into(), None)
                .await
            {
                acknowledged.insert(stored.wait().await.expect("acknowledged").sequence);
            }
        }
        server.kill_and_restart().await.expect("restarted");
        let back = async {
            while context.stream_state("INGEST").await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), back)
            .await
            .expect("reconnected");
    }
    until_settled(&context).await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
    let (origins, _) = stored_origins(server.url()).await;
    let missing: Vec<_> = acknowledged
        .iter()
        .filter(|sequence| !origins.contains(**sequence))
        .collect();
    assert_eq!(missing, Vec::<&u64>::new());
}

#[tokio::test]
async fn a_full_stream_holds_work_back_and_loses_nothing() {
    let streams = StreamsConfig {
        events_max_megabytes: 1,
        ..StreamsConfig::default()
    };
    let (server, context) = common::bus_with(&streams).await;
    let body = "x".repeat(10_000);
    for _ in 0..300 {
        context
            .publish("ingest.metric", body.clone().into())
            .await
            .expect("stored");
    }
    let worker = tokio::spawn(bus::stage::run::<Copier>(
        (),
        BatchConfig::default(),
        context.clone(),
    ));
    let stuck = async {
        while context.trouble().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stuck)
        .await
        .expect("the worker says that it waits");
    assert!(
        context
            .durable_state("INGEST", "ingest")
            .await
            .expect("state")
            .ack_pending
            > 0
    );

    let roomy = Context::connect(
        &server.config(),
        &StreamsConfig::default(),
        "operator",
        bus::CancellationToken::new(),
    )
    .await
    .expect("connects");
    let plan = roomy.plan().await.expect("plan");
    roomy
        .apply(&plan, bus::Scope::Everything)
        .await
        .expect("room made");
    until_settled(&context).await;
    context.shutdown().cancel();
    worker.await.expect("joined").expect("drained");
    let (origins, _) = stored_origins(server.url()).await;
    assert_eq!(origins.to_string(), "1-300");
}

/// Makes one message of its own from each of EVENTS.
struct Single;

impl Stage for Single {
    const NAME: &'static str = "rollup";
    type Config = ();

    fn input() -> Input {
        Input::new("EVENTS", "rollup")
    }

    fn start((): (), _: &Context) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), Failure> {
        out.message("rollup.partial", message.payload().clone());
        match &message.payload()[..] {
            b"panic" => panic!("as asked"),
            b"twice" if message.attempt() < 2 => Err(anyhow::anyhow!("not yet").into()),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_message_of_its_own_is_published_once_and_says_what_it_was_made_from() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    for body in ["a", "panic", "twice", "b"] {
        context
            .publish("events.metric", body.into())
            .await
            .expect("stored");
    }
    // The durable is made anew, so every message is processed a second time.
    for _ in 0..2 {
        let run = tokio::spawn(bus::stage::run::<Single>(
            (),
            BatchConfig::default(),
            context.clone(),
        ));
        let settled = async {
            loop {
                let durable = context.durable_state("EVENTS", "rollup").await;
                if matches!(durable, Ok(state) if state.pending == 0 && state.ack_pending == 0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled)
            .await
            .expect("settled within a minute");
        run.abort();
        let _ = run.await;
        let client = async_nats::connect(server.url()).await.expect("connects");
        let stream = async_nats::jetstream::new(client)
            .get_stream("EVENTS")
            .await
            .expect("stream");
        stream.delete_consumer("rollup").await.expect("deleted");
        context.ensure_topology().await.expect("created again");
    }
    let epoch = context.stream_state("EVENTS").await.expect("state").epoch;
    let mut made: Vec<_> = common::read_all(server.url(), "ROLLUP")
        .await
        .iter()
        .map(|message| {
            let header = |name: &str| message.headers.get(name).expect("header").as_str().to_owned();
            assert_eq!(header(headers::EVENTS_EPOCH), epoch);
            let sequence = header(headers::EVENTS_SEQUENCE);
            assert_eq!(header("Nats-Msg-Id"), format!("rollup:{epoch}:{sequence}"));
            (sequence, message.payload.clone())
        })
        .collect();
    made.sort();
    let wanted = [("1", "a"), ("3", "twice"), ("4", "b")];
    assert_eq!(
        made,
        wanted.map(|(sequence, body)| (sequence.to_owned(), body.into()))
    );
    let dead = common::read_all(server.url(), "DEAD").await;
    let header = |name: &str| dead[0].headers.get(name).expect("header").as_str().to_owned();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (header(headers::EVENTS_SEQUENCE), header(headers::EVENTS_EPOCH)),
        ("2".to_owned(), epoch)
    );
}
