//! `aiai prices` as people and scripts see it.

mod harness;

use harness::process::{self, Output};
use harness::{World, aiai, rows};
use rustix::process::Signal;
use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = aiai();
    command.current_dir(folder.path()).args(arguments);
    process::run(command)
}

#[test]
fn a_cost_is_explained_step_by_step() {
    let shown = run(&[
        "prices",
        "show",
        "claude-sonnet-4-5-20250929",
        "--tokens-in",
        "21050",
        "--cache-read",
        "18000",
        "--cache-write",
        "3000",
        "--cache-write-1h",
        "2000",
        "--tokens-out",
        "400",
        "--service-tier",
        "batch",
    ]);
    assert!(shown.ok() && shown.stderr.is_empty(), "{shown:?}");
    let steps: Vec<Value> = rows(&shown.stdout);
    let found: Vec<(&str, &Value)> = steps
        .iter()
        .map(|step| (step["step"].as_str().expect("a name"), &step["usd"]))
        .collect();
    assert_eq!(
        found,
        [
            ("input", &json!(0.00015)),
            ("cache_read", &json!(0.0054)),
            ("cache_write", &json!(0.00375)),
            ("cache_write_1h", &json!(0.012)),
            ("output", &json!(0.006)),
            ("share", &json!(0.0273)),
            ("total", &json!(0.01365)),
        ]
    );
    let unknown = run(&["prices", "show", "gpt-5-minni"]);
    assert_eq!(unknown.code, Some(4), "{unknown:?}");
    assert!(unknown.stderr.contains("did you mean gpt-5-mini?"), "{unknown:?}");
    let wrong = run(&["prices", "show", "gpt-5", "--tokens-in", "1", "--cache-read", "2"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let tier = run(&["prices", "show", "gpt-5-pro", "--service-tier", "turbo"]);
    assert_eq!(tier.code, Some(4), "{tier:?}");
    assert!(tier.stderr.contains("it has standard, batch"), "{tier:?}");
}

#[test]
fn models_are_listed_in_every_format() {
    let listed = run(&["prices", "list", "sonnet-4-5", "--provider", "anthropic"]);
    assert!(listed.ok(), "{listed:?}");
    let row = &rows(&listed.stdout)[0];
    assert_eq!(
        (
            &row["input"],
            &row["cache_write_1h"],
            &row["service_tiers"],
            &row["above"]
        ),
        (&json!(3), &json!(6), &json!("batch"), &json!("200000"))
    );
    let csv = run(&[
        "prices",
        "list",
        "sonnet-4-5",
        "--provider",
        "anthropic",
        "-o",
        "csv",
    ]);
    assert!(
        csv.stdout.starts_with("model,provider,input,output,cache_read,"),
        "{csv:?}"
    );
    assert!(
        csv.stdout
            .contains("\nclaude-sonnet-4-5,anthropic,3,15,0.3,3.75,6,"),
        "{csv:?}"
    );
    assert_eq!(run(&["prices", "list", "no-such-model"]).code, Some(4));
}

#[test]
fn files_of_others_become_tables_that_are_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let theirs = folder.path().join("theirs.json");
    let text = r#"{"m": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "output_cost_per_image": 1},
        "picture": {"litellm_provider": "openai", "mode": "image_generation"}}"#;
    std::fs::write(&theirs, text).expect("writes");
    let ours = folder.path().join("ours.toml");
    let (theirs, ours) = (theirs.to_str().expect("UTF-8"), ours.to_str().expect("UTF-8"));
    let imported = run(&["prices", "import", theirs, "--out", ours, "--table-version", "9"]);
    assert!(imported.ok() && imported.stdout.is_empty(), "{imported:?}");
    assert!(
        imported
            .stderr
            .contains("without output_cost_per_image: m (line 1)"),
        "{imported:?}"
    );
    assert!(
        imported
            .stderr
            .contains("1 models in the table; 2 things left out"),
        "{imported:?}"
    );
    let checked = run(&["prices", "check", ours, "--offline"]);
    assert!(
        checked.ok() && checked.stderr.contains("is sound: 1 models, price_table@9"),
        "{checked:?}"
    );

    let broken = "version = \"1\"\n[[model]]\nname = \"m\"\ninput = -1\noutput = 1e99\n";
    std::fs::write(ours, broken).expect("writes");
    let checked = run(&["prices", "check", ours, "--offline"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.stderr.contains(":4: input is -1; write dollars"),
        "{checked:?}"
    );
    assert!(
        checked.stderr.contains(":5: output is 1e99; write dollars"),
        "{checked:?}"
    );
    let yaml = folder.path().join("x.yml");
    std::fs::write(&yaml, "- id: x").expect("writes");
    let refused = run(&["prices", "import", yaml.to_str().expect("UTF-8")]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[test]
fn a_price_put_right_reaches_rows_and_rollups() {
    let mut world = World::start();
    let events = concat!(
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"source":"computed"}"#,
        "\n",
        r#"{"model":"claude-sonnet-4-5","tokens_in":1000,"cost_usd":0.5,"source":"given"}"#,
        "\n",
        r#"{"model":"house-model","tokens_in":1000,"source":"unknown"}"#,
    );
    let published = process::run_with(world.cli(&["pub", "usage", "-"]), events.as_bytes().to_vec());
    assert!(published.ok(), "{published:?}");
    world.settled(1);

    let checked = process::run(world.cli(&["prices", "check"]));
    assert_eq!(checked.code, Some(3), "{checked:?}");
    let row = &rows(&checked.stdout)[0];
    assert_eq!(
        (&row["model"], &row["calls"], &row["tokens_in"]),
        (&json!("house-model"), &json!(1), &json!(1000))
    );

    let table = world.folder().join("p.toml");
    let text = "version = \"2\"\n[[model]]\nname = \"house-model\"\ninput = 2\noutput = 0\n\
                [[model]]\nname = \"claude-sonnet-4-5\"\ninput = 4\noutput = 0\n";
    std::fs::write(&table, text).expect("writes");
    let table = table.to_str().expect("UTF-8");
    let rerate = |more: &[&str]| {
        let arguments = [&["prices", "rerate", "--from", "1h", "--file", table], more].concat();
        let output = process::run(world.cli(&arguments));
        assert!(output.ok(), "{output:?}");
        output
    };
    let sources = |world: &World| {
        world.query("SELECT source, cost_usd::VARCHAR AS cost, cost_source FROM usage_all ORDER BY source")
    };
    let before = sources(&world);
    let tried = rerate(&["--dry-run"]);
    assert_eq!(sources(&world), before);
    let done = rerate(&[]);
    assert_eq!(done.stdout, tried.stdout);
    assert!(
        done.stderr
            .contains("2 calls cost another amount by price_table@2: 0.003 USD in all"),
        "{done:?}"
    );
    assert_eq!(
        sources(&world),
        [
            json!({"source": "computed", "cost": "0.004000000", "cost_source": "price_table@2"}),
            json!({"source": "given", "cost": "0.500000000", "cost_source": "provider"}),
            json!({"source": "unknown", "cost": "0.002000000", "cost_source": "price_table@2"}),
        ]
    );
    let sums = world.query("SELECT sum(total)::VARCHAR AS total, sum(count)::UBIGINT AS n FROM rollup_1h WHERE name = 'usage.cost_usd'");
    assert_eq!(sums, [json!({"total": "0.506000000", "n": 3})]);
    assert!(rerate(&[]).stderr.contains("0 calls cost another amount"));
    assert!(process::run(world.cli(&["prices", "check"])).ok());
    world.stop(Signal::TERM);
}
