//! Carrying out a job: the range is read once more, and written without what the sink did not store.
//!
//! Nothing that passes is a reason to give a job up: it waits, says what it waits for, and goes on. Only a message
//! that nobody can read ends it, as a dead letter.

use std::time::Duration;

use anyhow::Context as _;
use bus::{Bytes, Context, Delivery, Input, Notice, Policy, Report, topology};
use schemas::archive::{Coverage, CoverageRequest, FILE_SUBJECT, File, Job, Manifest};
use schemas::{Origins, Reason, Rejection, Time, headers};
use tokio::sync::mpsc;

use crate::columns::Stamp;
use crate::file::Folder;
use crate::part::{Draft, Failure, Message, Part};
use crate::planner::ask;

/// Between two looks at a sink that is behind.
const BEHIND: Duration = Duration::from_millis(200);
/// Messages read ahead of the writing.
const READ_AHEAD: usize = 32;
/// Under which the worker's health names what a job waits for.
const ABOUT: &str = "job";

/// Carries out jobs.
pub(crate) struct Executor {
    folder: Folder,
    context: Context,
}

/// Why a job has no manifest yet.
enum Hindrance {
    /// It passes: try again.
    Passing(anyhow::Error),
    /// It does not.
    Lasting(String),
}

impl<E: Into<anyhow::Error>> From<E> for Hindrance {
    fn from(error: E) -> Self {
        let error: anyhow::Error = error.into();
        match error.downcast::<Failure>() {
            Ok(Failure::Content(problem)) => Self::Lasting(problem),
            Ok(Failure::Disk(trouble)) => Self::Passing(trouble.into()),
            Err(error) => Self::Passing(error),
        }
    }
}

/// What the sink did with a job's range.
struct Stored {
    refused: Origins,
    duplicates: Vec<(u64, Origins)>,
}

impl Executor {
    pub(crate) fn new(folder: Folder, context: Context) -> Self {
        Self { folder, context }
    }

    /// One attempt; `None`: there is nothing to report.
    async fn attempt(&self, job: &Job) -> Result<Option<Manifest>, Hindrance> {
        let stream = self.context.stream_state(topology::EVENTS).await?;
        if stream.epoch != job.epoch {
            tracing::error!(
                worker = "archive",
                first = job.first,
                last = job.last,
                "EVENTS was deleted before these messages were archived; their rows are only in the database, and \
                 stay there"
            );
            return Ok(None);
        }
        let coverage = self.passed(job).await?;
        if is_archived(&coverage, job)? {
            return Ok(None);
        }
        let (_, refused) = coverage.ranges().map_err(anyhow::Error::msg)?;
        let stored = Stored {
            refused,
            duplicates: duplicates(&coverage)?,
        };
        let drafts = self.drafts(job, stored).await?;
        // EVENTS is trimmed only behind what is archived: if another copy was faster, this one may have read too
        // little, and its files must not take the place of whole ones.
        if is_archived(&self.passed(job).await?, job)? {
            return Ok(None);
        }
        let placed = tokio::task::spawn_blocking(|| drafts.into_iter().map(Draft::put_in_place).collect());
        let files: Result<Vec<File>, Failure> = placed.await?;
        Ok(Some(Manifest {
            job: job.clone(),
            files: files?,
        }))
    }

    /// What the sink did with the range, once it is done with it.
    async fn passed(&self, job: &Job) -> anyhow::Result<Coverage> {
        let request = CoverageRequest {
            epoch: job.epoch.clone(),
            first: job.first,
            last: job.last,
        };
        loop {
            let coverage = ask(&self.context, &request).await?;
            if coverage.checkpoint >= job.last {
                return Ok(coverage);
            }
            let behind = job.last - coverage.checkpoint;
            let trouble = format!("waiting for the sink: it is {behind} messages behind the next job");
            self.context.set_trouble_about(ABOUT, Some(trouble));
            tokio::time::sleep(BEHIND).await;
        }
    }

    /// Reads the range and writes it on a thread of its own.
    async fn drafts(&self, job: &Job, stored: Stored) -> Result<Vec<Draft>, Hindrance> {
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        let (folder, writing_job) = (self.folder.clone(), job.clone());
        let mut missing = job.last - job.first + 1 - stored.refused.len();
        let refused = stored.refused.clone();
        let writing = tokio::task::spawn_blocking(move || write(&writing_job, &stored, receiver, &folder));
        let mut range = self.context.range(topology::EVENTS, job.first, job.last).await?;
        loop {
            let message = range.next().await?;
            let is_end = message.is_none();
            if message
                .as_ref()
                .is_some_and(|message| !refused.contains(message.sequence()))
            {
                missing = missing.saturating_sub(1);
            }
            // Nobody takes it once the writing has failed. Where this fails, nobody sends the end.
            if sender.send(message).await.is_err() || is_end {
                break;
            }
        }
        drop(sender);
        let written = match writing.await {
            Ok(written) => written,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => return Err(error.into()),
        };
        let drafts = written?;
        say_missing(job, missing);
        Ok(drafts)
    }
}

