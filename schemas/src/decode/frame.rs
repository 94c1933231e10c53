//! Which items a payload holds: one object, an array of objects, or lines.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::check::admit;
use super::diagnose::diagnose;
use super::kinds::Checked;
use super::{Context, Decoded, Incoming, syntax};
use crate::lines::{is_blank, split_lines};
use crate::rejection::{Reason, Rejection};
use crate::{Item, limits};

const WHITESPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Decodes every item of the payload.
pub(super) fn decode_payload<'a, T: Checked<'a>>(
    message: &Incoming<'a>,
    context: Context<'a>,
    emit: &mut impl FnMut(Decoded<'a>),
) {
    let payload = message.payload;
    let outcome = match std::str::from_utf8(payload) {
        Ok(text) if is_blank(text) => Err(empty_payload()),
        _ if declares_lines(message.content_type) => decode_lines::<T>(payload, context, emit),
        Ok(text) => decode_text::<T>(text.trim_matches(WHITESPACE), payload, context, emit),
        // The lines around the damaged one are fine.
        Err(_) if looks_like_lines(String::from_utf8_lossy(payload).trim_matches(WHITESPACE)) => {
            decode_lines::<T>(payload, context, emit)
        }
        Err(error) => Err(invalid_utf8(error.valid_up_to())),
    };
    if let Err(rejection) = outcome {
        emit(Decoded::Rejected {
            index: None,
            payload,
            rejection,
        });
    }
}

/// Decodes one item; the fast path of everything here.
pub(super) fn decode_item<'a, T: Checked<'a>>(
    text: &'a str,
    context: Context<'a>,
    index: u32,
) -> Result<Item<'a>, Rejection> {
    let mut item = serde_json::from_str::<T>(text).map_err(|error| diagnose::<T>(text, &error))?;
    admit(&mut item, context, index)?;
    Ok(item.into())
}

