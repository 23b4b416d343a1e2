//! Creating requests carry an `Idempotency-Key`: repeated with the same key and content they have one effect and one
//! answer. The answer is kept in the transaction of the effect.
//!
//! ```text
//! let request = key.request(&user.actor, &body)?;
//! let mut tx = state.storage.begin(&user.actor).await?;
//! let case = Case::find(&mut tx, id, Action::ManageDatabase).await?;          // access first, as it is now
//! if let Some(answer) = kept(&mut tx, &request).await? { return Ok(answer) }
//! let database = Database::create(&mut tx, &case, …).await?;
//! created(tx, &request, StatusCode::CREATED, &DatabaseBody::from(database)).await  // keeps the answer, commits
//! ```

use axum::{
    body::Body,
    extract::{FromRequestParts, OriginalUri},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use domain::{
    actor::{Actor, Who},
    error::Code,
};
use serde::Serialize;
use storage::{Tx, idempotency};

use crate::{Error, Result, State};

/// The `Idempotency-Key` of a creating request and the route it was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotent {
    key: String,
    route: String,
}

impl FromRequestParts<State> for Idempotent {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let visible = (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible {
            return Err(Code::MissingIdempotencyKey.into());
        }
        let OriginalUri(uri) =
            OriginalUri::from_request_parts(parts, state).await.unwrap_or_else(|never| match never {});
        Ok(Self { key, route: format!("{} {}", parts.method, uri.path()) })
    }
}

impl Idempotent {
    /// The request as storage keeps it: a key belongs to one person (or one API key of theirs) and one path, and to one `content`.
    pub fn request(&self, actor: &Actor, content: &impl Serialize) -> Result<idempotency::Request> {
        let content = serde_json::to_vec(content).map_err(Error::internal)?;
        let who = match &actor.who {
            Who::Key { user, key, .. } => format!("{user} with {key}"),
            Who::User { user, .. } => user.to_string(),
            Who::System { .. } | Who::Anonymous => String::new(),
        };
        Ok(idempotency::Request::new(format!("{who} {}", self.route), &self.key, &content))
    }
}

/// The answer given to this request before; `None` when it is new, and then [`created`] must follow in this transaction.
pub async fn kept(tx: &mut Tx, request: &idempotency::Request) -> Result<Option<Response>> {
    let kept = tx.kept_answer(request).await?;
    Ok(kept.map(|kept| {
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let mut response = answer(status, kept.body);
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        response
    }))
}

/// Keeps the answer, commits, and gives it.
pub async fn created(
    mut tx: Tx,
    request: &idempotency::Request,
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response> {
    let body = serde_json::to_vec(body).map_err(Error::internal)?;
    tx.keep_answer(request, status.as_u16(), &body).await?;
    tx.commit().await?;
    Ok(answer(status, body))
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
