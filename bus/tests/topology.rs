//! Topology against a real server: golden plan, idempotence, drift.

mod common;

use bus::testing::TestServer;
use bus::topology::StreamsConfig;
use bus::{Action, CancellationToken, Context, Scope};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../nats/topology.golden.json");

#[tokio::test]
async fn the_plan_for_an_empty_server_is_the_golden_file_and_afterwards_nothing_is_left_to_do() {
    let server = TestServer::start().await.expect("server");
    let context = Context::connect(
        &server.config(),
        &StreamsConfig::default(),
        "test",
        CancellationToken::new(),
    )
    .await
    .expect("connects");
    let plan = context.plan().await.expect("plan");
    let found = serde_json::to_string_pretty(&plan).expect("json") + "\n";
    if std::env::var_os("AIAI_BLESS").is_some() {
        std::fs::write(GOLDEN, &found).expect("golden file written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("golden file");
    assert_eq!(
        found, golden,
        "the topology changed; if that is meant, run this test with AIAI_BLESS=1"
    );

    context.apply(&plan, Scope::Missing).await.expect("applied");
    assert_eq!(context.plan().await.expect("plan").changes, []);
    let state = context.stream_state("INGEST").await.expect("state");
    assert_eq!(state.epoch.len(), 26, "an epoch is a ULID");
}

#[tokio::test]
async fn drift_that_could_lose_data_stops_a_worker_and_apply_corrects_it() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    let client = async_nats::connect(server.url()).await.expect("connects");
    let jetstream = async_nats::jetstream::new(client);
    let mut config = jetstream
        .get_stream("INGEST")
        .await
        .expect("stream")
        .cached_info()
        .config
        .clone();
    let epoch = context.stream_state("INGEST").await.expect("state").epoch;
    config.discard = async_nats::jetstream::stream::DiscardPolicy::Old;
    config.metadata.retain(|key, _| !key.starts_with("_nats."));
    jetstream.update_stream(config).await.expect("updated");

    let error = context.ensure_topology().await.expect_err("refused");
    assert!(matches!(error, bus::Error::UnsafeDrift { .. }), "{error:?}");
    assert!(error.to_string().contains("aiai topology apply"), "{error}");

    let plan = context.plan().await.expect("plan");
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].action, Action::Update);
    context.apply(&plan, Scope::Everything).await.expect("applied");
    context.ensure_topology().await.expect("safe again");
    assert_eq!(
        context.stream_state("INGEST").await.expect("state").epoch,
        epoch,
        "the epoch stays"
    );
}

#[tokio::test]
async fn apply_never_shrinks_a_stream_below_what_it_holds() {
    let (server, context) = common::bus_with(&StreamsConfig::default()).await;
    for _ in 0..3 {
        context
            .publish("ingest.metric", vec![b'x'; 900_000].into())
            .await
            .expect("stored");
    }
    let small = StreamsConfig {
        ingest_max_megabytes: 1,
        ..StreamsConfig::default()
    };
    let other = Context::connect(&server.config(), &small, "test", CancellationToken::new())
        .await
        .expect("connects");
    let plan = other.plan().await.expect("plan");
    let error = other.apply(&plan, Scope::Everything).await.expect_err("refused");
    assert!(error.to_string().contains("ingest_max_megabytes"), "{error}");
    assert_eq!(context.stream_state("INGEST").await.expect("state").messages, 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let nats = bus::NatsConfig {
        url: "nats://user:secret@127.0.0.1:9".into(),
        connect_timeout_seconds: 1,
        ..bus::NatsConfig::default()
    };
    let error = Context::connect(&nats, &StreamsConfig::default(), "test", CancellationToken::new())
        .await
        .expect_err("nobody there");
    let text = bus::chain(&error);
    assert!(matches!(error, bus::Error::Unreachable { .. }), "{error:?}");
    assert!(text.contains("127.0.0.1:9") && !text.contains("secret"), "{text}");
}
