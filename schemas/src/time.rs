//! Points in time, as agents write them and as we write them.
//!
//! Accepted: an RFC 3339 string with `Z` or an offset (a space for the `T` is fine, as RFC 3339 section 5.6
//! allows), or integer milliseconds since 1970. Written: RFC 3339 in UTC with exactly six digits of fraction,
//! so that text order is time order. Digits past microseconds are dropped.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::limits;

static PARSER: DateTimeParser = DateTimeParser::new();
static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// 0000-01-01T00:00:00Z: RFC 3339 has no earlier year.
const MICROS_MIN: i64 = -62_167_219_200_000_000;

/// 9999-12-31T23:59:59.999Z: nor a later one.
const MILLIS_MAX: i64 = 253_402_300_799_999;

/// A point in time in UTC: microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

/// Why a text or number is not a [`Time`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The number is too close to zero to be milliseconds since 1970.
    #[error("looks like seconds")]
    Seconds,
    /// The time is outside the years 0000 to 9999.
    #[error("is outside the years 0000 to 9999")]
    Range,
    /// The text is one of the last two days that RFC 3339 can write, which no clock here can.
    #[error("is too far ahead")]
    Ahead,
    /// The text is not RFC 3339.
    #[error("is not an RFC 3339 time with Z or an offset")]
    Text,
}

impl Time {
    /// From milliseconds since 1970, as agents send them.
    ///
    /// # Errors
    /// [`TimeError::Seconds`] for numbers that can only have been meant as seconds
    /// ([`limits::TIMESTAMP_MS_ABS_MIN`]), [`TimeError::Range`] outside the years 0000 to 9999.
    pub fn from_millis(millis: i64) -> Result<Time, TimeError> {
        if millis.unsigned_abs() < limits::TIMESTAMP_MS_ABS_MIN {
            return Err(TimeError::Seconds);
        }
        millis
            .checked_mul(1000)
            .and_then(Time::in_range)
            .ok_or(TimeError::Range)
    }

    /// Milliseconds since 1970, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    fn in_range(micros: i64) -> Option<Time> {
        (MICROS_MIN..=Timestamp::MAX.as_microsecond())
            .contains(&micros)
            .then_some(Time(micros))
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Time, TimeError> {
        // The parser also takes ISO 8601's basic format and time zone annotations; we promise RFC 3339 only.
        let bytes = text.as_bytes();
        let separated = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
        let shaped = separated(4, b"-")
            && separated(7, b"-")
            && separated(10, b"Tt ")
            && separated(13, b":")
            && separated(16, b":")
            && bytes.last() != Some(&b']');
        if !shaped || !is_offset_within_a_day(bytes) {
            return Err(TimeError::Text);
        }
        let timestamp = match PARSER.parse_timestamp(bytes) {
            Ok(timestamp) => timestamp,
            Err(_) => parse_unusual(text)?,
        };
        Time::in_range(timestamp.as_microsecond()).ok_or(TimeError::Range)
    }
}

/// The parser takes offsets of up to 25 hours, RFC 3339 has 23.
fn is_offset_within_a_day(bytes: &[u8]) -> bool {
    let mut rest = bytes.iter().skip(17);
    let signed = rest.any(|byte| matches!(byte, b'+' | b'-'));
    !signed
        || matches!(
            (rest.next(), rest.next()),
            (Some(b'0' | b'1'), _) | (Some(b'2'), Some(b'0'..=b'3'))
        )
}

/// What RFC 3339 has and the parser does not: more than nine digits of fraction, and the last days of the year 9999.
fn parse_unusual(text: &str) -> Result<Timestamp, TimeError> {
    let at = text.find('.').map_or(text.len(), |point| point + 1);
    let (start, rest) = text.split_at_checked(at).ok_or(TimeError::Text)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let short = format!("{start}{}{}", &rest[..digits.min(6)], &rest[digits..]);
    let parse = |text: &str| PARSER.parse_timestamp(text).ok();
    if let Some(timestamp) = parse(&short) {
        return Ok(timestamp);
    }
    let earlier = short
        .strip_prefix("9999-12-3")
        .map(|rest| format!("9998-12-3{rest}"));
    match earlier.and_then(|earlier| parse(&earlier)) {
        Some(_) => Err(TimeError::Ahead),
        None => Err(TimeError::Text),
    }
}

/// RFC 3339 in UTC with microseconds, e.g. `2026-11-20T07:00:00.123000Z`. Times that RFC 3339 cannot write
/// (they cannot come from an event) are shown as the nearest one it can.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::from_microsecond(self.0.max(MICROS_MIN)).unwrap_or(Timestamp::MAX);
        PRINTER
            .print_timestamp(&timestamp, StdFmtWrite(f))
            .map_err(|_| fmt::Error)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 string or integer milliseconds since 1970")
            }

            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Time, E> {
                Time::from_millis(millis).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Time, E> {
                let millis = i64::try_from(millis).map_err(|_| E::custom(TimeError::Range))?;
                self.visit_i64(millis)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(TimeVisitor)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let nearest = limits::TIMESTAMP_MS_ABS_MIN.cast_signed();
        json_schema!({ "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "integer", "minimum": nearest, "maximum": MILLIS_MAX },
            { "type": "integer", "minimum": MICROS_MIN / 1000, "maximum": -nearest },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_is_written_the_same_way() {
        for text in [
            "2026-11-20T07:00:00.123Z",
            "2026-11-20t07:00:00.123000z",
            "2026-11-20 08:30:00.123+01:30",
            "2026-11-20T07:00:00.123000999+00:00",
            "2026-11-20T07:00:00.123000999999Z",
            "2026-11-21T06:59:00.123000999999999+23:59",
        ] {
            assert_eq!(
                text.parse::<Time>().unwrap().to_string(),
                "2026-11-20T07:00:00.123000Z",
                "{text}"
            );
        }
        assert_eq!(
            Time::from_millis(1_795_158_000_123).unwrap().to_string(),
            "2026-11-20T07:00:00.123000Z"
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "now",
            "2026-11-20",
            "2026-11-20T07:00:00",
            "20261120T070000Z",
            "2026-11-20T07:00Z",
            "2026-13-20T07:00:00Z",
            "2026-11-20T25:00:00Z",
            "2026-11-20T07:00:00Z[UTC]",
            "1795158000123",
            "2026-11-20T07:00:00Zé",
            "-000001-11-20T07:00:00Z",
            "2026-11-20T07:00:00+25:00",
            "2026-11-20T07:00:00.5-24:00",
            "2026-11-20T07:00:00+",
            "2026-11-20T07:00:00.123456789012",
            "2026-11-20T07:00:00.é",
            "9999-12-32T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Time>(), Err(TimeError::Text), "{text}");
        }
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999999Z"] {
            assert_eq!(text.parse::<Time>(), Err(TimeError::Ahead), "{text}");
        }
        assert_eq!(Time::from_millis(1_795_158_000), Err(TimeError::Seconds));
        assert_eq!(Time::from_millis(i64::MAX), Err(TimeError::Range));
        assert_eq!(Time::from_millis(i64::MIN), Err(TimeError::Range));
    }

    #[test]
    fn times_nobody_can_write_are_shown_as_the_nearest() {
        assert_eq!(Time(i64::MIN).to_string(), "0000-01-01T00:00:00.000000Z");
        assert_eq!(Time(i64::MAX).to_string().get(..10), Some("9999-12-30"));
    }

    #[test]
    fn milliseconds_round_down() {
        assert_eq!((Time(1999).as_millis(), Time(-1).as_millis()), (1, -1));
    }
}
