//! Kind `event`: something happened.

use serde_json::value::RawValue;

use crate::contract::contract;
use crate::{Text, limits};

contract! {
    /// Something happened.
    pub struct Event<'a> {
        /// What happened, e.g. `build.finished`: not blank, at most 256 bytes.
        #[serde(borrow)]
        #[schemars(length(min = 1, max = limits::NAME_BYTES), regex(pattern = r"\S"))]
        pub name: Text<'a>,
        /// Anything more, as JSON: at most 256 KiB and 64 levels deep. Kept as its JSON text.
        #[serde(borrow, serialize_with = "crate::contract::on_one_line", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        pub data: Option<&'a RawValue>,
    }
}
