//! The signed-in person. The token says who claims to act; the session's row decides, on every request.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use domain::{
    actor::{Actor, Who},
    error::Code,
};
use storage::{sessions, users::User};

use super::origin::origin;
use crate::{Error, State};

/// Who acts, signed in now.
#[derive(Debug, Clone)]
pub struct CurrentUser {
    /// Travels with every call to storage.
    pub actor: Actor,
    /// The person.
    pub user: User,
}

impl FromRequestParts<State> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let token = bearer(parts).ok_or(Code::Unauthenticated)?;
        let origin = origin(parts, state);
        Self::of_token(state, token, origin).await
    }
}

impl CurrentUser {
    /// The person behind an access token, for doors that carry it elsewhere than in the header (`WebSockets`). May be asked
    /// again at any time: it fails once the session ends.
    pub async fn of_token(state: &State, token: &str, origin: domain::actor::Origin) -> Result<Self, Error> {
        let claims = state.tokens.read(token, state.storage.clock.now()).ok_or(Code::Unauthenticated)?;
        let mut tx = state.storage.read(&Actor { who: Who::Anonymous, origin: origin.clone() }).await?;
        let user = sessions::holder(&mut tx, claims.sid, claims.sub).await?.ok_or(Code::Unauthenticated)?;
        let who = Who::User { user: user.id, session: claims.sid, role: user.role };
        Ok(Self { actor: Actor { who, origin }, user })
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1).
fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
