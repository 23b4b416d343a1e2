//! A new password for who forgot theirs.

use axum::http::StatusCode;
use domain::{error::Code, jobs::SendPasswordReset};
use serde::Deserialize;
use storage::{
    audit::Audit,
    password_resets,
    users::{self, NewPassword, normal_email},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    auth::{Passwords, Stands},
    extract::{Anonymous, Json},
    limits,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(forgot_password)).routes(routes!(reset_password))
}

/// Who forgot their password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgotPasswordFields {
    /// E-mail address.
    pub email: String,
}

/// Asks for a code by mail, with which a new password is set. The answer is the same, and takes the same work, whether anybody has the
/// address or not. Nobody is written to more often than every five minutes.
#[utoipa::path(
    post, path = "/auth/forgot-password", tag = "auth", security(()), request_body = ForgotPasswordFields,
    responses((status = 202, description = "if somebody has the address, they will be written to"))
)]
async fn forgot_password(
    state: State,
    Anonymous(actor): Anonymous,
    Json(fields): Json<ForgotPasswordFields>,
) -> Result<StatusCode> {
    if !state.sends_mail {
        return Err(Code::MailOff.into());
    }
    let email =
        normal_email(&fields.email).ok_or_else(|| Error::new(Code::Invalid, "email must be an e-mail address"))?;
    limits::take_of_account(&state, &email).await?;
    let mut tx = state.storage.begin(&actor).await?;
    let account = users::by_email(&mut tx, &email).await?;
    tx.audit(Audit::PasswordResetAsked {}).await?;
    tx.enqueue(&SendPasswordReset { user: account.map(|account| account.user.id) }).await?;
    tx.commit().await?;
    Ok(StatusCode::ACCEPTED)
}

/// A code and the password it sets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPasswordFields {
    /// What an administrator gave you, or a letter said.
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
