//! What of the model calls is looked at: a view is its URL, nothing else. Pure.

use std::fmt::Write;

use serde::Deserialize;

/// Longest filter value that is passed on.
const FILTER_BYTES_MAX: usize = 256;

/// How far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Range {
    #[serde(rename = "1h")]
    Hour,
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
    #[serde(rename = "90d")]
    Quarter,
    #[serde(rename = "1y")]
    Year,
}

/// What calls are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    #[default]
    Model,
    Provider,
    Agent,
    Complexity,
}

/// What the chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Show {
    #[default]
    Cost,
    Calls,
    Errors,
    Tokens,
    Latency,
}

/// The query string of `/models`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct View {
    pub(crate) range: Range,
    pub(crate) by: By,
    pub(crate) show: Show,
    pub(crate) model: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) complexity: Option<String>,
}

/// A link to another view.
pub(crate) struct Link {
    pub(crate) words: &'static str,
    pub(crate) url: String,
    pub(crate) current: bool,
}

impl Range {
    pub(crate) const ALL: [Self; 6] = [
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
    ];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Quarter => "90d",
            Self::Year => "1y",
        }
    }

    /// The resolution that is read, the width of a bar in seconds, and the number of bars.
    pub(crate) fn bars(self) -> (&'static str, i64, i64) {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        match self {
            Self::Hour => ("1m", 60, 60),
            Self::Day => ("1h", HOUR, 24),
            Self::Week => ("1h", 2 * HOUR, 84),
            Self::Month => ("1h", 6 * HOUR, 120),
            Self::Quarter => ("1d", DAY, 90),
            Self::Year => ("1d", 7 * DAY, 53),
        }
    }
}

impl By {
    pub(crate) const ALL: [Self; 4] = [Self::Model, Self::Provider, Self::Agent, Self::Complexity];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Agent => "agent",
            Self::Complexity => "complexity",
        }
    }

    /// The tag of a rollup.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Complexity => "task_complexity",
            other => other.key(),
        }
    }
}

impl Show {
    pub(crate) const ALL: [Self; 5] = [Self::Cost, Self::Calls, Self::Errors, Self::Tokens, Self::Latency];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Calls => "calls",
            Self::Errors => "errors",
            Self::Tokens => "tokens",
            Self::Latency => "latency",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cost => "Cost in US dollars",
            Self::Calls => "Calls",
            Self::Errors => "Errors",
            Self::Tokens => "Tokens, in and out",
            Self::Latency => "Latency, 95 % of calls took at most",
        }
    }

    /// The measures whose sum it is.
    pub(crate) fn measures(self) -> &'static [&'static str] {
        match self {
            Self::Cost => &["usage.cost_usd"],
            Self::Calls => &["usage.requests"],
            Self::Errors => &["usage.errors"],
            Self::Tokens => &["usage.tokens_in", "usage.tokens_out"],
            Self::Latency => &["usage.latency_ms"],
        }
    }
}

impl View {
    /// The filters that are set, in the order of [`By::ALL`].
    pub(crate) fn filters(&self) -> impl Iterator<Item = (By, &str)> {
        let all = [
            (By::Model, &self.model),
            (By::Provider, &self.provider),
            (By::Agent, &self.agent),
            (By::Complexity, &self.complexity),
        ];
        all.into_iter()
            .filter_map(|(by, value)| Some((by, value.as_deref().filter(|value| !value.is_empty())?)))
            .filter(|(_, value)| value.len() <= FILTER_BYTES_MAX)
    }

    fn with(&self, by: By, value: Option<&str>) -> Self {
        let mut view = self.clone();
        let slot = match by {
            By::Model => &mut view.model,
            By::Provider => &mut view.provider,
            By::Agent => &mut view.agent,
            By::Complexity => &mut view.complexity,
        };
        *slot = value.map(str::to_owned);
        view
    }

    /// This view without one filter.
    pub(crate) fn without(&self, by: By) -> String {
        self.with(by, None).url("/models")
    }

    /// One group alone, by the first thing that is not fixed then.
    pub(crate) fn group_alone(&self, group: &str) -> String {
        let mut view = self.with(self.by, Some(group));
        let fixed: Vec<By> = view.filters().map(|(by, _)| by).collect();
        let free = By::ALL.into_iter().find(|by| !fixed.contains(by));
        view.by = free.unwrap_or(view.by);
        view.url("/models")
    }

    /// Links to the same view with other ranges, groups, charts.
    pub(crate) fn links(&self) -> [(&'static str, Vec<Link>); 3] {
        let link = |words, view: Self, current| Link {
            words,
            url: view.url("/models"),
            current,
        };
        let ranges = Range::ALL.map(|range| {
            link(
                range.key(),
                Self {
                    range,
                    ..self.clone()
                },
                range == self.range,
            )
        });
        let by = By::ALL.map(|by| link(by.key(), Self { by, ..self.clone() }, by == self.by));
        let show = Show::ALL.map(|show| link(show.key(), Self { show, ..self.clone() }, show == self.show));
        [
            ("Range", ranges.into()),
            ("By", by.into()),
            ("Chart", show.into()),
        ]
    }

    /// The view below a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let mut url = format!(
            "{path}?range={}&by={}&show={}",
            self.range.key(),
            self.by.key(),
            self.show.key()
        );
        for (by, value) in self.filters() {
            url.push_str(&format!("&{}=", by.key()));
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                    url.push(char::from(byte));
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(url, "%{byte:02X}");
                }
            }
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_back_to_its_view() {
        let view = View {
            range: Range::Month,
            by: By::Agent,
            show: Show::Latency,
            model: Some("a/b c&d=é'".into()),
            ..View::default()
        };
        let url = view.url("/models");
        assert_eq!(
            url,
            "/models?range=30d&by=agent&show=latency&model=a%2Fb%20c%26d%3D%C3%A9%27"
        );
        let uri: axum::http::Uri = url.parse().unwrap();
        let read = axum::extract::Query::<View>::try_from_uri(&uri).unwrap();
        assert_eq!(read.0, view);
        for range in Range::ALL {
            let (_, width, bars) = range.bars();
            assert!(width * bars >= 3600 && bars <= 120, "{}", range.key());
        }
    }

    #[test]
    fn a_group_is_opened_by_what_is_not_fixed_yet() {
        let view = View::default();
        assert_eq!(
            view.group_alone("m"),
            "/models?range=24h&by=provider&show=cost&model=m"
        );
        let view = View {
            by: By::Provider,
            model: Some("m".into()),
            ..view
        };
        assert_eq!(
            view.group_alone("p"),
            "/models?range=24h&by=agent&show=cost&model=m&provider=p"
        );
        assert_eq!(view.without(By::Model), "/models?range=24h&by=provider&show=cost");
    }
}
