//! A new password for who forgot theirs.

use axum::http::StatusCode;
use domain::error::Code;
use serde::Deserialize;
use storage::{password_resets, users::NewPassword};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    auth::{Passwords, Stands},
    extract::{Anonymous, Json},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(reset_password))
}

/// A code and the password it sets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPasswordFields {
    /// What an administrator gave you.
    pub code: String,
    /// The password from now on: at least 15 characters, or 8 beside a second factor.
    pub new_password: String,
}

/// Sets a new password with a code, once, and signs you out everywhere. A second factor stays, and is asked for as ever.
#[utoipa::path(
    post, path = "/auth/reset-password", tag = "auth", security(()), request_body = ResetPasswordFields,
    responses((status = 204, description = "set"))
)]
async fn reset_password(
    state: State,
    Anonymous(actor): Anonymous,
    Json(fields): Json<ResetPasswordFields>,
) -> Result<StatusCode> {
    let refused = || Error::from(Code::BadResetCode);
    // Looked at before the costly hash, so that strangers cannot make dia hash for nothing.
    let mut tx = state.storage.read(&actor).await?;
    let account = password_resets::look(&mut tx, &fields.code).await?.ok_or_else(refused)?;
    drop(tx);
    let (user, stands) = (&account.user, Stands::of(account.user.has_second_factor));
    Passwords::check(&fields.new_password, &[&user.email, &user.name], stands)?;
    let is_long = Passwords::is_long(&fields.new_password);
    let hash = state.passwords.hash(fields.new_password).await?;

    let mut tx = state.storage.begin(&actor).await?;
    if !password_resets::redeem(&mut tx, &fields.code, &account, NewPassword { hash: &hash, is_long }).await? {
        return Err(refused());
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
