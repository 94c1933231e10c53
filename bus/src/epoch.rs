//! Epochs: which life of a stream a sequence belongs to.
//!
//! A stream deleted and made again counts from 1: only the ULID in its metadata tells its messages from those of the
//! life before. A stream that was made by hand has none and is given one before anybody reads it. It follows from
//! when the server made the stream: two workers that give one at the same moment give the same.

use async_nats::jetstream::{self, stream};
use ulid::Ulid;

use crate::context::{Context, StreamState};
use crate::error::{Error, Result, chain};
use crate::plan::find_stream;
use crate::topology::EPOCH_KEY;

/// The field of a plan's difference that says that a stream has none.
pub(crate) const FIELD: &str = "metadata.aiai-epoch";

/// The epoch in a stream's metadata, if it is one.
pub(crate) fn of(config: &stream::Config) -> Option<&str> {
    let epoch = config.metadata.get(EPOCH_KEY)?;
    Ulid::from_string(epoch).is_ok().then_some(epoch)
}

/// The epoch that a stream without one gets.
pub(crate) fn derived(info: &stream::Info) -> String {
    let nanoseconds = info.created.unix_timestamp_nanos();
    let milliseconds = u64::try_from(nanoseconds / 1_000_000).unwrap_or_default();
    let text = format!("{}:{nanoseconds}", info.config.name);
    let (low, high) = (hash(text.bytes()), hash(text.bytes().rev()));
    Ulid::from_parts(milliseconds, u128::from(high) << 64 | u128::from(low)).to_string()
}

/// FNV-1a, 64 bits: the same on every machine.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Gives a stream an epoch if it has none. Changes nothing else.
pub(crate) async fn give(context: &jetstream::Context, name: &str) -> Result<()> {
    let Some(found) = find_stream(context, name).await? else {
        return Ok(());
    };
    let info = found.cached_info();
    if of(&info.config).is_some() {
        return Ok(());
    }
    let epoch = derived(info);
    let mut config = info.config.clone();
    config.metadata.retain(|key, _| !key.starts_with("_nats."));
    config.metadata.insert(EPOCH_KEY.to_owned(), epoch.clone());
    context
        .update_stream(config)
        .await
        .map_err(|error| Error::jetstream(format!("giving stream {name} an epoch"), error))?;
    tracing::warn!(
        stream = name,
        epoch,
        "the stream was made by hand; it has an epoch now"
    );
    Ok(())
}

/// That what an open input delivers is of the life it was opened on.
///
/// The stream is asked when the first message is here, and again after each reconnection: a server that came back may
/// have other files. While the connection lasts, the server itself ends what reads a stream that is deleted.
#[derive(Debug)]
pub(crate) struct Life {
    stream: &'static str,
    epoch: String,
    last: u64,
    /// How many connections there had been when it was last asked.
    asked_at: Option<u64>,
}

impl Life {
    /// Of an input that was opened on this state.
    pub(crate) fn new(stream: &'static str, state: &StreamState) -> Self {
        Self {
            stream,
            epoch: state.epoch.clone(),
            last: state.last_sequence,
            asked_at: None,
        }
    }

    /// Whether it still is; otherwise the input must be opened again.
    pub(crate) async fn goes_on(&mut self, context: &Context) -> bool {
        let connections = context.connections();
        if self.asked_at == Some(connections) {
            return true;
        }
        match context.stream_state(self.stream).await {
            Ok(state) if state.epoch == self.epoch && state.last_sequence >= self.last => {
                (self.asked_at, self.last) = (Some(connections), state.last_sequence);
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(
                    stream = self.stream,
                    error = chain(&error),
                    "stream not looked at"
                );
                false
            }
        }
    }
}
