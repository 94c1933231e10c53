//! The examples that users copy, run as they stand against a running aiai; what they say must be in DuckDB.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{World, process, skipped, tool, until};
use serde_json::{Value, json};

/// From the end of a program until its rows are there.
const STORED: Duration = Duration::from_secs(20);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../schemas/examples")
        .join(name)
}

/// Runs an example to its end; what it printed.
fn run(world: &World, mut command: Command) -> String {
    // The nats CLI keeps its contexts in the home folder.
    command.env("NATS_URL", world.url());
    let output = process::run(command);
    assert!(output.ok(), "{output:?}");
    output.stdout
}

/// The sequences that a program printed as `stored at N`.
fn sequences(printed: &str) -> Vec<u64> {
    let numbers = printed.lines().filter_map(|line| line.strip_prefix("stored at "));
    numbers
        .map(|number| number.parse().expect("a sequence"))
        .collect()
}

/// The answer to a query, as soon as it has so many rows.
fn rows(world: &World, count: usize, sql: &str) -> Vec<Value> {
    until("the rows of the example", STORED, || {
        let rows = world.query(sql);
        assert!(rows.len() <= count, "more than was sent: {rows:?}");
        (rows.len() == count).then_some(rows)
    })
}

#[test]
fn shell() {
    let Some(nats) = tool("AIAI_TEST_NATS_CLI", "the example for a shell") else {
        return;
    };
    let world = World::start();
    // It calls `nats`, as people do.
    let folder = world.folder().join("bin");
    std::fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink(nats, folder.join("nats")).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .arg(example("publish.sh"))
        .env("HOME", world.folder())
        .env("PATH", format!("{}:{path}", folder.display()));
    let printed = run(&world, command);
    let answers: Vec<Value> = printed
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("an acknowledgement"))
        .collect();
    assert_eq!(answers.len(), 3, "{printed}");
    assert_eq!(answers[1]["seq"], answers[2]["seq"]);
    assert_eq!(answers[2]["duplicate"], true, "a retry is stored once");
    let metric = "SELECT value, tags->>'region' AS region FROM metric WHERE source = 'example-shell'";
    assert_eq!(rows(&world, 1, metric), [json!({"value": 7.0, "region": "fsn1"})]);
    let event = "SELECT name, data->>'files' AS files FROM event WHERE source = 'example-shell'";
    assert_eq!(
        rows(&world, 1, event),
        [json!({"name": "backup.finished", "files": "1204"})]
    );
}

#[test]
fn python() {
    let Some(python) = tool("AIAI_TEST_PYTHON", "the example in Python") else {
        return;
    };
    let world = World::start();
    let mut command = Command::new(python);
    command.arg(example("publish.py"));
    assert_eq!(sequences(&run(&world, command)).len(), 3);
    let usage = "SELECT session, tokens_in, cost_usd > 0 AS is_priced, starts_with(cost_source, 'price_table@') AS by_table
                 FROM usage WHERE source = 'example-python'";
    assert_eq!(
        rows(&world, 1, usage),
        [json!({"session": "s-1", "tokens_in": 1200, "is_priced": true, "by_table": true})]
    );
    let session = "SELECT session, state FROM session WHERE source = 'example-python' ORDER BY origin";
    assert_eq!(
        rows(&world, 2, session),
        [
            json!({"session": "s-1", "state": "started"}),
            json!({"session": "s-1", "state": "ended"})
        ]
    );
}

#[test]
fn typescript() {
    let Some(modules) = tool("AIAI_TEST_NODE_MODULES", "the example in TypeScript") else {
        return;
    };
    let world = World::start();
    // Modules are looked for beside the program.
    let program = world.folder().join("publish.ts");
    std::fs::copy(example("publish.ts"), &program).expect("copies");
    std::os::unix::fs::symlink(&modules, world.folder().join("node_modules")).expect("a link");
    std::fs::write(world.folder().join("package.json"), r#"{"type":"module"}"#).expect("writes");
    let mut command = Command::new("node");
    command.arg(format!("{modules}/tsx/dist/cli.mjs")).arg(program);
    assert_eq!(sequences(&run(&world, command)).len(), 1);
    let step = r#"SELECT trace_id, name, operation, epoch_ms("end") - epoch_ms("start") AS ms, attributes->>'results' AS results
                  FROM step WHERE source = 'example-typescript'"#;
    assert_eq!(
        rows(&world, 1, step),
        [json!({
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "name": "execute_tool web_search",
            "operation": "execute_tool", "ms": 85, "results": "12"
        })]
    );
}

#[test]
fn go() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["go.mod", "go.sum", "publish.go"] {
        std::fs::copy(example("go").join(name), folder.path().join(name)).expect("copies");
    }
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command
            .current_dir(folder.path())
            .env("GOFLAGS", "-buildvcs=false")
            .args(arguments);
        command
    };
    if go(&["version"]).output().is_err() {
        return skipped("the example in Go (go is not installed)");
    }
    let fetched = process::run(go(&["mod", "download"]));
    if !fetched.ok() {
        return skipped(&format!(
            "the example in Go (its modules cannot be fetched: {})",
            fetched.stderr
        ));
    }
    let world = World::start();
    assert_eq!(sequences(&run(&world, go(&["run", "."]))).len(), 1);
    let metric =
        "SELECT count(*) AS n, sum(value) AS sum FROM metric WHERE source = 'example-go' HAVING n > 0";
    assert_eq!(rows(&world, 1, metric), [json!({"n": 100, "sum": 4950.0})]);
}

