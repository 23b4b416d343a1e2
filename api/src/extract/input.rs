//! Path, query and body as typed values.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest, FromRequestParts},
    http::{Request, header, request::Parts},
    response::{IntoResponse, Response},
};
use domain::{error::Code, page::PageQuery};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::{Error, State};

/// PostgreSQL keeps no text with this character, and SQLite's comparisons end at it.
const NO_NUL: &str = "text must not hold the character U+0000";

/// Ids in the path. One that is no id is answered like one that is not there.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<State> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| Error::not_found())
    }
}

/// The query string. Give the type `deny_unknown_fields`: a misspelt filter must not list everything.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<State> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Error::new(Code::BadRequest, NO_NUL));
        }
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(value)| Self(value)).map_err(|e| Error::new(Code::BadRequest, e.body_text()))
    }
}

/// The query of a list without filters.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// The `next_cursor` of the page before; absent for the first page.
    pub cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
}

impl From<PageParams> for PageQuery {
    fn from(params: PageParams) -> Self {
        Self { cursor: params.cursor, limit: params.limit }
    }
}

/// A JSON body, in and out. Give request types `deny_unknown_fields`.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, state: &State) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Error::new(Code::UnsupportedMediaType, "send the body as Content-Type: application/json"));
        }
        // Announced as too large: refused before it comes.
        if request.body().size_hint().lower() > state.config.max_body_bytes as u64 {
            return Err(Code::TooLarge.into());
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| Error::body(&rejection))?;
        let value = serde_json::from_slice(&bytes).map_err(|e| Error::new(Code::MalformedJson, e.to_string()))?;
        if holds_nul(&bytes) {
            return Err(Error::new(Code::MalformedJson, NO_NUL));
        }
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Whether JSON that could be read holds the character U+0000, which can only be written as `\u0000`.
fn holds_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = rest.get(at + 1..).unwrap_or_default();
        if escape.starts_with(b"u0000") {
            return true;
        }
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_told_from_words_about_it() {
        for (json, holds) in [
            (r#"{"a": "\u0000"}"#, true),
            (r#"{"a": "b\u0000c"}"#, true),
            (r#"{"\u0000": 1}"#, true),
            (r#"{"a": "\\\u0000"}"#, true),
            (r#"{"a": "\\u0000"}"#, false),
            (r#"{"a": "\u00000"}"#, true),
            (r#"{"a": "\u0001 u0000 \n"}"#, false),
            ("", false),
            ("\\", false),
        ] {
            assert_eq!(holds_nul(json.as_bytes()), holds, "{json}");
        }
    }
}
