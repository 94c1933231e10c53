//! Kind `work_item`: what became of a task, an idea, an issue or a document job. Each event is a state it came into; the
//! latest counts.

use serde_json::value::RawValue;

use crate::choice::choice;
use crate::contract::contract;
use crate::{Text, limits};

choice! {
    /// What a task is in.
    pub enum WorkItemState {
        /// Nobody works on it yet.
        Open = "open",
        /// Somebody does.
        Claimed = "claimed",
        /// Something must happen first.
        Blocked = "blocked",
        /// It is finished.
        Done = "done",
        /// It will not be.
        Failed = "failed",
    }
}

contract! {
    /// A task's state at a moment. The shared field `work_item`, which names it, is required here.
    pub struct WorkItem<'a> {
        /// The state it came into.
        pub state: WorkItemState,
        /// What is to be done, at most 1 KiB.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TITLE_BYTES))]
        pub title: Option<Text<'a>>,
        /// The project it is part of, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub project: Option<Text<'a>>,
        /// Who works on it, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub assignee: Option<Text<'a>>,
        /// The task it is part of: that one's `work_item`, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub parent: Option<Text<'a>>,
        /// Anything more, as JSON: at most 256 KiB and 64 levels deep. Kept as its JSON text.
        #[serde(borrow, serialize_with = "crate::contract::on_one_line", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        pub data: Option<&'a RawValue>,
    }
}
