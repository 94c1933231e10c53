//! All streams and who reads them, as figures for people: read seldom, never to decide what is safe.

use async_nats::jetstream::consumer;
use futures_util::TryStreamExt;

use crate::context::Context;
use crate::delivery::Delivery;
use crate::error::{Error, Result};

/// A stream and its durables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFigures {
    /// Its name.
    pub name: String,
    /// Held now.
    pub messages: u64,
    /// Held now.
    pub bytes: u64,
    /// It refuses new messages beyond this; none: no limit.
    pub bytes_max: Option<u64>,
    /// The highest sequence it ever gave.
    pub last_sequence: u64,
    /// By name.
    pub durables: Vec<DurableFigures>,
}

/// How far a durable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableFigures {
    /// Its name.
    pub name: String,
    /// The subjects it reads.
    pub filter: String,
    /// All stream sequences up to it are acknowledged.
    pub ack_floor: u64,
    /// Counts acknowledged messages, in order.
    pub acked: u64,
    /// Delivered, not acknowledged.
    pub ack_pending: u64,
    /// Not delivered yet.
    pub pending: u64,
}

impl Context {
    /// The figures of every stream of the topology: two requests each.
    ///
    /// # Errors
    /// When one does not exist or the server does not answer.
    pub async fn figures(&self) -> Result<Vec<StreamFigures>> {
        let mut all = Vec::new();
        for name in self.stream_names() {
            all.push(self.stream_figures(&name).await?);
        }
        Ok(all)
    }

    /// The figures of one stream.
    ///
    /// # Errors
    /// When it does not exist or the server does not answer.
    pub async fn stream_figures(&self, name: &str) -> Result<StreamFigures> {
        let what = || format!("reading the figures of stream {name}");
        let stream = self
            .jetstream()
            .get_stream(name)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let consumers: Vec<consumer::Info> = stream
            .consumers()
            .try_collect()
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let mut durables: Vec<_> = consumers.into_iter().filter_map(durable).collect();
        durables.sort_by(|left, right| left.name.cmp(&right.name));
        let info = stream.cached_info();
        Ok(StreamFigures {
            name: name.to_owned(),
            messages: info.state.messages,
            bytes: info.state.bytes,
            bytes_max: u64::try_from(info.config.max_bytes).ok(),
            last_sequence: info.state.last_sequence,
            durables,
        })
    }

    /// When NATS stored the first message of a stream at or after a sequence on the subjects of a filter, in
    /// microseconds since 1970; `None`: there is none.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn stored_at_or_after(&self, stream: &str, filter: &str, sequence: u64) -> Result<Option<i64>> {
        use async_nats::jetstream::stream::DirectGetErrorKind::NotFound;
        let what = || format!("reading a time in {stream}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        match handle.direct_get_next_for_subject(filter, Some(sequence)).await {
            Ok(message) => Ok(i64::try_from(message.time.unix_timestamp_nanos() / 1000).ok()),
            Err(error) if error.kind() == NotFound => Ok(None),
            Err(error) => Err(Error::jetstream(what(), error)),
        }
    }

    /// The headers of the newest messages of a stream, oldest first; bodies are left out.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn newest_headers(&self, stream: &str, count: u64) -> Result<Vec<Delivery>> {
        let last = self.stream_state(stream).await?.last_sequence;
        let mut found = Vec::new();
        if last > 0 {
            let first = last.saturating_sub(count.saturating_sub(1)).max(1);
            let mut range = self.range_of_headers(stream, first, last).await?;
            while let Some(message) = range.next().await? {
                found.push(message);
            }
        }
        Ok(found)
    }
}

/// Readers that come and go are of no interest.
fn durable(info: consumer::Info) -> Option<DurableFigures> {
    Some(DurableFigures {
        name: info.config.durable_name?,
        filter: info.config.filter_subject,
        ack_floor: info.ack_floor.stream_sequence,
        acked: info.ack_floor.consumer_sequence,
        ack_pending: info.num_ack_pending as u64,
        pending: info.num_pending,
    })
}
