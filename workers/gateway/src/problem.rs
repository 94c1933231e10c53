//! What went wrong, as RFC 9457 has it: every answer that is no success.

use axum::Json;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use schemas::Rejection;
use serde::Serialize;

/// The media type of problem details.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// Bad items that are described; further ones are counted.
pub(crate) const ERRORS_MAX: usize = 50;

/// A kind of problem: its status, and what `type` and `title` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) status: StatusCode,
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
}

macro_rules! sorts {
    ($($constant:ident = $status:ident, $name:literal, $title:literal;)+) => {
        $(pub(crate) const $constant: Sort = Sort {
            status: StatusCode::$status,
            name: $name,
            title: $title,
        };)+
        /// Every one.
        pub(crate) const SORTS: &[Sort] = &[$($constant),+];
    };
}

sorts! {
    BAD_HEADER = BAD_REQUEST, "bad-header", "A header of the request cannot be used";
    BAD_BODY = BAD_REQUEST, "bad-body", "The body cannot be read";
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "A token is needed";
    NOT_FOUND = NOT_FOUND, "not-found", "There is nothing here";
    WRONG_METHOD = METHOD_NOT_ALLOWED, "wrong-method", "The method is not allowed here";
    TOO_SLOW = REQUEST_TIMEOUT, "too-slow", "The body did not come in time";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    WRONG_TYPE = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is of a type or encoding that is not taken";
    WRONG_HOST = MISDIRECTED_REQUEST, "wrong-host", "The request is for another host";
    BAD_ITEMS = UNPROCESSABLE_ENTITY, "bad-items", "Items of the request are not valid; nothing of it is stored";
    BUSY = TOO_MANY_REQUESTS, "busy", "Too many requests at once";
    UNAVAILABLE = SERVICE_UNAVAILABLE, "unavailable", "It cannot be stored now";
}

/// One bad item, or the whole body.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct BadItem {
    /// Its position in the body, from 0; none: the body as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    index: Option<u32>,
    /// Where it is wrong, for example `[3].name`.
    place: String,
    /// The code of what is wrong, as in dead letters.
    reason: &'static str,
    /// What is wrong there.
    problem: String,
    /// What to do about it.
    fix: String,
}

impl BadItem {
    pub(crate) fn new(index: Option<u32>, rejection: Rejection) -> Self {
        Self {
            index,
            place: rejection.place,
            reason: rejection.reason.as_str(),
            problem: rejection.problem,
            fix: rejection.fix,
        }
    }
}

/// Problem details.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Problem", description = "What went wrong (RFC 9457), with what to do about it.")]
pub(crate) struct Problem {
    /// Tells one kind of problem from another.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The kind of problem in words.
    pub(crate) title: &'static str,
    /// The status of the answer.
    pub(crate) status: u16,
    /// What is wrong this time, and the fix.
    pub(crate) detail: String,
    /// The bad items, the first 50 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ERRORS_MAX))]
    pub(crate) errors: Vec<BadItem>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) errors_omitted: u32,
    #[serde(skip)]
    headers: Vec<(HeaderName, &'static str)>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Problem {
    pub(crate) fn new(sort: Sort, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: kind(sort.name),
            title: sort.title,
            status: sort.status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            errors_omitted: 0,
            headers: Vec::new(),
        })
    }

    /// A header of the answer.
    pub(crate) fn with(mut self: Box<Self>, name: HeaderName, value: &'static str) -> Box<Self> {
        self.headers.push((name, value));
        self
    }

    /// Seconds after which it may work.
    pub(crate) fn retry_after(self: Box<Self>, seconds: &'static str) -> Box<Self> {
        self.with(header::RETRY_AFTER, seconds)
    }
}

/// What `type` says.
pub(crate) fn kind(name: &str) -> String {
    format!("urn:aiai:problem:{name}")
}

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&*self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_failures() {
        let names: std::collections::BTreeSet<_> = SORTS.iter().map(|sort| sort.name).collect();
        assert_eq!(names.len(), SORTS.len());
        assert!(SORTS.iter().all(|sort| sort.status.as_u16() >= 400));
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let problem = Problem::new(BUSY, "later").retry_after("1");
        let json = serde_json::to_value(&*problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "urn:aiai:problem:busy", "title": BUSY.title, "status": 429, "detail": "later"})
        );
        let response = problem.into_response();
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
    }
}
