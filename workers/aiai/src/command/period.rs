//! Times on the command line, and which rollup answers for them.

use std::str::FromStr;

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Longer than any history.
const AGO_MAX: i64 = 100 * 366 * DAY;

/// A moment as people write it: `90s`, `30m`, `24h`, `7d`, `2w` ago, a date, or RFC 3339. Days begin at midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Seconds before now.
    Ago(i64),
    /// Seconds since 1970.
    At(i64),
}

impl Moment {
    /// Seconds since 1970.
    pub const fn seconds(self, now: i64) -> i64 {
        match self {
            Self::Ago(seconds) => now - seconds,
            Self::At(seconds) => seconds,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(seconds) = ago(text) {
            return Ok(Self::Ago(seconds));
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::At(at.as_second()));
        }
        let midnight = text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
        midnight
            .map(|at| Self::At(at.timestamp().as_second()))
            .map_err(|_| "write 30m, 24h or 7d, 2026-11-20, or 2026-11-20T07:00:00Z".to_owned())
    }
}

fn ago(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return None,
    };
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let ago = number.checked_mul(seconds)?;
    (1..=AGO_MAX).contains(&ago).then_some(ago)
}

/// The width of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Interval {
    /// A minute.
    #[value(name = "1m")]
    Minute,
    /// Five minutes.
    #[value(name = "5m")]
    FiveMinutes,
    /// An hour.
    #[value(name = "1h")]
    Hour,
    /// A day, from midnight UTC.
    #[value(name = "1d")]
    Day,
}

impl Interval {
    /// For a chart of so many seconds: up to some hundred points, from rollups that are still kept.
    pub const fn for_chart(seconds: i64) -> Self {
        match seconds {
            ..=10_800 => Self::Minute,
            10_801..=86_400 => Self::FiveMinutes,
            86_401..=1_209_600 => Self::Hour,
            _ => Self::Day,
        }
    }

    /// For a sum over so many seconds: as exact at its ends as the rollups that are still kept allow.
    pub const fn for_sum(seconds: i64) -> Self {
        match seconds {
            ..=86_400 => Self::Minute,
            86_401..=2_678_400 => Self::Hour,
            _ => Self::Day,
        }
    }

    /// Its length.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => MINUTE,
            Self::FiveMinutes => 5 * MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// The SQL of the rows that have it, with room for further conditions: deltas as they came. The views merge them
    /// first, each with its distribution; sums over many series take a fortieth of the time without.
    pub const fn rows(self) -> &'static str {
        match self {
            Self::Minute | Self::FiveMinutes => "rollup WHERE resolution = '1m'",
            Self::Hour => "rollup WHERE resolution = '1h'",
            Self::Day => "rollup WHERE resolution = '1d'",
        }
    }

    /// The SQL of its start.
    pub const fn bucket(self) -> &'static str {
        match self {
            Self::FiveMinutes => "time_bucket(INTERVAL 5 MINUTE, bucket)",
            Self::Minute | Self::Hour | Self::Day => "bucket",
        }
    }

    /// The width of the buckets that are stored.
    const fn stored_seconds(self) -> i64 {
        match self {
            Self::FiveMinutes => MINUTE,
            Self::Minute | Self::Hour | Self::Day => self.seconds(),
        }
    }

    /// The SQL condition for `since` to `until`, both in seconds since 1970: from the start of the first bucket on, and
    /// at the end as exact as what is stored.
    pub fn condition(self, since: i64, until: i64) -> String {
        let from = since.div_euclid(self.seconds()) * self.seconds();
        let width = self.stored_seconds();
        // A bucket that begins at the end itself has nothing of the time before.
        let last = (until - 1).div_euclid(width) * width;
        format!("bucket BETWEEN {} AND {}", timestamp(from), timestamp(last))
    }
}

fn timestamp(seconds: i64) -> String {
    format!("make_timestamp({})", i128::from(seconds) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_durations_dates_and_times() {
        for (text, moment) in [
            ("90s", Moment::Ago(90)),
            ("24h", Moment::Ago(86_400)),
            ("2w", Moment::Ago(1_209_600)),
            ("1970-01-02", Moment::At(86_400)),
            ("1970-01-01T01:00:00+01:00", Moment::At(0)),
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        for text in [
            "",
            "h",
            "-1h",
            "0h",
            "1y",
            "yesterday",
            "99999999999999999999d",
            "2026-13-01",
            "1é",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_name_whole_buckets() {
        let between = |from: i64, last: i64| {
            format!("bucket BETWEEN make_timestamp({from}000000) AND make_timestamp({last}000000)")
        };
        assert_eq!(Interval::Hour.condition(3_700, 7_300), between(3_600, 7_200));
        assert_eq!(
            Interval::Day.condition(-1, 86_400),
            between(-86_400, 0).replace("(0000000)", "(0)")
        );
        assert_eq!(Interval::FiveMinutes.condition(601, 961), between(600, 960));
    }
}
