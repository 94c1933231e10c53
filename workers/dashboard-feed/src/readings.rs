//! From two readings of the streams to rates and lags. Pure.

use std::collections::BTreeMap;

use bus::{DurableFigures, StreamFigures};
use schemas::live;

/// The streams at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) at_ms: i64,
    pub(crate) streams: Vec<StreamFigures>,
    /// When the oldest message that a durable has not acknowledged was stored, by stream and durable.
    pub(crate) oldest_ms: BTreeMap<(String, String), i64>,
}

impl Reading {
    /// The figures to show. `before`: an earlier reading, for the rates.
    pub(crate) fn streams(&self, before: Option<&Self>) -> Vec<live::Stream> {
        self.streams
            .iter()
            .map(|stream| self.stream(stream, before))
            .collect()
    }

    fn stream(&self, stream: &StreamFigures, before: Option<&Self>) -> live::Stream {
        let elapsed_ms = before.map_or(0, |before| self.at_ms - before.at_ms);
        let earlier = before.and_then(|before| before.streams.iter().find(|other| other.name == stream.name));
        let durables = stream.durables.iter().map(|durable| {
            let earlier = earlier.and_then(|earlier| {
                let mut durables = earlier.durables.iter();
                durables.find(|other| other.name == durable.name)
            });
            self.durable(
                &stream.name,
                durable,
                earlier.and_then(|earlier| rate(earlier.acked, durable.acked, elapsed_ms)),
            )
        });
        live::Stream {
            name: stream.name.clone(),
            messages: stream.messages,
            bytes: stream.bytes,
            bytes_max: stream.bytes_max,
            last_sequence: stream.last_sequence,
            per_second: earlier
                .and_then(|earlier| rate(earlier.last_sequence, stream.last_sequence, elapsed_ms)),
            durables: durables.collect(),
        }
    }

    fn durable(&self, stream: &str, durable: &DurableFigures, per_second: Option<f64>) -> live::Durable {
        let oldest_ms = self.oldest_ms.get(&(stream.to_owned(), durable.name.clone()));
        live::Durable {
            name: durable.name.clone(),
            lag_messages: lag(durable),
            lag_seconds: oldest_ms.map(|oldest_ms| (self.at_ms - oldest_ms).max(0) as f64 / 1000.0),
            ack_pending: durable.ack_pending,
            per_second,
        }
    }
}

/// Messages that a durable has not acknowledged.
pub(crate) fn lag(durable: &DurableFigures) -> u64 {
    durable.pending.saturating_add(durable.ack_pending)
}

/// None where numbers went back: a stream or durable was made anew.
fn rate(before: u64, now: u64, elapsed_ms: i64) -> Option<f64> {
    let more = now.checked_sub(before)?;
    (elapsed_ms > 0).then(|| more as f64 * 1000.0 / elapsed_ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: i64, last_sequence: u64, acked: u64, pending: u64) -> Reading {
        let durable = DurableFigures {
            name: "sink".into(),
            filter: "events.>".into(),
            ack_floor: acked,
            acked,
            ack_pending: 2,
            pending,
        };
        let stream = StreamFigures {
            name: "EVENTS".into(),
            messages: last_sequence,
            bytes: 10,
            bytes_max: Some(100),
            last_sequence,
            durables: vec![durable],
        };
        Reading {
            at_ms,
            streams: vec![stream],
            oldest_ms: [(("EVENTS".to_owned(), "sink".to_owned()), at_ms - 2500)].into(),
        }
    }

    #[test]
    fn two_readings_give_rates_and_one_gives_lags() {
        let (first, second) = (reading(1000, 100, 50, 48), reading(3000, 300, 60, 238));
        let alone = &first.streams(None)[0];
        assert_eq!((alone.per_second, alone.durables[0].per_second), (None, None));
        let stream = &second.streams(Some(&first))[0];
        assert_eq!(stream.per_second, Some(100.0));
        let durable = &stream.durables[0];
        assert_eq!((durable.per_second, durable.lag_messages), (Some(5.0), 240));
        assert_eq!(durable.lag_seconds, Some(2.5));
    }

    #[test]
    fn a_stream_made_anew_has_no_rate() {
        let (first, second) = (reading(1000, 100, 50, 0), reading(3000, 3, 2, 0));
        assert_eq!(second.streams(Some(&first))[0].per_second, None);
    }
}
