//! compose/: the files are consistent with the workers there are, and the commands in them work: they are run
//! here as plain processes, with folders for volumes and free ports for fixed ones.

mod harness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::fleet::{Fleet, free_port};
use harness::wire::{Message, Wire};
use harness::{aiai, http_get, nats_server, process, until};
use serde_json::json;
use serde_yaml_ng::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("a file of the checkout")
}

/// compose.yaml with its anchors in place.
struct Compose(Value);

impl Compose {
    fn read() -> Self {
        let mut value: Value = serde_yaml_ng::from_str(&read("compose/compose.yaml")).expect("YAML");
        value.apply_merge().expect("merges");
        Self(value)
    }

    fn services(&self) -> Vec<(&str, &Value)> {
        let services = self.0["services"].as_mapping().expect("services");
        services
            .iter()
            .map(|(name, service)| (name.as_str().expect("a name"), service))
            .collect()
    }

    /// Services of aiai with the worker they run.
    fn workers(&self) -> Vec<(&str, &str, &Value)> {
        let workers = self.services().into_iter().filter(|(name, _)| *name != "nats");
        workers
            .map(|(name, service)| {
                let command = texts(&service["command"]);
                assert_eq!((command.len(), command[0]), (2, "run"), "{name}");
                (name, command[1], service)
            })
            .collect()
    }
}

fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_sequence().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().expect("a text")).collect()
}

/// Names of `aiai run --list`.
fn listed() -> Vec<String> {
    let mut command = aiai();
    command.args(["run", "--list"]);
    let output = process::run(command);
    assert!(output.ok(), "{output:?}");
    let names = output
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_worker_has_a_service_that_is_watched_and_reachable_from_here_only() {
    let compose = Compose::read();
    let workers = compose.workers();
    for worker in listed() {
        assert!(
            workers.iter().any(|(_, runs, _)| *runs == worker),
            "worker {worker} has no service: copy that of rollup"
        );
    }
    let declared = compose.0["volumes"].as_mapping().expect("volumes");
    for (name, service) in compose.services() {
        let image = service["image"].as_str().expect("an image");
        let tag = image.split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image}");
        assert!(!texts(&service["healthcheck"]["test"]).is_empty(), "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["stop_grace_period"].is_string(), "{name}");
        assert!(service["container_name"].is_null(), "{name} could not be scaled");
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            assert!(
                ["nats", "dashboard", "gateway", "otlp"].contains(&name),
                "{name} could not be scaled: {port}"
            );
        }
        for volume in texts(&service["volumes"]) {
            let (from, _) = volume.split_once(':').expect("a place");
            let known = declared.contains_key(from) || root().join("compose").join(from).exists();
            assert!(known, "{name}: {volume}");
        }
        if name != "nats" {
            assert_eq!(
                service["depends_on"]["nats"]["condition"], "service_healthy",
                "{name}"
            );
        }
    }
    let volumes = |name: &str| {
        let service = compose
            .services()
            .into_iter()
            .find(|(service, _)| *service == name);
        texts(&service.expect("a service").1["volumes"]).join(" ")
    };
    assert_eq!(volumes("sink"), "data:/data");
    assert_eq!(
        volumes("archive"),
        volumes("sink"),
        "the sink reads what archive writes"
    );
}

