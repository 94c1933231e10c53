//! Kind `session`: what became of an agent's session. Each event is a state it came into; the latest counts.

use serde_json::value::RawValue;

use crate::choice::choice;
use crate::contract::contract;
use crate::{Text, limits};

choice! {
    /// What a session is in.
    pub enum SessionState {
        /// It began.
        Started = "started",
        /// It goes on.
        Active = "active",
        /// It ended as it should.
        Ended = "ended",
        /// It ended in a failure.
        Failed = "failed",
    }
}

contract! {
    /// A session's state at a moment. The shared field `session`, which names it, is required here.
    pub struct Session<'a> {
        /// The state it came into.
        pub state: SessionState,
        /// What it is about, at most 1 KiB.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TITLE_BYTES))]
        pub title: Option<Text<'a>>,
        /// Anything more, as JSON: at most 256 KiB and 64 levels deep. Kept as its JSON text.
        #[serde(borrow, serialize_with = "crate::contract::on_one_line", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        pub data: Option<&'a RawValue>,
    }
}
