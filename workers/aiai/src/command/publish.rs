//! `aiai pub`: publish events and wait for every acknowledgement.
//!
//! Lines are checked here with the same function that ingest uses, so that a mistake is told at once.

use std::collections::VecDeque;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bytes, Context, PendingAck, Policy, Stored};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::{Decoded, Incoming, Kind, Time};

use crate::cli;
use crate::config::Config;
use crate::failure::Usage;
use crate::output;

/// Messages on their way at the same time.
const IN_FLIGHT_MAX: usize = 256;
/// A message is sent when it has this size.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Mistakes shown one by one; the rest is counted.
const MISTAKES_SHOWN_MAX: u64 = 20;

/// Publishes what is on the command line or standard input.
pub async fn publish(config: &Config, options: &cli::Pub) -> anyhow::Result<ExitCode> {
    let kind = Kind::parse(&options.kind).ok_or_else(|| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        Usage(format!(
            "there is no kind `{}`; choose from {}",
            options.kind,
            kinds.join(", ")
        ))
    })?;
    let subject = match &options.tenant {
        Some(tenant) => format!("ingest.{tenant}.{kind}"),
        None => schemas::subjects::ingest(kind),
    };
    let context = super::connect(config).await?;
    context.ensure_topology().await?;
    if options.json == "-" {
        many(&context, &subject, options).await
    } else {
        one(&context, &subject, options).await
    }
}
async fn one(context: &Context, subject: &str, options: &cli::Pub) -> anyhow::Result<ExitCode> {
    let mistakes = if options.no_check {
        Vec::new()
    } else {
        mistakes(subject, options.json.as_bytes())
    };
    if !mistakes.is_empty() {
        for mistake in mistakes {
            crate::output::say(&mistake.to_string());
        }
        return Ok(ExitCode::FAILURE);
    }
    let stored = context
        .publish(subject, Bytes::from(options.json.clone()))
        .await?;
    output::print(&format!(
        "stored in {} at sequence {}\n",
        stored.stream, stored.sequence
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What ingest would reject.
fn mistakes(subject: &str, payload: &[u8]) -> Vec<String> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let stored = Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    let mut found = Vec::new();
    let incoming = Incoming {
        subject,
        content_type: None,
        payload,
        origin: 0,
        stored,
    };
    schemas::decode(&incoming, &mut |decoded| {
        if let Decoded::Rejected { rejection, .. } = decoded {
            found.push(rejection.to_string());
        }
    });
    found
}

/// One message on its way, kept until it is acknowledged.
struct Sent {
    body: Bytes,
    id: String,
    ack: PendingAck,
}

struct Publisher<'a> {
    context: &'a Context,
    subject: &'a str,
    on_their_way: VecDeque<Sent>,
    messages: u64,
    last: Option<Stored>,
    first_sequence: Option<u64>,
}

impl Publisher<'_> {
    async fn send(&mut self, body: Vec<u8>) -> anyhow::Result<()> {
        while self.on_their_way.len() >= IN_FLIGHT_MAX {
            self.settle_oldest().await?;
        }
        let body = Bytes::from(body);
        let id = format!("pub:{}:{}", self.context.instance(), self.messages);
        self.messages += 1;
        let ack = self
            .context
            .publish_pipelined(self.subject, body.clone(), Some(&id))
            .await?;
        self.on_their_way.push_back(Sent { body, id, ack });
        Ok(())
    }

    /// Waits for the oldest acknowledgement, publishing again under the same id if it fails.
    async fn settle_oldest(&mut self) -> anyhow::Result<()> {
        let Some(mut sent) = self.on_their_way.pop_front() else {
            return Ok(());
        };
        let mut delays = Policy::PUBLISH.delays();
        loop {
            match sent.ack.wait().await {
                Ok(stored) => {
                    self.first_sequence.get_or_insert(stored.sequence);
                    self.last = Some(stored);
                    return Ok(());
                }
                Err(error) => match delays.next() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => return Err(error.into()),
                },
            }
            sent.ack = self
                .context
                .publish_pipelined(self.subject, sent.body.clone(), Some(&sent.id))
                .await?;
        }
    }
}
async fn many(context: &Context, subject: &str, options: &cli::Pub) -> anyhow::Result<ExitCode> {
    let (lines, mut read) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(4096);
    // Standard input blocks; it has its own thread and a bounded channel.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let progress = progress();
    let mut publisher = Publisher {
        context,
        subject,
        on_their_way: VecDeque::new(),
        messages: 0,
        last: None,
        first_sequence: None,
    };
    let (mut number, mut good, mut bad) = (0_u64, 0_u64, 0_u64);
    let (mut body, mut in_body) = (Vec::new(), 0);
    while let Some(line) = read.recv().await {
        let line = line.context("standard input cannot be read")?;
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mistakes = if options.no_check {
            Vec::new()
        } else {
            mistakes(subject, &line)
        };
        if let Some(mistake) = mistakes.first() {
            bad += 1;
            if bad <= MISTAKES_SHOWN_MAX {
                progress.suspend(|| crate::output::say(&format!("line {number}: {mistake}")));
            }
            continue;
        }
        good += 1;
        in_body += 1;
        body.extend_from_slice(&line);
        body.push(b'\n');
        progress.inc(1);
        if in_body >= options.batch || body.len() >= MESSAGE_BYTES_MAX {
            in_body = 0;
            publisher.send(std::mem::take(&mut body)).await?;
        }
    }
    if !body.is_empty() {
        publisher.send(body).await?;
    }
    while !publisher.on_their_way.is_empty() {
        publisher.settle_oldest().await?;
    }
    progress.finish_and_clear();
    report(&publisher, good, bad)
}

/// Says on standard output what is stored, and on standard error what is not.
fn report(publisher: &Publisher<'_>, good: u64, bad: u64) -> anyhow::Result<ExitCode> {
    if let (Some(first), Some(last)) = (publisher.first_sequence, &publisher.last) {
        let (messages, stream, last) = (publisher.messages, &last.stream, last.sequence);
        output::print(&format!(
            "stored {good} lines in {messages} messages, {stream} sequences {first} to {last}\n"
        ))?;
    } else {
        output::print("nothing to publish\n")?;
    }
    if bad > 0 {
        crate::output::say(&format!(
            "{bad} lines were not published; correct them, or send them as they are with --no-check"
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Shown on a terminal once it takes longer than a moment.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
