//! Suspects: messages that were delivered often, and may be what ends their worker each time.
//!
//! A message that kills its worker is delivered again and kills the next one. Nobody lives to say so; therefore a
//! worker writes down *before* it processes such a message that it has begun, and takes that back afterwards, whatever
//! became of it. Innocent messages are delivered often, too (a stream was full, a server was killed), by the
//! thousand: they are begun together, under one note. Those that a note names whose worker never came back are begun
//! one by one; a message that was begun alone [`BEGUN_MAX`] times in a row and never finished is a dead letter.
//!
//! Failures that a worker lives to report are counted here as well: how often a message was delivered says nothing.
//! Where the notes cannot be reached, work goes on without them. They are forgotten after an hour.

use std::collections::BTreeSet;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use futures_util::TryStreamExt;
use schemas::{Origins, Reason, Rejection};

use crate::context::Context;
use crate::delivery::Delivery;
use crate::error::{Error, Result, chain};
use crate::source::Input;
use crate::topology::SUSPECTS_BUCKET;

/// From this delivery on a message is a suspect.
pub(crate) const SUSPECT_ATTEMPTS: u64 = 3;
/// Begun alone so often and never finished, a message of a stage is a dead letter.
pub(crate) const BEGUN_MAX: u32 = 3;
/// The same for jobs: they take long, so one may be running each time when somebody kills the worker.
pub(crate) const JOB_BEGUN_MAX: u32 = 5;
/// Notes of workers that never came back, looked at.
const NOTES_MAX: usize = 1000;

/// The notes about one durable.
#[derive(Debug, Clone)]
pub(crate) struct Suspects {
    context: Context,
    input: Input,
}

/// Suspects by how they are to be processed.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Under one note.
    pub(crate) together: Vec<Delivery>,
    /// One by one; with how often each was begun.
    pub(crate) alone: Vec<(Delivery, u32)>,
}

impl Suspects {
    pub(crate) fn new(context: &Context, input: Input) -> Self {
        Self {
            context: context.clone(),
            input,
        }
    }

    /// Sorts suspects by what notes say about them.
    pub(crate) async fn sort(&self, epoch: &str, suspects: Vec<Delivery>) -> Sorted {
        let (named, begun) = match self.read_notes(epoch).await {
            Ok(notes) => notes,
            Err(error) => {
                self.unreachable(&error);
                return Sorted {
                    together: suspects,
                    alone: Vec::new(),
                };
            }
        };
        let mut sorted = Sorted::default();
        let only = suspects.len() == 1;
        for delivery in suspects {
            let sequence = delivery.sequence();
            if begun.contains(&sequence) {
                let times = self.begun(epoch, sequence).await;
                sorted.alone.push((delivery, times));
            } else if only || named.contains(sequence) {
                sorted.alone.push((delivery, 0));
            } else {
                sorted.together.push(delivery);
            }
        }
        sorted
    }

    /// Which sequences are named by notes about several, and about which there is a note of their own.
    async fn read_notes(&self, epoch: &str) -> Result<(Origins, BTreeSet<u64>)> {
        let (together, alone) = (
            self.subject(epoch, "together", "*"),
            self.subject(epoch, "alone", "*"),
        );
        let own = self.subject(epoch, "together", self.context.instance());
        let stream = self.stream().await?;
        let mut named = Origins::new();
        for subject in subjects(&stream, &together).await? {
            if subject == own {
                continue;
            }
            if let Some(value) = get(&stream, &subject).await? {
                let text = std::str::from_utf8(&value).unwrap_or_default();
                let noted: Origins = text.parse().unwrap_or_default();
                noted
                    .ranges()
                    .iter()
                    .for_each(|range| named.insert(range.clone()));
            }
        }
        let begun = subjects(&stream, &alone).await?.into_iter();
        let begun = begun.filter_map(|subject| subject.rsplit('.').next()?.parse().ok());
        Ok((named, begun.collect()))
    }

    /// Notes that these are begun.
    pub(crate) async fn begin_together(&self, epoch: &str, suspects: &[Delivery]) {
        let mut sequences: Vec<u64> = suspects.iter().map(Delivery::sequence).collect();
        sequences.sort_unstable();
        let text = sequences.into_iter().collect::<Origins>().to_string();
        self.put(&self.subject(epoch, "together", self.context.instance()), text)
            .await;
    }

    /// Notes that they are finished.
    pub(crate) async fn end_together(&self, epoch: &str) {
        self.remove(&self.subject(epoch, "together", self.context.instance()))
            .await;
    }

