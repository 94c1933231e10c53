//! Reading a durable: bounded pulls with heartbeats, reopened after any loss.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer, pull};

use crate::context::{Context, StreamState};
use crate::error::{Error, Result, chain};
use crate::plan;
use crate::pull::Pull;
use crate::retry::Policy;

/// What a worker reads.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// The stream.
    pub stream: &'static str,
    /// The durable, shared by all copies of the worker.
    pub durable: &'static str,
    /// Messages in one pull.
    pub pull_messages: usize,
    /// Bytes in one pull: bounds what is outstanding when messages are large.
    pub pull_bytes: usize,
}

impl Input {
    /// The usual pull: 2,000 messages, 8 MB.
    #[must_use]
    pub const fn new(stream: &'static str, durable: &'static str) -> Self {
        Self {
            stream,
            durable,
            pull_messages: 2000,
            pull_bytes: 8 * 1024 * 1024,
        }
    }
}

/// An open durable.
pub(crate) struct Source {
    pub(crate) pull: Pull,
    pub(crate) state: StreamState,
}

/// Opens a durable.
pub(crate) async fn open(context: &Context, input: Input) -> Result<Source> {
    let what = || format!("opening durable {}/{}", input.stream, input.durable);
    let consumer: PullConsumer = context
        .jetstream()
        .get_consumer_from_stream(input.durable, input.stream)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    check_start(context, input, consumer.cached_info().config.deliver_policy)?;
    // After the durable: if the stream is made anew in between, this is the state of the one that is read.
    let state = context.stream_state(input.stream).await?;
    let pull = Pull::open(context, input).await?;
    Ok(Source { pull, state })
}

/// Refuses a durable that was made by hand so that it passes over messages.
fn check_start(context: &Context, input: Input, have: DeliverPolicy) -> Result<()> {
    let durables = context.topology().durables.into_iter();
    let mut wanted = durables
        .filter(|durable| durable.stream == input.stream)
        .filter(|durable| durable.config.durable_name.as_deref() == Some(input.durable));
    let late = wanted.any(|durable| plan::starts_late(input.durable, durable.config.deliver_policy, have));
    if !late {
        return Ok(());
    }
    Err(Error::UnsafeDrift {
        object: format!("durable {}/{}", input.stream, input.durable),
        detail: format!("{} is {have:?} and must be All", plan::START),
    })
}

/// For a durable with a single reader: moves it so that it delivers from `sequence` on.
pub(crate) async fn rewind(context: &Context, input: Input, sequence: u64) -> Result<()> {
    let what = || {
        format!(
            "moving durable {}/{} to sequence {sequence}",
            input.stream, input.durable
        )
    };
    let stream = context
        .jetstream()
        .get_stream_no_info(input.stream)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    let consumer: PullConsumer = stream
        .get_consumer(input.durable)
        .await
        .map_err(|error| Error::jetstream(what(), error.to_string()))?;
    let info = consumer.cached_info();
    // A pull that still waits is our own from before: what it is given, nobody hears.
    let untouched = info.num_ack_pending == 0 && info.num_waiting == 0;
    if untouched && info.ack_floor.stream_sequence + 1 == sequence {
        return Ok(());
    }
    // Only this writer reads the durable, so recreating it disturbs nobody.
    let mut config: pull::Config = pull::Config {
        durable_name: info.config.durable_name.clone(),
        filter_subject: info.config.filter_subject.clone(),
        ack_policy: info.config.ack_policy,
        ack_wait: info.config.ack_wait,
        max_deliver: info.config.max_deliver,
        max_ack_pending: info.config.max_ack_pending,
        max_waiting: info.config.max_waiting,
        ..pull::Config::default()
    };
    config.deliver_policy = DeliverPolicy::ByStartSequence {
        start_sequence: sequence.max(1),
    };
    stream
        .delete_consumer(input.durable)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    stream
        .create_consumer(config)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    Ok(())
}

/// Runs `open` until it succeeds; `None` when the process is to end.
///
/// Between attempts it recreates what was deleted under it.
pub(crate) async fn persist<T, F>(context: &Context, mut open: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T>>,
{
    let mut delays = Policy::REOPEN.delays();
    let mut said = false;
    let mut refused = None;
    while !context.shutdown().is_cancelled() {
        match open().await {
            Ok(value) => {
                context.set_trouble(None);
                return Some(value);
            }
            Err(error) => {
                let text = chain(&error);
                if said {
                    tracing::debug!(worker = context.worker(), error = text, "input still not open");
                } else {
                    tracing::warn!(
                        worker = context.worker(),
                        error = text,
                        "input not open; trying again"
                    );
                    said = true;
                }
                context.set_trouble(Some(text));
            }
        }
        let delay = delays.next().unwrap_or(Duration::from_secs(5));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = context.shutdown().cancelled() => return None,
        }
        match context.ensure_topology().await {
            Ok(()) => {}
            // Nothing but the operator's word changes that: said once, and shown until it is corrected.
            Err(error @ Error::UnsafeDrift { .. }) => {
                let text = chain(&error);
                if refused.as_ref() != Some(&text) {
                    tracing::error!(worker = context.worker(), error = text, "waiting");
                    refused = Some(text.clone());
                }
                context.set_trouble(Some(text));
            }
            Err(error) => tracing::debug!(
                worker = context.worker(),
                error = chain(&error),
                "topology not ensured"
            ),
        }
    }
    None
}
