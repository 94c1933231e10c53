//! Why a request is not taken, and how HTTP and gRPC say so.

use axum::http::StatusCode;
use tonic::Code;

/// A sender waits so long before it tries again.
pub(crate) const RETRY_SECONDS: u64 = 5;

/// Why a request is not taken. Nothing of it may be assumed stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No token that we know.
    #[error(
        "a token is needed: set OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20<token>, with one of otlp.tokens"
    )]
    Unauthorized,
    /// A web page, and no tokens.
    #[error("requests of web pages are refused where no tokens are configured: set otlp.tokens")]
    Browser,
    /// Not a name.
    #[error("the header Aiai-Tenant is no tenant: use letters, digits, - and _, at most 64")]
    BadTenant,
    /// Neither protobuf nor JSON, or an encoding of neither.
    #[error("{0}")]
    Unsupported(String),
    /// Not what it says it is.
    #[error("{0}")]
    Undecodable(String),
    /// Larger than one request may be.
    #[error("{0}")]
    TooLarge(String),
    /// The rest of it did not come.
    #[error("the request did not arrive within {0} s: send it again")]
    Slow(u64),
    /// Many others are at work.
    #[error("all memory for requests (otlp.memory_megabytes) is in use: send it again later")]
    Busy,
    /// NATS does not take it now.
    #[error("not stored, send it again later: {0}")]
    Unavailable(String),
    /// The stream has no room left.
    #[error("not stored, the stream INGEST is full; send it again later: {0}")]
    Full(String),
    /// A defect.
    #[error("this is a defect of aiai, please report it: {0}")]
    Defect(String),
}

impl Refusal {
    /// Whether the same request may be taken later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable(_) | Self::Full(_))
    }

    /// As HTTP says it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Browser => StatusCode::FORBIDDEN,
            Self::BadTenant | Self::Undecodable(_) => StatusCode::BAD_REQUEST,
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Defect(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// As gRPC says it.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unauthorized => Code::Unauthenticated,
            Self::Browser => Code::PermissionDenied,
            Self::BadTenant | Self::Undecodable(_) | Self::TooLarge(_) => Code::InvalidArgument,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::Slow(_) => Code::DeadlineExceeded,
            Self::Busy | Self::Full(_) => Code::ResourceExhausted,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Defect(_) => Code::Internal,
        }
    }
}
