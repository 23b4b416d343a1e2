//! Signing up, in and out.

use axum::http::StatusCode;
use domain::{
    access::SystemRole,
    actor::{Actor, Who},
    clock::Timestamp,
    error::Code,
    ids::{SessionId, UserId},
};
use serde::{Deserialize, Serialize};
use storage::{
    Tx,
    attempts::{self, Attempt},
    audit::Audit,
    sessions::{self, Proof, Refreshed},
    sign_in_steps, signup,
    users::{self, NewPassword, User, normal_email},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    auth::{Passwords, Stands},
    extract::{Anonymous, Enrolling, Json, Recognised, SignedIn, network},
    limits,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(change_password))
        .routes(routes!(read_me))
}

/// A person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserBody {
    /// Their id.
    #[schema(value_type = Uuid)]
    pub id: UserId,
    /// Their e-mail address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// Role in the whole system: `administrator` or `member`.
    pub role: &'static str,
    /// When they last signed in (RFC 3339).
    pub last_login: Option<String>,
    /// When they signed up (RFC 3339).
    pub created_at: String,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            role: user.role.name(),
            last_login: user.last_login.map(Timestamp::rfc3339),
            created_at: user.created_at.rfc3339(),
        }
    }
}

/// Who signs up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUpFields {
    /// The setup code or an invitation; may be absent where sign-up is open.
    pub code: Option<String>,
    /// E-mail address.
    pub email: String,
    /// 1 to 200 characters.
    pub name: String,
    /// At least 15 characters, hard to guess.
    pub password: String,
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogInFields {
    /// E-mail address.
    pub email: String,
    /// Password.
    pub password: String,
}

/// A refresh token, good once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshFields {
    /// The newest refresh token of the session.
    pub refresh_token: String,
}

/// A change of password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePasswordFields {
    /// The password now.
    pub current_password: String,
    /// The password from now on: at least 15 characters, or 8 beside a second factor.
    pub new_password: String,
}

/// What a sign-in gives.
#[derive(Serialize, ToSchema)]
pub struct TokensBody {
    /// Goes into `Authorization: Bearer`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds the access token is good for.
    pub expires_in: u64,
    /// Gets the next pair, once; a used one that comes back ends the session.
    pub refresh_token: String,
    /// The session.
    #[schema(value_type = Uuid)]
    pub session_id: SessionId,
    /// The person.
    pub user: UserBody,
}

/// What a right password gives.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum LoggedInBody {
    /// A session, where the password is all there is.
    Tokens(Box<TokensBody>),
    /// Half of one, where there is a second factor.
    SecondFactor(SecondFactorBody),
}

