//! Compares the topology with a server and corrects the server.
//!
//! Missing objects may be created by any worker at start. Objects that differ are changed
//! only by `aiai topology apply`; a difference that could lose data stops the worker.
//! `apply` never shrinks a stream below what it holds and never deletes anything.

use std::collections::HashMap;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, kv, stream};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::topology::{EPOCH_KEY, Topology, WORKERS_BUCKET};

/// A heartbeat older than this is forgotten, in seconds.
pub(crate) const HEARTBEAT_TTL_SECONDS: u64 = 20;

/// What `apply` would do with one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It does not exist.
    Create,
    /// It differs.
    Update,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// As in the server's JSON.
    pub field: String,
    /// On the server.
    pub have: Value,
    /// In the topology.
    pub want: Value,
    /// Left so, messages could be lost.
    pub loses_data: bool,
}

/// One object to create or update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// `stream INGEST`, `durable INGEST/ingest`, `bucket workers`.
    pub object: String,
    /// What to do.
    pub action: Action,
    /// For an update: what differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// For a creation: the whole configuration.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub config: Value,
}

/// All changes, in the order in which they are made. Empty: the server is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// See [`Change`].
    pub changes: Vec<Change>,
}

impl Plan {
    /// The first difference that could lose data.
    #[must_use]
    pub fn unsafe_drift(&self) -> Option<Error> {
        self.changes.iter().find_map(|change| {
            let difference = change
                .differences
                .iter()
                .find(|difference| difference.loses_data)?;
            Some(Error::UnsafeDrift {
                object: change.object.clone(),
                detail: format!(
                    "{} is {} and must be {}",
                    difference.field, difference.have, difference.want
                ),
            })
        })
    }
}

/// Differences between a wanted and a found configuration; keys the topology does not set are left alone.
fn differences(want: &Value, have: &Value, ignored: &[&str], dangerous: &[&str]) -> Vec<Difference> {
    let Some(want) = want.as_object() else {
        return Vec::new();
    };
    want.iter()
        .filter(|(field, _)| !ignored.contains(&field.as_str()))
        .filter_map(|(field, wanted)| {
            let found = have.get(field).cloned().unwrap_or(Value::Null);
            (found != *wanted).then(|| Difference {
                loses_data: dangerous.contains(&field.as_str()),
                field: field.clone(),
                have: found,
                want: wanted.clone(),
            })
        })
        .collect()
}

fn json(config: &impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or(Value::Null)
}

/// Keys without a value say nothing in a creation's listing.
fn brief(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, field| !field.is_null());
    }
    value
}

const STREAM_DANGEROUS: &[&str] = &[
    "retention",
    "discard",
    "storage",
    "max_age",
    "max_msgs",
    "max_msgs_per_subject",
    "no_ack",
    "subjects",
    "sealed",
];
const DURABLE_IGNORED: &[&str] = &[
    "deliver_policy",
    "opt_start_seq",
    "opt_start_time",
    "metadata",
    "name",
];
const DURABLE_DANGEROUS: &[&str] = &["ack_policy", "max_deliver", "filter_subject"];

/// Compares the server with the topology.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn plan(context: &jetstream::Context, topology: &Topology) -> Result<Plan> {
    let mut changes = Vec::new();
    for want in &topology.streams {
        let object = format!("stream {}", want.name);
        match find_stream(context, &want.name).await? {
            None => changes.push(create(object, want)),
            Some(found) => {
                let have = json(&found.cached_info().config);
                changes.extend(update(
                    object,
                    differences(&json(want), &have, &["metadata"], STREAM_DANGEROUS),
                ));
            }
        }
    }
    for want in &topology.durables {
        let name = want.config.durable_name.as_deref().unwrap_or_default();
        let object = format!("durable {}/{name}", want.stream);
        let have = match find_stream(context, want.stream).await? {
            None => None,
            Some(stream) => stream.consumer_info(name).await.ok(),
        };
        match have {
            None => changes.push(create(object, &wire(&want.config))),
            Some(found) => changes.extend(update(
                object,
                differences(
                    &wire(&want.config),
                    &json(&found.config),
                    DURABLE_IGNORED,
                    DURABLE_DANGEROUS,
                ),
            )),
        }
    }
    if context.get_key_value(WORKERS_BUCKET).await.is_err() {
        changes.push(create(
            format!("bucket {WORKERS_BUCKET}"),
            &serde_json::json!({
                "storage": "memory", "history": 1, "max_age_seconds": HEARTBEAT_TTL_SECONDS,
            }),
        ));
    }
    Ok(Plan { changes })
}

