//! Names of models as providers and resellers report them, made into the names that tables list.
//!
//! Only what says nothing about the price is taken off: folders (`models/`), dates (`-20250929`, `@20250929`), `-latest`, the
//! version of Bedrock (`-v1:0`), its regions, and the maker in front of a reseller's name (`anthropic/…`). A variant that is
//! priced otherwise (`:free`, `:thinking`, `-preview`) stays in the name, and has no price unless it is listed.

use crate::same_provider;

/// What stands in front of a model's own name, and goes. In lower case, as all names are when they come here.
const FOLDERS: [&str; 4] = [
    "models/",
    "publishers/google/models/",
    "tunedmodels/",
    "openai/responses/",
];
/// Regions of Bedrock's inference profiles.
const REGIONS: [&str; 10] = [
    "global.", "us.", "eu.", "apac.", "us-gov.", "au.", "jp.", "ca.", "sa.", "amer.",
];
/// Who runs models of others under names like `maker/model`.
const RESELLERS: [&str; 5] = ["openrouter", "litellm", "vercel", "requesty", "cloudflare"];
/// Steps of taking off: no name has more to it.
const STEPS_MAX: usize = 6;

/// The model that a name means once what does not matter is taken off; `look_up` knows the names as they are listed.
pub(super) fn find<M>(
    look_up: &impl Fn(Option<&str>, &str) -> Option<M>,
    provider: Option<&str>,
    model: &str,
) -> Option<M> {
    in_spellings(look_up, provider, model).or_else(|| {
        let (maker, name) = made_by(provider, model)?;
        look_up(Some(maker), name).or_else(|| in_spellings(look_up, Some(maker), name))
    })
}

fn in_spellings<M>(
    look_up: &impl Fn(Option<&str>, &str) -> Option<M>,
    provider: Option<&str>,
    model: &str,
) -> Option<M> {
    let mut name = model;
    for _ in 0..STEPS_MAX {
        name = shorter(name)?;
        if let Some(found) = look_up(provider, name) {
            return Some(found);
        }
    }
    None
}

/// A reseller's `maker/model`, also where nobody says who ran it.
fn made_by<'n>(provider: Option<&str>, model: &'n str) -> Option<(&'n str, &'n str)> {
    let resold = provider.is_none_or(|given| RESELLERS.iter().any(|known| same_provider(known, given)));
    let model = model.strip_prefix("openrouter/").unwrap_or(model);
    model.split_once('/').filter(|_| resold)
}

/// The name with the next thing taken off that does not matter; none if there is none left.
fn shorter(name: &str) -> Option<&str> {
    if let Some(rest) = FOLDERS.iter().find_map(|folder| name.strip_prefix(folder)) {
        return Some(rest);
    }
    if name.starts_with("arn:") {
        return name.rsplit_once('/').map(|(_, rest)| rest);
    }
    if let Some(rest) = name.strip_prefix("publishers/") {
        return rest.split_once("/models/").map(|(_, rest)| rest);
    }
    if let Some(rest) = REGIONS.iter().find_map(|region| name.strip_prefix(region)) {
        return Some(rest);
    }
    without_version(name)
        .or_else(|| name.strip_suffix("-latest"))
        .or_else(|| without_date(name))
        .filter(|rest| !rest.is_empty())
}

/// Without Bedrock's `-v1:0`, or Vertex's `@20250929` and `@latest`.
fn without_version(name: &str) -> Option<&str> {
    if let Some((rest, version)) = name.rsplit_once('@') {
        return (version == "latest" || version == "default" || is_digits(version)).then_some(rest);
    }
    let (rest, version) = name.rsplit_once("-v")?;
    let (major, minor) = version.split_once(':').unwrap_or((version, "0"));
    (is_digits(major) && is_digits(minor)).then_some(rest)
}

/// Without `-20250929`, `-2025-09-29` or Google's `-001`.
fn without_date(name: &str) -> Option<&str> {
    let (rest, last) = name.rsplit_once('-')?;
    if is_digits(last) && (last.len() == 8 || last.len() == 3) {
        return Some(rest);
    }
    let date = name.get(name.len().checked_sub(11)?..)?;
    let mut parts = date.strip_prefix('-')?.split('-');
    let lengths = [4, 2, 2];
    let is_date = lengths.iter().all(|length| {
        parts
            .next()
            .is_some_and(|part| part.len() == *length && is_digits(part))
    });
    is_date.then(|| &name[..name.len() - 11])
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelIndex;

    fn index() -> ModelIndex {
        let mut index = ModelIndex::default();
        index.add(Some("anthropic"), "claude-sonnet-4-5", []).unwrap();
        index
            .add(Some("bedrock"), "anthropic.claude-sonnet-4-5", [])
            .unwrap();
        index.add(Some("google"), "gemini-2.5-pro", []).unwrap();
        index.add(Some("openai"), "gpt-5", []).unwrap();
        index
            .add(Some("openrouter"), "meta-llama/llama-4:free", [])
            .unwrap();
        index.add(Some("mistral"), "mistral-large", []).unwrap();
        index
    }

    #[test]
    fn names_are_found_as_providers_report_them() {
        for (provider, model, found) in [
            (None, "claude-sonnet-4-5-20250929", Some(0)),
            (Some("anthropic"), "claude-sonnet-4-5-latest", Some(0)),
            (None, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some(1)),
            (
                Some("aws.bedrock"),
                "arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
                Some(1),
            ),
            (Some("gcp.vertex_ai"), "models/gemini-2.5-pro", Some(2)),
            (None, "publishers/google/models/gemini-2.5-pro-001", Some(2)),
            (Some("openai"), "gpt-5-2025-08-07", Some(3)),
            (Some("openrouter"), "anthropic/claude-sonnet-4-5", Some(0)),
            (Some("openrouter"), "openai/gpt-5-2025-08-07", Some(3)),
            (None, "openrouter/openai/gpt-5", Some(3)),
            (Some("mistral_ai"), "mistral-large-latest", Some(5)),
            // What is priced otherwise, or run by somebody else, is not guessed.
            (Some("openrouter"), "openai/gpt-5:free", None),
            (Some("openai"), "gpt-5-mini", None),
            (Some("azure"), "openai/gpt-5", None),
            (Some("openai"), "claude-sonnet-4-5-20250929", None),
            (None, "-20250929", None),
            (None, "@1", None),
            (None, "/", None),
            (None, "é-2025-é9-29", None),
        ] {
            let index = index();
            let look_up = |provider: Option<&str>, model: &str| index.find(provider, model);
            let position = look_up(provider, model).or_else(|| find(&look_up, provider, model));
            assert_eq!(position, found, "{provider:?} {model}");
        }
    }
}