/// What stands between a right password and a session.
#[derive(Serialize, ToSchema)]
pub struct SecondFactorBody {
    /// True.
    pub second_factor_required: bool,
    /// Goes to `POST /auth/login/second-factor`, and is good for nothing else: one sign-in, five guesses.
    pub second_factor_token: String,
    /// Seconds it is good for.
    pub expires_in: u64,
    /// What proves the second factor: `totp` and `recovery_code`.
    pub methods: [&'static str; 2],
}

impl SecondFactorBody {
    fn new(token: String) -> Self {
        Self {
            second_factor_required: true,
            second_factor_token: token,
            expires_in: sign_in_steps::LIFE.as_secs(),
            methods: ["totp", "recovery_code"],
        }
    }
}

impl TokensBody {
    fn new(state: &State, user: User, session: SessionId, refresh_token: String) -> Result<Self> {
        let now = state.storage.clock.now();
        Ok(Self {
            access_token: state.tokens.issue(user.id, session, now).map_err(Error::internal)?,
            token_type: "Bearer",
            expires_in: state.tokens.life().as_secs(),
            refresh_token,
            session_id: session,
            user: user.into(),
        })
    }
}

/// Signs up with the setup code (the first user, an administrator) or an invitation.
#[utoipa::path(
    post, path = "/auth/signup", tag = "auth", security(()), request_body = SignUpFields,
    responses((status = 201, body = UserBody))
)]
async fn sign_up(
    state: State,
    Anonymous(actor): Anonymous,
    Json(fields): Json<SignUpFields>,
) -> Result<(StatusCode, Json<UserBody>)> {
    let email =
        normal_email(&fields.email).ok_or_else(|| Error::new(Code::Invalid, "email must be an e-mail address"))?;
    let name = fields.name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(Error::new(Code::Invalid, "name must have 1 to 200 characters"));
    }
    // Looked at before the costly hash, so that strangers cannot make dia hash for nothing.
    let mut tx = state.storage.read(&actor).await?;
    let empty = users::none_yet(&mut tx).await?;
    let refused = || Error::from(if empty { Code::BadSetupCode } else { Code::SignupClosed });
    let open = state.config.open_signup && !empty && fields.code.is_none();
    let good = match &fields.code {
        Some(code) => signup::look(&mut tx, code).await?.is_some(),
        None => open,
    };
    drop(tx);
    if !good {
        return Err(refused());
    }
    Passwords::check(&fields.password, &[&email, name], Stands::Alone)?;
    let hash = state.passwords.hash(fields.password).await?;

    let mut tx = state.storage.begin(&actor).await?;
    let role = match &fields.code {
        Some(code) => signup::redeem(&mut tx, code).await?.ok_or_else(refused)?,
        None => SystemRole::Member,
    };
    let user = match users::create(&mut tx, &email, name, &hash, role).await {
        Err(storage::Error::Conflict(_)) => return Err(Code::EmailTaken.into()),
        user => user?,
    };
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// Signs in. Who has a second factor gets no tokens yet, but what `POST /auth/login/second-factor` takes.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", security(()), request_body = LogInFields,
    responses((status = 200, body = LoggedInBody))
)]
async fn log_in(
    state: State,
    Anonymous(actor): Anonymous,
    Json(fields): Json<LogInFields>,
) -> Result<Json<LoggedInBody>> {
    let email = normal_email(&fields.email).ok_or(Code::BadCredentials)?;
    let attempt = begin_attempt(&state, &actor, &email).await?;
    let mut tx = state.storage.read(&actor).await?;
    let account = users::by_email(&mut tx, &email).await?;
    drop(tx);
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let verdict = state.passwords.compare(fields.password, stored).await?;

    let mut tx = state.storage.begin(&actor).await?;
    let mut proved = None;
    if let Some(account) = account.as_ref().filter(|account| verdict.right && account.user.is_active) {
        let (id, hash) = (account.user.id, &account.password_hash);
        proved = users::hold(&mut tx, id, hash, verdict.new_hash.as_deref()).await?.then_some(id);
    }
    let Some(id) = proved else {
        tx.audit(Audit::LoginFailed { user: account.map(|account| account.user.id) }).await?;
        tx.commit().await?;
        return Err(Code::BadCredentials.into());
    };
    // Asked again under the hold: it may have been set up while the password was compared.
    if users::find(&mut tx, id).await?.user.has_second_factor {
        // The attempt stays counted until the second factor is right, too.
        let token = sign_in_steps::begin(&mut tx, id).await?;
        tx.audit(Audit::SecondFactorAwaited { user: id }).await?;
        tx.commit().await?;
        return Ok(Json(LoggedInBody::SecondFactor(SecondFactorBody::new(token))));
    }
    attempt.succeeded(&mut tx).await?;
    let tokens = open_session(&state, tx, id, Proof::Password).await?;
    Ok(Json(LoggedInBody::Tokens(Box::new(tokens))))
}

/// Opens a session for somebody who proved that it is them, and commits.
pub(super) async fn open_session(state: &State, mut tx: Tx, id: UserId, proof: Proof) -> Result<TokensBody> {
    users::signed_in(&mut tx, id).await?;
    let (session, token) = sessions::open(&mut tx, id, &state.config.session_lives(), proof).await?;
    let user = users::find(&mut tx, id).await?.user;
    tx.commit().await?;
    TokensBody::new(state, user, session, token)
}

