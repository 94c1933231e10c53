//! The counts that a provider reported, sent on as text: JSON, or as Python prints it.

use super::tokens::Tokens;

const INPUT: [&str; 4] = ["prompt_tokens", "input_tokens", "promptTokenCount", "input"];
const OUTPUT: [&str; 4] = [
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "output",
];
const TOTAL: [&str; 3] = ["total_tokens", "totalTokenCount", "total"];
/// Beside the input, in Anthropic's counts and in Langfuse's own.
const CACHE_READ_BESIDE: [&str; 3] = [
    "cache_read_input_tokens",
    "input_cached_tokens",
    "input_cache_read",
];
const CACHE_READ: [&str; 2] = ["cached_tokens", "cachedContentTokenCount"];
const CACHE_WRITE: [&str; 4] = [
    "cache_creation_input_tokens",
    "cache_write_tokens",
    "cache_creation_tokens",
    "input_cache_creation",
];
const REASONING: [&str; 3] = [
    "reasoning_tokens",
    "thoughtsTokenCount",
    "output_reasoning_tokens",
];

/// What was reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) tokens: Tokens,
    pub(super) total: Option<u64>,
    pub(super) input_excludes_cache: bool,
}

impl Reported {
    pub(super) fn read(text: &str) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| count(text, name));
        let within = first(&CACHE_READ);
        Self {
            tokens: Tokens {
                input: first(&INPUT),
                output: first(&OUTPUT),
                cache_read: within.or_else(|| first(&CACHE_READ_BESIDE)),
                cache_write: first(&CACHE_WRITE),
                reasoning: first(&REASONING),
            },
            total: first(&TOTAL),
            input_excludes_cache: within.is_none() && first(&CACHE_READ_BESIDE).is_some(),
        }
    }
}

/// The count behind a quoted name and a colon.
fn count(text: &str, name: &str) -> Option<u64> {
    let quotes = ['"', '\''];
    text.match_indices(name).find_map(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let after = after.strip_prefix(quotes).filter(|_| before.ends_with(quotes))?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let end = value.find(|letter: char| !letter.is_ascii_digit());
        value[..end.unwrap_or(value.len())].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input, output, cache reads, cache writes, reasoning; and whether the input excludes the cache.
    fn read(text: &str) -> ([Option<u64>; 5], bool) {
        let Reported {
            tokens,
            input_excludes_cache,
            ..
        } = Reported::read(text);
        let counts = [
            tokens.input,
            tokens.output,
            tokens.cache_read,
            tokens.cache_write,
            tokens.reasoning,
        ];
        (counts, input_excludes_cache)
    }

    #[test]
    fn json_and_python_are_read() {
        let openai = "{'completion_tokens': 300, 'prompt_tokens': 1200, 'completion_tokens_details': \
            {'audio_tokens': None, 'reasoning_tokens': 128}, 'prompt_tokens_details': {'cached_tokens': 1024}}";
        assert_eq!(
            read(openai),
            ([Some(1200), Some(300), Some(1024), None, Some(128)], false)
        );
        assert_eq!(
            read(&openai.replace('\'', "\"").replace("None", "null")),
            read(openai)
        );
        let anthropic = r#"{"cache_creation_input_tokens":20,"cache_read_input_tokens":60,"input_tokens":100,"output_tokens":50}"#;
        assert_eq!(
            read(anthropic),
            ([Some(100), Some(50), Some(60), Some(20), None], true)
        );
    }

    #[test]
    fn what_is_no_count_is_none() {
        for text in [
            "",
            "{}",
            "'input_tokens'",
            "'input_tokens': None",
            "\"input_tokens\":-1",
            "input_tokens: 7",
            "'input': {'cached_tokens': 'é'}",
            "'input':99999999999999999999",
        ] {
            assert_eq!(read(text), ([None; 5], false), "{text}");
        }
    }
}
