//! From Rust: a task as it is claimed and done, and what one agent tells another about it.
//!
//! `cargo add async-nats serde_json; cargo add tokio --features full`
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("NATS_URL").unwrap_or("nats://127.0.0.1:4222".to_owned());
    let jetstream = async_nats::jetstream::new(async_nats::connect(url).await?);
    let task = |state| json!({"work_item": "T-17", "state": state, "title": "rename the tables", "assignee": "agent-4"});
    let said = json!({"channel": "reviews", "from": "agent-4", "to": "agent-9", "body": "ready for review", "work_item": "T-17"});
    for (kind, mut event) in [
        ("work_item", task("claimed")),
        ("message", said),
        ("work_item", task("done")),
    ] {
        event["source"] = "example-rust".into();
        let sent = jetstream
            .publish(format!("ingest.{kind}"), event.to_string().into())
            .await?;
        // The first await sends; the second one is the acknowledgement.
        let ack = sent.await?;
        println!("stored at {}", ack.sequence);
    }
    Ok(())
}