/// Exchanges a refresh token for the next pair.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", security(()), request_body = RefreshFields,
    responses((status = 200, body = TokensBody))
)]
async fn refresh(
    state: State,
    Anonymous(actor): Anonymous,
    Json(fields): Json<RefreshFields>,
) -> Result<Json<TokensBody>> {
    let mut tx = state.storage.begin(&actor).await?;
    let refreshed = sessions::refresh(&mut tx, &fields.refresh_token, &state.config.session_lives()).await?;
    tx.commit().await?;
    match refreshed {
        Refreshed::Next { user, session, token } => Ok(Json(TokensBody::new(&state, user, session, token)?)),
        Refreshed::Refused => Err(Code::BadRefreshToken.into()),
    }
}

/// Ends this session.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", security(("bearer" = [])), responses((status = 204, description = "signed out"))
)]
async fn log_out(state: State, Enrolling(user): Enrolling) -> Result<StatusCode> {
    let Who::User { session, .. } = user.actor.who else { return Err(Code::Unauthenticated.into()) };
    let mut tx = state.storage.begin(&user.actor).await?;
    sessions::revoke(&mut tx, session).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes your password and ends your other sessions.
#[utoipa::path(
    post, path = "/auth/change-password", tag = "auth", security(("bearer" = [])), request_body = ChangePasswordFields,
    responses((status = 204, description = "changed"))
)]
async fn change_password(
    state: State,
    SignedIn(user): SignedIn,
    Json(fields): Json<ChangePasswordFields>,
) -> Result<StatusCode> {
    // A stolen access token must not be a way to guess the password without delays.
    let attempt = begin_attempt(&state, &user.actor, &user.user.email).await?;
    let mut tx = state.storage.read(&user.actor).await?;
    let stored = users::find(&mut tx, user.user.id).await?.password_hash;
    drop(tx);
    let verdict = state.passwords.compare(fields.current_password, Some(stored.clone())).await?;
    if !verdict.right {
        let mut tx = state.storage.begin(&user.actor).await?;
        tx.audit(Audit::LoginFailed { user: Some(user.user.id) }).await?;
        tx.commit().await?;
        return Err(Code::BadCredentials.into());
    }
    let stands = Stands::of(user.user.has_second_factor);
    Passwords::check(&fields.new_password, &[&user.user.email, &user.user.name], stands)?;
    let is_long = Passwords::is_long(&fields.new_password);
    let hash = state.passwords.hash(fields.new_password).await?;

    let mut tx = state.storage.begin(&user.actor).await?;
    attempt.succeeded(&mut tx).await?;
    users::set_password(&mut tx, user.user.id, &stored, NewPassword { hash: &hash, is_long }).await?;
    if !is_long && !users::find(&mut tx, user.user.id).await?.user.has_second_factor {
        return Err(Error::new(Code::Conflict, "the second factor was removed meanwhile; choose a longer password"));
    }
    sessions::revoke_others(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who you are.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses((status = 200, body = UserBody)))]
async fn read_me(Recognised(user): Recognised) -> Json<UserBody> {
    Json(user.user.into())
}

/// Counts an attempt before any password is looked at; 429 when it comes too early.
pub(super) async fn begin_attempt(state: &State, actor: &Actor, email: &str) -> Result<Attempt> {
    let address = actor.origin.address.as_deref().unwrap_or("unknown");
    let mut tx = state.storage.read(actor).await?;
    let known = attempts::known_address(&mut tx, email, address).await?;
    drop(tx);
    if !known {
        // An outsider who uses it up shuts nobody out: who signed in from their address before is not counted.
        limits::take_of_account(state, email).await?;
    }
    attempts::begin(&state.storage, email, &network(address), known)
        .await?
        .map_err(|wait| Error::from(Code::TooManyRequests).retry_after(wait))
}
