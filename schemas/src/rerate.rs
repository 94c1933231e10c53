//! Computed costs computed again, after a price was put right: what the sink is asked, and what it answers.
//!
//! A request is one bounded batch; `next` of its answer is `after` of the next one. Asking again changes nothing more, so a run
//! that was cut short is simply started anew. Costs that came with their events are never touched.

use serde::{Deserialize, Serialize};

use crate::{Money, Time};

/// Where the sink is asked.
pub const SUBJECT: &str = "prices.rerate";
/// Where the corrections are, in the archive folder: from there they come back with the rows of its files.
pub const CORRECTIONS_FOLDER: &str = "cost_corrections";
/// Calls looked at in one request, at most.
pub const ROWS_MAX: u32 = 5_000;

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the price table, for messages.
    pub file: String,
    /// The price table: TOML.
    pub table: String,
    /// Calls made from then on,
    pub from: Time,
    /// and before then.
    pub until: Time,
    /// Only of this model, as events name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Only says what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Go on behind this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Place>,
    /// Calls in this batch; at most [`ROWS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<u32>,
}

/// Where a call is among all calls: by time, then by the message that carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// When it was made.
    pub ts: Time,
    /// `usage.epoch`
    pub epoch: u16,
    /// `usage.origin`
    pub origin: u64,
    /// `usage.idx`
    pub idx: u32,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// By model and provider.
    pub models: Vec<Change>,
    /// There is more: ask with this as `after`.
    pub next: Option<Place>,
}

/// What became of the calls of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// As the events name it.
    pub model: String,
    /// As the events name it.
    pub provider: Option<String>,
    /// Calls with a computed cost, or none.
    pub calls: u64,
    /// Those whose cost is another one now.
    pub changed: u64,
    /// Those of the changed ones that had no price before.
    pub priced: u64,
    /// Those that this table has no price for: they stay as they are.
    pub without_price: u64,
    /// What all of them cost before.
    pub before_usd: Money,
    /// What they cost now.
    pub after_usd: Money,
}

impl Request {
    /// Reads and checks a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let request: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if request.from >= request.until {
            return Err("from is not before until; nothing lies between".into());
        }
        match request.rows_max {
            Some(rows) if rows == 0 || rows > ROWS_MAX => Err(format!(
                "rows_max is {rows}; ask for 1 to {ROWS_MAX} calls at a time"
            )),
            _ => Ok(request),
        }
    }
}