/// A durable's configuration in the server's own field names.
fn wire(config: &pull::Config) -> Value {
    use async_nats::jetstream::consumer::IntoConsumerConfig;
    json(&config.clone().into_consumer_config())
}

fn create(object: String, config: &impl Serialize) -> Change {
    Change {
        object,
        action: Action::Create,
        differences: Vec::new(),
        config: brief(json(config)),
    }
}

fn update(object: String, differences: Vec<Difference>) -> Option<Change> {
    (!differences.is_empty()).then_some(Change {
        object,
        action: Action::Update,
        differences,
        config: Value::Null,
    })
}

async fn find_stream(context: &jetstream::Context, name: &str) -> Result<Option<stream::Stream>> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(ref answer)
                if answer.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(Error::jetstream(format!("looking up stream {name}"), error)),
        },
    }
}

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
                .map(crate::error::Source::from),
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
    if due(&format!("bucket {WORKERS_BUCKET}")).is_some() {
        create_bucket(context, topology).await?;
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
        .or_insert_with(|| ulid::Ulid::generate().to_string());
    context
        .update_stream(config)
        .await
        .map(|_| ())
        .map_err(|error| Error::jetstream(format!("updating stream {}", want.name), error))
}

async fn update_durable(
    context: &jetstream::Context,
    stream: &str,
    name: &str,
    want: &pull::Config,
) -> Result<Option<crate::error::Source>> {
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

async fn create_bucket(context: &jetstream::Context, topology: &Topology) -> Result<()> {
    let replicas = topology.streams.first().map_or(1, |stream| stream.num_replicas);
    let config = kv::Config {
        bucket: WORKERS_BUCKET.into(),
        description: "which workers live, with their figures".into(),
        history: 1,
        max_age: std::time::Duration::from_secs(HEARTBEAT_TTL_SECONDS),
        max_bytes: 16 * 1024 * 1024,
        storage: stream::StorageType::Memory,
        num_replicas: replicas,
        ..kv::Config::default()
    };
    match context.create_key_value(config).await {
        Ok(_) => Ok(()),
        Err(_) if context.get_key_value(WORKERS_BUCKET).await.is_ok() => Ok(()),
        Err(error) => Err(Error::jetstream(
            format!("creating bucket {WORKERS_BUCKET}"),
            error,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_fields_of_the_topology_are_compared_and_dangerous_ones_are_marked() {
        let want = json!({"max_bytes": 10, "discard": "new", "metadata": {}});
        let have = json!({"max_bytes": 20, "discard": "old", "metadata": {"x": "y"}, "extra": true});
        let found = differences(&want, &have, &["metadata"], STREAM_DANGEROUS);
        let fields: Vec<_> = found
            .iter()
            .map(|difference| (difference.field.as_str(), difference.loses_data))
            .collect();
        assert_eq!(fields, [("discard", true), ("max_bytes", false)]);
    }

    #[test]
    fn the_first_dangerous_difference_is_named_with_both_values() {
        let plan = Plan {
            changes: vec![Change {
                object: "stream INGEST".into(),
                action: Action::Update,
                differences: differences(
                    &json!({"discard": "new"}),
                    &json!({"discard": "old"}),
                    &[],
                    STREAM_DANGEROUS,
                ),
                config: Value::Null,
            }],
        };
        let text = plan
            .unsafe_drift()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            text.contains("stream INGEST") && text.contains(r#"discard is "old" and must be "new""#),
            "{text}"
        );
    }
}
