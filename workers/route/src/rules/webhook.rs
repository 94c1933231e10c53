//! Webhooks: each alert of a rule that has one is posted to it as JSON.
//!
//! One that hangs holds up nobody else: a rule has few places, and past those its alerts are given up on sooner.
//! Addresses and headers may be secrets: nothing here writes them anywhere.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Delivery, Failure, Input, Report, topology};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use schemas::{Reason, Rejection, alert};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::file::Rules;

/// Alerts looked at in the same moment, waiting ones included.
pub const CONCURRENCY: usize = 128;
/// Calls of one rule at the same time.
const CALLS_PER_RULE: usize = 2;
/// Alerts of one rule that wait for their call; the rest try again later.
const WAITING_PER_RULE: usize = 8;
/// The alert's id: a receiver that has seen it has seen the alert.
const ID_HEADER: &str = "Aiai-Alert-Id";
const TIMEOUT_SECONDS_MAX: u64 = 60;
/// The next delay is so many times the one before.
const DELAY_FACTOR: u32 = 4;

/// Where a rule's alerts are posted.
pub struct Webhook {
    url: Url,
    timeout: Duration,
    headers: HeaderMap,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// As the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    url: Option<String>,
    url_env: Option<String>,
    #[serde(default = "ten")]
    timeout_seconds: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    headers_env: BTreeMap<String, String>,
}

const fn ten() -> u64 {
    10
}

impl Entry {
    pub(super) fn check(self, environment: &impl Fn(&str) -> Option<String>) -> Result<Webhook, String> {
        let variable = |name: &String| {
            environment(name)
                .ok_or_else(|| format!("the environment variable {name} is not set; set it for worker route"))
        };
        let url = match (self.url, self.url_env) {
            (Some(url), None) => url,
            (None, Some(name)) => variable(&name)?,
            _ => return Err("needs url or url_env, one of them".to_owned()),
        };
        let url = Url::parse(&url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or("its address is no URL; write http://… or https://…")?;
        if !(1..=TIMEOUT_SECONDS_MAX).contains(&self.timeout_seconds) {
            return Err(format!("timeout_seconds is 1 to {TIMEOUT_SECONDS_MAX}"));
        }
        let mut headers = HeaderMap::new();
        let mut given = self.headers;
        for (name, from) in self.headers_env {
            given.insert(name, variable(&from)?);
        }
        for (name, value) in given {
            let parsed = HeaderName::try_from(&name)
                .ok()
                .zip(HeaderValue::try_from(&value).ok());
            let (key, mut value) = parsed
                .ok_or_else(|| format!("the header {name} has a name or value that HTTP does not allow"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(Webhook {
            url,
            timeout: Duration::from_secs(self.timeout_seconds),
            headers,
        })
    }
}

/// Calls webhooks. Any number of copies.
pub struct Webhooks {
    rules: Arc<Rules>,
    /// None where no rule has one.
    client: Option<Client>,
    places: HashMap<String, Places>,
    first_delay: Duration,
}

/// Those of one rule.
struct Places {
    waiting: Semaphore,
    calls: Semaphore,
}

impl Webhooks {
    /// Prepares the calls; the first retry comes after `first_delay`, each further one after four times as long.
    ///
    /// # Errors
    /// When this machine has no certificate authorities, and a rule needs them.
    pub fn new(rules: Arc<Rules>, first_delay: Duration) -> anyhow::Result<Self> {
        let with = rules.rules.iter().filter(|rule| rule.webhook.is_some());
        let places: HashMap<_, _> = with
            .map(|rule| {
                let places = Places {
                    waiting: Semaphore::new(WAITING_PER_RULE + CALLS_PER_RULE),
                    calls: Semaphore::new(CALLS_PER_RULE),
                };
                (rule.name.clone(), places)
            })
            .collect();
        let client = if places.is_empty() { None } else { Some(client()?) };
        Ok(Self {
            rules,
            client,
            places,
            first_delay,
        })
    }

    fn retry(&self, attempt: u64, reason: String) -> Failure {
        let steps = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(8);
        let after = self.first_delay * DELAY_FACTOR.pow(steps);
        Failure::Retry { after, reason }
    }
}

/// Goes nowhere but to the address: no proxy, no redirects.
fn client() -> anyhow::Result<Client> {
    // Fails where it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .user_agent("aiai")
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(CALLS_PER_RULE)
        .build();
    client.context(
        "no webhook can be called; install the certificates of this system (package ca-certificates)",
    )
}

impl bus::Job for Webhooks {
    const NAME: &'static str = "webhook";

    fn input() -> Input {
        Input::new(topology::ALERTS, Self::NAME)
    }

    async fn run(&self, job: &Delivery) -> Result<Report, Failure> {
        let rule = alert::rule_of(job.subject()).and_then(|name| self.rules.find(name));
        let parts = rule.and_then(|rule| {
            Some((
                &rule.name,
                rule.webhook.as_ref()?,
                self.places.get(&rule.name)?,
                self.client.as_ref()?,
            ))
        });
        let Some((name, webhook, places, client)) = parts else {
            return Ok(Report::default());
        };
        let Ok(_waiting) = places.waiting.try_acquire() else {
            return Err(self.retry(
                job.attempt(),
                format!("the webhook of rule {name} is slow; other alerts wait for it"),
            ));
        };
        let _call = places.calls.acquire().await?;
        let request = client
            .post(webhook.url.clone())
            .headers(webhook.headers.clone())
            .timeout(webhook.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header(ID_HEADER, job.header("Nats-Msg-Id").unwrap_or_default())
            .body(job.payload().clone());
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(Report::default()),
            Ok(response) if is_final(response.status()) => Err(Failure::Reject {
                rejection: refused(name, response.status()),
            }),
            Ok(response) => Err(self.retry(
                job.attempt(),
                format!("the webhook of rule {name} answered {}", response.status()),
            )),
            Err(error) => {
                let error = bus::chain(&error.without_url());
                Err(self.retry(job.attempt(), format!("the webhook of rule {name}: {error}")))
            }
        }
    }
}

/// Whether the same request would be answered alike for ever.
fn is_final(status: StatusCode) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    (status.is_client_error() || status.is_redirection()) && !passing.contains(&status)
}

fn refused(rule: &str, status: StatusCode) -> Rejection {
    Rejection::new(
        Reason::WebhookRefused,
        "payload",
        format!("the webhook of rule {rule} answered {status}"),
        "correct the rule's webhook, or what answers there",
    )
}
