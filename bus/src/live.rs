//! Messages as they pass: what is missed is gone. For live views, never for what must be complete.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::context::Context;
use crate::error::{Error, Result};

/// An open subscription; it survives reconnections, and ends with the process.
#[derive(Debug)]
pub struct Live {
    context: Context,
    subscriber: async_nats::Subscriber,
}

/// One message that passed.
#[derive(Debug, Clone)]
pub struct LiveMessage {
    inner: async_nats::Message,
}

impl Context {
    /// Follows what is published on a subject (wildcards allowed) from now on. A reader that is too slow loses
    /// messages: the client keeps a bounded number of them.
    ///
    /// # Errors
    /// When the subject is none, or the connection is closed.
    pub async fn subscribe(&self, subject: &str) -> Result<Live> {
        let subscriber = self.client().subscribe(subject.to_owned()).await;
        let subscriber =
            subscriber.map_err(|error| Error::jetstream(format!("subscribing to {subject}"), error))?;
        Ok(Live {
            context: self.clone(),
            subscriber,
        })
    }
}

impl Live {
    /// The next message; `None` when the process is to end.
    pub async fn next(&mut self) -> Option<LiveMessage> {
        tokio::select! {
            message = self.subscriber.next() => message.map(|inner| LiveMessage { inner }),
            () = self.context.shutdown().cancelled() => None,
        }
    }
}

impl LiveMessage {
    /// Where it was published.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.inner.subject
    }

    /// The body.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.inner.payload
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.inner.headers.as_ref()?.get(name)?;
        Some(value.as_str())
    }
}
