//! Numbers, texts, ids and names of enumerations.

use std::fmt::{self, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::Json;

/// An id: bytes as hexadecimal digits.
#[derive(Debug, Default)]
pub(super) struct Hex(pub(super) Vec<u8>);

/// Bytes in base64.
#[derive(Debug, Default)]
pub(super) struct Base64(pub(super) Vec<u8>);

/// A value of an enumeration: its number, or its name.
#[derive(Debug, Default)]
pub(super) struct Named(pub(super) i32);

impl Json for String {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.unwrap_or_default())
    }
}

impl Json for bool {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<bool>::deserialize(deserializer)?;
        Ok(value.unwrap_or_default())
    }
}

/// What a number is in JSON: a number, text, or nothing.
enum Number {
    Whole(i128),
    Real(f64),
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, text: &mut Formatter<'_>) -> fmt::Result {
        text.write_str("a number, or one in quotes")
    }

    fn visit_unit<E: Error>(self) -> Result<Number, E> {
        Ok(Number::Whole(0))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number::Whole(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number::Whole(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number::Real(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        let number = match text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust reads words as numbers, too.
            _ if !text.ends_with(|last: char| last.is_ascii_digit() || last == '.') => None,
            _ => {
                if let Ok(whole) = text.parse() {
                    return Ok(Number::Whole(whole));
                }
                text.parse().ok()
            }
        };
        let number = number.ok_or_else(|| E::custom(format!("{text:?} is not a number")))?;
        Ok(Number::Real(number))
    }
}

impl Json for f64 {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(NumberVisitor)? {
            #[allow(clippy::cast_precision_loss, reason = "as JSON has it")]
            Number::Whole(number) => number as f64,
            Number::Real(number) => number,
        })
    }
}

/// A whole number, also one written as `1.0` or `1e3`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    match deserializer.deserialize_any(NumberVisitor)? {
        Number::Whole(number) => Ok(number),
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        Number::Real(number) if number.fract() == 0.0 && number.abs() < 1e19 => Ok(number as i128),
        Number::Real(number) => Err(D::Error::custom(format!("{number} is not a whole number"))),
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Json for $number {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = whole(deserializer)?;
                <$number>::try_from(number).map_err(|_| {
                    let (from, to) = (<$number>::MIN, <$number>::MAX);
                    D::Error::custom(format!("{number} is not from {from} to {to}"))
                })
            }
        }
    )*};
}

whole_numbers!(u64, i64, u32, i32);

impl Json for Hex {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::read(deserializer)?;
        let wrong = || D::Error::custom(format!("{text:?} is not an id in hexadecimal digits"));
        let digits = text.as_bytes();
        if digits.len() % 2 != 0 {
            return Err(wrong());
        }
        let value = |digit: u8| char::from(digit).to_digit(16);
        let bytes = digits.chunks_exact(2).map(|pair| {
            let byte = value(pair[0])? << 4 | value(pair[1])?;
            u8::try_from(byte).ok()
        });
        bytes.collect::<Option<_>>().map(Hex).ok_or_else(wrong)
    }
}

impl Json for Base64 {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::read(deserializer)?;
        let bytes = STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text));
        bytes.map(Base64).map_err(D::Error::custom)
    }
}

impl Json for Named {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = i32;

            fn expecting(&self, text: &mut Formatter<'_>) -> fmt::Result {
                text.write_str("the number of a value")
            }

            fn visit_unit<E: Error>(self) -> Result<i32, E> {
                Ok(0)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
                // Of a later version: not known, and no reason to refuse everything.
                Ok(i32::try_from(number).unwrap_or_default())
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<i32, E> {
                Ok(0)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<i32, E> {
                let number = text.parse().ok();
                let named = number.or_else(|| named(text));
                named.ok_or_else(|| E::custom(format!("{text:?} is no value that is known")))
            }
        }
        deserializer.deserialize_any(NameVisitor).map(Named)
    }
}

/// The names of all enumerations differ.
fn named(text: &str) -> Option<i32> {
    let kind = || SpanKind::from_str_name(text).map(|value| value as i32);
    let status = || StatusCode::from_str_name(text).map(|value| value as i32);
    let temporality = || AggregationTemporality::from_str_name(text).map(|value| value as i32);
    let severity = || SeverityNumber::from_str_name(text).map(|value| value as i32);
    kind().or_else(status).or_else(temporality).or_else(severity)
}
