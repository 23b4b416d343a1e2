//! One's own second factor: an authenticator (TOTP, RFC 6238) and recovery codes.

use axum::http::StatusCode;
use data_encoding::BASE32_NOPAD;
use domain::{clock::Timestamp, error::Code};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use storage::second_factors;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{Enrolling, Json, SteppedUp},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(read_second_factor))
        .routes(routes!(begin_totp, remove_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(make_recovery_codes))
}

/// What you have set up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StandingBody {
    /// When your authenticator was confirmed (RFC 3339); null while you have none.
    pub totp_since: Option<String>,
    /// True while one was begun and not confirmed.
    pub totp_pending: bool,
    /// Recovery codes that still count.
    pub recovery_codes: u64,
    /// True when your role needs a second factor.
    pub required: bool,
}

/// What your authenticator needs to know. It is shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct TotpBody {
    /// The secret in base 32, to type.
    pub secret: String,
    /// The same as an address, to show as a QR code.
    pub uri: String,
}

/// What your authenticator shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmFields {
    /// Six digits.
    pub code: String,
}

/// Codes for when your authenticator is lost, each good once. They are shown this once: print them.
#[derive(Clone, Serialize, ToSchema)]
pub struct RecoveryCodesBody {
    /// Ten codes; those given out before count no more.
    pub recovery_codes: Vec<String>,
}

/// What second factor you have.
#[utoipa::path(get, path = "/auth/mfa", tag = "auth", security(("bearer" = [])), responses((status = 200, body = StandingBody)))]
async fn read_second_factor(state: State, Enrolling(user): Enrolling) -> Result<Json<StandingBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let standing = second_factors::standing(&mut tx).await?;
    Ok(Json(StandingBody {
        totp_since: standing.since.map(Timestamp::rfc3339),
        totp_pending: standing.is_pending,
        recovery_codes: standing.recovery_codes,
        required: state.auth.wants_second_factor(user.user.role),
    }))
}

/// Begins to set up an authenticator as your second factor. It counts once you confirmed it.
#[utoipa::path(
    post, path = "/auth/mfa/totp", tag = "auth", security(("bearer" = [])), responses((status = 201, body = TotpBody))
)]
async fn begin_totp(state: State, Enrolling(user): Enrolling) -> Result<(StatusCode, Json<TotpBody>)> {
    user.expect_fresh(&state)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let secret = BASE32_NOPAD.encode(&second_factors::begin(&mut tx).await?);
    tx.commit().await?;
    let email = utf8_percent_encode(&user.user.email, NON_ALPHANUMERIC);
    let uri = format!("otpauth://totp/dia:{email}?secret={secret}&issuer=dia&algorithm=SHA1&digits=6&period=30");
    Ok((StatusCode::CREATED, Json(TotpBody { secret, uri })))
}

/// Switches your second factor on, signs you out everywhere else, and gives you recovery codes.
#[utoipa::path(
    post, path = "/auth/mfa/totp/confirm", tag = "auth", security(("bearer" = [])), request_body = ConfirmFields,
    responses((status = 200, body = RecoveryCodesBody))
)]
async fn confirm_totp(
    state: State,
    Enrolling(user): Enrolling,
    Json(fields): Json<ConfirmFields>,
) -> Result<Json<RecoveryCodesBody>> {
    user.expect_fresh(&state)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let recovery_codes = second_factors::confirm(&mut tx, &fields.code).await?.ok_or_else(|| {
        Error::new(Code::Invalid, "code is not what an authenticator with this secret shows now; look at its clock")
    })?;
    tx.commit().await?;
    Ok(Json(RecoveryCodesBody { recovery_codes }))
}

/// Removes your second factor. Your password must then stand alone: at least 15 characters.
#[utoipa::path(
    delete, path = "/auth/mfa/totp", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "removed"))
)]
async fn remove_totp(state: State, SteppedUp(user): SteppedUp) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    second_factors::remove_own(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives you new recovery codes.
#[utoipa::path(
    post, path = "/auth/mfa/recovery-codes", tag = "auth", security(("bearer" = [])),
    responses((status = 200, body = RecoveryCodesBody))
)]
async fn make_recovery_codes(state: State, SteppedUp(user): SteppedUp) -> Result<Json<RecoveryCodesBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let recovery_codes = second_factors::new_recovery_codes(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(RecoveryCodesBody { recovery_codes }))
}
