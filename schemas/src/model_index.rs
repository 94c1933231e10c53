//! Finding a model in a list by what a usage event calls it.
//!
//! Order: the exact name, then the longest alias that matches. An alias that ends in `*` matches everything
//! that begins with what stands before the star. An event without a provider matches a model only if no other
//! provider's model is called the same: money and blame are never guessed. Upper and lower case are alike.

use std::borrow::Cow;
use std::collections::HashMap;

/// Providers that go by several names: ours, and what others call it (among them the values of OpenTelemetry's
/// `gen_ai.provider.name`). Upper and lower case are alike, and so are `_`, `-`, `.` and a blank.
const PROVIDER_SPELLINGS: &[(&str, &str)] = &[
    ("gemini", "google"),
    ("gcp_gemini", "google"),
    ("gcp_vertex_ai", "google"),
    ("gcp_gen_ai", "google"),
    ("vertex_ai", "google"),
    ("vertexai", "google"),
    ("vertex", "google"),
    ("google_vertex", "google"),
    ("google_vertexai", "google"),
    ("google_vertex_ai", "google"),
    ("google_gla", "google"),
    ("google_genai", "google"),
    ("google_gen_ai", "google"),
    ("google_generative_ai", "google"),
    ("google_ai_studio", "google"),
    ("anthropic_vertex", "google"),
    ("vertex_anthropic", "google"),
    ("aws_bedrock", "bedrock"),
    ("amazon_bedrock", "bedrock"),
    ("bedrock_converse", "bedrock"),
    ("anthropic_bedrock", "bedrock"),
    ("azure_openai", "azure"),
    ("azure_ai_openai", "azure"),
    ("azure_ai_inference", "azure"),
    ("azure_ai", "azure"),
    ("mistral_ai", "mistral"),
    ("mistralai", "mistral"),
    ("x_ai", "xai"),
    ("together_ai", "together"),
    ("togetherai", "together"),
    ("fireworks_ai", "fireworks"),
];

/// Whether two names mean the same provider.
#[must_use]
pub fn same_provider(one: &str, other: &str) -> bool {
    are_spelt_alike(canonical(one), canonical(other))
}

fn canonical(provider: &str) -> &str {
    PROVIDER_SPELLINGS
        .iter()
        .find(|(spelling, _)| are_spelt_alike(spelling, provider))
        .map_or(provider, |(_, name)| *name)
}

fn are_spelt_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| match byte {
        b'-' | b'.' | b' ' => b'_',
        _ => byte.to_ascii_lowercase(),
    };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

/// A model's name as it is compared: in lower case.
pub(crate) fn in_lower_case(model: &str) -> Cow<'_, str> {
    if model.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(model.to_ascii_lowercase())
    } else {
        Cow::Borrowed(model)
    }
}

/// The names of a list of models. What it finds are positions in that list.
#[derive(Debug, Clone, Default)]
pub struct ModelIndex {
    /// By name, in lower case.
    exact: HashMap<String, Vec<usize>>,
    /// In lower case, longest first.
    prefixes: Vec<(String, usize)>,
    providers: Vec<Option<String>>,
}

