//! One event of any kind.

use crate::{Event, Kind, Message, Metric, Session, Step, Usage, WorkItem};

macro_rules! item {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// One event of any kind, borrowing from the payload it was read from.
        #[derive(Debug, Clone)]
        pub enum Item<'a> { $($(#[$doc])* $name($name<'a>),)+ }

        impl Item<'_> {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Item::$name(_) => Kind::$name,)+ }
            }

            fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
                match self { $(Item::$name(item) => serde_json::to_writer(out, item),)+ }
            }
        }

        $(impl<'a> From<$name<'a>> for Item<'a> {
            fn from(item: $name<'a>) -> Self {
                Item::$name(item)
            }
        })+
    };
}

item! {
    /// A measurement.
    Metric,
    /// Something happened.
    Event,
    /// One model call.
    Usage,
    /// A step of a workflow.
    Step,
    /// A message.
    Message,
    /// An agent's session.
    Session,
    /// A task.
    WorkItem,
}

impl Item<'_> {
    /// Appends the event as one line of canonical JSON, with the line break. A line of a decoded item is at
    /// most [`crate::limits::LINE_BYTES`] long.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let written = self.write(out);
        // Writing to memory cannot fail, nor can any of these types; never leave half a line behind anyway.
        debug_assert!(written.is_ok(), "{written:?}");
        if written.is_err() {
            out.truncate(start);
            return;
        }
        out.push(b'\n');
    }
}
