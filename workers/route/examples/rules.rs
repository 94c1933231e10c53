//! How long rules take for an event, all in one thread: reading the line included. For scripts/bench.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Instant;

use bus::Bytes;
use route::Rules;
use route::rules::{Batch, evaluate, file};
use schemas::Kind;

const EVENTS: u32 = 2000;
const ROUNDS: u32 = 25;

fn main() -> anyhow::Result<()> {
    let line = |n: u32| {
        let status = if n.is_multiple_of(100) { "error" } else { "ok" };
        format!(
            "{{\"o\":{n},\"i\":0,\"tenant\":\"default\",\"timestamp\":\"2026-11-20T12:00:00.000000Z\",\"source\":\"agent-{}\",\
             \"model\":\"m{}\",\"provider\":\"p\",\"tokens_in\":{n},\"cost_usd\":0.01,\"latency_ms\":900,\"status\":\"{status}\",\
             \"tags\":{{\"region\":\"eu\",\"team\":\"a\"}},\"v\":1}}\n",
            n % 20,
            n % 5
        )
    };
    let payload = Bytes::from((1..=EVENTS).map(line).collect::<String>());
    let batch = Batch {
        kind: Kind::Usage,
        epoch: "E",
        payload: &payload,
        stored_ms: 1_795_176_000_000,
    };
    for copies in [0, 1, 10] {
        let mut text = String::new();
        for n in 0..copies {
            text.push_str(&format!(
                "[[rule]]\nname = \"r{n}\"\nkinds = [\"usage\"]\nseverity = \"info\"\nkey = [\"model\"]\nmessage = \"{{model}}\"\n\
                 when = 'status != \"ok\" && has(event.cost_usd) && cost_usd < 1.0'\n"
            ));
        }
        measure(&format!("{copies} rules, 1 % match"), &text, batch)?;
    }
    let tags = "[[rule]]\nname = \"tags\"\nwhen = '\"region\" in tags && tags.region == \"us\"'\nseverity = \"info\"\nmessage = \"m\"\n";
    measure("1 rule on tags, none matches", tags, batch)?;
    let all = "[[rule]]\nname = \"all\"\nwhen = 'true'\nseverity = \"info\"\nkey = [\"source\"]\nmessage = \"{model}\"\n";
    measure("1 rule, all match", all, batch)?;
    measure("the rules that come with aiai", file::BUILT_IN, batch)
}

fn measure(what: &str, text: &str, batch: Batch<'_>) -> anyhow::Result<()> {
    let rules = Rules::parse("bench", text, |_| None)?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(evaluate(&rules, batch)?);
    }
    let each = started.elapsed() / (EVENTS * ROUNDS);
    println!("  {what:<30} {:>8} ns an event", each.as_nanos());
    Ok(())
}
