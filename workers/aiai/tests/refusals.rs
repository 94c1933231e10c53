//! What cannot work ends at once: one line that names the fix, an exit code, and nothing begun.

mod harness;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::process::{self, Output};
use harness::{World, aiai, client, tool};
use rustix::process::Signal;

/// Runs it and asserts one line on standard error with all of these words, and the exit code.
fn refused(command: Command, code: i32, words: &[&str]) -> Output {
    let output = process::run(command);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {output:?}");
    assert!(lines[0].starts_with("aiai: "), "{output:?}");
    for word in words {
        assert!(lines[0].contains(word), "no {word:?} in {:?}", lines[0]);
    }
    assert_eq!(output.code, Some(code), "{output:?}");
    assert_eq!(output.stdout, "", "nothing on standard output");
    output
}

/// Nothing was begun: no data folder.
fn untouched(world: &World) {
    assert!(!world.data().exists(), "{} was made", world.data().display());
}

/// No nats-server was started.
fn no_server(world: &World) {
    assert!(!world.data().join("nats/nats-server.pid").exists());
    assert!(!world.data().join("nats/server.log").exists());
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

#[test]
fn the_dashboards_port_is_taken() {
    let world = World::empty();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let setting = format!("dashboard.listen={address}");
    refused(
        with(world.up_command(), &["--set", &setting]),
        1,
        &[
            &address,
            "for the dashboard",
            "stop what uses it",
            "AIAI__DASHBOARD__LISTEN",
        ],
    );
    no_server(&world);
}

#[test]
fn the_port_of_nats_is_taken_by_a_stranger() {
    let world = World::empty();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let setting = format!("nats.listen={address}");
    refused(
        with(world.up_command(), &["--set", &setting]),
        1,
        &[&address, "nats.url", "AIAI__NATS__LISTEN"],
    );
    no_server(&world);
}

#[test]
fn the_port_of_nats_is_taken_by_another_nats_server() {
    let other = World::start();
    let world = World::empty();
    let address = other.url().replace("nats://", "");
    let setting = format!("nats.listen={address}");
    refused(
        with(world.up_command(), &["--set", &setting]),
        1,
        &[&address, "set nats.url"],
    );
    no_server(&world);
}

#[test]
fn no_nats_server_is_found() {
    let world = World::empty();
    let mut command = world.up_command();
    command.env_remove("NATS_SERVER").env("PATH", "");
    refused(command, 4, &["no nats-server found", "scripts/run", "nats.url"]);
    untouched(&world);
}

#[test]
fn nats_server_names_a_missing_file() {
    let world = World::empty();
    let mut command = world.up_command();
    command.env("NATS_SERVER", "/nowhere/nats-server");
    refused(
        command,
        1,
        &["NATS_SERVER", "/nowhere/nats-server", "correct or unset it"],
    );
    untouched(&world);
}

/// A program that claims to be a nats-server.
fn fake(folder: &Path, script: &str) -> String {
    let path = folder.join("fake-nats-server");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path.display().to_string()
}

#[test]
fn the_nats_server_is_too_old() {
    let world = World::empty();
    let mut command = world.up_command();
    command.env("NATS_SERVER", fake(world.folder(), "echo 'nats-server: v2.9.0'"));
    refused(
        command,
        1,
        &["nats-server 2.9.0", "too old", "2.12.0", "install a newer one"],
    );
    untouched(&world);
}

#[test]
fn the_nats_server_is_no_nats_server() {
    let world = World::empty();
    let mut command = world.up_command();
    command.env("NATS_SERVER", fake(world.folder(), "exit 3"));
    refused(command, 1, &["fake-nats-server", "NATS_SERVER"]);
    untouched(&world);
    let mut command = world.up_command();
    command.env("NATS_SERVER", world.folder());
    refused(command, 1, &["cannot execute", "set NATS_SERVER"]);
    untouched(&world);
}

#[test]
fn the_nats_server_ends_at_once() {
    let world = World::empty();
    let script = "[ \"$1\" = --version ] && echo 'nats-server: v2.15.1' || { echo broken disk; exit 1; }";
    let mut command = world.up_command();
    command.env("NATS_SERVER", fake(world.folder(), script));
    refused(
        command,
        1,
        &["nats-server did not start", "broken disk", "server.log"],
    );
}

#[test]
fn the_data_folder_cannot_be_written() {
    let world = World::empty();
    let file = world.folder().join("file");
    fs::write(&file, "").expect("writes");
    // Under a file, because the tests may run as root, whom permissions do not stop.
    let data = file.join("data").display().to_string();
    let mut command = aiai();
    command.current_dir(world.folder()).args(["up", "--data", &data]);
    refused(command, 1, &["cannot write the data folder", &data, "--data"]);
}

#[test]
fn the_database_is_locked_by_another_process() {
    let Some(python) = tool("AIAI_TEST_PYTHON", "a database that another process holds open") else {
        return;
    };
    let world = World::empty();
    fs::create_dir(world.data()).expect("a folder");
    let mut holder = Command::new(python)
        .arg(client("hold_database.py"))
        .arg(world.database())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut line = String::new();
    let stdout = holder.stdout.take().expect("standard output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "held\n");
    refused(
        world.up_command(),
        1,
        &[
            "aiai.duckdb",
            &format!("in use by process {}", holder.id()),
            "stop it",
            "aiai query",
        ],
    );
    no_server(&world);
    drop(holder.stdin.take());
    assert!(holder.wait().expect("ends").success());
}

#[test]
fn the_database_is_no_database() {
    let world = World::empty();
    fs::create_dir(world.data()).expect("a folder");
    fs::write(world.database(), "something else entirely\n".repeat(1000)).expect("writes");
    refused(
        world.up_command(),
        1,
        &["aiai.duckdb", "is not a DuckDB database", "move it away"],
    );
    no_server(&world);
}

#[test]
fn another_aiai_is_up_on_the_folder() {
    let mut world = World::start();
    refused(
        world.up_command(),
        1,
        &["another aiai is up", "data", "stop it", "--data"],
    );
    // The first one does not mind.
    assert_eq!(world.query("SELECT 1 AS one").len(), 1);
    world.stop(Signal::TERM);
}

#[test]
fn an_unknown_key_is_named_with_its_origin_and_the_nearest_one() {
    let world = World::empty();
    let words = [
        "unknown key `dashboard.lisen`",
        "did you mean `dashboard.listen`?",
    ];
    let by = |origin: &'static str| [words[0], words[1], origin];
    refused(
        with(world.up_command(), &["--set", "dashboard.lisen=127.0.0.1:1"]),
        2,
        &by("flag"),
    );
    let mut command = world.up_command();
    command.env("AIAI__DASHBOARD__LISEN", "127.0.0.1:1");
    refused(command, 2, &by("environment"));
    fs::write(
        world.folder().join("aiai.toml"),
        "[dashboard]\nlisen = \"127.0.0.1:1\"\n",
    )
    .expect("writes");
    refused(world.up_command(), 2, &by("aiai.toml"));
    untouched(&world);
    fs::remove_file(world.folder().join("aiai.toml")).expect("removes");
    refused(
        with(world.up_command(), &["--set", "frobnicate=1"]),
        2,
        &["unknown key `frobnicate`", "aiai config show"],
    );
}

#[test]
fn a_value_of_the_wrong_type_names_its_key() {
    let world = World::empty();
    for (key, value) in [
        ("node.interval_seconds", "often"),
        ("sink.commit.rows_max", "-1"),
        ("dashboard.listen", "here"),
        ("log.format", "xml"),
        ("streams.replicas", "1.5"),
    ] {
        let setting = format!("{key}={value}");
        refused(
            with(world.up_command(), &["--set", &setting]),
            2,
            &["configuration: ", key],
        );
    }
    refused(
        with(world.up_command(), &["--set", "novalue"]),
        2,
        &["--set novalue", "KEY=VALUE"],
    );
    refused(
        with(world.up_command(), &["--set", "log.level=[[["]),
        2,
        &["log.level", "use error, warn, info"],
    );
    untouched(&world);
}

#[test]
fn a_configuration_file_must_be_there_and_be_toml() {
    let world = World::empty();
    refused(
        with(world.up_command(), &["--config", "missing.toml"]),
        2,
        &["cannot read the configuration file", "missing.toml"],
    );
    fs::write(world.folder().join("broken.toml"), "[dashboard\nlisten = 1\n").expect("writes");
    refused(
        with(world.up_command(), &["--config", "broken.toml"]),
        2,
        &["configuration", "broken.toml"],
    );
    untouched(&world);
}

#[test]
fn the_dashboard_is_not_shown_to_other_machines() {
    let world = World::empty();
    refused(
        with(world.up_command(), &["--set", "dashboard.listen=0.0.0.0:0"]),
        2,
        &["dashboard.listen", "127.0.0.1"],
    );
    no_server(&world);
}

#[test]
fn nobody_answers() {
    let world = World::empty();
    // A port that was free a moment ago, and one that answers nothing.
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    let url = format!("nats://user:secret@{free}");
    let shown = format!("nats://{free}");
    for arguments in [
        &[
            "up",
            "--data",
            "data",
            "--set",
            "dashboard.listen=127.0.0.1:0",
            "--set",
            "gateway.listen=127.0.0.1:0",
            "--set",
            "otlp.listen_http=127.0.0.1:0",
            "--set",
            "otlp.listen_grpc=127.0.0.1:0",
        ][..],
        &["run", "ingest"],
        &["query", "SELECT 1"],
        &["pub", "metric", r#"{"name":"x","value":1}"#],
        &["topology", "plan"],
    ] {
        let mut command = aiai();
        command
            .current_dir(world.folder())
            .args(arguments)
            .args(["--nats-url", &url]);
        let output = refused(command, 6, &[&shown, "aiai up", "nats.url"]);
        assert!(!output.stderr.contains("secret"), "credentials are never shown");
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", silent.local_addr().expect("its address"));
    let mut command = aiai();
    command.args([
        "query",
        "SELECT 1",
        "--nats-url",
        &url,
        "--set",
        "nats.connect_timeout_seconds=1",
    ]);
    refused(command, 6, &[&url, "aiai up"]);
}

#[test]
fn nobody_serves_queries() {
    // A server without workers: its aiai was killed.
    let mut world = World::start();
    world.kill();
    refused(
        world.cli(&["query", "SELECT 1"]),
        6,
        &["nobody answers on query.sql", "aiai run sink"],
    );
}

#[test]
fn wrong_use_is_told() {
    let world = World::empty();
    let command = |arguments: &[&str]| with(aiai(), arguments);
    refused(
        command(&["run", "sinc"]),
        2,
        &["no worker `sinc`", "choose from sink, ingest, "],
    );
    refused(
        command(&["pub", "metrics", "{}"]),
        2,
        &["no kind `metrics`", "metric, event, usage"],
    );
    // The argument parser has its own words, on several lines.
    let output = process::run(command(&["frobnicate"]));
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(
        output.stderr.contains("frobnicate") && output.stderr.contains("--help"),
        "{output:?}"
    );
    untouched(&world);
}

#[test]
fn nothing_listens_where_others_can_reach_it() {
    for key in [
        "nats.listen",
        "monitor.listen",
        "dashboard.listen",
        "gateway.listen",
    ] {
        let world = World::empty();
        let setting = format!("{key}=0.0.0.0:0");
        refused(
            with(world.up_command(), &["--set", &setting]),
            2,
            &[key, "0.0.0.0:0", "no authentication"],
        );
        no_server(&world);
    }
}

#[test]
fn a_second_database_on_the_same_nats_is_refused() {
    let mut world = World::start();
    let other = tempfile::tempdir().expect("a folder");
    let mut command = world.cli(&["run", "sink"]);
    command
        .arg("--data")
        .arg(other.path())
        .args(["--set", "log.level=error"]);
    refused(command, 1, &["claim.sink", "stop that one first", "pid"]);
    world.stop(Signal::TERM);
}
