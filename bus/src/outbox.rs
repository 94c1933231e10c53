//! What a stage wants published, collected into batches. Pure: no I/O, no clock.
//!
//! All lines of one input message stay in one batch; a batch is at most
//! [`BATCH_BYTES_MAX`] unless a single input message alone is larger.

use bytes::Bytes;
use schemas::{Origins, Reason, Rejection};

/// A batch is published when it has reached this size.
pub(crate) const BATCH_BYTES_MAX: usize = 512 * 1024;

/// A dead letter on its way out.
#[derive(Debug)]
pub struct DeadLetter {
    /// The kind of event it was to become; the last token of its subject.
    pub kind: String,
    /// The original body, or the bad item alone.
    pub payload: Bytes,
    /// The item's position, when it is one of several.
    pub index: Option<u32>,
    /// Place, problem and fix.
    pub rejection: Rejection,
}

/// A message of its own: the only one made from the message at hand.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) subject: &'static str,
    pub(crate) payload: Bytes,
}

/// A message beside the batches, on a subject known only at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where to.
    pub subject: String,
    /// The body.
    pub payload: Bytes,
    /// Its `Nats-Msg-Id`: the same from every copy of the worker and at every redelivery, so that a stream stores it once.
    pub id: String,
    /// Whether a stream must store it. Otherwise it is enough that it was sent: nobody may be there to read it.
    pub stored: bool,
}

/// Lines for one subject.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) subject: &'static str,
    pub(crate) lines: Vec<u8>,
    pub(crate) origins: Origins,
    pub(crate) count: u64,
    marked_bytes: usize,
    marked_count: u64,
}

/// Collects the output of a stage. The runtime publishes it.
#[derive(Debug, Default)]
pub struct Outbox {
    open: Vec<Batch>,
    full: Vec<Batch>,
    single: Option<Single>,
    notices: Vec<Notice>,
    dead: Vec<DeadLetter>,
    message_bytes_max: usize,
}

impl Outbox {
    /// An outbox whose single messages may be as large as `message_bytes_max`.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            ..Self::default()
        }
    }

    /// Appends one line, newline included, to the batch for `subject`.
    pub fn line(&mut self, subject: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let batch = match self.open.iter().position(|batch| batch.subject == subject) {
            Some(at) => &mut self.open[at],
            None => {
                self.open.push(Batch {
                    subject,
                    lines: Vec::with_capacity(BATCH_BYTES_MAX + BATCH_BYTES_MAX / 8),
                    ..Batch::default()
                });
                let last = self.open.len() - 1;
                &mut self.open[last]
            }
        };
        write(&mut batch.lines);
        batch.count += 1;
    }

    /// Publishes one message of its own, NDJSON, for the message at hand. Its id is made of the stage, the stream's epoch
    /// and the sequence of the message at hand, so that a redelivery publishes nothing new; it says in its headers
    /// what it was made from. A second call replaces the first.
    pub fn message(&mut self, subject: &'static str, payload: impl Into<Bytes>) {
        self.single = Some(Single {
            subject,
            payload: payload.into(),
        });
    }

    /// Publishes a message of its own beside everything else.
    pub fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// Adds a dead letter.
    pub fn dead(&mut self, letter: DeadLetter) {
        self.dead.push(letter);
    }

    /// Forgets what the current message appended; its dead letters from `dead_from` on too.
    pub(crate) fn roll_back(&mut self, dead_from: usize) {
        self.open.iter_mut().for_each(Batch::take_back);
        self.single = None;
        self.notices.clear();
        self.dead.truncate(dead_from);
    }

    pub(crate) fn dead_count(&self) -> usize {
        self.dead.len()
    }

    /// Seals what the current message appended under its origin.
    ///
    /// # Errors
    /// When the message's own lines exceed what one published message can carry; they are taken back.
    pub(crate) fn seal(&mut self, origin: u64) -> Result<(), Rejection> {
        let single_bytes = self.single.as_ref().map_or(0, |single| single.payload.len());
        let notice_bytes = self.notices.iter().map(|notice| notice.payload.len());
        let single_bytes = notice_bytes.max().unwrap_or(0).max(single_bytes);
        if single_bytes > self.message_bytes_max {
            self.roll_back(self.dead.len());
            return Err(too_large(single_bytes, 1, self.message_bytes_max));
        }
        for at in 0..self.open.len() {
            let batch = &mut self.open[at];
            let own = batch.lines.len() - batch.marked_bytes;
            if own == 0 {
                continue;
            }
            // Delivered again while its first delivery was still here, as after a long pause of the process: whoever
            // stores the batch looks for repeats in what it has, not within.
            if batch.origins.contains(origin) {
                batch.take_back();
                continue;
            }
            if own > self.message_bytes_max {
                let rejection = too_large(own, batch.count - batch.marked_count, self.message_bytes_max);
                self.roll_back(self.dead.len());
                return Err(rejection);
            }
            if batch.lines.len() > BATCH_BYTES_MAX && batch.marked_bytes > 0 {
                let tail = batch.split();
                let full = std::mem::replace(batch, tail);
                self.full.push(full);
            }
            let batch = &mut self.open[at];
            batch.origins.push(origin);
            batch.marked_bytes = batch.lines.len();
            batch.marked_count = batch.count;
        }
        Ok(())
    }

    /// Whether it is time to publish without waiting longer.
    pub(crate) fn is_due(&self) -> bool {
        !self.full.is_empty()
            || self.dead.len() >= 256
            || self
                .open
                .iter()
                .any(|batch| batch.lines.len() >= BATCH_BYTES_MAX - BATCH_BYTES_MAX / 8)
    }

    /// Everything collected, leaving the outbox empty.
    pub(crate) fn take(&mut self) -> Vec<Batch> {
        let mut batches = std::mem::take(&mut self.full);
        batches.extend(self.open.drain(..).filter(|batch| batch.count > 0));
        batches
    }

    /// The current message's message of its own.
    pub(crate) fn take_single(&mut self) -> Option<Single> {
        self.single.take()
    }

    /// The current message's notices.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The dead letters collected from `from` on.
    pub(crate) fn take_dead(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead)
    }
}

