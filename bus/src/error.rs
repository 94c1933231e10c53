//! What can go wrong on the bus, by kind, each with the fix in its text.

use std::path::PathBuf;

/// The result of a bus operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An underlying error whose type is a detail of the NATS client.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Everything that can fail on the bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No NATS server answered at start.
    #[error("no nats-server answers at {url}; start one (`aiai up` does), or set nats.url")]
    Unreachable {
        /// Where we tried to connect, without credentials.
        url: String,
        /// Why.
        source: Source,
    },
    /// The server refused our credentials.
    #[error("{url} refuses our credentials; check nats.credentials_file, or the user in nats.url")]
    Unauthorized {
        /// Where we tried to connect, without credentials.
        url: String,
    },
    /// The server lacks what the streams need.
    #[error(
        "nats-server {found} at {place} is too old: {needed} or newer is needed; install a newer one or set NATS_SERVER"
    )]
    ServerTooOld {
        /// The version the server reports.
        found: String,
        /// The URL or the path of the executable.
        place: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// The server runs without JetStream.
    #[error("the nats-server at {url} runs without JetStream; start it with `-js` or with nats/server.conf")]
    NoJetStream {
        /// Where we are connected.
        url: String,
    },
    /// No executable was found.
    #[error(
        "no nats-server found in $NATS_SERVER, .tools/ or PATH; run scripts/run, which fetches one, or set nats.url to a running server"
    )]
    ServerNotFound,
    /// The child process did not come up.
    #[error("nats-server did not start: {reason}; its log is {log}")]
    ServerFailed {
        /// What was seen.
        reason: String,
        /// The server's own log.
        log: PathBuf,
    },
    /// The child process ended again and again.
    #[error(
        "nats-server (pid {pid}) ended by itself again and again; {log} may say why; correct that and start aiai again, nothing that was acknowledged is lost"
    )]
    ServerEnded {
        /// Its process id.
        pid: u32,
        /// The server's own log.
        log: PathBuf,
    },
    /// Another owner does what only one may do at a time.
    #[error(
        "{name} is held by another (host {host}, pid {pid}) with files of its own; stop that one first; if it was killed, try again in 20 s"
    )]
    Claimed {
        /// What is claimed.
        name: String,
        /// The holder's machine.
        host: String,
        /// The holder's process.
        pid: u32,
    },
    /// Without authentication nothing of ours listens where other machines can reach it.
    #[error(
        "{key} is {address}, which other machines can reach, and there is no authentication there; use a 127.0.0.1 address, or put a server with authentication in front"
    )]
    NotLoopback {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        address: std::net::SocketAddr,
    },
    /// A value of the configuration that cannot work.
    #[error("{section}.{problem}")]
    Setting {
        /// The section of the configuration.
        section: &'static str,
        /// The key in it, what is wrong with its value, and the fix.
        problem: String,
    },
    /// A stream or durable differs from the topology in a way that could lose data.
    #[error(
        "{object} on the server would lose data: {detail}; run `aiai topology plan` to see it and `aiai topology apply` to correct it"
    )]
    UnsafeDrift {
        /// Stream or durable.
        object: String,
        /// Field, found and wanted value.
        detail: String,
    },
    /// A stream that somebody made by hand.
    #[error(
        "stream {stream} has no epoch in its metadata: it was made by hand; `aiai topology apply` gives it one, as does every start of a worker"
    )]
    NoEpoch {
        /// Its name.
        stream: String,
    },
    /// A request to JetStream's API failed.
    #[error("{what} failed")]
    JetStream {
        /// What we asked for.
        what: String,
        /// Why.
        source: Source,
    },
    /// A publish was not acknowledged; whether it was stored is unknown.
    #[error("no acknowledgement for a message on {subject}; publish it again, it may or may not be stored")]
    NotAcknowledged {
        /// Where to.
        subject: String,
        /// Why.
        source: Source,
    },
    /// The server answered that it does not store a message: it is not stored.
    #[error("nats-server does not store a message on {subject}: {reason}; `aiai status` says what is wrong")]
    NotStored {
        /// Where to.
        subject: String,
        /// The server's words.
        reason: String,
    },
    /// Nobody serves the subject.
    #[error("nobody answers on {subject}; start the worker that does (`aiai run {worker}` or `aiai up`)")]
    NoResponders {
        /// The service's subject.
        subject: String,
        /// The worker which serves it.
        worker: String,
    },
    /// A service did not answer in time.
    #[error("no complete answer on {subject} within {seconds:.1} s; ask for less, or allow more time")]
    RequestTimeout {
        /// The service's subject.
        subject: String,
        /// How long we waited.
        seconds: f64,
    },
    /// A service answered with an error.
    #[error("{text}")]
    Service {
        /// The code, as in HTTP.
        code: usize,
        /// The service's words.
        text: String,
    },
    /// A file or socket of ours.
    #[error("{what}")]
    Io {
        /// What we tried and the fix.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps a client error with the operation that met it.
    pub(crate) fn jetstream(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::JetStream {
            what: what.into(),
            source: source.into(),
        }
    }

    /// Wraps an I/O error with the operation that met it.
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}

/// An error with everything beneath it, on one line: `first: second: third`.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}
