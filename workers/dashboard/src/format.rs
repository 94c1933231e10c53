//! Numbers, amounts and times as people read them. Pure.
//!
//! Convention: groups of three separated by a narrow no-break space, SI units (k, M, G, T; 1 GB is 10^9 bytes),
//! three significant digits once a unit is used, the exact value in the title. Times are UTC.

use std::fmt;

use askama::{Template, filters::HtmlSafe};
use jiff::{Timestamp, tz::TimeZone};

/// U+202F: never breaks a number at the end of a line.
const THIN: char = '\u{202f}';
const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// A number in its short form, with the exact one in the title. Renders as HTML.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(source = r#"<span title="{{ exact }}">{{ text }}</span>"#, ext = "html")]
pub(crate) struct Amount {
    /// What is shown.
    pub(crate) text: String,
    /// What it stands for, in full.
    pub(crate) exact: String,
}

impl HtmlSafe for Amount {}

impl Amount {
    fn new(text: impl Into<String>, exact: impl fmt::Display) -> Self {
        Self {
            text: text.into(),
            exact: exact.to_string(),
        }
    }
}

/// `1234567` as `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// A count: exact below 10 000, then `12.3 k`, `1.20 M`.
pub(crate) fn count(number: u64) -> Amount {
    let exact = grouped(number);
    if number < 10_000 {
        Amount::new(exact.clone(), exact)
    } else {
        Amount::new(scaled(number as f64, ""), exact)
    }
}

/// Events a second: `0.4`, `12.3`, `1 234`, `56.7 k`. What is not a number counts as nothing.
pub(crate) fn rate(per_second: f64) -> Amount {
    let value = if per_second.is_finite() {
        per_second.max(0.0)
    } else {
        0.0
    };
    let text = match value {
        0.0 => "0".to_owned(),
        _ if value < 99.95 => format!("{value:.1}"),
        _ if value < 9_999.5 => grouped(value.round() as u64),
        _ => scaled(value, ""),
    };
    Amount::new(text, format!("{value:.3} a second"))
}

/// A round number beside an axis: `0.5`, `20`, `1.5 k`.
pub(crate) fn tick(value: f64) -> String {
    let text = if value < 1000.0 {
        format!("{value:.6}")
    } else {
        rate(value).text
    };
    let (number, unit) = text
        .split_once(THIN)
        .filter(|(_, unit)| UNITS.contains(unit))
        .unwrap_or((&text, ""));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if unit.is_empty() {
        number.to_owned()
    } else {
        format!("{number}{THIN}{unit}")
    }
}

/// Bytes with SI units: `512 B`, `3.40 GB`.
pub(crate) fn bytes(number: f64) -> Amount {
    let value = if number.is_finite() { number.max(0.0) } else { 0.0 };
    Amount::new(
        scaled(value, "B"),
        format!("{} bytes", grouped(value.round() as u64)),
    )
}

/// `7.4 %`, `42 %`.
pub(crate) fn percent(value: f64) -> Amount {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = if value < 9.95 {
        format!("{value:.1}{THIN}%")
    } else {
        format!("{value:.0}{THIN}%")
    };
    Amount::new(text, format!("{value:.2} %"))
}

/// An exact decimal number of dollars: cents from a dollar up, two significant digits below.
/// Text that is not a number is shown as it is.
pub(crate) fn dollars(decimal: &str) -> Amount {
    let Some(value) = decimal.parse::<f64>().ok().filter(|value| value.is_finite()) else {
        return Amount::new(decimal, decimal);
    };
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    let decimals = if size >= 0.1 || size == 0.0 {
        2
    } else {
        (1.0 - size.log10().floor()).min(9.0) as usize
    };
    let digits = format!("{size:.decimals$}");
    let text = match digits.split_once('.') {
        Some((whole, cents)) => match whole.parse() {
            Ok(whole) => format!("{sign}${}.{cents}", grouped(whole)),
            Err(_) => format!("{sign}${digits}"),
        },
        None => format!("{sign}${digits}"),
    };
    Amount::new(text, format!("{decimal} US dollars"))
}

