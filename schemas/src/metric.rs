//! Kind `metric`: a measurement.

use serde_json::value::RawValue;

use crate::choice::choice;
use crate::contract::contract;
use crate::{Distribution, Text, limits};

choice! {
    /// How the values of a metric combine.
    pub enum MetricType {
        /// An increase since the last value sent; values add up.
        Counter = "counter",
        /// A running total; differences count.
        Cumulative = "cumulative",
        /// The state at a moment. The default.
        Gauge = "gauge",
        /// One observation of a distribution, e.g. a latency.
        Histogram = "histogram",
    }
}

contract! {
    /// A measurement.
    pub struct Metric<'a> {
        /// What was measured, e.g. `queue.depth`: not blank, at most 256 bytes.
        #[serde(borrow)]
        #[schemars(length(min = 1, max = limits::NAME_BYTES), regex(pattern = r"\S"))]
        pub name: Text<'a>,
        /// The value measured: a finite number. With a `distribution` it is the mean, whatever was sent.
        #[serde(default = "absent")]
        pub value: f64,
        /// How values combine. Default: `gauge`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_type: Option<MetricType>,
        /// Many observations at once; for `histogram` (a delta) and `cumulative`. At most 64 KiB. Kept as its JSON text.
        #[serde(borrow, serialize_with = "crate::contract::on_one_line", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<crate::Distribution>")]
        pub distribution: Option<&'a RawValue>,
    }
}

/// Stands for a value that was not sent: JSON cannot write it, so nobody can have sent it.
const fn absent() -> f64 {
    f64::NAN
}

impl Metric<'_> {
    /// The distribution, read; none where there is none, or not one that was checked.
    pub fn read_distribution(&self) -> Option<Distribution> {
        serde_json::from_str(self.distribution?.get()).ok()
    }
}
