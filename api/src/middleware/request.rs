//! One request: its id, its span, its figures, and the body of its error.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use uuid::Uuid;

use crate::error::render;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id: the client's, if it sent a UUID, else a fresh one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestId(pub(crate) Uuid);

/// Runs a request inside its span and counts it. Paths and queries may hold what is nobody's business, so only the
/// route's template is written down.
pub(crate) async fn around(mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok()).and_then(|v| Uuid::try_parse(v).ok());
    let id = sent.unwrap_or_else(domain::ids::fresh);
    request.extensions_mut().insert(RequestId(id));
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |p| p.as_str().to_owned());
    let span = tracing::info_span!("request", request_id = %id, method, route);
    let began = Instant::now();

    let response = next.run(request).instrument(span.clone()).await;

    let status = response.status().as_u16();
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(parent: &span, status, milliseconds = seconds * 1_000.0, "answered");
    metrics::counter!("dia_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("dia_http_request_seconds", "method" => method, "route" => route).record(seconds);

    let mut response = render(response, id);
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The method as a label: clients may invent methods, and every new label would be a new time series.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
