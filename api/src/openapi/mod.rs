//! The `OpenAPI` 3.1 document, made from the handlers, and a page to read it by. The page loads nothing from elsewhere.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};
use domain::page::Page;
use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        Content, OpenApi as Document, Ref, RefOr, Response,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{State, error::ErrorBody};

const PAGE: &str = include_str!("reference.html");
const SCRIPT: &str = include_str!("reference.js");
const STYLE: &str = include_str!("reference.css");
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'";

/// One page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PageBody<T: ToSchema> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Pass as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T: ToSchema, R: Into<T>> From<Page<R>> for PageBody<T> {
    fn from(page: Page<R>) -> Self {
        Self { items: page.items.into_iter().map(Into::into).collect(), next_cursor: page.next_cursor }
    }
}

/// What the document says besides its operations.
#[derive(OpenApi)]
#[openapi(
    info(title = "dia", description = "Legal documents in, cited answers out."),
    components(schemas(ErrorBody)),
    modifiers(&Bearer),
    security(("bearer" = []), ("api_key" = []))
)]
pub(crate) struct Frame;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        for (name, format, what) in [
            ("bearer", "JWT", "The access token of a sign-in."),
            (
                "api_key",
                "dia_PREFIX_SECRET",
                "An API key, which does what its scopes say and never more than its person may.",
            ),
        ] {
            let scheme =
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format).description(Some(what));
            components.add_security_scheme(name, SecurityScheme::Http(scheme.build()));
        }
    }
}

/// The document, with the one error body on every operation.
pub fn complete(mut document: Document) -> Document {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
            &mut item.head,
            &mut item.options,
        ];
        for operation in operations.into_iter().flatten() {
            let mut error = Response::new("Any error; its code is one of the table in docs/errors.md.");
            let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
            error.content.insert("application/json".to_owned(), RefOr::T(content));
            operation.responses.responses.insert("default".to_owned(), RefOr::T(error));
        }
    }
    document
}

/// Serves the document and the page.
pub(crate) fn reference(document: Document) -> Router<State> {
    let json = Bytes::from(serde_json::to_vec(&complete(document)).unwrap_or_default());
    Router::new()
        .route("/api/v1/openapi.json", get(async move || asset("application/json", json)))
        .route("/api/v1/reference", get(async || asset("text/html; charset=utf-8", PAGE)))
        .route("/api/v1/reference/script.js", get(async || asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/api/v1/reference/style.css", get(async || asset("text/css; charset=utf-8", STYLE)))
}

fn asset(kind: &'static str, content: impl IntoResponse) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 3] =
        [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-cache")];
    (headers, content)
}
