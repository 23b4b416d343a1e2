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

/// The answer when a handler panicked. What it said could be the text of a document, so it is not even logged.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Error::internal("a handler panicked").into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use axum::{Router, body::Body, http::Request, middleware, routing::get};
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;

    #[tokio::test]
    async fn a_panic_is_a_plain_500() {
        let router = Router::new()
            .route("/", get(async || -> &'static str { panic!("words of a document") }))
            .layer(CatchPanicLayer::custom(super::panicked))
            .layer(middleware::from_fn(super::around));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("words"));
    }
}
