//! A feed on a real nats-server, with a sink whose answers are counted.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::testing::TestServer;
use bus::topology::StreamsConfig;
use bus::{Bytes, CancellationToken, Context, Endpoint, Live};
use dashboard_feed::Config;
use schemas::live::{self, Body, Message, Problem, Snapshot};
use schemas::overview::Overview;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    server: TestServer,
    stop: CancellationToken,
}

impl World {
    async fn start() -> Self {
        let world = Self {
            server: TestServer::start().await.unwrap(),
            stop: CancellationToken::new(),
        };
        world.worker("test").await.ensure_topology().await.unwrap();
        world
    }

    async fn worker(&self, name: &str) -> Context {
        let (nats, streams) = (self.server.config(), StreamsConfig::default());
        Context::connect(&nats, &streams, name, self.stop.clone())
            .await
            .unwrap()
    }

    /// A feed; its instance.
    async fn feed(&self) -> String {
        let context = self.worker("dashboard-feed").await;
        let instance = context.instance().to_owned();
        tokio::spawn(bus::heartbeat::run(context.clone()));
        tokio::spawn(dashboard_feed::run(Config::default(), context));
        instance
    }

    /// A sink that answers the first page's question, and counts.
    async fn sink(&self) -> Arc<AtomicUsize> {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let overview = Endpoint {
            name: "overview",
            subject: schemas::query::OVERVIEW_SUBJECT,
            concurrency: 4,
            handler: Arc::new(move |request| {
                counted.fetch_add(1, Ordering::SeqCst);
                let body = serde_json::to_vec(&Overview::default()).unwrap();
                Box::pin(request.end(Bytes::from(body)))
            }),
        };
        let context = self.worker("sink").await;
        tokio::spawn(async move { context.serve("query", "a sink", vec![overview]).await });
        asked
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The next message that passes the test, of any feed.
async fn next(live: &mut Live, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
    let found = timeout(PATIENCE, async {
        loop {
            let passed = live.next().await.unwrap();
            assert!(passed.payload().len() <= live::MESSAGE_BYTES_MAX);
            if let Ok(message) = serde_json::from_slice(passed.payload())
                && wanted(&message)
            {
                return message;
            }
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn snapshot(context: &Context) -> Option<Snapshot> {
    let answer = context
        .request(live::SNAPSHOT, "dashboard-feed", Bytes::new(), PATIENCE)
        .await;
    Some(serde_json::from_slice(&answer.ok()?).unwrap())
}

#[tokio::test]
async fn while_nobody_listens_nobody_is_asked() {
    let world = World::start().await;
    let asked = world.sink().await;
    world.feed().await;
    let looking = world.worker("looking").await;
    let mut live = looking.subscribe(live::ALL).await.unwrap();
    next(
        &mut live,
        "an answer of the sink",
        |message| matches!(&message.body, Body::Overview(overview) if overview.sink.value.is_some()),
    )
    .await;
    drop(live);
    // It rests once a whole second passes without a question, two refreshes at least.
    let mut before = (0, Instant::now());
    until("the feed to rest", async || {
        let now = asked.load(Ordering::SeqCst);
        if now != before.0 {
            before = (now, Instant::now());
        }
        before.1.elapsed() > Duration::from_millis(1500)
    })
    .await;
    let mut live = looking.subscribe(live::OVERVIEW).await.unwrap();
    // Only beats count as listening; the snapshot wakes it as well.
    assert!(snapshot(&looking).await.unwrap().overview.sink.value.is_some());
    next(&mut live, "a picture", |_| true).await;
    assert!(asked.load(Ordering::SeqCst) > before.0);
}

#[tokio::test]
async fn without_a_sink_it_says_so_and_shows_the_streams_and_what_passes() {
    let world = World::start().await;
    let feed = world.feed().await;
    let looking = world.worker("looking").await;
    let mut live = looking.subscribe(live::ALL).await.unwrap();
    next(&mut live, "the missing sink", |message| {
        matches!(&message.body, Body::Overview(overview) if overview.sink.problem == Some(Problem::Unreachable))
    })
    .await;
    let event = Bytes::from_static(br#"{"name":"deploy","source":"agent"}"#);
    looking.publish("events.event", event.clone()).await.unwrap();
    let sample = next(&mut live, "a sample", |message| {
        matches!(message.body, Body::Events(_))
    })
    .await;
    let Body::Events(samples) = sample.body else {
        unreachable!()
    };
    assert_eq!(
        (samples[0].name.as_str(), samples[0].source.as_str()),
        ("deploy", "agent")
    );

    looking.publish("dead.ingest.event", event).await.unwrap();
    next(
        &mut live,
        "the dead letter, the backlog and its age, the worker",
        |message| {
            let Body::Pipeline(pipeline) = &message.body else {
                return false;
            };
            let events = pipeline
                .streams
                .iter()
                .find(|stream| stream.name == "EVENTS")
                .unwrap();
            let sink = events
                .durables
                .iter()
                .find(|durable| durable.name == "sink")
                .unwrap();
            sink.lag_messages == 1
                && sink.lag_seconds.is_some()
                && events.per_second.is_some()
                && pipeline.dead.len() == 1
                && pipeline.workers.iter().any(|copy| copy.instance == feed)
        },
    )
    .await;
    let alert = Bytes::from_static(br#"{"rule":"r","severity":"critical","key":"k","count":2,"unknown":1}"#);
    looking.publish("alerts.critical.r", alert).await.unwrap();
    let raised = next(&mut live, "the alert", |message| {
        matches!(message.body, Body::Alerts(_))
    })
    .await;
    let Body::Alerts(alerts) = raised.body else {
        unreachable!()
    };
    assert_eq!((alerts[0].rule.as_str(), alerts[0].count), ("r", 2));
}

#[tokio::test]
async fn alerts_are_asked_for_again_as_soon_as_there_is_a_sink() {
    let world = World::start().await;
    world.feed().await;
    let looking = world.worker("looking").await;
    let mut live = looking.subscribe(live::OVERVIEW).await.unwrap();
    // Counts as looking.
    let _beats = looking.subscribe(live::BEAT).await.unwrap();
    let told = |message: &Message| match &message.body {
        Body::Overview(overview) => overview.alerts.clone(),
        _ => live::Answer::default(),
    };
    next(&mut live, "no sink for alerts", |message| {
        told(message).problem == Some(Problem::Unreachable)
    })
    .await;
    let query = Endpoint {
        name: "query",
        subject: schemas::query::SUBJECT,
        concurrency: 4,
        handler: Arc::new(move |request| {
            let rows = concat!(
                r#"{"rule":"bad","severity":"critical","last_ms":1}"#,
                "\n",
                r#"{"rule":"mild","severity":"info","last_ms":2}"#
            );
            Box::pin(request.end(Bytes::from_static(rows.as_bytes())))
        }),
    };
    let context = world.worker("sink").await;
    tokio::spawn(async move { context.serve("query", "a sink", vec![query]).await });
    world.sink().await;
    let answered = next(&mut live, "alerts", |message| told(message).value.is_some()).await;
    let alerts = told(&answered).value.unwrap();
    assert_eq!(
        (alerts[0].rule.as_str(), alerts[1].rule.as_str()),
        ("bad", "mild")
    );
    assert_eq!(told(&answered).problem, None);
}

#[tokio::test]
async fn several_feeds_tell_the_same_and_count_for_themselves() {
    let world = World::start().await;
    let looking = world.worker("looking").await;
    let mut live = looking.subscribe(live::ALL).await.unwrap();
    let feeds = [world.feed().await, world.feed().await];
    for feed in &feeds {
        let first = next(&mut live, "a feed", |message| message.feed == *feed).await;
        let later = next(&mut live, "its next", |message| message.feed == *feed).await;
        assert!(later.sequence > first.sequence);
    }
    let answered = snapshot(&looking).await.unwrap();
    assert!(feeds.contains(&answered.feed) && !answered.pipeline.streams.is_empty());
}

#[tokio::test]
async fn it_goes_on_after_nats_was_killed() {
    let mut world = World::start().await;
    world.sink().await;
    world.feed().await;
    let looking = world.worker("looking").await;
    let mut live = looking.subscribe(live::ALL).await.unwrap();
    let has_numbers = |message: &Message| matches!(&message.body, Body::Pipeline(pipeline) if !pipeline.streams.is_empty() && pipeline.problem.is_none());
    let before = next(&mut live, "figures", has_numbers).await;
    world.server.kill_and_restart().await.unwrap();
    next(&mut live, "figures again", |message| {
        message.sequence > before.sequence && has_numbers(message)
    })
    .await;
    next(&mut live, "the sink again", |message| {
        matches!(&message.body, Body::Overview(overview) if overview.sink.problem.is_none() && overview.sink.value.is_some())
    })
    .await;
    until("a snapshot with the worker's heartbeat", async || {
        snapshot(&looking)
            .await
            .is_some_and(|snapshot| !snapshot.pipeline.workers.is_empty())
    })
    .await;
}
