//! Compares the topology with a server. Changes nothing; `apply` carries a plan out.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, stream};
use serde::Serialize;
use serde_json::Value;

use crate::epoch;
use crate::error::{Error, Result};
use crate::topology::Topology;

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
    /// Whether this field of an object that exists differs.
    pub(crate) fn differs(&self, object: &str, field: &str) -> bool {
        self.changes.iter().any(|change| {
            change.object == object && change.differences.iter().any(|found| found.field == field)
        })
    }

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
/// The field that says where a durable starts. It cannot be edited.
pub(crate) const START: &str = "deliver_policy";
/// The durables that their reader moves.
const SINK: &str = "sink";
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
                let info = found.cached_info();
                let have = json(&info.config);
                let mut differing = differences(&json(want), &have, &["metadata"], STREAM_DANGEROUS);
                if epoch::of(&info.config).is_none() {
                    differing.push(Difference {
                        field: epoch::FIELD.to_owned(),
                        have: Value::Null,
                        want: epoch::derived(info).into(),
                        loses_data: false,
                    });
                }
                changes.extend(update(object, differing));
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
            Some(found) => {
                let (wanted, held) = (wire(&want.config), json(&found.config));
                let mut differing = differences(&wanted, &held, DURABLE_IGNORED, DURABLE_DANGEROUS);
                if starts_late(name, want.config.deliver_policy, found.config.deliver_policy) {
                    let value = |from: &Value| from.get(START).cloned().unwrap_or(Value::Null);
                    differing.push(Difference {
                        field: START.to_owned(),
                        have: value(&held),
                        want: value(&wanted),
                        loses_data: true,
                    });
                }
                changes.extend(update(object, differing));
            }
        }
    }
    for want in &topology.buckets {
        if context.get_key_value(want.bucket.as_str()).await.is_err() {
            changes.push(create(
                format!("bucket {}", want.bucket),
                &serde_json::json!({
                    "storage": want.storage, "history": want.history, "max_age_seconds": want.max_age.as_secs(),
                }),
            ));
        }
    }
    Ok(Plan { changes })
}

/// Whether a durable passes over messages that its worker needs: somebody made it by hand, with another start. The
/// sink's own are moved to where its database continues.
pub(crate) fn starts_late(durable: &str, want: DeliverPolicy, have: DeliverPolicy) -> bool {
    let is_moved = durable == SINK && matches!(have, DeliverPolicy::ByStartSequence { .. });
    want == DeliverPolicy::All && have != DeliverPolicy::All && !is_moved
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

pub(crate) async fn find_stream(context: &jetstream::Context, name: &str) -> Result<Option<stream::Stream>> {
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
