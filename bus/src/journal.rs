//! What a writer is committing, in a small file: so that a batch that ends the process is known after it.
//!
//! A writer's durable is moved to its checkpoint at every start, so the same batch would end the process at every
//! start. The file names the batch while it is committed. If it still does at the next start, batches are half as
//! large until all that was named is stored; a message that ended the process [`ENDED_MAX`] times alone is rejected.
//! Written without forcing it to disk: it has to outlive the process, not the machine. Four system calls a commit,
//! 12 µs in all.
//!
//! Deliberately absent: rejecting dead letters. One that ends the process would come back as another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use schemas::{Origins, Reason, Rejection};
use serde::{Deserialize, Serialize};

use crate::source::Input;
use crate::topology::DEAD;
use crate::writer::Received;

/// A message that ended the process so often alone is not tried again.
pub(crate) const ENDED_MAX: u32 = 3;

/// A message: its input, the epoch and its sequence.
type Key = (usize, Arc<str>, u64);

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Named {
    /// How often a batch of this one message ended the process, if it does so now.
    ended: u32,
    batch: Vec<NamedInput>,
}

#[derive(Debug, Serialize, Deserialize)]
struct NamedInput {
    input: usize,
    epoch: String,
    sequences: String,
}

/// The file, and what it said at the start.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    file: Option<File>,
    /// Named at the start and not stored yet; with how often each ended the process alone.
    suspects: BTreeMap<Key, u32>,
    /// Messages in a batch while there are suspects.
    limit: usize,
}

impl Journal {
    /// Opens the file; without one, nothing is noted. What cannot be read names nothing.
    pub(crate) fn open(path: Option<&Path>) -> Self {
        let Some(path) = path else {
            return Self::default();
        };
        let mut options = File::options();
        let opened = options
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "what is being committed is not noted: see that the folder is writable");
                return Self::default();
            }
        };
        let mut text = Vec::new();
        // The messages of a batch are bounded, so is the file.
        let read = file.read_to_end(&mut text);
        let named: Named = read
            .ok()
            .and_then(|_| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let suspects = suspects(&named);
        let limit = (suspects.len() / 2).max(1);
        if !suspects.is_empty() {
            tracing::warn!(
                messages = suspects.len(),
                "the process ended while it committed these messages; committing them in batches half as large"
            );
        }
        Self {
            file: Some(file),
            suspects,
            limit,
        }
    }

    /// What comes before `sequence` of this input is stored, and what is of another epoch will not come: nobody waits
    /// for either.
    pub(crate) fn resumed(&mut self, input: usize, epoch: &str, sequence: u64) {
        self.suspects
            .retain(|(at, of, number), _| *at != input || (**of == *epoch && *number >= sequence));
    }

    /// These will never come.
    pub(crate) fn gone(&mut self, input: usize, epoch: &str, sequences: &RangeInclusive<u64>) {
        self.suspects
            .retain(|(at, of, number), _| *at != input || **of != *epoch || !sequences.contains(number));
    }

    /// Messages in the next batch at most.
    pub(crate) fn messages_max(&self) -> usize {
        if self.suspects.is_empty() {
            usize::MAX
        } else {
            self.limit
        }
    }

    /// Notes a batch before it is committed. An answer: it is one message that must not be committed.
    pub(crate) fn begin(&mut self, batch: &[Received], inputs: &[Input]) -> Option<Rejection> {
        let mut ended = 1;
        if let [only] = batch {
            let before = self.suspects.get(&key(only)).copied().unwrap_or(0);
            if before >= ENDED_MAX {
                let Input { stream, .. } = inputs[only.input];
                if stream != DEAD {
                    return Some(killed(before));
                }
                let sequence = only.delivery.sequence();
                tracing::error!(
                    stream,
                    sequence,
                    "this dead letter ends the process each time it is committed; remove it: nats stream rmm DEAD {sequence}"
                );
            }
            ended = before + 1;
        }
        self.write(&named(batch, ended));
        None
    }

    /// The commit has returned. `stored`: and the batch is done with.
    pub(crate) fn end(&mut self, batch: &[Received], stored: bool) {
        if stored && !self.suspects.is_empty() {
            for received in batch {
                self.suspects.remove(&key(received));
            }
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.set_len(0)
        {
            tracing::debug!(%error, "what is being committed could not be noted");
        }
    }

    fn write(&mut self, named: &Named) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(named)
            .map_err(std::io::Error::from)
            .and_then(|text| {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&text)
            });
        if let Err(error) = written {
            tracing::debug!(%error, "what is being committed could not be noted");
        }
    }
}

fn key(received: &Received) -> Key {
    (
        received.input,
        received.epoch.clone(),
        received.delivery.sequence(),
    )
}

fn suspects(named: &Named) -> BTreeMap<Key, u32> {
    let mut suspects = BTreeMap::new();
    for part in &named.batch {
        let epoch: Arc<str> = part.epoch.as_str().into();
        let sequences: Origins = part.sequences.parse().unwrap_or_default();
        for sequence in sequences.ranges().iter().cloned().flatten() {
            suspects.insert((part.input, epoch.clone(), sequence), 0);
        }
    }
    // Only what was alone is known to be guilty.
    if suspects.len() == 1 {
        suspects.values_mut().for_each(|ended| *ended = named.ended);
    }
    suspects
}

fn named(batch: &[Received], ended: u32) -> Named {
    let mut sequences: BTreeMap<(usize, &str), Origins> = BTreeMap::new();
    for received in batch {
        let set = sequences.entry((received.input, &received.epoch)).or_default();
        set.push(received.delivery.sequence());
    }
    let batch = sequences
        .into_iter()
        .map(|((input, epoch), sequences)| NamedInput {
            input,
            epoch: epoch.to_owned(),
            sequences: sequences.to_string(),
        });
    Named {
        ended,
        batch: batch.collect(),
    }
}

fn killed(times: u32) -> Rejection {
    Rejection::new(
        Reason::WorkerKilled,
        "payload",
        format!("the process ended {times} times in a row while it committed this message alone"),
        "look at the sink's log and memory; if it is a defect of aiai, please report it, and replay the message after an update",
    )
}