#[test]
fn the_image_has_what_is_compiled_in_and_is_pinned() {
    let dockerfile = read("compose/Dockerfile");
    let lines = |word: &str| {
        let with = |line: &str| line.strip_prefix(word).map(|rest| rest.trim().to_owned());
        dockerfile.lines().filter_map(with).collect::<Vec<_>>()
    };
    for from in lines("FROM ") {
        let image = from.split(' ').next().expect("an image");
        let tag = image.split_once(':').expect("a tag").1;
        assert!(tag.starts_with(|first: char| first.is_ascii_digit()), "{image}");
    }
    let copied: Vec<String> = lines("COPY ")
        .iter()
        .filter(|copy| !copy.starts_with("--from"))
        .flat_map(|copy| {
            let words: Vec<_> = copy.split(' ').map(str::to_owned).collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    for path in &copied {
        assert!(root().join(path).exists(), "COPY {path}");
    }
    let mut included = 0;
    for member in ["schemas", "bus", "workers", "Cargo.toml", "Cargo.lock", ".cargo"] {
        assert!(copied.iter().any(|path| path == member), "{member} is not copied");
        for path in included_by(&root().join(member)) {
            let path = path.canonicalize().expect("a file that is compiled in");
            let inside = copied
                .iter()
                .any(|from| path.starts_with(root().join(from).canonicalize().expect("exists")));
            assert!(inside, "{} is compiled in and not copied", path.display());
            included += 1;
        }
    }
    assert!(included >= 4, "only {included} files are compiled in?");
    assert_eq!(lines("USER "), ["aiai"]);
    let beside = lines("COPY --from=")
        .iter()
        .filter(|copy| copy.contains(" /opt/aiai/"))
        .count();
    assert_eq!(beside, 2, "libduckdb lies beside the executable");
}

/// Files named by `include_str!` in the sources below a folder.
fn included_by(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "tests" {
            found.extend(included_by(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("source");
            for rest in text.split("include_str!(\"").skip(1) {
                let file = rest.split('"').next().expect("a path");
                found.push(path.parent().expect("a folder").join(file));
            }
        }
    }
    found
}

/// The services as processes.
struct Stack {
    fleet: Fleet,
    nats_port: u16,
    dashboard_port: u16,
}

impl Stack {
    fn new() -> Self {
        let fleet = Fleet::empty();
        let nats_port = fleet.url.rsplit(':').next().and_then(|port| port.parse().ok());
        Self {
            nats_port: nats_port.expect("a port"),
            dashboard_port: free_port(),
            fleet,
        }
    }

    /// Where a service finds a path of its container.
    fn place(&self, service: &Value, path: &str, own: &str) -> PathBuf {
        for volume in texts(&service["volumes"]) {
            let parts: Vec<_> = volume.split(':').collect();
            if parts[1] == path {
                let beside = root().join("compose").join(parts[0]);
                return if beside.exists() {
                    beside
                } else {
                    self.fleet.folder().join(parts[0])
                };
            }
        }
        self.fleet.folder().join(own)
    }

    fn nats(&mut self, service: &Value) {
        let mut command = Command::new(nats_server());
        for argument in texts(&service["command"]) {
            match argument {
                "0.0.0.0" => command.arg("127.0.0.1"),
                "8222" => command.arg(free_port().to_string()),
                path if path.starts_with('/') => command.arg(self.place(service, path, "nats-own")),
                other => command.arg(other),
            };
        }
        command.args(["-p", &self.nats_port.to_string()]);
        self.fleet.spawn("nats", command);
        self.fleet.await_nats();
    }

    /// The environment of one copy of a service.
    fn environment(&self, service: &Value, own: &str, monitor_port: u16) -> BTreeMap<String, String> {
        let data = ["AIAI__DATA".to_owned(), "/data".to_owned()];
        assert!(
            read("compose/Dockerfile").contains(&data.join("=")),
            "the image says where data is"
        );
        let mut all = BTreeMap::from([data.into()]);
        for (key, value) in service["environment"].as_mapping().expect("an environment") {
            let text = value.as_str().expect("a text").to_owned();
            all.insert(key.as_str().expect("a key").to_owned(), text);
        }
        for value in all.values_mut() {
            *value = match value.as_str() {
                "nats://nats:4222" => self.fleet.url.clone(),
                "127.0.0.1:8010" => format!("127.0.0.1:{monitor_port}"),
                "0.0.0.0:8000" => format!("127.0.0.1:{}", self.dashboard_port),
                "0.0.0.0:8001" | "0.0.0.0:4317" | "0.0.0.0:4318" => "127.0.0.1:0".to_owned(),
                "/data" => self.place(service, "/data", own).display().to_string(),
                other => match other.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                    Some(variable) => variable.split_once(":-").expect("a default").1.to_owned(),
                    None => other.to_owned(),
                },
            };
        }
        all
    }

    /// Starts one copy, and gives the command of its health check.
    fn worker(&mut self, name: &str, service: &Value) -> Command {
        let environment = self.environment(service, name, free_port());
        let mut command = aiai();
        command.args(texts(&service["command"])).envs(&environment);
        self.fleet.spawn(name, command);
        let check = texts(&service["healthcheck"]["test"]);
        assert_eq!(check[..2], ["CMD", "aiai"], "{name}");
        let mut health = aiai();
        health.args(&check[2..]).envs(&environment);
        health
    }
}

#[test]
fn the_services_work_together() {
    let compose = Compose::read();
    let workers = listed();
    let mut stack = Stack::new();
    for (name, service) in compose.services() {
        if name == "nats" {
            stack.nats(service);
        }
    }
    let mut checks = Vec::new();
    for (name, worker, service) in compose.workers() {
        if !workers.iter().any(|listed| listed == worker) {
            continue;
        }
        // As `--scale ingest=4` does.
        for _ in 0..if name == "ingest" { 4 } else { 1 } {
            checks.push((name, stack.worker(name, service)));
        }
    }
    for (name, check) in &mut checks {
        until(&format!("the health of {name}"), TIMEOUT, || {
            stack.fleet.all_live();
            check.output().expect("runs").status.success().then_some(())
        });
    }
    let events: Vec<_> = (0..500)
        .map(|n| Message::new("ingest.metric", format!(r#"{{"name":"composed","value":{n}}}"#)))
        .collect();
    Wire::connect(&stack.fleet.url).expect("connects").store(&events);
    stack.fleet.settled(500);
    let rows = stack
        .fleet
        .try_query("SELECT count(*) AS n, sum(value)::BIGINT AS s FROM metric WHERE name = 'composed'");
    assert_eq!(rows, Some(vec![json!({"n": 500, "s": 124_750})]));
    let copies = stack.fleet.heartbeats("ingest");
    assert_eq!(copies, 4, "copies of ingest");
    let page = format!("127.0.0.1:{}", stack.dashboard_port);
    assert_eq!(http_get(&page, "/").0, 200);
    until("the page's figures", TIMEOUT, || {
        (http_get(&page, "/api/overview").0 == 200).then_some(())
    });
    assert!(
        stack.fleet.folder().join("data/aiai.duckdb").exists(),
        "the database is on the volume"
    );
    assert!(
        stack.fleet.folder().join("streams/jetstream").exists(),
        "the streams are on the volume"
    );
    stack.fleet.stop();
}
