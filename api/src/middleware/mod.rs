//! What happens around every request, outermost first: a request id, a span, figures and the error body; headers that
//! keep browsers careful; a net under panics; a clock on the body.

mod body;
mod headers;
mod request;

pub(crate) use body::{SlowBody, cut_slow_bodies};
pub(crate) use headers::careful_headers;
pub(crate) use request::{RequestId, around};

use axum::response::{IntoResponse, Response};

use crate::Error;

/// The answer when a handler panicked. The payload could hold anything, so it is not shown, and logged only as text.
pub(crate) fn panicked(payload: Box<dyn std::any::Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::internal(format_args!("a handler panicked: {}", text.unwrap_or("no text"))).into_response()
}