/// How long ago, in words: `under 1 s`, `42 s`, `7 min`, `3 h`, `2 d`. A time ahead of now is `under 1 s`.
pub(crate) fn age(milliseconds: i64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        ..1 => format!("under 1{THIN}s"),
        1..60 => format!("{seconds}{THIN}s"),
        60..3600 => format!("{}{THIN}min", seconds / 60),
        3600..172_800 => format!("{}{THIN}h", seconds / 3600),
        _ => format!("{}{THIN}d", seconds / 86_400),
    }
}

/// UTC time of day, to the second; with the date when that differs from the date of `now_ms`.
pub(crate) fn clock(at_ms: i64, now_ms: i64) -> String {
    let day = |ms: i64| ms.div_euclid(86_400_000);
    utc(
        at_ms,
        if day(at_ms) == day(now_ms) {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        },
    )
}

/// UTC time of day, to the minute.
pub(crate) fn minute(at_ms: i64) -> String {
    utc(at_ms, "%H:%M")
}

/// UTC date and time, to the second.
pub(crate) fn stamp(at_ms: i64) -> String {
    utc(at_ms, "%Y-%m-%d %H:%M:%S")
}

/// Month, day and time of day, or the day alone.
pub(crate) fn day(at_ms: i64, with_time: bool) -> String {
    utc(at_ms, if with_time { "%b %d %H:%M" } else { "%b %d" })
}

/// How long something took: `840 ms`, `1.25 s`, `2.5 min`.
pub(crate) fn duration(milliseconds: f64) -> Amount {
    let value = if milliseconds.is_finite() {
        milliseconds.max(0.0)
    } else {
        0.0
    };
    let text = match value {
        _ if value < 9.95 => format!("{value:.1}{THIN}ms"),
        _ if value < 999.5 => format!("{value:.0}{THIN}ms"),
        _ if value < 59_995.0 => format!("{:.2}{THIN}s", value / 1000.0),
        _ => format!("{:.1}{THIN}min", value / 60_000.0),
    };
    Amount::new(text, format!("{value:.3} ms"))
}

fn utc(at_ms: i64, layout: &str) -> String {
    match Timestamp::from_millisecond(at_ms) {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime(layout).to_string(),
        Err(_) => "unknown time".to_owned(),
    }
}

