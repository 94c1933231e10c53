//! How many messages of a stream are of which subjects, without any of them being delivered: some could not be read
//! by a client (see `unreadable`), and all of them may be many.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::future::try_join_all;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::unreadable;

/// The server forgets a counter whose removal was lost.
const INACTIVE: Duration = Duration::from_secs(10);

/// Where and when a message was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its subject.
    pub subject: String,
    /// When NATS stored it, RFC 3339.
    pub stored: String,
}

impl Context {
    /// How many messages of a stream there are from a sequence on, for each set of subjects; no subjects: of any.
    /// Figures of the same moment only if the stream's last sequence was the same before and after.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn count_from(&self, stream: &str, first: u64, filters: &[Vec<String>]) -> Result<Vec<u64>> {
        let what = || format!("counting the messages of {stream} from {first}");
        let handle = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(|error| Error::jetstream(what(), error))?;
        let counts = filters.iter().map(|subjects| count(&handle, first, subjects));
        try_join_all(counts)
            .await
            .map_err(|problem| Error::jetstream(what(), problem))
    }

    /// Subject and time of one message; `None`: the stream does not have it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn placed(&self, stream: &str, sequence: u64) -> Result<Option<Placed>> {
        let raw = unreadable::read(self, stream, sequence).await?;
        Ok(raw.map(|raw| Placed {
            subject: raw.subject,
            stored: raw.time,
        }))
    }
}

/// A consumer that is never read: the server says how many messages it would get.
async fn count(stream: &Stream<()>, first: u64, subjects: &[String]) -> std::result::Result<u64, String> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: first.max(1),
        },
        ack_policy: AckPolicy::None,
        filter_subjects: subjects.to_vec(),
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await;
    let consumer = consumer.map_err(|error| error.to_string())?;
    let info = consumer.cached_info();
    // If this fails the server does it.
    let _ = stream.delete_consumer(&info.name).await;
    Ok(info.num_pending)
}