impl ModelIndex {
    /// Adds the next model of the list. `provider`: absent if any may run it.
    ///
    /// # Errors
    /// The name or alias that an earlier model of the same provider has already, or that is blank.
    pub fn add<'n>(
        &mut self,
        provider: Option<&str>,
        name: &'n str,
        aliases: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), &'n str> {
        let at = self.providers.len();
        self.providers.push(provider.map(str::to_owned));
        let mut taken = None;
        for (is_alias, name) in std::iter::once((false, name)).chain(aliases.into_iter().map(|a| (true, a))) {
            let prefix = name.strip_suffix('*').filter(|_| is_alias);
            let compared = in_lower_case(prefix.unwrap_or(name));
            let rivals: Vec<usize> = match prefix {
                Some(_) => self.with_prefix(&compared),
                None => self.exact.get(&*compared).cloned().unwrap_or_default(),
            };
            let clash = rivals
                .iter()
                .any(|rival| *rival != at && self.overlap(*rival, provider));
            if clash || compared.trim().is_empty() {
                taken = taken.or(Some(name));
                continue;
            }
            match prefix {
                Some(_) => self.prefixes.push((compared.into_owned(), at)),
                None if rivals.contains(&at) => {}
                None => self.exact.entry(compared.into_owned()).or_default().push(at),
            }
        }
        self.prefixes
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        taken.map_or(Ok(()), Err)
    }

    fn with_prefix(&self, wanted: &str) -> Vec<usize> {
        let same = self.prefixes.iter().filter(|(prefix, _)| prefix == wanted);
        same.map(|(_, at)| *at).collect()
    }

    /// Whether one event could mean both.
    fn overlap(&self, rival: usize, provider: Option<&str>) -> bool {
        match (&self.providers[rival], provider) {
            (Some(one), Some(other)) => same_provider(one, other),
            _ => true,
        }
    }

    /// The position of the model that an event means; none if there is none, or more than one.
    #[must_use]
    pub fn find(&self, provider: Option<&str>, model: &str) -> Option<usize> {
        let mut matching = self.matching(provider, model);
        let first = matching.next()?;
        matching.next().is_none().then_some(first)
    }

    /// The positions of all models that an event could mean, in no order. Normally one.
    pub fn matching<'s>(
        &'s self,
        provider: Option<&'s str>,
        model: &'s str,
    ) -> impl Iterator<Item = usize> + 's {
        let fits = move |at: &usize| match (&self.providers[*at], provider) {
            (Some(listed), Some(given)) => same_provider(listed, given),
            _ => true,
        };
        let listed = self
            .exact
            .get(&*in_lower_case(model))
            .map_or(&[][..], Vec::as_slice);
        let is_exact = listed.iter().any(fits);
        let exact = listed.iter().copied().filter(move |at| is_exact && fits(at));
        let starts = move |prefix: &str| {
            let start = model.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let begins = move |(prefix, at): &&(String, usize)| starts(prefix) && fits(at);
        let longest = self.prefixes.iter().filter(|_| !is_exact).find(begins);
        let longest = longest.map_or(0, |(prefix, _)| prefix.len());
        let prefixed = self.prefixes.iter().filter(move |_| longest > 0).filter(begins);
        let prefixed = prefixed.filter(move |(prefix, _)| prefix.len() == longest);
        exact.chain(prefixed.map(|(_, at)| *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> ModelIndex {
        let mut index = ModelIndex::default();
        index.add(Some("a"), "m-1", ["m-1-*"]).unwrap();
        index
            .add(Some("a"), "m-1-mini", ["m-1-mini-*", "m-1-mini"])
            .unwrap();
        index.add(Some("b"), "m-1", ["x*"]).unwrap();
        index.add(None, "open", ["open-*"]).unwrap();
        index.add(Some("google"), "g", []).unwrap();
        index
    }

    #[test]
    fn names_win_over_aliases_and_longer_aliases_over_shorter() {
        for (provider, model, found) in [
            (Some("a"), "m-1", Some(0)),
            (Some("a"), "m-1-2025", Some(0)),
            (Some("A"), "m-1-mini", Some(1)),
            (None, "m-1-mini-2025", Some(1)),
            (Some("b"), "m-1", Some(2)),
            (Some("b"), "m-1-2025", None),
            (None, "m-1", None),
            (None, "xyz", Some(2)),
            (None, "open", Some(3)),
            (Some("anybody"), "open-7b", Some(3)),
            (Some("gcp.gemini"), "g", Some(4)),
            (Some("Google VertexAI"), "G", Some(4)),
            (Some("a"), "M-1-2025", Some(0)),
            (Some("c"), "g", None),
            (None, "m-1*", None),
            (None, "", None),
        ] {
            assert_eq!(index().find(provider, model), found, "{provider:?} {model}");
        }
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        assert_eq!(index().add(Some("a"), "m-1", []), Err("m-1"));
        assert_eq!(index().add(Some("a"), "M-1", []), Err("M-1"));
        assert_eq!(index().add(Some("b"), "n", ["X*"]), Err("X*"));
        assert_eq!(index().add(Some("Gemini"), "n", ["g"]), Err("g"));
        assert_eq!(index().add(Some("c"), "open", []), Err("open"));
        assert_eq!(index().add(Some("b"), "n", ["x*"]), Err("x*"));
        assert_eq!(index().add(Some("b"), "n", ["*"]), Err("*"));
        assert_eq!(index().add(Some("b"), " ", []), Err(" "));
        assert_eq!(index().add(Some("c"), "m-1", []), Ok(()));
    }

    #[test]
    fn providers_go_by_many_names() {
        for (name, spellings) in [
            (
                "bedrock",
                "amazon_bedrock aws.bedrock AWS_Bedrock bedrock_converse Bedrock",
            ),
            (
                "google",
                "google_genai google_vertexai vertexai VERTEX-AI gemini google_ai_studio anthropic_vertex",
            ),
            ("azure", "azure azure_openai azure.ai.openai azure-ai-inference"),
            ("mistral", "mistralai mistral_ai Mistral-AI"),
            ("xai", "x_ai xAI x.ai x-ai"),
        ] {
            for spelling in spellings.split(' ') {
                assert!(
                    same_provider(spelling, name) && same_provider(name, spelling),
                    "{spelling}"
                );
            }
        }
        assert!(same_provider("Mistral AI", "mistral") && same_provider("my.own", "My_Own"));
        assert!(!same_provider("azure", "openai") && !same_provider("x", "xai"));
    }
}
