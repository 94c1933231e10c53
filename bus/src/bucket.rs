//! Small shared maps: KV buckets that every copy of a worker watches.
//!
//! Invariant: a value is only changed by who knows its revision, so of two who change it at the same time one
//! is told that it lost. Deliberately absent: reads. Who needs values watches, and always has them at hand.

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind, Watch};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::source;

/// What a watch reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// The watch was opened (again): all present values follow. What was known before may be gone.
    Opened,
    /// The newest value of a key.
    Value {
        /// The key.
        key: String,
        /// None: removed.
        value: Option<Bytes>,
        /// To be named by who changes it.
        revision: u64,
    },
}

/// One bucket of the topology.
#[derive(Debug, Clone)]
pub struct Bucket {
    context: Context,
    name: &'static str,
}

impl Context {
    /// A bucket by name; see [`crate::topology`].
    #[must_use]
    pub fn bucket(&self, name: &'static str) -> Bucket {
        Bucket {
            context: self.clone(),
            name,
        }
    }
}

impl Bucket {
    async fn store(&self) -> Result<Store> {
        let found = self.context.jetstream().get_key_value(self.name).await;
        found.map_err(|error| Error::jetstream(format!("opening bucket {}", self.name), error))
    }

    /// Sets (or, with `None`, removes) a value whose newest revision is `revision`; 0 if it never had one.
    /// False: somebody else changed it meanwhile, and the watch says to what.
    ///
    /// # Errors
    /// When the server does not answer, or the key is not a NATS key.
    pub async fn change(&self, key: &str, value: Option<Bytes>, revision: u64) -> Result<bool> {
        let store = self.store().await?;
        let changed = match value {
            Some(value) => store.update(key, value, revision).await.map(drop),
            None => store.delete_expect_revision(key, Some(revision)).await,
        };
        match changed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(Error::jetstream(
                format!("changing {key} in bucket {}", self.name),
                error,
            )),
        }
    }

    /// Reports every value there is, then every change, until the process is to end; reopened after any loss.
    pub async fn watch(&self, mut each: impl FnMut(Watched)) {
        while let Some(mut watch) = source::persist(&self.context, || self.open()).await {
            each(Watched::Opened);
            loop {
                let entry = tokio::select! {
                    entry = watch.next() => entry,
                    () = self.context.shutdown().cancelled() => return,
                };
                match entry {
                    Some(Ok(entry)) => each(Watched::Value {
                        value: (entry.operation == Operation::Put).then_some(entry.value),
                        key: entry.key,
                        revision: entry.revision,
                    }),
                    Some(Err(error)) => {
                        tracing::warn!(bucket = self.name, %error, "watch lost; opening it again");
                        break;
                    }
                    None => break,
                }
            }
        }
    }

    async fn open(&self) -> Result<Watch> {
        let watch = self.store().await?.watch_with_history(">").await;
        watch.map_err(|error| Error::jetstream(format!("watching bucket {}", self.name), error))
    }
}

/// A key that any text can be: what NATS does not allow in keys becomes `=XX`.
#[must_use]
pub fn key_part(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            key.push(char::from(byte));
        } else {
            key.push_str(&format!("={byte:02X}"));
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_key_and_no_two_are_the_same() {
        assert_eq!(key_part("gpt-5.1 (β)"), "gpt-5=2E1=20=28=CE=B2=29");
        assert_ne!(key_part("a=2E"), key_part("a."));
    }
}
