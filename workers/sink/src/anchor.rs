//! That INGEST has the history it had: one message of it is remembered with its time.
//!
//! An older copy of NATS's files that has been published to again may be as long as the stream was, or longer: its new
//! messages have the numbers of others that are stored, and would be taken for them. The message with the remembered
//! number tells, because it was stored at another time.

use std::sync::Arc;

use bus::{Context, StreamState, topology};
use schemas::Time;

use crate::Monitor;
use crate::memory;
use crate::trim::{blocking, now_microseconds};

/// The remembered message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Anchor {
    epoch: String,
    sequence: u64,
    /// RFC 3339, as NATS says it.
    stored: String,
}

impl Anchor {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            epoch: words.next()?.to_owned(),
            sequence: words.next()?.parse().ok()?,
            stored: words.next()?.to_owned(),
        })
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.epoch, self.sequence, self.stored)
    }

    async fn recall(monitor: &Arc<Monitor>) -> anyhow::Result<Option<Self>> {
        let text = blocking(monitor, |monitor| monitor.recall(memory::ANCHOR)).await?;
        Ok(text.as_deref().and_then(Self::read))
    }
}

/// The same before anything is stored, by what is known of every message: none came later than what was made of it.
pub(crate) async fn problem_at_start(
    monitor: &Arc<Monitor>,
    context: &Context,
) -> anyhow::Result<Option<String>> {
    let state = context.stream_state(topology::INGEST).await?;
    let epoch = state.epoch.clone();
    let (last, newest) = blocking(monitor, move |monitor| {
        Ok((monitor.accounted(&epoch)?.last(), monitor.newest_arrival()?))
    })
    .await?;
    let Some((sequence, newest)) = last.zip(newest) else {
        return Ok(None);
    };
    let found = context.placed(topology::INGEST, sequence).await?;
    let came = found.and_then(|found| Some((found.stored.parse::<Time>().ok()?, found.stored)));
    Ok(came.filter(|(came, _)| *came > newest).map(|(_, stored)| {
        let known = Anchor {
            epoch: state.epoch.clone(),
            sequence,
            stored: format!("{newest} at the latest"),
        };
        another_history(&known, &stored, &state)
    }))
}

/// Why nothing more of this INGEST may be stored or trimmed; none: it is what it was, as far as can be told.
pub(crate) async fn problem(
    monitor: &Arc<Monitor>,
    context: &Context,
    state: &StreamState,
) -> anyhow::Result<Option<String>> {
    let Some(known) = Anchor::recall(monitor).await? else {
        return Ok(None);
    };
    let holds = (state.first_sequence..=state.last_sequence).contains(&known.sequence);
    if known.epoch != state.epoch || !holds {
        return Ok(None);
    }
    let found = context.placed(topology::INGEST, known.sequence).await?;
    Ok(found
        .filter(|found| found.stored != known.stored)
        .map(|found| another_history(&known, &found.stored, state)))
}

/// Remembers the newest message of INGEST, which has no problem.
pub(crate) async fn drop_at(
    monitor: &Arc<Monitor>,
    context: &Context,
    state: &StreamState,
) -> anyhow::Result<()> {
    let Some(newest) = context.placed(topology::INGEST, state.last_sequence).await? else {
        return Ok(());
    };
    let anchor = Anchor {
        epoch: state.epoch.clone(),
        sequence: state.last_sequence,
        stored: newest.stored,
    };
    if Anchor::recall(monitor).await?.as_ref() == Some(&anchor) {
        return Ok(());
    }
    let fact = (memory::ANCHOR.to_owned(), anchor.text());
    blocking(monitor, move |monitor| {
        monitor.remember(&[fact], &[], Time(now_microseconds()))
    })
    .await?;
    Ok(())
}

fn another_history(known: &Anchor, stored: &str, state: &StreamState) -> String {
    format!(
        "NATS was restored from an older copy and was published to since: message {} of INGEST was stored at {}, now it is \
         another one, of {stored}, and new messages would be taken for known ones; nothing is stored and nothing is \
         trimmed. Stop aiai and put back newer files of NATS, or the copies of the database and of the archive folder that \
         were made before that of NATS; or, if what the stream holds now may be given up, run: nats stream purge INGEST \
         --seq={}",
        known.sequence,
        known.stored,
        state.last_sequence + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let anchor = Anchor {
            epoch: "01JD00000000000000000000A1".into(),
            sequence: 7,
            stored: "2026-11-20T07:00:00.000000001Z".into(),
        };
        assert_eq!(Anchor::read(&anchor.text()), Some(anchor));
        assert_eq!(Anchor::read("nothing"), None);
    }
}
