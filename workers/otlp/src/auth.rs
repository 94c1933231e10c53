//! Who may send, and whose it is.
//!
//! Without tokens only this machine reaches the ports, but so does a web page that its user looks at: what carries
//! a browser's `Origin` is refused then.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use bus::{Tokens, is_tenant};
use schemas::subjects::DEFAULT_TENANT;

use crate::refusal::Refusal;

/// Names the tenant, where there are no tokens that do.
const TENANT: &str = "aiai-tenant";

/// The tenant of whoever sent these headers.
pub(crate) fn tenant(tokens: &Tokens, headers: &HeaderMap) -> Result<String, Refusal> {
    if !tokens.is_empty() {
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        return tokens
            .tenant(given)
            .map(str::to_owned)
            .ok_or(Refusal::Unauthorized);
    }
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Browser);
    }
    let Some(value) = headers.get(TENANT) else {
        return Ok(DEFAULT_TENANT.to_owned());
    };
    let tenant = value.to_str().ok().filter(|tenant| is_tenant(tenant));
    tenant.map(str::to_owned).ok_or(Refusal::BadTenant)
}

#[cfg(test)]
mod tests {
    use bus::Token;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_token_names_the_tenant_and_nothing_else_does() {
        let token = |token: &str, tenant: &str| Token {
            token: token.into(),
            tenant: tenant.into(),
        };
        let tokens = Tokens(vec![token("one", "a"), token("two", "b")]);
        let tenant = |pairs: &[_]| tenant(&tokens, &headers(pairs)).ok();
        assert_eq!(tenant(&[("authorization", "Bearer two")]).as_deref(), Some("b"));
        assert_eq!(
            tenant(&[("authorization", "bearer one"), ("aiai-tenant", "b")]).as_deref(),
            Some("a")
        );
        assert_eq!(tenant(&[("authorization", "Bearer three")]), None);
        assert_eq!(tenant(&[]), None);
    }

    #[test]
    fn without_tokens_a_header_names_the_tenant_and_browsers_are_refused() {
        let tenant = |pairs: &[_]| tenant(&Tokens::default(), &headers(pairs)).ok();
        assert_eq!(tenant(&[]).as_deref(), Some("default"));
        assert_eq!(tenant(&[("aiai-tenant", "acme")]).as_deref(), Some("acme"));
        assert_eq!(tenant(&[("aiai-tenant", "a.b")]), None);
        assert_eq!(tenant(&[("origin", "http://evil.example")]), None);
    }
}
