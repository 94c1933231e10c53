//! How much memory a request will take once it is decoded, before it is.
//!
//! Two bytes of protobuf can stand for an empty span, which takes hundreds in memory. So the message is walked
//! through first, along the parts that are messages themselves; nothing is allocated.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::receive::Signal;

/// As deep as the decoder goes.
const DEPTH: u32 = 100;
/// A number takes no more, however it is written.
const NUMBER: usize = 16;

/// What a message is made of: bytes in memory, and its members that are messages, by field number.
struct Shape {
    size: usize,
    messages: &'static [(u64, &'static Shape)],
    /// A repeated number whose values take one byte each, or more.
    packed: u64,
}

const fn shape(size: usize, messages: &'static [(u64, &'static Shape)]) -> Shape {
    Shape {
        size,
        messages,
        packed: 0,
    }
}

static ANY: Shape = shape(size_of::<AnyValue>(), &[(5, &ARRAY), (6, &LIST)]);
static ARRAY: Shape = shape(0, &[(1, &ANY)]);
static LIST: Shape = shape(0, &[(1, &PAIR)]);
static PAIR: Shape = shape(size_of::<KeyValue>(), &[(2, &ANY)]);
static RESOURCE: Shape = shape(96, &[(1, &PAIR), (3, &ENTITY)]);
static ENTITY: Shape = shape(96, &[(3, &NAME), (4, &NAME)]);
static NAME: Shape = shape(24, &[]);
static SCOPE: Shape = shape(96, &[(3, &PAIR)]);

static TRACES: Shape = shape(0, &[(1, &RESOURCE_SPANS)]);
static RESOURCE_SPANS: Shape = shape(size_of::<ResourceSpans>(), &[(1, &RESOURCE), (2, &SCOPE_SPANS)]);
static SCOPE_SPANS: Shape = shape(size_of::<ScopeSpans>(), &[(1, &SCOPE), (2, &SPAN)]);
static SPAN: Shape = shape(size_of::<Span>(), &[(9, &PAIR), (11, &EVENT), (13, &LINK)]);
static EVENT: Shape = shape(size_of::<Event>(), &[(3, &PAIR)]);
static LINK: Shape = shape(size_of::<Link>(), &[(4, &PAIR)]);

static LOGS: Shape = shape(0, &[(1, &RESOURCE_LOGS)]);
static RESOURCE_LOGS: Shape = shape(size_of::<ResourceLogs>(), &[(1, &RESOURCE), (2, &SCOPE_LOGS)]);
static SCOPE_LOGS: Shape = shape(size_of::<ScopeLogs>(), &[(1, &SCOPE), (2, &RECORD)]);
static RECORD: Shape = shape(size_of::<LogRecord>(), &[(5, &ANY), (6, &PAIR)]);

static METRICS: Shape = shape(0, &[(1, &RESOURCE_METRICS)]);
static RESOURCE_METRICS: Shape = shape(
    size_of::<ResourceMetrics>(),
    &[(1, &RESOURCE), (2, &SCOPE_METRICS)],
);
static SCOPE_METRICS: Shape = shape(size_of::<ScopeMetrics>(), &[(1, &SCOPE), (2, &METRIC)]);
static METRIC: Shape = shape(
    size_of::<Metric>(),
    &[
        (5, &NUMBERS),
        (7, &NUMBERS),
        (9, &HISTOGRAM),
        (10, &EXPONENTIAL),
        (11, &SUMMARY),
        (12, &PAIR),
    ],
);
static NUMBERS: Shape = shape(0, &[(1, &NUMBER_POINT)]);
static NUMBER_POINT: Shape = shape(size_of::<NumberDataPoint>(), &[(5, &EXEMPLAR), (7, &PAIR)]);
static HISTOGRAM: Shape = shape(0, &[(1, &HISTOGRAM_POINT)]);
static HISTOGRAM_POINT: Shape = shape(size_of::<HistogramDataPoint>(), &[(8, &EXEMPLAR), (9, &PAIR)]);
static EXPONENTIAL: Shape = shape(0, &[(1, &EXPONENTIAL_POINT)]);
static EXPONENTIAL_POINT: Shape = shape(
    size_of::<ExponentialHistogramDataPoint>(),
    &[(1, &PAIR), (8, &BUCKETS), (9, &BUCKETS), (11, &EXEMPLAR)],
);
static BUCKETS: Shape = Shape {
    size: 32,
    messages: &[],
    packed: 2,
};
static SUMMARY: Shape = shape(0, &[(1, &SUMMARY_POINT)]);
static SUMMARY_POINT: Shape = shape(128, &[(6, &NAME), (7, &PAIR)]);
static EXEMPLAR: Shape = shape(128, &[(7, &PAIR)]);

/// Bytes that the request takes once decoded, about. Stops where the decoder will stop, too.
pub(crate) fn protobuf(signal: Signal, bytes: &[u8]) -> usize {
    let shape = match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    };
    let mut weight = 0;
    // What is broken is found again, and told, by the decoder.
    let _ = walk(shape, bytes, DEPTH, &mut weight);
    weight
}

/// The same for JSON: every object may become the largest of messages.
pub(crate) fn json(bytes: &[u8]) -> usize {
    let objects = memchr::memchr_iter(b'{', bytes).count();
    bytes.len() * 4 + objects * size_of::<Span>().max(size_of::<ExponentialHistogramDataPoint>())
}

fn walk(shape: &Shape, mut rest: &[u8], depth_left: u32, weight: &mut usize) -> Option<()> {
    let depth_left = depth_left.checked_sub(1)?;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let (field, wire_type) = (key >> 3, key & 7);
        match wire_type {
            0 => {
                varint(&mut rest)?;
                *weight += NUMBER;
            }
            1 => {
                rest = rest.get(8..)?;
                *weight += NUMBER;
            }
            5 => {
                rest = rest.get(4..)?;
                *weight += NUMBER;
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (member, after) = rest.split_at_checked(length)?;
                rest = after;
                match shape.messages.iter().find(|(number, _)| *number == field) {
                    Some((_, inner)) => {
                        *weight += inner.size;
                        walk(inner, member, depth_left, weight)?;
                    }
                    None if field == shape.packed => *weight += NUMBER * length,
                    None => *weight += length,
                }
            }
            _ => return None,
        }
    }
    Some(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (at, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            *rest = rest.get(at + 1..)?;
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    use super::*;

    #[test]
    fn empty_spans_and_attributes_weigh_what_they_take() {
        let spans = |span: Span| {
            let scope = ScopeSpans {
                spans: vec![span; 1000],
                ..ScopeSpans::default()
            };
            let resource = ResourceSpans {
                scope_spans: vec![scope],
                ..ResourceSpans::default()
            };
            ExportTraceServiceRequest {
                resource_spans: vec![resource],
            }
            .encode_to_vec()
        };
        let empty = spans(Span::default());
        assert!(protobuf(Signal::Traces, &empty) >= 1000 * size_of::<Span>());
        let full = spans(Span {
            attributes: vec![KeyValue::default(); 10],
            ..Span::default()
        });
        let more = protobuf(Signal::Traces, &full) - protobuf(Signal::Traces, &empty);
        assert!(more >= 10_000 * size_of::<KeyValue>(), "{more}");
    }

    #[test]
    fn what_is_broken_weighs_something_and_no_more() {
        for bytes in [
            &b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..],
            b"\x0a",
            b"\x0f",
            b"\xff",
        ] {
            assert!(protobuf(Signal::Traces, bytes) < 1000);
        }
    }
}