    /// How often a message was begun alone and not finished.
    pub(crate) async fn begun(&self, epoch: &str, sequence: u64) -> u32 {
        self.count(&self.subject(epoch, "alone", &sequence.to_string()))
            .await
            .unwrap_or(0)
    }

    /// Notes that a message is begun alone, for the so-many-th time.
    pub(crate) async fn begin_alone(&self, epoch: &str, sequence: u64, times: u32) {
        self.put(
            &self.subject(epoch, "alone", &sequence.to_string()),
            times.to_string(),
        )
        .await;
    }

    /// Notes that it is finished.
    pub(crate) async fn end_alone(&self, epoch: &str, sequence: u64) {
        self.remove(&self.subject(epoch, "alone", &sequence.to_string()))
            .await;
    }

    /// Counts a failure that the worker lived to report, and gives their number; where they cannot be counted, that of the
    /// deliveries.
    pub(crate) async fn failed(&self, epoch: &str, delivery: &Delivery) -> u64 {
        let subject = self.subject(epoch, "failed", &delivery.sequence().to_string());
        let before = match delivery.attempt() {
            1 => Some(0),
            _ => self.count(&subject).await,
        };
        let Some(before) = before else {
            return delivery.attempt();
        };
        let failures = before + 1;
        if self.put(&subject, failures.to_string()).await {
            failures.into()
        } else {
            delivery.attempt()
        }
    }

    /// None: it cannot be known.
    async fn count(&self, subject: &str) -> Option<u32> {
        let read = async { get(&self.stream().await?, subject).await };
        match read.await {
            Ok(None) => Some(0),
            Ok(Some(value)) => std::str::from_utf8(&value).ok()?.parse().ok(),
            Err(error) => {
                self.unreachable(&error);
                None
            }
        }
    }

    async fn put(&self, subject: &str, value: String) -> bool {
        let message = PublishMessage::build().payload(value.into());
        let sent = self
            .context
            .jetstream()
            .send_publish(subject.to_owned(), message)
            .await;
        let stored = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        if let Err(error) = &stored {
            self.unreachable(error);
        }
        stored.is_ok()
    }

    /// Without a trace: a mark of deletion would take room, too.
    async fn remove(&self, subject: &str) {
        let removed = async {
            let purged = self.stream().await?.purge().filter(subject).await;
            purged.map_err(|error| Error::jetstream("removing a note", error))
        };
        if let Err(error) = removed.await {
            self.unreachable(&error);
        }
    }

    async fn stream(&self) -> Result<Stream<()>> {
        let stream = self
            .context
            .jetstream()
            .get_stream_no_info(format!("KV_{SUSPECTS_BUCKET}"));
        stream
            .await
            .map_err(|error| Error::jetstream(format!("opening bucket {SUSPECTS_BUCKET}"), error))
    }

    fn subject(&self, epoch: &str, what: &str, which: &str) -> String {
        let Input { stream, durable, .. } = self.input;
        format!("$KV.{SUSPECTS_BUCKET}.{stream}.{durable}.{epoch}.{what}.{which}")
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::debug!(
            worker = self.context.worker(),
            error = chain(error),
            "notes about suspects not reached; going on without"
        );
    }
}

/// The subjects in the bucket that match.
async fn subjects(stream: &Stream<()>, filter: &str) -> Result<Vec<String>> {
    let failed =
        |error: async_nats::jetstream::context::RequestError| Error::jetstream("reading notes", error);
    let mut found = stream
        .info_with_subjects(filter)
        .await
        .map_err(|error| Error::jetstream("reading notes", error))?;
    let mut subjects = Vec::new();
    while subjects.len() < NOTES_MAX {
        let Some((subject, _)) = found.try_next().await.map_err(failed)? else {
            break;
        };
        subjects.push(subject);
    }
    Ok(subjects)
}

async fn get(stream: &Stream<()>, subject: &str) -> Result<Option<Bytes>> {
    match stream.direct_get_last_for_subject(subject).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::jetstream("reading a note", error)),
    }
}

/// What a message is told that ended its worker again and again.
pub(crate) fn killed(stage: &str, times: u32) -> Rejection {
    Rejection::new(
        Reason::WorkerKilled,
        "payload",
        format!("worker {stage} ended {times} times in a row while it was processing this message alone"),
        "look at its log and memory; if it is a defect of aiai, please report it, and replay the message after an update",
    )
}
