//! One batch of the writer runtime: collecting it, and committing it on a blocking thread.

use std::time::Duration;

use schemas::headers;

use crate::context::Context;
use crate::retry::Policy;
use crate::writer::{CommitConfig, CommitFailure, Received, Unstored, Writer};

/// A batch in the making.
#[derive(Default)]
pub(crate) struct Collecting {
    pub(crate) messages: Vec<Received>,
    pub(crate) rows: u64,
    pub(crate) bytes: usize,
}

impl Collecting {
    pub(crate) fn push(&mut self, received: Received) {
        let count = received
            .delivery
            .header(headers::COUNT)
            .and_then(|count| count.parse::<u64>().ok());
        // A claim of whoever wrote the header: no message holds more rows than bytes.
        let bytes = received.delivery.size_bytes() as u64;
        self.rows += count.unwrap_or(1).min(bytes);
        self.bytes += received.delivery.size_bytes();
        self.messages.push(received);
    }

    pub(crate) fn is_full(&self, config: &CommitConfig) -> bool {
        self.rows >= config.rows_max || self.bytes >= config.bytes_max
    }
}

pub(crate) async fn finished<W>(
    commit: &mut Option<tokio::task::JoinHandle<Committed<W>>>,
) -> anyhow::Result<Committed<W>> {
    match commit {
        Some(handle) => Ok(handle.await?),
        None => std::future::pending().await,
    }
}

pub(crate) struct Committed<W> {
    pub(crate) writer: W,
    pub(crate) batch: Collecting,
    /// An error: nothing is acknowledged. Without one the process is to end, and the batch was given up.
    pub(crate) unstored: Result<Unstored, Option<anyhow::Error>>,
    /// The batch may be what broke the writer.
    pub(crate) is_suspect: bool,
}

/// Commits, trying again for as long as it takes: the batch stays ours and nothing is lost.
pub(crate) fn commit<W: Writer>(mut writer: W, batch: Collecting, context: &Context) -> Committed<W> {
    let mut delays = Policy::REOPEN.delays();
    loop {
        match writer.commit(&batch.messages) {
            Ok(mut unstored) => {
                context.set_trouble(None);
                unstored.rejected.sort_by_key(|(at, _)| *at);
                unstored.deferred.sort_unstable();
                return Committed {
                    writer,
                    batch,
                    unstored: Ok(unstored),
                    is_suspect: false,
                };
            }
            Err(CommitFailure::Fatal(error)) => {
                return Committed {
                    writer,
                    batch,
                    unstored: Err(Some(error)),
                    is_suspect: false,
                };
            }
            Err(CommitFailure::Broken(error)) => {
                return Committed {
                    writer,
                    batch,
                    unstored: Err(Some(error)),
                    is_suspect: true,
                };
            }
            Err(CommitFailure::Retry(error)) => {
                tracing::error!(
                    worker = W::NAME,
                    error = format!("{error:#}"),
                    "commit failed; trying again"
                );
                context.set_trouble(Some(format!("{error:#}")));
            }
        }
        if context.shutdown().is_cancelled() {
            return Committed {
                writer,
                batch,
                unstored: Err(None),
                is_suspect: false,
            };
        }
        std::thread::sleep(delays.next().unwrap_or(Duration::from_secs(5)));
    }
}
