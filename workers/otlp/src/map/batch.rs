//! Items as NDJSON in messages of bounded size, a list of messages for each kind.
//!
//! The same items in the same order always give the same messages: their ids are made of that.

use super::Kind;
use super::write::Object;

/// Bytes of a message, where it is not one large item alone.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// One message.
#[derive(Debug, Default)]
pub struct Message {
    /// One item a line.
    pub lines: Vec<u8>,
    /// How many.
    pub items: usize,
}

/// Messages of each kind, in the order of [`Kind::ALL`].
#[derive(Debug, Default)]
pub struct Batch {
    messages: [Vec<Message>; Kind::ALL.len()],
    line: Vec<u8>,
}

impl Batch {
    /// Adds one item; `write` writes its members.
    pub(super) fn item(&mut self, kind: Kind, write: impl FnOnce(&mut Object<'_>)) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let mut object = Object::begin(&mut line);
        write(&mut object);
        object.end();
        line.push(b'\n');
        self.push(kind, &line);
        self.line = line;
    }

    fn push(&mut self, kind: Kind, line: &[u8]) {
        let messages = &mut self.messages[kind as usize];
        let fits = |message: &Message| {
            message.items < schemas::limits::ITEMS && message.lines.len() + line.len() <= MESSAGE_BYTES
        };
        if !messages.last().is_some_and(fits) {
            messages.push(Message::default());
        }
        if let Some(message) = messages.last_mut() {
            message.lines.extend_from_slice(line);
            message.items += 1;
        }
    }

    /// All messages with their kinds and their numbers within the kind.
    pub fn into_messages(self) -> impl Iterator<Item = (Kind, usize, Message)> {
        let kinds = Kind::ALL.into_iter().zip(self.messages);
        kinds.flat_map(|(kind, messages)| {
            let numbered = messages.into_iter().enumerate();
            numbered.map(move |(number, message)| (kind, number, message))
        })
    }

    /// Items of a kind.
    pub fn items(&self, kind: Kind) -> usize {
        self.messages[kind as usize]
            .iter()
            .map(|message| message.items)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_in_bytes_and_items() {
        let mut batch = Batch::default();
        for _ in 0..schemas::limits::ITEMS + 1 {
            batch.item(Kind::Event, |item| item.raw("a", 1));
        }
        let large = "x".repeat(100_000);
        for _ in 0..3 {
            batch.item(Kind::Step, |item| item.plain("a", &large));
        }
        let huge = "x".repeat(300_000);
        batch.item(Kind::Step, |item| item.plain("a", &huge));
        let messages: Vec<_> = batch.into_messages().collect();
        let shape: Vec<_> = messages
            .iter()
            .map(|(kind, number, message)| (*kind, *number, message.items))
            .collect();
        let items = schemas::limits::ITEMS;
        let mut wanted = vec![
            (Kind::Step, 0, 2),
            (Kind::Step, 1, 1),
            (Kind::Step, 2, 1),
            (Kind::Event, 0, items),
            (Kind::Event, 1, 1),
        ];
        wanted.sort_by_key(|(kind, number, _)| (*kind as usize, *number));
        assert_eq!(shape, wanted);
        for (_, _, message) in messages {
            assert_eq!(
                message.lines.split(|byte| *byte == b'\n').count(),
                message.items + 1
            );
        }
    }
}
