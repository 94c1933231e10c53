//! Who may publish over HTTP, and as which tenant.
//!
//! A token stands for its tenant: nobody who has one can publish as somebody else. Without tokens everybody who reaches
//! the port may, so then the port is a loopback one. Deliberately absent: users, expiry, roles; NATS accounts have them.

use std::fmt;
use std::net::SocketAddr;

use schemas::{Kind, limits, subjects};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Tokens there may be: each is compared with what a request brings.
const TOKENS_MAX: usize = 1024;
/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 256;

/// A secret, and whose events it lets in.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What comes after `Authorization: Bearer `.
    pub token: String,
    /// The tenant of what is published with it.
    #[serde(default = "default_tenant")]
    pub tenant: String,
}

fn default_tenant() -> String {
    subjects::DEFAULT_TENANT.to_owned()
}

/// Tells the tenant only: a secret is in no log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// The tokens of a section of the configuration. None: everybody may publish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Tokens(pub Vec<Token>);

impl Tokens {
    /// Whether everybody may publish.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tenant whose token a header `Authorization` brings.
    #[must_use]
    pub fn tenant(&self, authorization: Option<&[u8]>) -> Option<&str> {
        let (scheme, secret) = authorization?.split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let secret = secret.trim_ascii();
        // All of them, however many agree: how long it takes tells nothing.
        let mut found = None;
        for known in &self.0 {
            if is_same(known.token.as_bytes(), secret) {
                found = Some(known.tenant.as_str());
            }
        }
        found
    }

    /// Checks them, and that nothing listens where other machines reach it without them, unless that is wanted.
    ///
    /// # Errors
    /// Names the key and what to write there.
    pub fn validate(&self, section: &'static str, listen: SocketAddr, allow_non_loopback: bool) -> Result<()> {
        let wrong = |problem: String| Err(Error::Setting { section, problem });
        if self.0.len() > TOKENS_MAX {
            return wrong(format!("tokens has {} entries: use at most {TOKENS_MAX}", self.0.len()));
        }
        for (at, Token { token, tenant }) in self.0.iter().enumerate() {
            let good = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len())
                && token.bytes().all(|byte| byte.is_ascii_graphic());
            if !good {
                return wrong(format!(
                    "tokens[{at}].token has to have {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters of ASCII without \
                     blanks: `openssl rand -hex 32` makes one"
                ));
            }
            if !is_tenant(tenant) {
                return wrong(format!(
                    "tokens[{at}].tenant is {tenant:?}: use up to {} letters, digits, - and _",
                    limits::TEXT_BYTES
                ));
            }
            if self.0[..at].iter().any(|earlier| earlier.token == *token) {
                return wrong(format!("tokens[{at}].token is there twice: a token stands for one tenant"));
            }
        }
        if self.is_empty() && !allow_non_loopback && !listen.ip().is_loopback() {
            return wrong(format!(
                "listen is {listen}, which other machines can reach, and there is no authentication: give {section}.tokens, \
                 or use 127.0.0.1:{port}; in a container, or behind a proxy that asks for credentials, set \
                 {section}.allow_non_loopback=true",
                port = listen.port()
            ));
        }
        Ok(())
    }
}

/// Whether it can be a token of a subject: nothing that NATS gives a meaning.
#[must_use]
pub fn is_tenant(name: &str) -> bool {
    let fits = (1..=limits::TEXT_BYTES).contains(&name.len());
    fits && name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Where a tenant's events of a kind are published.
#[must_use]
pub fn subject(tenant: &str, kind: Kind) -> String {
    if tenant == subjects::DEFAULT_TENANT {
        return subjects::ingest(kind);
    }
    format!("{}.{tenant}.{kind}", subjects::INGEST)
}

/// In a time that depends on the lengths only.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = |sum: u8, (one, other): (&u8, &u8)| std::hint::black_box(sum | (one ^ other));
    one.len() == other.len() && one.iter().zip(other).fold(0, differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn tokens(list: &[(&str, &str)]) -> Tokens {
        let token = |(token, tenant): &(&str, &str)| Token {
            token: (*token).to_owned(),
            tenant: (*tenant).to_owned(),
        };
        Tokens(list.iter().map(token).collect())
    }

    #[test]
    fn a_token_stands_for_its_tenant() {
        let known = tokens(&[(SECRET, "acme"), ("fedcba9876543210", "other")]);
        let tenant = |header: &str| known.tenant(Some(header.as_bytes()));
        assert_eq!(tenant("Bearer 0123456789abcdef"), Some("acme"));
        assert_eq!(tenant("bearer  fedcba9876543210 "), Some("other"));
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "0123456789abcdef",
        ] {
            assert_eq!(tenant(header), None, "{header}");
        }
        assert_eq!(known.tenant(None), None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", tokens(&[(SECRET, "acme")])).contains(SECRET));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_fix() {
        let here = SocketAddr::from(([127, 0, 0, 1], 1));
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 1));
        let refused = |list: &[(&str, &str)], listen, text: &str| {
            let error = tokens(list).validate("gateway", listen, false).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        };
        refused(&[], everywhere, "gateway.listen is 0.0.0.0:1");
        refused(&[("short", "acme")], here, "openssl rand");
        refused(&[("0123456789abcde ", "acme")], here, "without blanks");
        refused(&[(SECRET, "a.b")], here, "tokens[0].tenant");
        refused(&[(SECRET, "")], here, "tokens[0].tenant");
        refused(&[(SECRET, "a"), (SECRET, "b")], here, "twice");
        tokens(&[]).validate("gateway", here, false).unwrap();
        tokens(&[]).validate("gateway", everywhere, true).unwrap();
        tokens(&[(SECRET, "acme")])
            .validate("gateway", everywhere, false)
            .unwrap();
    }

    #[test]
    fn subjects_name_the_tenant() {
        assert_eq!(subject("default", Kind::Metric), "ingest.metric");
        assert_eq!(subject("acme", Kind::Usage), "ingest.acme.usage");
        assert!(is_tenant("a-b_C9") && !is_tenant("a b") && !is_tenant(">") && !is_tenant(&"a".repeat(257)));
    }
}
