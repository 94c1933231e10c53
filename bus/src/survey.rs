//! What a person asks first: who lives, how full the streams are, how far each reader is. Only reads.

use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::heartbeat::Heartbeat;
use crate::plan::find_stream;
use crate::topology::{STREAMS, WORKERS_BUCKET};

/// Keys read from the bucket at the same time.
const READS_MAX: usize = 32;
/// For all heartbeats together.
const HEARTBEATS_TIMEOUT: Duration = Duration::from_secs(5);

/// One stream of the topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSurvey {
    /// Its name.
    pub stream: &'static str,
    /// What the server holds; none if it has no such stream.
    pub held: Option<Held>,
    /// Its durables, in the order of the topology.
    pub readers: Vec<ReaderSurvey>,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Messages.
    pub messages: u64,
    /// Their size on disk.
    pub bytes: u64,
    /// Beyond this the stream refuses new messages; none: it never does.
    pub bytes_max: Option<u64>,
}

/// One durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReaderSurvey {
    /// Its name.
    pub durable: String,
    /// Messages that it has not done; none if the server has no such durable.
    pub waiting: Option<u64>,
    /// When NATS stored the oldest of them, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
}

impl Context {
    /// The heartbeats of all workers, by name and instance. A copy that was killed is among them until its last
    /// one is forgotten.
    ///
    /// # Errors
    /// When the server does not answer. A server without the bucket has no heartbeats.
    pub async fn heartbeats(&self) -> Result<Vec<Heartbeat>> {
        let what = || "reading the heartbeats".to_owned();
        let reading = async {
            let Ok(store) = self.jetstream().get_key_value(WORKERS_BUCKET).await else {
                return Ok(Vec::new());
            };
            let keys = store
                .keys()
                .await
                .map_err(|error| Error::jetstream(what(), error))?;
            let mut beats: Vec<Heartbeat> = keys
                .map(|key| {
                    let store = &store;
                    async move { store.get(key?).await.map_err(async_nats::Error::from) }
                })
                .buffer_unordered(READS_MAX)
                // What is no heartbeat is a claim, or of another version of aiai.
                .try_filter_map(|value| async move {
                    Ok(value.and_then(|json| serde_json::from_slice(&json).ok()))
                })
                .try_collect()
                .await
                .map_err(|error| Error::jetstream(what(), error))?;
            beats.sort_by(|one, other| (&one.worker, &one.instance).cmp(&(&other.worker, &other.instance)));
            Ok(beats)
        };
        tokio::time::timeout(HEARTBEATS_TIMEOUT, reading)
            .await
            .map_err(|elapsed| Error::jetstream(what(), elapsed))?
    }

    /// Sizes of all streams and the distance of all their readers.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn survey(&self) -> Result<Vec<StreamSurvey>> {
        let topology = self.topology();
        try_join_all(STREAMS.map(|stream| {
            let readers: Vec<_> = topology
                .durables
                .iter()
                .filter(|durable| durable.stream == stream)
                .filter_map(|durable| durable.config.durable_name.clone())
                .collect();
            self.survey_stream(stream, readers)
        }))
        .await
    }

    async fn survey_stream(&self, name: &'static str, durables: Vec<String>) -> Result<StreamSurvey> {
        let found = find_stream(self.jetstream(), name).await?;
        let held = found.as_ref().map(|stream| {
            let info = stream.cached_info();
            Held {
                messages: info.state.messages,
                bytes: info.state.bytes,
                bytes_max: u64::try_from(info.config.max_bytes).ok(),
            }
        });
        let readers = durables
            .into_iter()
            .map(|durable| survey_reader(found.as_ref(), durable));
        Ok(StreamSurvey {
            stream: name,
            held,
            readers: join_all(readers).await,
        })
    }
}

/// A durable that cannot be read counts as absent.
async fn survey_reader(stream: Option<&Stream>, durable: String) -> ReaderSurvey {
    let info = match stream {
        Some(stream) => stream.consumer_info(&durable).await.ok(),
        None => None,
    };
    let (Some(stream), Some(info)) = (stream, info) else {
        return ReaderSurvey {
            durable,
            waiting: None,
            oldest_ms: None,
        };
    };
    let waiting = info.num_pending + info.num_ack_pending as u64;
    let mut oldest_ms = None;
    if waiting > 0 {
        // It may have been done or trimmed meanwhile: then nothing is that old.
        let after = info.ack_floor.stream_sequence + 1;
        let oldest = stream.get_first_raw_message_by_subject(&info.config.filter_subject, after);
        oldest_ms = oldest
            .await
            .ok()
            .and_then(|message| i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).ok());
    }
    ReaderSurvey {
        durable,
        waiting: Some(waiting),
        oldest_ms,
    }
}
