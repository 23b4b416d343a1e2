//! The second step of a sign-in, and proving again later that it is still you.

use axum::http::StatusCode;
use domain::{error::Code, ids::UserId};
use serde::Deserialize;
use storage::{
    audit::Audit,
    second_factors::{self, Said},
    sessions::{self, Proof},
    sign_in_steps, users,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{TokensBody, begin_attempt, open_session};
use crate::{
    Error, Result, State,
    extract::{Anonymous, Enrolling, Json},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(prove_second_factor)).routes(routes!(step_up))
}

/// What proves a second factor: one of the two codes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondFactorFields {
    /// What the right password gave.
    pub second_factor_token: String,
    /// The six digits that the authenticator shows.
    pub code: Option<String>,
    /// One of the recovery codes.
    pub recovery_code: Option<String>,
}

/// What proves that it is still you.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUpFields {
    /// Your password.
    pub password: String,
    /// The six digits that your authenticator shows, if you have a second factor.
    pub code: Option<String>,
    /// One of your recovery codes instead.
    pub recovery_code: Option<String>,
}

fn said<'a>(code: Option<&'a str>, recovery_code: Option<&'a str>) -> Option<Said<'a>> {
    match (code, recovery_code) {
        (Some(code), None) => Some(Said::Code(code)),
        (None, Some(code)) => Some(Said::RecoveryCode(code)),
        _ => None,
    }
}

/// Signs in with the second factor, after the password.
#[utoipa::path(
    post, path = "/auth/login/second-factor", tag = "auth", security(()), request_body = SecondFactorFields,
    responses((status = 200, body = TokensBody))
)]
async fn prove_second_factor(
    state: State,
    Anonymous(actor): Anonymous,
    Json(fields): Json<SecondFactorFields>,
) -> Result<Json<TokensBody>> {
    let said = said(fields.code.as_deref(), fields.recovery_code.as_deref())
        .ok_or_else(|| Error::new(Code::Invalid, "send code or recovery_code, one of them"))?;
    let refused = || Error::from(Code::BadSecondFactor);
    let token = &fields.second_factor_token;
    let mut tx = state.storage.read(&actor).await?;
    let id = sign_in_steps::look(&mut tx, token).await?.ok_or_else(refused)?;
    let account = users::find(&mut tx, id).await?;
    drop(tx);
    let attempt = begin_attempt(&state, &actor, &account.user.email).await?;
    if !sign_in_steps::count(&state.storage, token).await? {
        return Err(refused());
    }
    let mut tx = state.storage.begin(&actor).await?;
    let proved = users::hold(&mut tx, id, &account.password_hash, None).await?
        && second_factors::accept(&mut tx, id, said).await?
        && sign_in_steps::spend(&mut tx, token).await?;
    if !proved {
        drop(tx);
        return Err(failed(&state, &actor, id).await?);
    }
    attempt.succeeded(&mut tx).await?;
    Ok(Json(open_session(&state, tx, id, Proof::SecondFactor).await?))
}

/// Proves again that it is you, for what is sensitive: your password, and a code if you have a second factor.
#[utoipa::path(
    post, path = "/auth/step-up", tag = "auth", security(("bearer" = [])), request_body = StepUpFields,
    responses((status = 204, description = "proved"))
)]
async fn step_up(state: State, Enrolling(user): Enrolling, Json(fields): Json<StepUpFields>) -> Result<StatusCode> {
    let (actor, id) = (&user.actor, user.user.id);
    let attempt = begin_attempt(&state, actor, &user.user.email).await?;
    let mut tx = state.storage.read(actor).await?;
    let stored = users::find(&mut tx, id).await?.password_hash;
    drop(tx);
    let verdict = state.passwords.compare(fields.password, Some(stored.clone())).await?;
    let mut tx = state.storage.begin(actor).await?;
    if !verdict.right || !users::hold(&mut tx, id, &stored, verdict.new_hash.as_deref()).await? {
        drop(tx);
        let mut tx = state.storage.begin(actor).await?;
        tx.audit(Audit::LoginFailed { user: Some(id) }).await?;
        tx.commit().await?;
        return Err(Code::BadCredentials.into());
    }
    let proof = if users::find(&mut tx, id).await?.user.has_second_factor {
        let is_right = match said(fields.code.as_deref(), fields.recovery_code.as_deref()) {
            Some(said) => second_factors::accept(&mut tx, id, said).await?,
            None => false,
        };
        if !is_right {
            drop(tx);
            return Err(failed(&state, actor, id).await?);
        }
        Proof::SecondFactor
    } else {
        Proof::Password
    };
    attempt.succeeded(&mut tx).await?;
    sessions::proved(&mut tx, proof).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes down that a second factor was not proved; the refusal.
async fn failed(state: &State, actor: &domain::actor::Actor, user: UserId) -> Result<Error> {
    let mut tx = state.storage.begin(actor).await?;
    tx.audit(Audit::SecondFactorFailed { user }).await?;
    tx.commit().await?;
    Ok(Code::BadSecondFactor.into())
}
