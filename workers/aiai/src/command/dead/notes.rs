//! Notes on stream DEAD about what was done: the sink alone writes to the database.

use std::time::Duration;

use bus::{Bytes, Context, topology};
use schemas::dead::{Deed, Note, Noted};
use schemas::{Origins, headers};
use serde::Deserialize;
use tokio::time::Instant;

use crate::command::sql::{self, literal};

/// The sink reads a note within this time, or is busy with more important things.
const APPLIED_TIMEOUT: Duration = Duration::from_secs(5);
const APPLIED_POLL: Duration = Duration::from_millis(100);

/// Publishes a note about letters of one epoch of DEAD; gives its sequence there.
pub(super) async fn publish(
    context: &Context,
    deed: Deed,
    epoch: Option<&str>,
    letters: Vec<Noted>,
) -> anyhow::Result<u64> {
    // Said again, a note changes nothing; so it needs an id only for its own repeats.
    let first = letters.first().map_or(0, |noted| noted.letter);
    let id = format!("note:{}:{}:{first}", context.instance(), deed.as_str());
    let numbers: Origins = letters.iter().map(|noted| noted.letter).collect();
    let map = [(headers::LETTERS.to_owned(), numbers.to_string())];
    let note = Note {
        epoch: epoch.map(str::to_owned),
        letters,
    };
    let body = Bytes::from(serde_json::to_vec(&note)?);
    let stored = context
        .publish_with_headers(deed.subject(), &map, body, &id)
        .await?;
    Ok(stored.sequence)
}

/// Waits until the sink has read the note with this sequence, so that whoever looks next sees it. False: not yet.
pub(super) async fn applied(context: &Context, sequence: u64) -> anyhow::Result<bool> {
    #[derive(Deserialize)]
    struct Checkpoint {
        seq: u64,
    }
    let epoch = context.stream_state(topology::DEAD).await?.epoch;
    let select = format!(
        "SELECT seq FROM checkpoint WHERE stream = 'DEAD' AND epoch = {}",
        literal(&epoch)
    );
    let deadline = Instant::now() + APPLIED_TIMEOUT;
    loop {
        let found: Vec<Checkpoint> = sql::rows(context, &select).await?;
        if found.iter().any(|checkpoint| checkpoint.seq >= sequence) {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(APPLIED_POLL).await;
    }
}
