//! Streams and durables that somebody made by hand, against a real server.

mod common;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bus::topology::StreamsConfig;
use bus::{CancellationToken, Context, Error, Scope};

async fn jetstream(url: &str) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(url).await.expect("connects"))
}

#[tokio::test]
async fn a_stream_made_by_hand_is_refused_until_it_has_an_epoch_and_all_workers_give_it_the_same() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let jetstream = jetstream(server.url()).await;
    let before = context.stream_state("EVENTS").await.expect("state").epoch;
    let stream = jetstream.get_stream("EVENTS").await.expect("stream");
    let mut config = stream.cached_info().config.clone();
    config.metadata.clear();
    config.description = Some("mine".into());
    jetstream.delete_stream("EVENTS").await.expect("deleted");
    jetstream.create_stream(config).await.expect("made");

    let error = context.stream_state("EVENTS").await.expect_err("refused");
    assert!(matches!(error, Error::NoEpoch { .. }), "{error:?}");
    assert!(error.to_string().contains("aiai topology apply"), "{error}");
    let shown = context.plan().await.expect("plan");
    let shown = serde_json::to_string(&shown).expect("JSON");
    assert!(shown.contains("metadata.aiai-epoch"), "{shown}");

    let (nats, config) = (server.config(), StreamsConfig::default());
    let other = Context::connect(&nats, &config, "other", CancellationToken::new());
    let other = other.await.expect("connects");
    let plans = (
        context.plan().await.expect("plan"),
        other.plan().await.expect("plan"),
    );
    let (one, two) = tokio::join!(
        context.apply(&plans.0, Scope::Missing),
        other.apply(&plans.1, Scope::Missing)
    );
    one.expect("given");
    two.expect("given");
    let given = context.stream_state("EVENTS").await.expect("state").epoch;
    assert_ne!(given, before);
    assert!(given > before, "it began later");
    other.ensure_topology().await.expect("nothing more to do");
    assert_eq!(other.stream_state("EVENTS").await.expect("state").epoch, given);
    let stream = jetstream.get_stream("EVENTS").await.expect("stream");
    assert_eq!(
        stream.cached_info().config.description.as_deref(),
        Some("mine"),
        "nothing else was changed"
    );
}

#[tokio::test]
async fn a_durable_that_skips_messages_is_refused_and_apply_makes_it_anew() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let jetstream = jetstream(server.url()).await;
    context
        .publish("ingest.metric", "x".into())
        .await
        .expect("stored");
    let stream = jetstream.get_stream("INGEST").await.expect("stream");
    let held = stream.consumer_info("ingest").await.expect("a durable").config;
    stream.delete_consumer("ingest").await.expect("deleted");
    let late = pull::Config {
        durable_name: Some("ingest".into()),
        deliver_policy: DeliverPolicy::New,
        filter_subject: held.filter_subject,
        ack_policy: held.ack_policy,
        ack_wait: held.ack_wait,
        max_deliver: held.max_deliver,
        max_ack_pending: held.max_ack_pending,
        max_waiting: held.max_waiting,
        ..pull::Config::default()
    };
    stream.create_consumer(late).await.expect("made");

    let error = context.ensure_topology().await.expect_err("refused");
    assert!(matches!(error, Error::UnsafeDrift { .. }), "{error:?}");
    assert!(error.to_string().contains("deliver_policy"), "{error}");
    assert_eq!(
        context
            .durable_state("INGEST", "ingest")
            .await
            .expect("state")
            .pending,
        0
    );
    let plan = context.plan().await.expect("plan");
    context.apply(&plan, Scope::Everything).await.expect("applied");
    assert_eq!(
        context
            .durable_state("INGEST", "ingest")
            .await
            .expect("state")
            .pending,
        1
    );
    assert_eq!(context.plan().await.expect("plan").changes, []);
}
