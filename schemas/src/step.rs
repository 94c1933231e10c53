//! Kind `step`: a step of a workflow, which other systems call a span.

use serde_json::value::RawValue;

use crate::choice::choice;
use crate::contract::contract;
use crate::{Text, Time, limits};

choice! {
    /// How a step ended.
    pub enum StepStatus {
        /// As it should. The default.
        Ok = "ok",
        /// It failed.
        Error = "error",
    }
}

contract! {
    /// A step of a workflow. Without a `timestamp` it happened when it started.
    pub struct Step<'a> {
        /// What was done, e.g. `plan the release`: not blank, at most 256 bytes.
        #[serde(borrow)]
        #[schemars(length(min = 1, max = limits::NAME_BYTES), regex(pattern = r"\S"))]
        pub name: Text<'a>,
        /// The step itself, unique within its trace; at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub span_id: Option<Text<'a>>,
        /// The step it is part of: that one's `span_id`, at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub parent_id: Option<Text<'a>>,
        /// What sort of step, e.g. `chat`, `execute_tool` or `invoke_agent`; at most 256 bytes.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::TEXT_BYTES))]
        pub operation: Option<Text<'a>>,
        /// When it started: a time as in `timestamp`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub start: Option<Time>,
        /// When it ended, not before `start`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub end: Option<Time>,
        /// How it ended. Default: `ok`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub status: Option<StepStatus>,
        /// What went wrong, at most 4 KiB.
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = limits::ERROR_BYTES))]
        pub error: Option<Text<'a>>,
        /// Anything more, as a JSON object: at most 256 KiB and 64 levels deep. Kept as its JSON text.
        #[serde(borrow, serialize_with = "crate::contract::on_one_line", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
        pub attributes: Option<&'a RawValue>,
    }
}

impl Step<'_> {
    /// How long it took, in milliseconds, where both ends are known.
    pub fn duration_ms(&self) -> Option<f64> {
        let (start, end) = self.start.zip(self.end)?;
        Some(end.0.saturating_sub(start.0) as f64 / 1000.0)
    }
}
