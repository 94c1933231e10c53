//! Messages that end their process: each ends as a dead letter, and takes nobody with it.
//!
//! The workers are real processes: this program once more, with only the test `a_process` in it.

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bus::stage::BatchConfig;
use bus::topology::StreamsConfig;
use bus::writer::CommitConfig;
use bus::{
    CancellationToken, CommitFailure, Context, Delivery, DurableState, Failure, Input, NatsConfig, Outbox,
    Received, Stage, StreamState, Unstored, Writer,
};
use schemas::Origins;

const POISON: &[u8] = b"poison";

/// Copies each message to `events.metric`, and dies of one.
struct Mortal;

impl Stage for Mortal {
    const NAME: &'static str = "ingest";
    type Config = ();

    fn input() -> Input {
        Input::new("INGEST", "ingest")
    }

    fn start((): (), _: &Context) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn process(&mut self, message: &Delivery, out: &mut Outbox) -> Result<(), Failure> {
        if message.payload() == POISON {
            std::process::abort();
        }
        out.line("events.metric", |lines| {
            lines.extend_from_slice(message.payload());
            lines.push(b'\n');
        });
        Ok(())
    }
}

/// Appends sequences to a file, and dies of one message.
struct MortalWriter {
    folder: PathBuf,
}

impl MortalWriter {
    fn stored(folder: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(folder.join("rows")).unwrap_or_default();
        text.lines()
            .map(|line| line.parse().expect("a sequence"))
            .collect()
    }

    fn append(&self, sequences: impl Iterator<Item = u64>) {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("rows"))
            .expect("opens");
        let text: String = sequences.map(|sequence| format!("{sequence}\n")).collect();
        file.write_all(text.as_bytes()).expect("writes");
    }
}

impl Writer for MortalWriter {
    const NAME: &'static str = "sink";

    fn inputs() -> Vec<Input> {
        vec![Input::new("EVENTS", "sink")]
    }

    fn ahead_of(&self, _: usize, _: &StreamState) -> Option<u64> {
        None
    }

    fn resume(&mut self, _: usize, _: &StreamState, _: Option<&DurableState>) -> anyhow::Result<u64> {
        let stored: BTreeSet<u64> = Self::stored(&self.folder).into_iter().collect();
        Ok((1..).find(|sequence| !stored.contains(sequence)).unwrap_or(1))
    }

    fn commit(&mut self, batch: &[Received]) -> Result<Unstored, CommitFailure> {
        if batch.iter().any(|received| received.delivery.payload() == POISON) {
            std::process::abort();
        }
        let known: BTreeSet<u64> = Self::stored(&self.folder).into_iter().collect();
        let sequences = batch.iter().map(|received| received.delivery.sequence());
        self.append(sequences.filter(|sequence| !known.contains(sequence)));
        Ok(Unstored::default())
    }

    fn journal(&self) -> Option<PathBuf> {
        Some(self.folder.join("committing"))
    }

    fn buried(&mut self, received: &Received) {
        self.append([received.delivery.sequence()].into_iter());
    }

    fn hole(&self, _: usize, _: &str) -> Option<u64> {
        None
    }

    fn gone(&mut self, _: usize, _: &str, _: RangeInclusive<u64>) {}
}

const STREAMS: StreamsConfig = StreamsConfig {
    replicas: 1,
    ingest_max_megabytes: 64,
    events_max_megabytes: 64,
    rollup_max_megabytes: 64,
    dead_max_megabytes: 64,
    alerts_max_megabytes: 64,
    archive_max_megabytes: 64,
    duplicate_window_seconds: 120,
    ack_wait_seconds: 1,
};

#[tokio::test]
#[ignore = "the process that the other tests start"]
async fn a_process() {
    let variable = |name: &str| std::env::var(name).expect("set by the test that starts this");
    let nats = NatsConfig {
        url: variable("POISON_URL"),
        ..NatsConfig::default()
    };
    let context = Context::connect(&nats, &STREAMS, "mortal", CancellationToken::new())
        .await
        .expect("connects");
    let run = match variable("POISON_WORKER").as_str() {
        "stage" => bus::stage::run::<Mortal>((), BatchConfig::default(), context).await,
        folder => {
            let folder = PathBuf::from(folder);
            bus::writer::run(MortalWriter { folder }, CommitConfig::default(), context).await
        }
    };
    run.expect("runs until it is killed");
}

