//! Money, counted in integer nano-dollars so that sums are exact however they are grouped.
//!
//! A JSON number is read from its text, never through a float. Digits past the ninth after the point are
//! rounded half to even, exactly, however many there are.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// Digits after the point: `DECIMAL(18,9)` in tables.
const SCALE: i64 = 9;

/// An amount in nano-dollars (1e-9 USD). Shown as plain decimal dollars, e.g. `0.0031`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(pub i64);

/// Why a text is not [`Money`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("is not a number")]
    NotANumber,
    /// Over about 9.2 thousand million dollars.
    #[error("is too large")]
    Range,
}

impl Money {
    /// One dollar.
    pub const NANOS_PER_DOLLAR: i64 = 1_000_000_000;
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads a number as JSON writes it (`-1`, `0.25`, `1.5e-7`); more lenient only about leading zeros.
    fn from_str(text: &str) -> Result<Money, MoneyError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(MoneyError::NotANumber),
            None => (mantissa, ""),
        };
        if whole.is_empty() {
            return Err(MoneyError::NotANumber);
        }
        let kept = i64::try_from(whole.len())
            .map_err(|_| MoneyError::Range)?
            .saturating_add(exponent);
        let nanos = round_digits(whole.bytes().chain(fraction.bytes()), kept.saturating_add(SCALE))?;
        Ok(Money(if negative { -nanos } else { nanos }))
    }
}

/// An exponent, saturated: anything past a million digits is zero or too large either way.
fn parse_exponent(text: &str) -> Result<i64, MoneyError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MoneyError::NotANumber);
    }
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX);
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

/// The integer made of the first `kept` digits (zeros appended where there are fewer), rounded half to even
/// by the digits after them.
fn round_digits(digits: impl Iterator<Item = u8>, kept: i64) -> Result<i64, MoneyError> {
    let (mut value, mut position) = (0_i64, 0_i64);
    let (mut first_dropped, mut rest_dropped) = (0, false);
    for byte in digits {
        let digit = match byte {
            b'0'..=b'9' => i64::from(byte - b'0'),
            _ => return Err(MoneyError::NotANumber),
        };
        if position < kept {
            value = append_digit(value, digit)?;
        } else if position == kept {
            first_dropped = digit;
        } else {
            rest_dropped |= digit != 0;
        }
        position += 1;
    }
    while position < kept && value != 0 {
        value = append_digit(value, 0)?;
        position += 1;
    }
    let up = first_dropped > 5 || (first_dropped == 5 && (rest_dropped || value % 2 == 1));
    value.checked_add(i64::from(up)).ok_or(MoneyError::Range)
}

fn append_digit(value: i64, digit: i64) -> Result<i64, MoneyError> {
    value
        .checked_mul(10)
        .and_then(|value| value.checked_add(digit))
        .ok_or(MoneyError::Range)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        let unit = Self::NANOS_PER_DOLLAR.unsigned_abs();
        let (dollars, mut fraction) = (nanos / unit, nanos % unit);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write!(f, "{dollars}")?;
        if fraction == 0 {
            return Ok(());
        }
        let mut width = 9;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        write!(f, ".{fraction:0width$}")
    }
}

/// As a plain JSON number, e.g. `0.0031`: exact, and never with an exponent.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_string();
        let number: &RawValue = serde_json::from_str(&text).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// From a JSON number read by `serde_json` (its text is needed, so no other format will do).
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer)?
            .get()
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Money {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_json_writes() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("1", 1_000_000_000),
            ("-1.5", -1_500_000_000),
            ("0.0031", 3_100_000),
            ("1.5e-7", 150),
            ("2E+3", 2_000_000_000_000),
            ("1e-400", 0),
            ("0e999999999999999999999", 0),
            ("0.000000001", 1),
            ("9223372036.854775807", i64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Money(nanos)), "{text}");
        }
    }

    #[test]
    fn rounds_half_to_even_past_nine_digits() {
        for (text, nanos) in [
            ("0.0000000005", 0),
            ("0.0000000015", 2),
            ("0.00000000050000000000000000000000000000000001", 1),
            ("0.00000000249", 2),
            ("-0.0000000015", -2),
            ("6e-10", 1),
            ("5e-10", 0),
            ("51e-11", 1),
            ("9e-11", 0),
        ] {
            assert_eq!(text.parse(), Ok(Money(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "", "-", ".5", "1.", "1e", "1e+-2", "+1", "1_0", "NaN", "\"1\"", "1 ",
        ] {
            assert_eq!(text.parse::<Money>(), Err(MoneyError::NotANumber), "{text}");
        }
        for text in ["1e999", "9223372036.854775808", "1e99999999999999999999"] {
            assert_eq!(text.parse::<Money>(), Err(MoneyError::Range), "{text}");
        }
    }

    #[test]
    fn is_a_plain_json_number() {
        for (nanos, text) in [
            (0, "0"),
            (3_100_000, "0.0031"),
            (-1, "-0.000000001"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(serde_json::to_string(&Money(nanos)).unwrap(), text);
        }
        assert_eq!(
            serde_json::from_str::<Money>(" 0.25 ").unwrap(),
            Money(250_000_000)
        );
        assert!(serde_json::from_str::<Money>("\"0.25\"").is_err());
    }
}
