//! Kind `message`: what one agent told another, or a person.

use crate::contract::contract;
use crate::{Text, limits};

contract! {
    /// A message between agents, or between an agent and a person.
    pub struct Message<'a> {
        /// What was said: not blank, at most 256 KiB as a JSON string.
        #[serde(borrow)]
        #[schemars(length(min = 1, max = limits::BODY_BYTES), regex(pattern = r"\S"))]
        pub body: Text<'a>,
        /// Where it was said, e.g. a room or a topic; at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub channel: Option<Text<'a>>,
        /// Who said it, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub from: Option<Text<'a>>,
        /// To whom, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub to: Option<Text<'a>>,
    }
}
