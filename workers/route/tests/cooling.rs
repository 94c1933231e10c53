//! Two copies of the worker on a real server: calls that fail cool a model down in both, one probe is sent,
//! and its success lets the model return.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::testing::TestServer;
use bus::topology::{COOLING_BUCKET, StreamsConfig};
use bus::{Bytes, CancellationToken, Context, Watched};
use route::{Cooled, Models, Rules, Tables};
use schemas::price::{self, PriceTable};
use schemas::route::{Decision, SUBJECT};

const PATIENCE: Duration = Duration::from_secs(30);
/// What is asked: gpt-5-nano is the cheapest that will do, gemini-2.5-flash-lite the next.
const REQUEST: &str = r#"{"task_complexity":"simple","tokens_in":2000,"tokens_out":500,"needs":["caching"]}"#;
const FIRST: &str = "gpt-5-nano";
const SECOND: &str = "gemini-2.5-flash-lite";

async fn connect(server: &TestServer) -> Context {
    let streams = StreamsConfig::default();
    Context::connect(&server.config(), &streams, "route", CancellationToken::new())
        .await
        .expect("connects")
}

fn tables() -> Tables {
    let models = Models::parse(route::models::BUILT_IN_NAME, route::models::BUILT_IN);
    let prices = PriceTable::parse(price::BUILT_IN_NAME, price::BUILT_IN);
    Tables {
        models: models.expect("models"),
        prices: prices.expect("prices"),
        rules: Rules::parse("rules.toml", "", |_| None).expect("rules"),
        webhook_retry: Duration::from_secs(1),
    }
}

async fn decide(context: &Context) -> bus::Result<Decision> {
    let answer = context
        .request(SUBJECT, "route", REQUEST.into(), Duration::from_secs(2))
        .await?;
    Ok(serde_json::from_slice(&answer).expect("a decision"))
}

/// Asks until twenty answers in a row name this model: both copies answer some of them.
async fn until_chosen(context: &Context, model: &str) {
    let asking = async {
        let mut row = 0;
        while row < 20 {
            match decide(context).await {
                Ok(decision) if decision.model == model => row += 1,
                _ => {
                    row = 0;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    };
    let what = format!("twenty times {model}");
    tokio::time::timeout(PATIENCE, asking).await.expect(&what);
}

/// The newest shared state of the one model that is ever cooled here, with its revision.
type Seen = Arc<Mutex<(Option<Cooled>, u64)>>;

async fn watch(bucket: bus::Bucket, seen: Seen) {
    bucket
        .watch(|watched| {
            if let Watched::Value { value, revision, .. } = watched {
                let state = value.map(|json| serde_json::from_slice(&json).expect("a state"));
                *seen.lock().expect("lock") = (state, revision);
            }
        })
        .await;
}

async fn until_seen(
    seen: &Seen,
    what: &str,
    wanted: impl Fn(Option<&Cooled>) -> bool,
) -> (Option<Cooled>, u64) {
    let looking = async {
        loop {
            let found = seen.lock().expect("lock").clone();
            if wanted(found.0.as_ref()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect(what)
}

/// Asks until a probe is known to be sent; how many of the answers named the cooled model.
async fn probes_sent(asker: &Context, seen: &Seen) -> usize {
    let mut probes = 0;
    let probing = async {
        while seen
            .lock()
            .expect("lock")
            .0
            .as_ref()
            .is_none_or(|state| state.probe_ms.is_none())
        {
            let asked = (0..8).map(|_| decide(asker));
            for decision in futures_util::future::join_all(asked).await {
                let chosen = decision.expect("a decision").model;
                probes += usize::from(chosen == FIRST);
            }
        }
    };
    tokio::time::timeout(PATIENCE, probing).await.expect("a probe");
    probes
}

async fn publish_calls(context: &Context, statuses: &[&str]) {
    let lines: Vec<String> = statuses
        .iter()
        .map(|status| format!("{{\"o\":1,\"model\":\"{FIRST}-2025-08-07\",\"provider\":\"openai\",\"status\":\"{status}\"}}\n"))
        .collect();
    let body = Bytes::from(lines.concat());
    context.publish("events.usage", body).await.expect("stored");
}

#[tokio::test]
async fn a_failing_model_is_cooled_in_all_copies_probed_once_and_returns() {
    let server = TestServer::start().await.expect("a nats-server");
    let asker = connect(&server).await;
    asker.ensure_topology().await.expect("topology");
    let mut copies = Vec::new();
    for _ in 0..2 {
        let context = connect(&server).await;
        copies.push((context.clone(), tokio::spawn(route::run(tables(), context))));
    }
    let seen = Seen::default();
    let watching = tokio::spawn(watch(asker.bucket(COOLING_BUCKET), seen.clone()));
    until_chosen(&asker, FIRST).await;

    publish_calls(&asker, &["ok", "error", "timeout", "ok", "error"]).await;
    until_chosen(&asker, SECOND).await;
    let (state, revision) = until_seen(&seen, "the shared state", |state| state.is_some()).await;
    let state = state.expect("cooled");
    assert_eq!((state.model.as_str(), state.period_seconds), (FIRST, 30));
    assert_eq!(state.reason, "3 of 5 calls within a minute failed");
    let decision = decide(&asker).await.expect("a decision");
    assert!(
        decision.fallbacks.iter().all(|fallback| fallback.model != FIRST),
        "{decision:?}"
    );
    assert!(
        decision
            .reasons
            .iter()
            .any(|reason| reason.contains("cooled down")),
        "{decision:?}"
    );

    // The time is over: of many who ask, one is sent to find out.
    let key = "openai.gpt-5-nano";
    let over = Cooled {
        until_ms: state.until_ms - 60_000,
        ..state
    };
    let json = Bytes::from(serde_json::to_vec(&over).expect("json"));
    let changed = asker
        .bucket(COOLING_BUCKET)
        .change(key, Some(json), revision)
        .await;
    assert!(changed.expect("an answer"), "nobody else changes it");
    let probes = probes_sent(&asker, &seen).await;
    until_chosen(&asker, SECOND).await;
    assert_eq!(probes, 1, "one probe among all copies");

    publish_calls(&asker, &["ok"]).await;
    until_chosen(&asker, FIRST).await;
    until_seen(&seen, "nothing cooled", |state| state.is_none()).await;
    for (context, copy) in copies {
        context.shutdown().cancel();
        copy.await.expect("joined").expect("drained");
    }
    asker.shutdown().cancel();
    watching.await.expect("joined");
}
