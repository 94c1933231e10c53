//! What several tests need; not every test needs all of it.
#![allow(dead_code)]

use bus::testing::TestServer;
use bus::topology::StreamsConfig;
use bus::{CancellationToken, Context};

/// A server and a connection with the whole topology.
pub async fn bus_with(streams: &StreamsConfig) -> (TestServer, Context) {
    let server = TestServer::start()
        .await
        .expect("a nats-server; run scripts/test, which fetches one");
    let context = Context::connect(&server.config(), streams, "test", CancellationToken::new())
        .await
        .expect("connects");
    context.ensure_topology().await.expect("topology");
    (server, context)
}

/// All messages of a stream, with a client of its own.
pub async fn read_all(url: &str, stream: &str) -> Vec<async_nats::jetstream::message::StreamMessage> {
    let client = async_nats::connect(url).await.expect("connects");
    let stream = async_nats::jetstream::new(client)
        .get_stream(stream)
        .await
        .expect("stream");
    let state = stream.cached_info().state.clone();
    let mut messages = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        messages.push(stream.get_raw_message(sequence).await.expect("message"));
    }
    messages
}
