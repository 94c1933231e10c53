//! Kind `metric`: a measurement.

use crate::choice::choice;
use crate::contract::contract;
use crate::{Text, limits};

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
        #[schemars(length(min = 1, max = limits::NAME_BYTES))]
        pub name: Text<'a>,
        /// The value measured: a finite number.
        pub value: f64,
        /// How values combine. Default: `gauge`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_type: Option<MetricType>,
    }
}