impl bus::Job for Executor {
    const NAME: &'static str = "archive";

    fn input() -> Input {
        Input::new(topology::ARCHIVE, Self::NAME)
    }

    async fn run(&self, delivery: &Delivery) -> Result<Report, bus::Failure> {
        let job = Job::read(delivery.payload()).map_err(rejected)?;
        let mut delays = Policy::REOPEN.delays();
        let mut said = String::new();
        loop {
            match self.attempt(&job).await {
                Ok(manifest) => {
                    self.context.set_trouble_about(ABOUT, None);
                    return Ok(manifest.map_or_else(Report::default, |manifest| report(&manifest)));
                }
                Err(Hindrance::Lasting(problem)) => {
                    self.context.set_trouble_about(ABOUT, None);
                    return Err(rejected(problem));
                }
                Err(Hindrance::Passing(error)) => {
                    let text = format!("{error:#}");
                    if text != said {
                        tracing::warn!(worker = Self::NAME, error = text, "a job waits");
                        said.clone_from(&text);
                    }
                    self.context.set_trouble_about(ABOUT, Some(text));
                }
            }
            tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(5))).await;
        }
    }
}

fn rejected(problem: String) -> bus::Failure {
    let fix = "its rows stay in the database; find out who published what cannot be read";
    bus::Failure::Reject {
        rejection: Rejection::new(Reason::MalformedBatch, "job", problem, fix),
    }
}

fn report(manifest: &Manifest) -> Report {
    let job = &manifest.job;
    // Numbers, texts and times: this cannot fail.
    let payload = serde_json::to_vec(manifest).unwrap_or_default();
    Report {
        notices: vec![Notice {
            subject: FILE_SUBJECT.to_owned(),
            payload: Bytes::from(payload),
            id: format!("archive:{}:{}-{}", job.epoch, job.first, job.last),
            stored: true,
        }],
    }
}

fn duplicates(coverage: &Coverage) -> anyhow::Result<Vec<(u64, Origins)>> {
    let mut duplicates = Vec::with_capacity(coverage.duplicates.len());
    for (sequence, origins) in &coverage.duplicates {
        let origins = origins.parse().context("the sink's list of duplicates")?;
        duplicates.push((*sequence, origins));
    }
    duplicates.sort_unstable_by_key(|(sequence, _)| *sequence);
    Ok(duplicates)
}

/// Whether a job was done before.
fn is_archived(coverage: &Coverage, job: &Job) -> anyhow::Result<bool> {
    let (archived, _) = coverage.ranges().map_err(anyhow::Error::msg)?;
    let mut ranges = archived.ranges().iter();
    Ok(ranges.any(|range| range.contains(&job.first) && range.contains(&job.last)))
}

/// Writes aside what arrives, up to the end (`None`). Where the channel closes without one, the range was not read
/// to its end: there are no files.
fn write(
    job: &Job,
    stored: &Stored,
    mut arriving: mpsc::Receiver<Option<Delivery>>,
    folder: &Folder,
) -> anyhow::Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    let mut part = Part::new(&job.epoch, job.first);
    while let Some(delivery) = arriving
        .blocking_recv()
        .context("the range was not read to its end")?
    {
        let sequence = delivery.sequence();
        if part.is_full() {
            let next = Part::new(&job.epoch, sequence);
            drafts.extend(std::mem::replace(&mut part, next).write(sequence - 1, folder)?);
        }
        if stored.refused.contains(sequence) {
            part.leave_out(sequence);
            continue;
        }
        let repeated = stored
            .duplicates
            .binary_search_by_key(&sequence, |(sequence, _)| *sequence);
        part.add(&Message {
            stamp: Stamp {
                ingest_epoch: delivery.header(headers::EPOCH).unwrap_or_default(),
                events_epoch: &job.epoch,
                sequence,
                stored: Time(delivery.stored_microseconds()),
            },
            subject: delivery.subject(),
            payload: delivery.payload(),
            repeated: repeated.ok().map(|at| &stored.duplicates[at].1),
        })?;
    }
    drafts.extend(part.write(job.last, folder)?);
    Ok(drafts)
}

fn say_missing(job: &Job, missing: u64) {
    if missing > 0 {
        tracing::error!(
            worker = "archive",
            first = job.first,
            last = job.last,
            missing,
            "EVENTS was purged by hand before these messages were archived; their rows are only in the database, \
             and stay there"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_was_not_read_to_its_end_gives_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let job = Job {
            epoch: "01JD00000000000000000000B1".to_owned(),
            first: 1,
            last: 9,
        };
        let stored = Stored {
            refused: Origins::default(),
            duplicates: Vec::new(),
        };
        let write = |ended| {
            let (sender, receiver) = mpsc::channel(1);
            if ended {
                sender.try_send(None).unwrap();
            }
            drop(sender);
            write(&job, &stored, receiver, &Folder::new(folder.path(), "w"))
        };
        assert!(write(true).unwrap().is_empty());
        assert!(
            write(false)
                .unwrap_err()
                .to_string()
                .contains("not read to its end")
        );
    }
}
