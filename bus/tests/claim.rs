//! A claim against a real server: one owner at a time, and back again.

mod common;

use std::time::Duration;

use bus::topology::StreamsConfig;
use bus::{CancellationToken, Context, Error};

#[tokio::test]
async fn another_owner_is_refused_until_the_claim_is_given_back() {
    let (server, first) = common::bus_with(&StreamsConfig::default()).await;
    let second = Context::connect(
        &server.config(),
        &StreamsConfig::default(),
        "test",
        CancellationToken::new(),
    )
    .await
    .expect("connects");
    let claim = first.claim("sink", "database-a").await.expect("free");
    let error = second.claim("sink", "database-b").await.expect_err("held");
    assert!(matches!(error, Error::Claimed { .. }), "{error:?}");
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    second
        .claim("sink", "database-a")
        .await
        .expect("the same owner may come again");

    let holding = tokio::spawn({
        let first = first.clone();
        async move { claim.hold(&first).await }
    });
    first.shutdown().cancel();
    holding.await.expect("joined").expect("given back");
    second.claim("sink", "database-b").await.expect("free again");
}

#[tokio::test]
async fn a_restarted_server_forgets_the_bucket_and_it_is_made_again() {
    let (mut server, context) = common::bus_with(&StreamsConfig::default()).await;
    let claim = context.claim("sink", "database-a").await.expect("free");
    server.kill_and_restart().await.expect("restarted");
    let holding = tokio::spawn({
        let context = context.clone();
        async move { claim.hold(&context).await }
    });
    let other = Context::connect(
        &server.config(),
        &StreamsConfig::default(),
        "test",
        CancellationToken::new(),
    )
    .await
    .expect("connects");
    let said_again = async {
        while other.plan().await.is_ok_and(|plan| !plan.changes.is_empty()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), said_again)
        .await
        .expect("the bucket is back");
    assert!(!holding.is_finished(), "the claim is kept");
    context.shutdown().cancel();
    holding.await.expect("joined").expect("given back");
}
