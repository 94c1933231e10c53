//! The figures of streams and durables, and the newest dead letters: read while somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{Context, Delivery, StreamFigures, topology};
use schemas::dead::{self, Deed};
use schemas::live::{DeadLetter, cut};
use schemas::{Origins, headers};

use crate::feed::{Feed, now_ms, paced};
use crate::readings::{Reading, lag};

/// Between two readings.
const EVERY: Duration = Duration::from_secs(1);
/// A rate is taken over so many readings, at most.
const READINGS: usize = 5;
/// Dead letters told.
const DEAD_MAX: usize = 10;
/// The newest messages of DEAD among which they are looked for; the others are older, or notes.
const DEAD_LOOKED_AT: u64 = 200;

/// Reads and tells the figures.
pub(crate) async fn follow(feed: Arc<Feed>) {
    let mut ticks = paced(EVERY);
    let mut readings: Vec<Reading> = Vec::new();
    let mut dead_read = None;
    let (server, server_version) = feed.context.server();
    feed.update_pipeline(|pipeline| {
        pipeline.server = server;
        pipeline.server_version = server_version;
    });
    loop {
        ticks.tick().await;
        match read(&feed.context).await {
            Ok(reading) => {
                let streams = reading.streams(readings.first());
                let last = dead_sequence(&reading.streams);
                readings.push(reading);
                if readings.len() > READINGS {
                    readings.remove(0);
                }
                feed.update_pipeline(|pipeline| {
                    pipeline.problem = None;
                    pipeline.streams = streams;
                });
                if dead_read != Some(last)
                    && let Ok(letters) = dead_letters(&feed.context).await
                {
                    dead_read = Some(last);
                    feed.update_pipeline(|pipeline| pipeline.dead = letters);
                }
            }
            Err(error) => {
                let problem = cut(&bus::chain(&error));
                feed.update_pipeline(|pipeline| pipeline.problem = Some(problem));
            }
        }
        feed.tell_pipeline().await;
    }
}

async fn read(context: &Context) -> bus::Result<Reading> {
    let streams = context.figures().await?;
    let at_ms = now_ms();
    let mut oldest_ms = BTreeMap::new();
    for stream in &streams {
        for durable in stream.durables.iter().filter(|durable| lag(durable) > 0) {
            let next = durable.ack_floor + 1;
            let oldest = context
                .stored_at_or_after(&stream.name, &durable.filter, next)
                .await?;
            if let Some(microseconds) = oldest {
                oldest_ms.insert((stream.name.clone(), durable.name.clone()), microseconds / 1000);
            }
        }
    }
    Ok(Reading {
        at_ms,
        streams,
        oldest_ms,
    })
}

fn dead_sequence(streams: &[StreamFigures]) -> u64 {
    let dead = streams.iter().find(|stream| stream.name == topology::DEAD);
    dead.map_or(0, |stream| stream.last_sequence)
}

async fn dead_letters(context: &Context) -> bus::Result<Vec<DeadLetter>> {
    let newest = context.newest_headers(topology::DEAD, DEAD_LOOKED_AT).await?;
    Ok(open_letters(&newest))
}

/// The newest of them about which nobody did anything, the newest first.
fn open_letters(newest: &[Delivery]) -> Vec<DeadLetter> {
    let (notes, letters): (Vec<_>, Vec<_>) = newest
        .iter()
        .partition(|message| dead::is_note(message.subject()));
    let done: Vec<Origins> = notes
        .into_iter()
        .filter(|note| note.subject() != Deed::Replaying.subject())
        .filter_map(|note| note.header(headers::LETTERS)?.parse().ok())
        .collect();
    let open = letters
        .into_iter()
        .rev()
        .filter(|letter| !done.iter().any(|done| done.contains(letter.sequence())));
    open.take(DEAD_MAX).map(dead_letter).collect()
}

fn dead_letter(message: &Delivery) -> DeadLetter {
    let text = |name: &str| message.header(name).map(cut).unwrap_or_default();
    DeadLetter {
        sequence: message.sequence(),
        at_ms: message.stored_microseconds() / 1000,
        stage: text(headers::STAGE),
        kind: text(headers::KIND),
        reason: text(headers::REASON),
        place: text(headers::PLACE),
        problem: text(headers::PROBLEM),
        fix: text(headers::FIX),
    }
}
