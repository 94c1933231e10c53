//! What the database remembers of NATS between two starts, in `aiai_meta`: which life of each stream it knew, which
//! durables. A difference is an incident, told once: what is remembered changes in the transaction that tells of it.

use duckdb::{Connection, OptionalExt, params};
use schemas::alert::Match;
use schemas::{Origins, Time};

use crate::alerts::MatchColumns;
use crate::incidents::Incident;
use crate::migrate::in_transaction;

/// A fact: its name, and its value.
pub(crate) type Fact = (String, String);

/// The fact that says which epoch a stream had.
pub(crate) fn epoch_of(stream: &str) -> String {
    format!("epoch/{stream}")
}

/// The fact that says that a stream is to be moved: its epoch, and where it ended.
pub(crate) fn moved(stream: &str) -> String {
    format!("moved/{stream}")
}

/// The fact that says when a durable was made.
pub(crate) fn making_of(stream: &str, durable: &str) -> String {
    format!("durable/{stream}/{durable}")
}

/// The fact that says up to which message of EVENTS the sink makes the partials: `<epoch> <sequence>`.
pub(crate) const OWN_PARTIALS: &str = "own_partials";

/// The fact that says when a message of INGEST was stored: see `anchor`.
pub(crate) const ANCHOR: &str = "anchor/INGEST";

/// What is remembered under a name.
pub(crate) fn recall(connection: &Connection, name: &str) -> anyhow::Result<Option<String>> {
    let sql = "SELECT value FROM aiai_meta WHERE key = ?";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// Remembers facts and stores incidents, together or not at all. What is to be told of comes back.
pub(crate) fn remember(
    connection: &Connection,
    facts: &[Fact],
    incidents: &[Incident],
    now: Time,
) -> anyhow::Result<Vec<Match>> {
    let found: Vec<Match> = incidents.iter().map(|incident| incident.found(now)).collect();
    in_transaction(connection, |connection| {
        for (name, value) in facts {
            connection.execute("DELETE FROM aiai_meta WHERE key = ?", [name])?;
            connection.execute("INSERT INTO aiai_meta VALUES (?, ?)", params![name, value])?;
        }
        let mut columns = MatchColumns::default();
        for found in &found {
            columns.push(found, &Origins::new(), now, None);
        }
        columns.append(connection)
    })?;
    Ok(found)
}
