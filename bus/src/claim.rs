//! A claim: what only one owner may do at a time, said in the bucket `workers`.
//!
//! For the sink: two databases on one durable would each get a part of the data. A claim lapses
//! with the bucket's time to live when its holder was killed. The same owner may always take it
//! again; what identifies an owner must be guarded elsewhere (the database file has a lock).

use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, Result, chain};
use crate::heartbeat::{HEARTBEAT_SECONDS, host};
use crate::topology::WORKERS_BUCKET;

/// Who holds a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    owner: String,
    host: String,
    pid: u32,
}

/// A claim we hold.
#[derive(Debug)]
pub struct Claim {
    key: String,
    holder: Holder,
}

impl Context {
    /// Claims `name` for `owner`.
    ///
    /// # Errors
    /// [`Error::Claimed`] while another owner holds it; others when the bucket does not answer.
    pub async fn claim(&self, name: &str, owner: &str) -> Result<Claim> {
        let holder = Holder {
            owner: owner.to_owned(),
            host: host(),
            pid: std::process::id(),
        };
        let claim = Claim {
            key: format!("claim.{name}"),
            holder,
        };
        let store = bucket(self).await?;
        match store.create(claim.key.as_str(), claim.value()).await {
            Ok(_) => Ok(claim),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                claim.renew(&store).await?;
                Ok(claim)
            }
            Err(error) => Err(Error::jetstream(format!("claiming {name}"), error)),
        }
    }
}

impl Claim {
    fn value(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(&self.holder).unwrap_or_default())
    }

    /// Says again that it is ours, unless another owner says so.
    async fn renew(&self, store: &Store) -> Result<()> {
        let failed = |source| Error::JetStream {
            what: format!("renewing {}", self.key),
            source,
        };
        let found = store
            .get(self.key.as_str())
            .await
            .map_err(|error| failed(error.into()))?;
        let other = found.and_then(|value| serde_json::from_slice::<Holder>(&value).ok());
        if let Some(other) = other.filter(|other| other.owner != self.holder.owner) {
            return Err(Error::Claimed {
                name: self.key.clone(),
                host: other.host,
                pid: other.pid,
            });
        }
        store
            .put(self.key.as_str(), self.value())
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(())
    }

    /// Keeps it until the process is to end, then gives it back.
    ///
    /// # Errors
    /// [`Error::Claimed`] when another owner has it, for example after we were cut off for long.
    pub async fn hold(self, context: &Context) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = context.shutdown().cancelled() => break,
            }
            let renewed = match bucket(context).await {
                Ok(store) => self.renew(&store).await,
                Err(error) => Err(error),
            };
            match renewed {
                Err(error @ Error::Claimed { .. }) => return Err(error),
                Err(error) => tracing::debug!(error = chain(&error), "claim not renewed"),
                Ok(()) => {}
            }
        }
        let give_back = async {
            if let Ok(store) = bucket(context).await {
                // If it fails, the claim lapses by itself.
                let _ = store.purge(self.key.as_str()).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), give_back).await;
        Ok(())
    }
}

/// The bucket; made again when it is gone, as after a restart of nats-server, which keeps it in memory.
pub(crate) async fn bucket(context: &Context) -> Result<Store> {
    if let Ok(store) = context.jetstream().get_key_value(WORKERS_BUCKET).await {
        return Ok(store);
    }
    context.ensure_topology().await?;
    let found = context.jetstream().get_key_value(WORKERS_BUCKET).await;
    found.map_err(|error| Error::jetstream(format!("opening bucket {WORKERS_BUCKET}"), error))
}
