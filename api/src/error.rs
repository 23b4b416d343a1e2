//! The only place that makes an error response: `{"code", "message", "request_id"}`, and `at` where a character is to
//! blame. Codes are the table of `domain::error`. What happened inside goes to the log, never into the body.
//!
//! A handler's [`Error`] travels as an extension of an empty response; `render` writes the body at the outermost layer,
//! which knows the request id, and gives answers of the framework (unknown route, wrong method) the same shape.

use std::{borrow::Cow, error::Error as StdError, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{error::Code, page::PageError};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::middleware::SlowBody;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: Cow<'static, str>,
    at: Option<usize>,
    retry_after: Option<Duration>,
}

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Name in the table of error codes.
    pub code: String,
    /// What is wrong and what to do next.
    pub message: String,
    /// Finds the request in the log.
    pub request_id: Uuid,
    /// The character (from 0) of the search query that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<usize>,
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self { code, message: Cow::Borrowed(code.meaning()), at: None, retry_after: None }
    }
}

impl Error {
    /// A refusal with a message of its own. Codes of 500 and above keep their fixed text.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let error = Self::from(code);
        if code.status() >= 500 { error } else { Self { message: message.into(), ..error } }
    }

    /// There is no such thing, or it is not this actor's to see.
    pub fn not_found() -> Self {
        Code::NotFound.into()
    }

    /// A defect or a failed backend: `cause` goes to the log, the body stays fixed.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Code::Internal.into()
    }

    /// Points at the character that is to blame.
    #[must_use]
    pub fn at(self, character: usize) -> Self {
        Self { at: Some(character), ..self }
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Why a body could not be read: too slow, too large, or broken off. For extractors and streaming handlers.
    pub fn body(error: &(dyn StdError + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<SlowBody>() {
                return Code::RequestTimeout.into();
            }
            // axum's own rejection boxes it once more.
            if error.is::<LengthLimitError>() || error.is::<Box<LengthLimitError>>() {
                return Code::TooLarge.into();
            }
            cause = error.source();
        }
        Self::new(Code::BadRequest, "the body ended before it was complete; send it again")
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            StatusCode::RANGE_NOT_SATISFIABLE => Code::RangeNotSatisfiable,
            StatusCode::UNPROCESSABLE_ENTITY => Code::Invalid,
            StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            status if status.is_client_error() => Code::BadRequest,
            _ => Code::Internal,
        }
        .into()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        use storage::Error as E;
        match &error {
            E::NotFound => Self::not_found(),
            E::Forbidden => Code::Forbidden.into(),
            E::Conflict(message) => Self::new(Code::Conflict, *message),
            E::Invalid(message) => Self::new(Code::Invalid, *message),
            E::Page(PageError::Cursor) => Code::BadCursor.into(),
            E::Page(PageError::Limit) => Self::new(Code::BadRequest, error.to_string()),
            E::IdempotencyMismatch => Code::IdempotencyMismatch.into(),
            _ if error.is_full() => {
                tracing::error!("the disk is full");
                Code::StorageFull.into()
            }
            _ => Self::away(&error),
        }
    }
}

impl Error {
    /// A backend that is away now, or something that should not happen.
    fn away(error: &storage::Error) -> Self {
        tracing::error!(%error, "storage failed");
        match error {
            storage::Error::LeaseLost => Code::Unavailable.into(),
            error if error.is_away() => Code::Unavailable.into(),
            _ => Code::Internal.into(),
        }
    }
}

/// Gives an error response its body; every other response passes.
pub(crate) fn render(response: Response, request_id: Uuid) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let error = parts.extensions.remove::<Error>().unwrap_or_else(|| Error::of_status(status));
    let body =
        ErrorBody { code: error.code.name().to_owned(), message: error.message.into_owned(), request_id, at: error.at };
    parts.status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(serde_json::to_vec(&body).unwrap_or_default()))
}
