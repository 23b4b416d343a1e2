//! One's own sign-ins.

use axum::http::StatusCode;
use domain::{actor::Who, ids::SessionId};
use serde::Serialize;
use storage::sessions::{self, Session};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    Result, State,
    extract::{Json, Path, SignedIn},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_sessions)).routes(routes!(end_session))
}

/// A sign-in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionBody {
    /// Its id.
    pub id: Uuid,
    /// True for the one that asks.
    pub current: bool,
    /// When it was opened (RFC 3339).
    pub created_at: String,
    /// When it was last refreshed (RFC 3339).
    pub last_used_at: String,
    /// When it ends if it is not refreshed (RFC 3339).
    pub expires_at: String,
    /// Where it was opened from.
    pub address: Option<String>,
    /// With which program.
    pub agent: Option<String>,
    /// When you last proved in it that it is you (RFC 3339).
    pub authenticated_at: String,
    /// How (RFC 8176): `pwd`, and `otp` with a second factor.
    pub methods: Vec<String>,
}

impl SessionBody {
    fn new(session: Session, own: Option<SessionId>) -> Self {
        Self {
            id: session.id.uuid(),
            current: own == Some(session.id),
            created_at: session.created_at.rfc3339(),
            last_used_at: session.last_used_at.rfc3339(),
            expires_at: session.expires_at.rfc3339(),
            address: session.address,
            agent: session.agent,
            authenticated_at: session.authenticated_at.rfc3339(),
            methods: session.methods.split(' ').map(ToOwned::to_owned).collect(),
        }
    }
}

/// One's open sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionsBody {
    /// Newest first.
    pub items: Vec<SessionBody>,
}

/// Your open sessions, newest first.
#[utoipa::path(get, path = "/auth/sessions", tag = "auth", security(("bearer" = [])), responses((status = 200, body = SessionsBody)))]
async fn list_sessions(state: State, SignedIn(user): SignedIn) -> Result<Json<SessionsBody>> {
    let own = match user.actor.who {
        Who::User { session, .. } => Some(session),
        Who::Key { .. } | Who::Anonymous | Who::System { .. } => None,
    };
    let mut tx = state.storage.read(&user.actor).await?;
    let sessions = sessions::list(&mut tx).await?;
    Ok(Json(SessionsBody { items: sessions.into_iter().map(|s| SessionBody::new(s, own)).collect() }))
}

/// Ends one of your sessions.
#[utoipa::path(
    delete, path = "/auth/sessions/{id}", tag = "auth", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 204, description = "ended"))
)]
async fn end_session(state: State, SignedIn(user): SignedIn, Path(id): Path<SessionId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    sessions::revoke(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
