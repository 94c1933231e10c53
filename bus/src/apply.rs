//! Corrects the server according to a plan.
//!
//! Missing objects may be created by any worker at start. Objects that differ are changed
//! only by `aiai topology apply`; a difference that could lose data stops the worker.
//! Nothing here shrinks a stream below what it holds, and nothing is ever deleted but a durable, which is only a
//! place in a stream, to make it anew at the stream's beginning.

use std::collections::HashMap;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{self, kv, stream};

use crate::epoch;
use crate::error::{Error, Result, Source};
use crate::plan::{self, Action, Plan, find_stream};
use crate::topology::{EPOCH_KEY, Topology};

/// What `apply` may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only create what is missing: what a worker does at start.
    Missing,
    /// Also change what differs: what the operator asks for.
    Everything,
}

/// Carries out a plan made by [`plan`] for the same topology.
///
/// # Errors
/// When the server refuses a change; the text names the object and the configuration key to change.
pub(crate) async fn apply(
    context: &jetstream::Context,
    topology: &Topology,
    plan: &Plan,
    scope: Scope,
) -> Result<()> {
    let due = |object: &str| {
        plan.changes
            .iter()
            .find(|change| change.object == object)
            .map(|change| change.action)
            .filter(|action| *action == Action::Create || scope == Scope::Everything)
    };
    for want in &topology.streams {
        match due(&format!("stream {}", want.name)) {
            Some(Action::Create) => create_stream(context, want).await?,
            Some(Action::Update) => update_stream(context, want).await?,
            None if plan.differs(&format!("stream {}", want.name), epoch::FIELD) => {
                epoch::give(context, &want.name).await?;
            }
            None => {}
        }
    }
    for want in &topology.durables {
        let name = want.config.durable_name.as_deref().unwrap_or_default();
        let result = match due(&format!("durable {}/{name}", want.stream)) {
            Some(Action::Create) => context
                .create_consumer_strict_on_stream(want.config.clone(), want.stream)
                .await
                .err()
                .map(Source::from),
            Some(Action::Update) if plan.differs(&format!("durable {}/{name}", want.stream), plan::START) => {
                restart_durable(context, topology, want.stream, name).await?;
                None
            }
            Some(Action::Update) => update_durable(context, want.stream, name, &want.config).await?,
            None => None,
        };
        if let Some(error) = result {
            return Err(Error::jetstream(
                format!("setting up durable {}/{name}", want.stream),
                error,
            ));
        }
    }
    for want in &topology.buckets {
        if due(&format!("bucket {}", want.bucket)).is_some() {
            create_bucket(context, want).await?;
        }
    }
    Ok(())
}

async fn create_stream(context: &jetstream::Context, want: &stream::Config) -> Result<()> {
    let mut config = want.clone();
    config.metadata = HashMap::from([(EPOCH_KEY.to_owned(), ulid::Ulid::generate().to_string())]);
    match context.create_stream(config).await {
        Ok(_) => Ok(()),
        // Another worker that started at the same moment was first: its epoch stands.
        Err(_) if find_stream(context, &want.name).await?.is_some() => Ok(()),
        Err(error) => Err(Error::jetstream(
            format!(
                "creating stream {} of {} MB (if the server lacks storage, lower streams.{}_max_megabytes)",
                want.name,
                want.max_bytes / 1024 / 1024,
                want.name.to_lowercase()
            ),
            error,
        )),
    }
}

async fn update_stream(context: &jetstream::Context, want: &stream::Config) -> Result<()> {
    let Some(found) = find_stream(context, &want.name).await? else {
        return Ok(());
    };
    let info = found.cached_info();
    let held = i64::try_from(info.state.bytes).unwrap_or(i64::MAX);
    if want.max_bytes < held {
        return Err(Error::UnsafeDrift {
            object: format!("stream {}", want.name),
            detail: format!(
                "it holds {} MB and shrinking it to {} MB would delete messages; raise streams.{}_max_megabytes",
                held / 1024 / 1024,
                want.max_bytes / 1024 / 1024,
                want.name.to_lowercase()
            ),
        });
    }
    let mut config = want.clone();
    config.metadata = info.config.metadata.clone();
    config.metadata.retain(|key, _| !key.starts_with("_nats."));
    config
        .metadata
        .entry(EPOCH_KEY.to_owned())
        .and_modify(|found| {
            if epoch::of(&info.config).is_none() {
                *found = epoch::derived(info);
            }
        })
        .or_insert_with(|| epoch::derived(info));
    context
        .update_stream(config)
        .await
        .map(|_| ())
        .map_err(|error| Error::jetstream(format!("updating stream {}", want.name), error))
}

/// Makes a durable anew, at the beginning of its stream.
pub(crate) async fn restart_durable(
    context: &jetstream::Context,
    topology: &Topology,
    stream: &str,
    name: &str,
) -> Result<()> {
    let what = || format!("making durable {stream}/{name} anew");
    let wanted = |durable: &&crate::topology::Durable| {
        durable.stream == stream && durable.config.durable_name.as_deref() == Some(name)
    };
    let Some(want) = topology.durables.iter().find(wanted) else {
        return Ok(());
    };
    let handle = context
        .get_stream_no_info(stream)
        .await
        .map_err(|error| Error::jetstream(what(), error))?;
    match handle.delete_consumer(name).await {
        Ok(_) => {}
        // Gone already: it only has to be made.
        Err(error) if is_gone(&error) => {}
        // To make it while it is there would leave it as it is.
        Err(error) => return Err(Error::jetstream(what(), error)),
    }
    match handle.create_consumer(want.config.clone()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::jetstream(what(), error)),
    }
}

fn is_gone(error: &stream::ConsumerError) -> bool {
    matches!(error.kind(), stream::ConsumerErrorKind::JetStream(error)
        if error.error_code() == jetstream::ErrorCode::CONSUMER_NOT_FOUND)
}

async fn update_durable(
    context: &jetstream::Context,
    stream: &str,
    name: &str,
    want: &pull::Config,
) -> Result<Option<Source>> {
    let Some(found) = find_stream(context, stream).await? else {
        return Ok(None);
    };
    let info = found
        .consumer_info(name)
        .await
        .map_err(|error| Error::jetstream(format!("looking up durable {stream}/{name}"), error))?;
    // A durable's start cannot be edited: keep the one it has.
    let config = pull::Config {
        deliver_policy: info.config.deliver_policy,
        ..want.clone()
    };
    Ok(context
        .update_consumer_on_stream(config, stream)
        .await
        .err()
        .map(Into::into))
}

async fn create_bucket(context: &jetstream::Context, want: &kv::Config) -> Result<()> {
    match context.create_key_value(want.clone()).await {
        Ok(_) => Ok(()),
        Err(_) if context.get_key_value(want.bucket.as_str()).await.is_ok() => Ok(()),
        Err(error) => Err(Error::jetstream(
            format!("creating bucket {}", want.bucket),
            error,
        )),
    }
}