fn spawn(url: &str, worker: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "a_process", "--quiet"])
        .env("POISON_URL", url)
        .env("POISON_WORKER", worker)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Starts the worker again whenever it has died, until all is done; says how often it died.
async fn survive(context: &Context, url: &str, worker: &str, input: Input) -> u32 {
    let mut deaths = 0;
    let mut child = spawn(url, worker);
    let survived = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if child.try_wait().expect("a status").is_some() {
                deaths += 1;
                child = spawn(url, worker);
            }
            let durable = context.durable_state(input.stream, input.durable).await;
            let last = context
                .stream_state(input.stream)
                .await
                .expect("state")
                .last_sequence;
            if matches!(durable, Ok(state) if state.ack_floor >= last) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), survived)
        .await
        .expect("all done within two minutes");
    child.kill().expect("killed");
    child.wait().expect("collected");
    deaths
}

async fn publish(context: &Context, subject: &str, count: u64, poison: &[u64]) {
    for number in 1..=count {
        let body = match poison.contains(&number) {
            true => bus::Bytes::from_static(POISON),
            false => number.to_string().into(),
        };
        context.publish(subject, body).await.expect("stored");
    }
}

/// Sequences and reasons of the dead letters.
async fn letters(url: &str) -> Vec<(Vec<u8>, String)> {
    let dead = common::read_all(url, "DEAD").await;
    dead.iter()
        .map(|letter| {
            let reason = letter.headers.get("Aiai-Reason").expect("a reason").to_string();
            (letter.payload.to_vec(), reason)
        })
        .collect()
}

#[tokio::test]
async fn a_message_that_kills_its_stage_ends_as_a_dead_letter_and_alone() {
    let (server, context) = common::bus_with(&STREAMS).await;
    publish(&context, "ingest.metric", 60, &[30]).await;
    let deaths = survive(&context, server.url(), "stage", Mortal::input()).await;
    assert!((4..=9).contains(&deaths), "{deaths} deaths");
    assert_eq!(
        letters(server.url()).await,
        [(POISON.to_vec(), "worker_killed".to_owned())]
    );
    let mut origins = Origins::new();
    for message in common::read_all(server.url(), "EVENTS").await {
        let text = message.headers.get("Aiai-Origins").expect("origins").to_string();
        let carried: Origins = text.parse().expect("origins");
        carried
            .ranges()
            .iter()
            .for_each(|range| origins.insert(range.clone()));
    }
    assert_eq!(origins.to_string(), "1-29,31-60");
}

#[tokio::test]
async fn messages_that_kill_their_writer_end_as_dead_letters_and_alone() {
    let (server, context) = common::bus_with(&STREAMS).await;
    let folder = tempfile::tempdir().expect("a folder");
    publish(&context, "events.metric", 100, &[7, 70]).await;
    let worker = folder.path().to_str().expect("UTF-8").to_owned();
    let deaths = survive(&context, server.url(), &worker, MortalWriter::inputs()[0]).await;
    // Of each: halved from at most 100 to one, then three times alone.
    assert!((6..=22).contains(&deaths), "{deaths} deaths");
    let poison = (POISON.to_vec(), "worker_killed".to_owned());
    assert_eq!(letters(server.url()).await, [poison.clone(), poison]);
    let mut stored = MortalWriter::stored(folder.path());
    stored.sort_unstable();
    assert_eq!(stored, (1..=100).collect::<Vec<u64>>(), "each once");
}

#[tokio::test]
async fn workers_that_are_killed_at_random_make_no_dead_letters() {
    let (server, context) = common::bus_with(&STREAMS).await;
    publish(&context, "ingest.metric", 3000, &[]).await;
    // Each holds messages when it dies; so all of them become suspects.
    for _ in 0..6 {
        let mut child = spawn(server.url(), "stage");
        let before = context.durable_state("INGEST", "ingest").await.expect("state");
        let begun = async {
            loop {
                let now = context.durable_state("INGEST", "ingest").await.expect("state");
                if now.pending < before.pending || now.ack_floor > before.ack_floor {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(3), begun).await;
        child.kill().expect("killed");
        child.wait().expect("collected");
    }
    let deaths = survive(&context, server.url(), "stage", Mortal::input()).await;
    assert_eq!(deaths, 0);
    assert_eq!(context.stream_state("DEAD").await.expect("state").messages, 0);
}