impl Batch {
    /// Forgets what the current message appended.
    fn take_back(&mut self) {
        self.lines.truncate(self.marked_bytes);
        self.count = self.marked_count;
    }

    /// Cuts off what the current message appended.
    fn split(&mut self) -> Self {
        let mut lines = Vec::with_capacity(BATCH_BYTES_MAX + BATCH_BYTES_MAX / 8);
        lines.extend_from_slice(&self.lines[self.marked_bytes..]);
        self.lines.truncate(self.marked_bytes);
        let count = self.count - self.marked_count;
        self.count = self.marked_count;
        Self {
            subject: self.subject,
            lines,
            count,
            ..Self::default()
        }
    }
}

fn too_large(bytes: usize, items: u64, limit: usize) -> Rejection {
    Rejection {
        reason: Reason::TooLarge,
        place: "payload".into(),
        problem: format!(
            "its {items} events take {bytes} bytes in canonical form, {limit} fit in one message"
        ),
        fix: "send fewer items in a message".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(outbox: &mut Outbox, origin: u64, bytes: usize) -> Result<(), Rejection> {
        outbox.line("events.metric", |lines| lines.resize(lines.len() + bytes, b'x'));
        outbox.seal(origin)
    }

    #[test]
    fn lines_of_one_message_are_never_split_over_batches() {
        let mut outbox = Outbox::new(4 * BATCH_BYTES_MAX);
        let third = BATCH_BYTES_MAX / 3 + 1;
        for origin in 1..=3 {
            add(&mut outbox, origin, third).unwrap();
        }
        let batches = outbox.take();
        let shape: Vec<_> = batches
            .iter()
            .map(|batch| (batch.origins.to_string(), batch.count, batch.lines.len()))
            .collect();
        assert_eq!(
            shape,
            [("1-2".to_owned(), 2, 2 * third), ("3".to_owned(), 1, third)]
        );
    }

    #[test]
    fn a_message_that_failed_leaves_nothing_behind() {
        let mut outbox = Outbox::new(BATCH_BYTES_MAX);
        add(&mut outbox, 1, 10).unwrap();
        outbox.line("events.metric", |lines| lines.extend_from_slice(b"half"));
        outbox.line("events.usage", |lines| lines.extend_from_slice(b"half"));
        outbox.roll_back(0);
        let batches = outbox.take();
        assert_eq!(batches.len(), 1);
        assert_eq!((batches[0].count, batches[0].lines.len()), (1, 10));
    }

    #[test]
    fn a_message_that_comes_again_is_in_a_batch_once() {
        let mut outbox = Outbox::new(BATCH_BYTES_MAX);
        for origin in [1, 2, 1, 3, 2] {
            add(&mut outbox, origin, 10).unwrap();
        }
        let batches = outbox.take();
        assert_eq!(batches.len(), 1);
        let batch = &batches[0];
        assert_eq!(
            (batch.origins.to_string(), batch.count, batch.lines.len()),
            ("1-3".into(), 3, 30)
        );
    }

    #[test]
    fn a_message_of_its_own_is_taken_once_and_taken_back_with_the_rest() {
        let mut outbox = Outbox::new(1000);
        outbox.message("rollup.partial", vec![b'x'; 1000]);
        outbox.seal(1).unwrap();
        let single = outbox.take_single().unwrap();
        assert_eq!((single.subject, single.payload.len()), ("rollup.partial", 1000));
        assert!(outbox.take_single().is_none());

        outbox.message("rollup.partial", vec![b'x'; 1001]);
        assert_eq!(outbox.seal(2).unwrap_err().reason, Reason::TooLarge);
        assert!(outbox.take_single().is_none());

        outbox.message("rollup.partial", "half");
        outbox.roll_back(0);
        assert!(outbox.take_single().is_none());
    }

    #[test]
    fn a_message_too_large_for_any_batch_is_rejected_alone() {
        let mut outbox = Outbox::new(1000);
        add(&mut outbox, 1, 10).unwrap();
        let rejection = add(&mut outbox, 2, 1001).unwrap_err();
        assert_eq!(rejection.reason, Reason::TooLarge);
        let batches = outbox.take();
        assert_eq!(batches[0].origins.to_string(), "1");
        assert_eq!(batches[0].lines.len(), 10);
    }
}
