//! The messages: which name in JSON is which field.

use std::fmt::{self, Formatter};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as PointValue;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::scalars::{Base64, Hex, Named};
use super::{Json, Read};

/// `"name" => field` is read as the field's type has it, `as Hex` otherwise; `=> field: Variant` is one of a choice, in
/// which `null` chooses nothing.
macro_rules! message {
    ($message:ident { $($name:literal => $field:ident $(as $reader:ident)? $(: $variant:path $([$unpack:ident])?)?),* $(,)? }) => {
        impl Json for $message {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;
                impl<'de> Visitor<'de> for Members {
                    type Value = $message;

                    fn expecting(&self, text: &mut Formatter<'_>) -> fmt::Result {
                        text.write_str("an object")
                    }

                    fn visit_unit<E: Error>(self) -> Result<$message, E> {
                        Ok($message::default())
                    }

                    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<$message, M::Error> {
                        let mut message = $message::default();
                        while let Some(name) = map.next_key::<String>()? {
                            match name.as_str() {
                                $($name => message!(@read map, message.$field $(, as $reader)? $(, $variant $(, $unpack)?)?),)*
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(message)
                    }
                }
                deserializer.deserialize_any(Members)
            }
        }
    };
    (@read $map:ident, $message:ident.$field:ident) => {
        take(&mut $map, &mut $message.$field)?
    };
    (@read $map:ident, $message:ident.$field:ident, as $reader:ident) => {
        $message.$field = $map.next_value::<Read<$reader>>()?.0.0
    };
    (@read $map:ident, $message:ident.$field:ident, $variant:path) => {
        choose(&mut $map, &mut $message.$field, $variant)?
    };
    (@read $map:ident, $message:ident.$field:ident, $variant:path, $reader:ident) => {
        choose(&mut $map, &mut $message.$field, |value: $reader| $variant(value.0))?
    };
}

/// Reads a member into its field.
fn take<'de, T: Json, M: MapAccess<'de>>(map: &mut M, field: &mut T) -> Result<(), M::Error> {
    *field = map.next_value::<Read<T>>()?.0;
    Ok(())
}

/// Reads one of a choice; `null` chooses nothing.
fn choose<'de, T: Json, V, M: MapAccess<'de>>(
    map: &mut M,
    field: &mut Option<V>,
    variant: fn(T) -> V,
) -> Result<(), M::Error> {
    if let Some(value) = map.next_value::<Option<Read<T>>>()? {
        *field = Some(variant(value.0));
    }
    Ok(())
}

message!(ExportTraceServiceRequest { "resourceSpans" => resource_spans });
message!(ResourceSpans { "resource" => resource, "scopeSpans" => scope_spans });
message!(ScopeSpans { "scope" => scope, "spans" => spans });
message!(Span {
    "traceId" => trace_id as Hex,
    "spanId" => span_id as Hex,
    "traceState" => trace_state,
    "parentSpanId" => parent_span_id as Hex,
    "flags" => flags,
    "name" => name,
    "kind" => kind as Named,
    "startTimeUnixNano" => start_time_unix_nano,
    "endTimeUnixNano" => end_time_unix_nano,
    "attributes" => attributes,
    "events" => events,
    "links" => links,
    "status" => status,
});
message!(Event { "timeUnixNano" => time_unix_nano, "name" => name, "attributes" => attributes });
message!(Link {
    "traceId" => trace_id as Hex,
    "spanId" => span_id as Hex,
    "traceState" => trace_state,
    "attributes" => attributes,
});
message!(Status { "message" => message, "code" => code as Named });

message!(ExportLogsServiceRequest { "resourceLogs" => resource_logs });
message!(ResourceLogs { "resource" => resource, "scopeLogs" => scope_logs });
message!(ScopeLogs { "scope" => scope, "logRecords" => log_records });
message!(LogRecord {
    "timeUnixNano" => time_unix_nano,
    "observedTimeUnixNano" => observed_time_unix_nano,
    "severityNumber" => severity_number as Named,
    "severityText" => severity_text,
    "body" => body,
    "attributes" => attributes,
    "flags" => flags,
    "traceId" => trace_id as Hex,
    "spanId" => span_id as Hex,
    "eventName" => event_name,
});

message!(ExportMetricsServiceRequest { "resourceMetrics" => resource_metrics });
message!(ResourceMetrics { "resource" => resource, "scopeMetrics" => scope_metrics });
message!(ScopeMetrics { "scope" => scope, "metrics" => metrics });
message!(Metric {
    "name" => name,
    "unit" => unit,
    "gauge" => data: Data::Gauge,
    "sum" => data: Data::Sum,
    "histogram" => data: Data::Histogram,
    "exponentialHistogram" => data: Data::ExponentialHistogram,
    "summary" => data: Data::Summary,
});
message!(Gauge { "dataPoints" => data_points });
message!(Sum {
    "dataPoints" => data_points,
    "aggregationTemporality" => aggregation_temporality as Named,
    "isMonotonic" => is_monotonic,
});
message!(Histogram {
    "dataPoints" => data_points,
    "aggregationTemporality" => aggregation_temporality as Named,
});
message!(ExponentialHistogram {
    "dataPoints" => data_points,
    "aggregationTemporality" => aggregation_temporality as Named,
});
message!(Summary { "dataPoints" => data_points });
message!(NumberDataPoint {
    "attributes" => attributes,
    "startTimeUnixNano" => start_time_unix_nano,
    "timeUnixNano" => time_unix_nano,
    "flags" => flags,
    "asDouble" => value: PointValue::AsDouble,
    "asInt" => value: PointValue::AsInt,
});
message!(HistogramDataPoint {
    "attributes" => attributes,
    "startTimeUnixNano" => start_time_unix_nano,
    "timeUnixNano" => time_unix_nano,
    "count" => count,
    "sum" => sum,
    "bucketCounts" => bucket_counts,
    "explicitBounds" => explicit_bounds,
    "flags" => flags,
    "min" => min,
    "max" => max,
});
message!(ExponentialHistogramDataPoint {
    "attributes" => attributes,
    "startTimeUnixNano" => start_time_unix_nano,
    "timeUnixNano" => time_unix_nano,
    "count" => count,
    "sum" => sum,
    "scale" => scale,
    "zeroCount" => zero_count,
    "positive" => positive,
    "negative" => negative,
    "flags" => flags,
    "min" => min,
    "max" => max,
    "zeroThreshold" => zero_threshold,
});
message!(Buckets { "offset" => offset, "bucketCounts" => bucket_counts });
message!(SummaryDataPoint {
    "attributes" => attributes,
    "startTimeUnixNano" => start_time_unix_nano,
    "timeUnixNano" => time_unix_nano,
    "count" => count,
    "sum" => sum,
    "quantileValues" => quantile_values,
    "flags" => flags,
});
message!(ValueAtQuantile { "quantile" => quantile, "value" => value });

message!(Resource { "attributes" => attributes });
message!(InstrumentationScope { "name" => name, "version" => version, "attributes" => attributes });
message!(KeyValue { "key" => key, "value" => value });
message!(AnyValue {
    "stringValue" => value: Value::StringValue,
    "boolValue" => value: Value::BoolValue,
    "intValue" => value: Value::IntValue,
    "doubleValue" => value: Value::DoubleValue,
    "arrayValue" => value: Value::ArrayValue,
    "kvlistValue" => value: Value::KvlistValue,
    "bytesValue" => value: Value::BytesValue[Base64],
});
message!(ArrayValue { "values" => values });
message!(KeyValueList { "values" => values });
