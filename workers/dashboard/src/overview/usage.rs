//! Model calls, tokens and money of the UTC day.

use askama::Template;
use schemas::overview::Overview;

use crate::format::{Amount, count, dollars};

/// One call, for the empty state.
const EXAMPLE: &str = concat!(
    r#"aiai pub usage '{"model":"claude-sonnet-4","provider":"anthropic","#,
    r#""tokens_in":1200,"tokens_out":340,"cost_usd":0.0087}'"#
);

/// Today's sums, or how to get some.
#[derive(Template)]
#[template(path = "overview/usage.html")]
pub(crate) struct Usage {
    today: Option<Today>,
    example: &'static str,
}

struct Today {
    cost: Amount,
    calls: Amount,
    /// Calls without a price: the cost is a lower bound while there are any.
    unpriced: Option<Amount>,
    errors: Amount,
    has_errors: bool,
    /// (name, tokens, name of a part, tokens of that part)
    tokens: [(&'static str, Amount, &'static str, Amount); 2],
}

impl Usage {
    /// From the sink's answer.
    pub(crate) fn new(overview: &Overview) -> Self {
        let used = overview.usage_today.as_ref().filter(|usage| usage.calls > 0);
        let today = used.map(|usage| Today {
            cost: dollars(&usage.cost_usd),
            calls: count(usage.calls),
            unpriced: (usage.unpriced > 0).then(|| count(usage.unpriced)),
            errors: count(usage.errors),
            has_errors: usage.errors > 0,
            tokens: [
                (
                    "Tokens in",
                    count(usage.tokens_in),
                    "of them from cache",
                    count(usage.tokens_cache_read),
                ),
                (
                    "Tokens out",
                    count(usage.tokens_out),
                    "of them reasoning",
                    count(usage.tokens_reasoning),
                ),
            ],
        });
        Self {
            today,
            example: EXAMPLE,
        }
    }
}
