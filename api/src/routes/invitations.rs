//! Invitations: how people come in after the first.

use axum::{http::StatusCode, response::Response};
use domain::access::SystemRole;
use serde::{Deserialize, Serialize};
use storage::signup;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::users;
use crate::{
    Result, State,
    extract::{Idempotent, Json, SignedIn, created, kept},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(create_invitation))
}

/// Whom to invite.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationFields {
    /// Role in the whole system: `administrator` or `member`.
    pub role: String,
}

/// An invitation. The code is shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct InvitationBody {
    /// What the invited person signs up with, once.
    pub code: String,
    /// Role in the whole system.
    pub role: &'static str,
    /// When it ends (RFC 3339).
    pub expires_at: String,
}

/// Invites somebody to sign up (administrators).
#[utoipa::path(
    post, path = "/auth/invitations", tag = "auth", security(("bearer" = [])), request_body = InvitationFields,
    params(("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = InvitationBody))
)]
async fn create_invitation(
    state: State,
    SignedIn(user): SignedIn,
    key: Idempotent,
    Json(fields): Json<InvitationFields>,
) -> Result<Response> {
    let role = users::role(&fields.role)?;
    if role == SystemRole::Administrator {
        user.expect_fresh(&state)?;
    }
    let request = key.request(&user.actor, &fields)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let (code, ends) = signup::invite(&mut tx, role).await?;
    let body = InvitationBody { code, role: role.name(), expires_at: ends.rfc3339() };
    created(tx, &request, StatusCode::CREATED, &body).await
}
