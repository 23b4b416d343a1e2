//! People, as administrators see and manage them.

use axum::http::StatusCode;
use domain::{access::SystemRole, error::Code, ids::UserId};
use serde::{Deserialize, Serialize};
use storage::{
    password_resets, second_factors,
    users::{self, Change, User},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::UserBody;
use crate::{
    Error, Result, State,
    extract::{Json, PageParams, Path, Query, SignedIn, SteppedUp},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_users))
        .routes(routes!(read_user, update_user))
        .routes(routes!(end_user_sessions))
        .routes(routes!(remove_user_second_factor))
        .routes(routes!(issue_password_reset))
}

/// A person as administrators see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PersonBody {
    /// Who they are.
    #[serde(flatten)]
    pub user: UserBody,
    /// False once suspended.
    pub is_active: bool,
    /// True once a second factor of theirs counts.
    pub has_second_factor: bool,
}

impl From<User> for PersonBody {
    fn from(user: User) -> Self {
        Self { is_active: user.is_active, has_second_factor: user.has_second_factor, user: user.into() }
    }
}

/// What to change of a person; what is absent stays.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonFields {
    /// False suspends: sessions, API keys and open sockets end, for good. True lets the person sign in again.
    pub is_active: Option<bool>,
    /// Role in the whole system: `administrator` or `member`.
    pub role: Option<String>,
}

/// The role of that name.
pub(super) fn role(name: &str) -> Result<SystemRole> {
    SystemRole::parse(name).ok_or_else(|| Error::new(Code::Invalid, "role must be administrator or member"))
}

/// Everybody who signed up, newest first (administrators).
#[utoipa::path(
    get, path = "/users", tag = "users", params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = PageBody<PersonBody>))
)]
async fn list_users(
    state: State,
    SignedIn(user): SignedIn,
    Query(page): Query<PageParams>,
) -> Result<Json<PageBody<PersonBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(users::list(&mut tx, &page.into()).await?.into()))
}

/// One person (administrators).
#[utoipa::path(
    get, path = "/users/{id}", tag = "users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, body = PersonBody))
)]
async fn read_user(state: State, SignedIn(user): SignedIn, Path(id): Path<UserId>) -> Result<Json<PersonBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(users::managed(&mut tx, id).await?.user.into()))
}

/// Suspends or restores a person, or gives them another role (administrators). The last administrator stays one.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = PersonFields, responses((status = 200, body = PersonBody))
)]
async fn update_user(
    state: State,
    SteppedUp(user): SteppedUp,
    Path(id): Path<UserId>,
    Json(fields): Json<PersonFields>,
) -> Result<Json<PersonBody>> {
    let role = fields.role.as_deref().map(role).transpose()?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let changed = users::change(&mut tx, id, Change { is_active: fields.is_active, role }).await?;
    tx.commit().await?;
    Ok(Json(changed.into()))
}

/// Signs a person out everywhere (administrators).
#[utoipa::path(
    delete, path = "/users/{id}/sessions", tag = "users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 204, description = "signed out"))
)]
async fn end_user_sessions(state: State, SignedIn(user): SignedIn, Path(id): Path<UserId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    users::end_sessions(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes away the second factor that somebody else has lost (administrators).
#[utoipa::path(
    delete, path = "/users/{id}/mfa", tag = "users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 204, description = "taken away"))
)]
async fn remove_user_second_factor(
    state: State,
    SteppedUp(user): SteppedUp,
    Path(id): Path<UserId>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    second_factors::remove_of(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A code with which somebody sets a new password. It is shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct PasswordResetBody {
    /// What `POST /auth/reset-password` takes, once.
    pub code: String,
    /// When it ends (RFC 3339).
    pub expires_at: String,
}

/// Gives out a code with which somebody else, who forgot theirs, sets a new password (administrators). It voids those given out before.
#[utoipa::path(
    post, path = "/users/{id}/password-reset", tag = "users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 201, body = PasswordResetBody))
)]
async fn issue_password_reset(
    state: State,
    SteppedUp(user): SteppedUp,
    Path(id): Path<UserId>,
) -> Result<(StatusCode, Json<PasswordResetBody>)> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let (code, ends) = password_resets::issue(&mut tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(PasswordResetBody { code, expires_at: ends.rfc3339() })))
}
