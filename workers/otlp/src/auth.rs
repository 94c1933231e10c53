//! Who may send, and whose it is.
//!
//! Without tokens only this machine reaches the ports, but so does a web page that its user looks at: what carries
//! a browser's `Origin` is refused then.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use schemas::subjects::DEFAULT_TENANT;
use sha2::{Digest, Sha256};

use crate::config::{Token, is_tenant};
use crate::refusal::Refusal;

/// Names the tenant, where there are no tokens that do.
const TENANT: &str = "aiai-tenant";

/// The tokens, as digests: comparing those tells nothing of how alike two tokens are.
#[derive(Debug)]
pub(crate) struct Guard {
    known: Vec<([u8; 32], String)>,
}

impl Guard {
    pub(crate) fn new(tokens: &[Token]) -> Self {
        let known = tokens.iter().map(|token| (digest(&token.token), token.tenant.clone()));
        Self { known: known.collect() }
    }

    /// The tenant of whoever sent these headers.
    pub(crate) fn tenant(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        if self.known.is_empty() {
            return open(headers);
        }
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or(Refusal::Unauthorized)?;
        let digest = digest(token.trim());
        let known = self.known.iter().find(|(known, _)| *known == digest);
        known.map(|(_, tenant)| tenant.clone()).ok_or(Refusal::Unauthorized)
    }
}

fn open(headers: &HeaderMap) -> Result<String, Refusal> {
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Browser);
    }
    let Some(value) = headers.get(TENANT) else {
        return Ok(DEFAULT_TENANT.to_owned());
    };
    let tenant = value.to_str().ok().filter(|tenant| is_tenant(tenant));
    tenant.map(str::to_owned).ok_or(Refusal::BadTenant)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_token_names_the_tenant_and_nothing_else_does() {
        let token = |token: &str, tenant: &str| Token { token: token.into(), tenant: tenant.into() };
        let guard = Guard::new(&[token("one", "a"), token("two", "b")]);
        let tenant = |pairs: &[_]| guard.tenant(&headers(pairs)).ok();
        assert_eq!(tenant(&[("authorization", "Bearer two")]).as_deref(), Some("b"));
        assert_eq!(tenant(&[("authorization", "bearer one"), ("aiai-tenant", "b")]).as_deref(), Some("a"));
        assert_eq!(tenant(&[("authorization", "Bearer three")]), None);
        assert_eq!(tenant(&[("authorization", "Basic one")]), None);
        assert_eq!(tenant(&[]), None);
    }

    #[test]
    fn without_tokens_a_header_names_the_tenant_and_browsers_are_refused() {
        let guard = Guard::new(&[]);
        let tenant = |pairs: &[_]| guard.tenant(&headers(pairs)).ok();
        assert_eq!(tenant(&[]).as_deref(), Some("default"));
        assert_eq!(tenant(&[("aiai-tenant", "acme")]).as_deref(), Some("acme"));
        assert_eq!(tenant(&[("aiai-tenant", "a.b")]), None);
        assert_eq!(tenant(&[("origin", "http://evil.example")]), None);
    }
}
