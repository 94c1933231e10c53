//! Worker rollup in the whole pipeline: its numbers are those of the rows, and EVENTS waits for it.

mod harness;

use harness::World;
use harness::wire::{Message, Wire};

fn messages(from: u64, count: u64) -> Vec<Message> {
    (from..from + count)
        .map(|n| match n % 3 {
            0 => Message::new(
                "ingest.metric",
                format!(r#"{{"name":"r","source":"rollup","value":{n},"tags":{{"b":"{}","a":"1"}}}}"#, n % 5),
            ),
            1 => Message::new("ingest.event", r#"{"name":"r","source":"rollup"}"#),
            _ => Message::new(
                "ingest.usage",
                format!(
                    r#"{{"model":"m{}","source":"rollup","tokens_in":{n},"cost_usd":0.000000001,"latency_ms":{n}}}"#,
                    n % 2
                ),
            ),
        })
        .collect()
}

#[test]
fn rollups_say_what_the_rows_say_before_and_after_a_kill() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&messages(0, 3000));
    world.settled(3000);
    world.rollups_agree("rollup");
    wire.store(&messages(3000, 3000));
    world.kill();
    wire.store(&messages(6000, 3000));
    world.restart();
    world.settled(9000);
    world.rollups_agree("rollup");
    let exact = world.query(
        "SELECT sum(total)::VARCHAR AS cost, quantile_of(any_value(hist), 0) > 0 AS has_hist FROM rollup_1d \
         WHERE name IN ('usage.cost_usd', 'usage.latency_ms') AND source = 'rollup'",
    );
    assert_eq!(
        exact,
        [serde_json::json!({"cost": "0.000003000", "has_hist": true})]
    );
}