/// Three significant digits and a unit. `value` is finite and not negative.
fn scaled(value: f64, base: &str) -> String {
    let mut value = value;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let number = match value {
        _ if unit == 0 => format!("{value:.0}"),
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let unit = UNITS[unit];
    if unit.is_empty() && base.is_empty() {
        number
    } else {
        format!("{number}{THIN}{unit}{base}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spaced(text: &str) -> String {
        text.replace(THIN, " ")
    }

    #[test]
    fn counts_are_exact_while_short() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (9_999, "9 999"),
            (10_000, "10.0 k"),
            (99_949, "99.9 k"),
            (99_950, "100 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (1_234_567, "1.23 M"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(spaced(&count(number).text), text);
        }
        assert_eq!(spaced(&count(1_234_567).exact), "1 234 567");
    }

    #[test]
    fn rates_keep_one_decimal_while_it_matters() {
        for (value, text) in [
            (0.0, "0"),
            (-1.0, "0"),
            (f64::NAN, "0"),
            (0.4, "0.4"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.4, "1 234"),
            (56_700.0, "56.7 k"),
        ] {
            assert_eq!(spaced(&rate(value).text), text);
        }
    }

    #[test]
    fn ticks_have_no_idle_zeros() {
        for (value, text) in [
            (0.05, "0.05"),
            (1.0, "1"),
            (20.0, "20"),
            (500.0, "500"),
            (2_500.0, "2 500"),
            (20_000.0, "20 k"),
            (1.5e6, "1.5 M"),
        ] {
            assert_eq!(spaced(&tick(value)), text);
        }
    }

    #[test]
    fn bytes_and_percent() {
        assert_eq!(spaced(&bytes(512.0).text), "512 B");
        assert_eq!(spaced(&bytes(3.4e9).text), "3.40 GB");
        assert_eq!(spaced(&bytes(3.4e9).exact), "3 400 000 000 bytes");
        assert_eq!(spaced(&bytes(f64::INFINITY).text), "0 B");
        assert_eq!(spaced(&percent(7.44).text), "7.4 %");
        assert_eq!(spaced(&percent(9.96).text), "10 %");
        assert_eq!(spaced(&percent(99.6).text), "100 %");
    }

    #[test]
    fn durations() {
        for (milliseconds, text) in [
            (0.0, "0.0 ms"),
            (840.4, "840 ms"),
            (1_250.0, "1.25 s"),
            (150_000.0, "2.5 min"),
            (f64::NAN, "0.0 ms"),
        ] {
            assert_eq!(spaced(&duration(milliseconds).text), text);
        }
    }

    #[test]
    fn dollars_keep_what_is_worth_reading() {
        for (decimal, text) in [
            ("0", "$0.00"),
            ("0.0087", "$0.0087"),
            ("0.05", "$0.050"),
            ("0.5", "$0.50"),
            ("12.345", "$12.35"),
            ("1234.5", "$1 234.50"),
            ("-1.2", "−$1.20"),
            ("0.000000001", "$0.000000001"),
            ("a lot", "a lot"),
            ("inf", "inf"),
        ] {
            assert_eq!(spaced(&dollars(decimal).text), text);
        }
        assert_eq!(dollars("0.0087").exact, "0.0087 US dollars");
    }

    #[test]
    fn ages_in_words() {
        for (milliseconds, text) in [
            (-5_000, "under 1 s"),
            (999, "under 1 s"),
            (1_000, "1 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (7_200_000, "2 h"),
            (259_200_000, "3 d"),
            (i64::MIN, "under 1 s"),
        ] {
            assert_eq!(spaced(&age(milliseconds)), text);
        }
    }

    #[test]
    fn times_are_utc_and_name_another_day() {
        let noon = 1_795_176_000_000; // 2026-11-20 12:00 UTC
        assert_eq!(clock(noon, noon), "12:00:00");
        assert_eq!(clock(noon - 86_400_000, noon), "2026-11-19 12:00:00");
        assert_eq!(minute(noon + 61_000), "12:01");
        assert_eq!(clock(i64::MAX, 0), "unknown time");
    }

    #[test]
    fn an_amount_escapes_what_it_shows() {
        assert_eq!(
            dollars("<b>").to_string(),
            r#"<span title="&#60;b&#62;">&#60;b&#62;</span>"#
        );
    }

    proptest! {
        #[test]
        fn grouping_loses_no_digit(number: u64) {
            let text = grouped(number);
            prop_assert_eq!(text.replace(THIN, ""), number.to_string());
            for group in text.split(THIN).skip(1) {
                prop_assert_eq!(group.len(), 3);
            }
        }

        #[test]
        fn a_scaled_number_is_within_half_a_percent(number in 10_000u64..) {
            let text = count(number).text;
            let (digits, unit) = text.split_once(THIN).unwrap();
            let power = UNITS.iter().position(|known| *known == unit).unwrap() as i32;
            let shown = digits.parse::<f64>().unwrap() * 1000f64.powi(power);
            prop_assert!((shown / number as f64 - 1.0).abs() <= 0.00502, "{} shown as {}", number, text);
            prop_assert!(digits.len() <= 4);
        }

        #[test]
        fn nothing_panics(value: f64, whole: i64, decimal: String) {
            let texts = [rate(value).text, bytes(value).text, percent(value).text, dollars(&decimal).text,
                dollars(&value.to_string()).text, clock(whole, 0), minute(whole), age(whole), tick(value)];
            prop_assert!(texts.iter().all(|text| !text.is_empty() || decimal.is_empty()));
        }
    }
}