/// `Err` if the whole message is rejected; then nothing was emitted.
fn decode_text<'a, T: Checked<'a>>(
    text: &'a str,
    payload: &'a [u8],
    context: Context<'a>,
    emit: &mut impl FnMut(Decoded<'a>),
) -> Result<(), Rejection> {
    if text.starts_with('[') {
        return decode_array::<T>(text, payload, context, emit);
    }
    let first_line = split_lines(text).next().unwrap_or(text);
    let lines = first_line.len() < text.len() && serde_json::from_str::<T>(first_line).is_ok();
    if lines {
        return decode_lines::<T>(payload, context, emit);
    }
    match decode_item::<T>(text, context, 0) {
        Ok(item) => emit(Decoded::Item {
            kind: T::KIND,
            index: 0,
            item,
        }),
        Err(_) if looks_like_lines(text) => return decode_lines::<T>(payload, context, emit),
        Err(rejection) => return Err(rejection),
    }
    Ok(())
}

fn decode_array<'a, T: Checked<'a>>(
    text: &'a str,
    payload: &'a [u8],
    context: Context<'a>,
    emit: &mut impl FnMut(Decoded<'a>),
) -> Result<(), Rejection> {
    if let Some(items) = decode_good_array::<T>(text, context) {
        for (index, item) in (0..).zip(items) {
            emit(Decoded::Item {
                kind: T::KIND,
                index,
                item: item.into(),
            });
        }
        return Ok(());
    }
    let items = match Elements::of(text) {
        Ok(items) => items.within_limits()?,
        Err(_) if looks_like_lines(text) => return decode_lines::<T>(payload, context, emit),
        Err(error) => return Err(syntax::reject(text, &error)),
    };
    for (index, raw) in (0..).zip(items) {
        emit(match decode_item::<T>(raw.get(), context, index) {
            Ok(item) => Decoded::Item {
                kind: T::KIND,
                index,
                item,
            },
            Err(rejection) => Decoded::Rejected {
                index: Some(index),
                payload: raw.get().as_bytes(),
                rejection: rejection.within(&format!("[{index}]"), "."),
            },
        });
    }
    Ok(())
}

/// The items of an array in one go, if there is nothing wrong with any of them.
fn decode_good_array<'a, T: Checked<'a>>(text: &'a str, context: Context<'a>) -> Option<Vec<T>> {
    let Bounded(mut items) = serde_json::from_str::<Bounded<T>>(text).ok()?;
    let good = (0..)
        .zip(&mut items)
        .all(|(index, item)| admit(item, context, index).is_ok());
    (good && !items.is_empty()).then_some(items)
}

fn decode_lines<'a, T: Checked<'a>>(
    payload: &'a [u8],
    context: Context<'a>,
    emit: &mut impl FnMut(Decoded<'a>),
) -> Result<(), Rejection> {
    let filled = |line: &[u8]| !line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    if memchr::memchr_iter(b'\n', payload).count() >= limits::ITEMS {
        let items = payload
            .split(|byte| *byte == b'\n')
            .filter(|line| filled(line))
            .count();
        if items > limits::ITEMS {
            return Err(too_many_items(items));
        }
    }
    let (mut start, mut number, mut index) = (0, 0_usize, 0_u32);
    while start < payload.len() {
        let end = memchr::memchr(b'\n', &payload[start..]).map_or(payload.len(), |length| start + length);
        let line = &payload[start..end];
        number += 1;
        if filled(line) {
            let decoded = match std::str::from_utf8(line) {
                Ok(text) => decode_item::<T>(text.trim_matches(WHITESPACE), context, index),
                Err(error) => Err(invalid_utf8(start + error.valid_up_to())),
            };
            emit(match decoded {
                Ok(item) => Decoded::Item {
                    kind: T::KIND,
                    index,
                    item,
                },
                Err(rejection) => Decoded::Rejected {
                    index: Some(index),
                    payload: line,
                    rejection: rejection.within(&format!("line {number}"), ": "),
                },
            });
            index += 1;
        }
        start = end + 1;
    }
    Ok(())
}

fn declares_lines(content_type: Option<&str>) -> bool {
    const TYPES: [&str; 4] = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
    ];
    let Some(media_type) = content_type.and_then(|value| value.split(';').next()) else {
        return false;
    };
    TYPES
        .iter()
        .any(|known| media_type.trim().eq_ignore_ascii_case(known))
}

/// Whether a text that is not one JSON value was meant as lines: its first line is a value, or its second
/// begins an object. (In a broken pretty-printed array the second line does, too.)
fn looks_like_lines(text: &str) -> bool {
    let is_value = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let mut lines = split_lines(text).filter(|line| !is_blank(line));
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return false;
    };
    let second_begins = !text.starts_with('[') && second.trim_start_matches(WHITESPACE).starts_with('{');
    !is_value(text) && (second_begins || is_value(first))
}

fn empty_payload() -> Rejection {
    let fix = "send one JSON object, an array of objects, or one object a line";
    Rejection::new(Reason::EmptyPayload, Rejection::PAYLOAD, "is empty", fix)
}

pub(super) fn invalid_utf8(offset: usize) -> Rejection {
    let problem = format!("is not UTF-8 at byte {offset} of the payload");
    Rejection::new(
        Reason::InvalidUtf8,
        Rejection::PAYLOAD,
        problem,
        "encode the JSON as UTF-8",
    )
}

pub(super) fn too_many_items(items: usize) -> Rejection {
    let problem = format!("holds {items} items, more than {}", limits::ITEMS);
    Rejection::new(
        Reason::TooLarge,
        Rejection::PAYLOAD,
        problem,
        "send them in several messages",
    )
}

/// The elements of an array as they were written; of too many only how many there are.
pub(super) struct Elements<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'a> Elements<'a> {
    pub(super) fn of(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// All of them, at least one and not too many.
    pub(super) fn within_limits(self) -> Result<Vec<&'a RawValue>, Rejection> {
        if self.count == 0 {
            let (problem, fix) = ("is an array without items", "send at least one object");
            return Err(Rejection::new(
                Reason::EmptyArray,
                Rejection::PAYLOAD,
                problem,
                fix,
            ));
        }
        if self.count > limits::ITEMS {
            return Err(too_many_items(self.count));
        }
        Ok(self.first)
    }
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;

        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Elements<'de>, A::Error> {
                let (mut first, mut count) = (Vec::new(), 0);
                while let Some(element) = array.next_element()? {
                    if count < limits::ITEMS {
                        first.push(element);
                    }
                    count += 1;
                }
                Ok(Elements { first, count })
            }
        }

        deserializer.deserialize_seq(ElementsVisitor)
    }
}

/// An array that stops being read when it has too many items.
struct Bounded<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = array.next_element()? {
                    if items.len() == limits::ITEMS {
                        return Err(de::Error::custom("too many items"));
                    }
                    items.push(item);
                }
                Ok(items)
            }
        }

        deserializer.deserialize_seq(Items(PhantomData)).map(Bounded)
    }
}
