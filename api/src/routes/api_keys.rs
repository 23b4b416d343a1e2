//! API keys: how programs act for a person. They are managed by people who signed in, never with a key.

use std::{collections::BTreeSet, time::Duration};

use axum::{http::StatusCode, response::Response};
use domain::{
    clock::Timestamp,
    error::Code,
    ids::{ApiKeyId, CaseId, UserId},
    page::PageQuery,
    scope::{Grant, Scope},
};
use serde::{Deserialize, Serialize};
use storage::api_keys::{self, ApiKey, NewApiKey};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    config::Network,
    extract::{Idempotent, Json, Path, Query, SignedIn, SteppedUp, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(read_api_key, revoke_api_key))
        .routes(routes!(rotate_api_key))
}

/// What an API key is made of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyFields {
    /// What you call it, 1 to 100 characters: the program that has it.
    pub name: String,
    /// What it is for: `cases:read`, `cases:write`, `databases:write`, `documents:read`, `documents:write`, `documents:delete`,
    /// `passwords:write`, `webhooks:write`, `chat`, `audit:read`, `jobs:write`.
    pub scopes: Vec<String>,
    /// The only cases it reaches, at most 100; all of yours when absent.
    #[schema(value_type = Option<Vec<Uuid>>)]
    pub case_ids: Option<Vec<CaseId>>,
    /// Networks it may be used from, such as `10.0.0.0/8`, at most 100; anywhere when empty.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Days it is good for.
    pub expires_in_days: u64,
}

/// How long a rotated key goes on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateFields {
    /// Minutes until the key ends; 0 ends it at once.
    pub overlap_minutes: u64,
}

/// An API key without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApiKeyBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: ApiKeyId,
    /// Whose it is.
    #[schema(value_type = Uuid)]
    pub user_id: UserId,
    /// What its person calls it.
    pub name: String,
    /// What its text begins with.
    pub prefix: String,
    /// What it is for.
    pub scopes: Vec<&'static str>,
    /// The only cases it reaches; absent for all of its person's.
    #[schema(value_type = Option<Vec<Uuid>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_ids: Option<Vec<CaseId>>,
    /// Networks it may be used from; anywhere when empty.
    pub networks: Vec<String>,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// When it ends (RFC 3339).
    pub expires_at: String,
    /// When it was last used, to the minute (RFC 3339).
    pub last_used_at: Option<String>,
    /// When it was revoked (RFC 3339).
    pub revoked_at: Option<String>,
    /// The key it was rotated into.
    #[schema(value_type = Option<Uuid>)]
    pub successor_id: Option<ApiKeyId>,
}

/// A new API key. The key itself is shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct NewApiKeyBody {
    /// Goes into `Authorization: Bearer`; keep it where secrets are kept.
    pub key: String,
    /// What is known of it.
    #[serde(flatten)]
    pub api_key: ApiKeyBody,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            user_id: key.user,
            name: key.name,
            prefix: format!("{}{}", api_keys::MARK, key.prefix),
            scopes: key.grant.scopes.iter().map(|scope| scope.name()).collect(),
            case_ids: key.grant.cases.as_ref().map(|cases| cases.iter().copied().collect()),
            networks: key.networks,
            created_at: key.created_at.rfc3339(),
            expires_at: key.expires_at.rfc3339(),
            last_used_at: key.last_used_at.map(Timestamp::rfc3339),
            revoked_at: key.revoked_at.map(Timestamp::rfc3339),
            successor_id: key.successor,
        }
    }
}

impl ApiKeyFields {
    fn read(&self) -> Result<NewApiKey> {
        let mut scopes = BTreeSet::new();
        for name in &self.scopes {
            let known = || Scope::ALL.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
            let scope = Scope::parse(name)
                .ok_or_else(|| Error::new(Code::Invalid, format!("a scope is one of {}", known())))?;
            scopes.insert(scope);
        }
        let networks = self.networks.iter().map(|network| {
            network.parse::<Network>().map(String::from).map_err(|message| Error::new(Code::Invalid, message))
        });
        Ok(NewApiKey {
            name: self.name.clone(),
            grant: Grant { scopes, cases: self.case_ids.as_ref().map(|ids| ids.iter().copied().collect()) },
            networks: networks.collect::<Result<_>>()?,
            life: Duration::from_secs(self.expires_in_days.saturating_mul(86_400)),
        })
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApiKeyParams {
    /// True for everybody's (administrators).
    #[serde(default)]
    everybody: bool,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Your API keys, newest first; those that ended stay listed for 90 days.
#[utoipa::path(
    get, path = "/api-keys", tag = "auth", params(ApiKeyParams), security(("bearer" = [])),
    responses((status = 200, body = PageBody<ApiKeyBody>))
)]
async fn list_api_keys(
    state: State,
    SignedIn(user): SignedIn,
    Query(params): Query<ApiKeyParams>,
) -> Result<Json<PageBody<ApiKeyBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(api_keys::list(&mut tx, params.everybody, &page).await?.into()))
}

/// Makes an API key, with which a program acts for you: never more than you may, and only within its scopes, cases, networks and time.
#[utoipa::path(
    post, path = "/api-keys", tag = "auth", request_body = ApiKeyFields, security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = NewApiKeyBody))
)]
async fn create_api_key(
    state: State,
    SteppedUp(user): SteppedUp,
    key: Idempotent,
    Json(fields): Json<ApiKeyFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &fields)?;
    let new = fields.read()?;
    let mut tx = state.storage.begin(&user.actor).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let (made, text) = api_keys::create(&mut tx, &new, &state.config.api_key_bounds()).await?;
    created(tx, &request, StatusCode::CREATED, &NewApiKeyBody { key: text, api_key: made.into() }).await
}

/// One of your API keys; any for administrators.
#[utoipa::path(
    get, path = "/api-keys/{id}", tag = "auth", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, body = ApiKeyBody))
)]
async fn read_api_key(state: State, SignedIn(user): SignedIn, Path(id): Path<ApiKeyId>) -> Result<Json<ApiKeyBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(api_keys::find(&mut tx, id).await?.into()))
}

/// Revokes one of your API keys at once; any for administrators.
#[utoipa::path(
    delete, path = "/api-keys/{id}", tag = "auth", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 204, description = "revoked"))
)]
async fn revoke_api_key(state: State, SignedIn(user): SignedIn, Path(id): Path<ApiKeyId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    api_keys::revoke(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the successor of one of your API keys; the key goes on beside it for a while.
#[utoipa::path(
    post, path = "/api-keys/{id}/rotate", tag = "auth", request_body = RotateFields, security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = NewApiKeyBody))
)]
async fn rotate_api_key(
    state: State,
    SteppedUp(user): SteppedUp,
    key: Idempotent,
    Path(id): Path<ApiKeyId>,
    Json(fields): Json<RotateFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &fields)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    api_keys::find(&mut tx, id).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let overlap = Duration::from_secs(fields.overlap_minutes.saturating_mul(60));
    let (made, text) = api_keys::rotate(&mut tx, id, overlap, &state.config.api_key_bounds()).await?;
    created(tx, &request, StatusCode::CREATED, &NewApiKeyBody { key: text, api_key: made.into() }).await
}