#[test]
fn rust() {
    // Built with the workspace, beside the executable.
    let program = Path::new(env!("CARGO_BIN_EXE_aiai")).with_file_name("examples/publish");
    if !program.exists() {
        return skipped("the example in Rust (build it: cargo build --release --workspace --examples)");
    }
    let world = World::start();
    assert_eq!(sequences(&run(&world, Command::new(program))).len(), 3);
    let work_item =
        "SELECT work_item, state, assignee FROM work_item WHERE source = 'example-rust' ORDER BY origin";
    assert_eq!(
        rows(&world, 2, work_item),
        [
            json!({"work_item": "T-17", "state": "claimed", "assignee": "agent-4"}),
            json!({"work_item": "T-17", "state": "done", "assignee": "agent-4"})
        ]
    );
    let message = r#"SELECT channel, "from", "to", work_item FROM message WHERE source = 'example-rust'"#;
    assert_eq!(
        rows(&world, 1, message),
        [json!({"channel": "reviews", "from": "agent-4", "to": "agent-9", "work_item": "T-17"})]
    );
}

/// A program that sends by OpenTelemetry, as its head says to start it.
fn instrumented(world: &World, mut command: Command, service: &str) {
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", world.otlp))
        .env("OTEL_SERVICE_NAME", service);
    run(world, command);
}

#[test]
fn opentelemetry_in_python() {
    let Some(python) = tool("AIAI_TEST_PYTHON", "the example of OpenTelemetry in Python") else {
        return;
    };
    let world = World::start();
    let mut command = Command::new(python);
    command.arg(example("otel.py"));
    instrumented(&world, command, "example-otel-python");
    let steps =
        "SELECT child.name AS child, parent.name AS parent, child.trace_id = parent.trace_id AS one_trace
                 FROM step AS child JOIN step AS parent ON child.parent_id = parent.span_id
                 WHERE child.source = 'example-otel-python'";
    assert_eq!(
        rows(&world, 1, steps),
        [json!({"child": "chat gpt-4o", "parent": "invoke_agent planner", "one_trace": true})]
    );
    // 900 × $2.50 + 120 × $10 a million
    let usage = "SELECT model, provider, tokens_in, tokens_out, cost_usd = 0.00345 AS is_right
                 FROM usage WHERE source = 'example-otel-python'";
    assert_eq!(
        rows(&world, 1, usage),
        [
            json!({"model": "gpt-4o", "provider": "openai", "tokens_in": 900, "tokens_out": 120, "is_right": true})
        ]
    );
}

#[test]
fn opentelemetry_in_node() {
    let Some(modules) = tool("AIAI_TEST_NODE_MODULES", "the example of OpenTelemetry in Node") else {
        return;
    };
    let world = World::start();
    let program = world.folder().join("otel.mjs");
    std::fs::copy(example("otel.mjs"), &program).expect("copies");
    std::os::unix::fs::symlink(&modules, world.folder().join("node_modules")).expect("a link");
    let mut command = Command::new("node");
    command.arg(program);
    instrumented(&world, command, "example-otel-node");
    // 500 × $3 + 1500 × $0.30 + 64 × $15 a million
    let usage = "SELECT session, tokens_in, tokens_cache_read, cost_usd = 0.00291 AS is_right
                 FROM usage WHERE source = 'example-otel-node'";
    assert_eq!(
        rows(&world, 1, usage),
        [json!({"session": "c-8", "tokens_in": 2000, "tokens_cache_read": 1500, "is_right": true})]
    );
    let step = "SELECT name, operation FROM step WHERE source = 'example-otel-node'";
    assert_eq!(
        rows(&world, 1, step),
        [json!({"name": "chat claude-sonnet-4-5", "operation": "chat"})]
    );
}
