//! `google.rpc.Status` with `RetryInfo`: how OTLP says what is wrong and when to try again.

use prost::Message;

use crate::refusal::{RETRY_SECONDS, Refusal};

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// The status of a refusal, in protobuf.
pub(crate) fn encoded(refusal: &Refusal) -> Vec<u8> {
    let seconds = i64::try_from(RETRY_SECONDS).unwrap_or(i64::MAX);
    let retry = RetryInfo {
        retry_delay: Some(Delay { seconds }),
    };
    let details = refusal.is_retryable().then(|| Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
        value: retry.encode_to_vec(),
    });
    let status = Status {
        code: refusal.code() as i32,
        message: refusal.to_string(),
        details: details.into_iter().collect(),
    };
    status.encode_to_vec()
}
