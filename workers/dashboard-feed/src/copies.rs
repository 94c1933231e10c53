//! The copies of all workers, as their heartbeats describe them. Pure.

use std::collections::BTreeMap;

use bus::heartbeat::{Heartbeat, SILENCE_SECONDS};
use schemas::live::{self, cut};

/// Copies known at most; one that is heard of later is counted and not kept.
const COPIES_MAX: usize = 512;
/// Copies listed in a message.
const LISTED_MAX: usize = 64;

/// Every copy that lives.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// By the key of the heartbeat: `<worker>.<instance>`.
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    beat: Heartbeat,
    heard_ms: i64,
    /// Received, published and events a second between the last two beats.
    rates: Option<[f64; 3]>,
}

impl Copies {
    /// Takes in a heartbeat.
    pub(crate) fn hear(&mut self, beat: Heartbeat, heard_ms: i64) {
        self.forget(heard_ms);
        let key = format!("{}.{}", beat.worker, beat.instance);
        let before = self.known.get(&key);
        if before.is_none() && self.known.len() >= COPIES_MAX {
            return;
        }
        let rates = before.and_then(|before| rates(&before.beat, &beat).or(before.rates));
        self.known.insert(
            key,
            Known {
                beat,
                heard_ms,
                rates,
            },
        );
    }

    /// A copy took its heartbeat back.
    pub(crate) fn leave(&mut self, key: &str) {
        self.known.remove(key);
    }

    /// Forgets who is silent.
    fn forget(&mut self, now_ms: i64) {
        let oldest = now_ms - SILENCE_SECONDS as i64 * 1000;
        self.known.retain(|_, copy| copy.heard_ms >= oldest);
    }

    /// The copies, and how many more there are.
    pub(crate) fn list(&mut self, now_ms: i64) -> (Vec<live::Worker>, u64) {
        self.forget(now_ms);
        let mut listed: Vec<_> = self.known.values().take(LISTED_MAX).map(Known::line).collect();
        listed.sort_by(|left, right| (&left.worker, &left.instance).cmp(&(&right.worker, &right.instance)));
        (listed, self.known.len().saturating_sub(LISTED_MAX) as u64)
    }
}

impl Known {
    fn line(&self) -> live::Worker {
        let beat = &self.beat;
        let rate = |at: usize| self.rates.map(|rates| rates[at]);
        live::Worker {
            worker: cut(&beat.worker),
            instance: cut(&beat.instance),
            host: cut(&beat.host),
            pid: beat.pid,
            version: cut(&beat.version),
            started_ms: beat.started_ms.cast_signed(),
            heard_ms: self.heard_ms,
            trouble: beat.trouble.as_deref().map(cut),
            received_per_second: rate(0),
            published_per_second: rate(1),
            events_per_second: rate(2),
            backlog: beat.backlog,
            dead: beat.dead,
            retried: beat.retried,
        }
    }
}

/// Between two beats of one copy; none if they are the same beat or its clock was set back.
fn rates(before: &Heartbeat, now: &Heartbeat) -> Option<[f64; 3]> {
    let seconds = now.at_ms.checked_sub(before.at_ms).filter(|ms| *ms > 0)? as f64 / 1000.0;
    let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
    Some([
        rate(before.received, now.received),
        rate(before.published, now.published),
        rate(before.events, now.events),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(instance: &str, at_ms: u64, received: u64) -> Heartbeat {
        let json = format!(
            r#"{{"worker":"ingest","instance":"{instance}","host":"h","pid":1,"version":"1","started_ms":0,
                "at_ms":{at_ms},"trouble":null,"received":{received},"acked":0,"retried":0,"dead":0,
                "published":0,"events":0,"backlog":0}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn rates_come_from_two_beats_of_the_same_copy() {
        let mut copies = Copies::default();
        copies.hear(beat("a", 1000, 10), 1000);
        copies.hear(beat("b", 1000, 500), 1000);
        assert_eq!(copies.list(1000).0[0].received_per_second, None);
        copies.hear(beat("a", 6000, 60), 6000);
        // Told twice: the rate stays.
        copies.hear(beat("a", 6000, 60), 6100);
        let (list, omitted) = copies.list(6100);
        assert_eq!(list[0].received_per_second, Some(10.0));
        assert_eq!((list.len(), omitted), (2, 0));
    }

    #[test]
    fn who_leaves_or_is_silent_is_not_listed() {
        let mut copies = Copies::default();
        copies.hear(beat("a", 0, 0), 0);
        copies.hear(beat("b", 0, 0), 15_000);
        assert_eq!(copies.list(21_000).0.len(), 1);
        copies.leave("ingest.b");
        assert!(copies.list(21_000).0.is_empty());
    }

    #[test]
    fn a_crowd_is_cut_and_counted() {
        let mut copies = Copies::default();
        for number in 0..1000 {
            copies.hear(beat(&format!("{number:04}"), 0, 0), 0);
        }
        let (list, omitted) = copies.list(0);
        assert_eq!(
            (list.len(), omitted),
            (LISTED_MAX, (COPIES_MAX - LISTED_MAX) as u64)
        );
    }
}
