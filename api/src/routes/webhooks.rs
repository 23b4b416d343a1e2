//! Webhooks of a case: where programs are told what happens in it, and how that went.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    clock::Timestamp,
    error::Code,
    ids::{CaseId, DeliveryId, UserId, WebhookId},
    page::PageQuery,
    webhooks::EVERYTHING,
};
use serde::{Deserialize, Serialize};
use storage::{
    cases::Case,
    webhooks::{Attempt, Delivery, Webhook, WebhookChange},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, PageParams, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(create_webhook, list_webhooks))
        .routes(routes!(read_webhook, update_webhook, remove_webhook))
        .routes(routes!(rotate_webhook))
        .routes(routes!(test_webhook))
        .routes(routes!(list_deliveries))
        .routes(routes!(redeliver))
}

/// What a webhook is made of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookFields {
    /// Where messages are sent: https, without a name or password, at most 2048 characters.
    pub url: String,
    /// What it is told of: `batch.sealed`, `batch.settled`, `batch.cancelled`, `load_file.read`, `load_file.failed`,
    /// `case.break_glass`, or `*` for all.
    #[serde(default = "everything")]
    pub events: Vec<String>,
}

fn everything() -> Vec<String> {
    vec![EVERYTHING.to_owned()]
}

/// What to change of a webhook; what is absent stays.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    /// Another URL; what was not delivered yet goes there.
    pub url: Option<String>,
    /// Other events.
    pub events: Option<Vec<String>>,
    /// False: it is told nothing, and what happens meanwhile it never hears of. True enables it and forgets its failures.
    pub enabled: Option<bool>,
}

/// A webhook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: WebhookId,
    /// Its case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// Where messages are sent.
    pub url: String,
    /// What it is told of.
    pub events: Vec<String>,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why it is not: `person` (somebody disabled it), `gone` (it answered 410), `failing` (too many messages in a row failed).
    pub disabled_reason: Option<String>,
    /// Messages in a row that were not delivered.
    pub failures: u64,
    /// Until when the secret before the last rotation signs too (RFC 3339).
    pub former_secret_until: Option<String>,
    /// Who made it.
    #[schema(value_type = Option<Uuid>)]
    pub created_by: Option<UserId>,
    /// When (RFC 3339).
    pub created_at: String,
    /// When it was last changed (RFC 3339).
    pub updated_at: String,
}

/// A webhook with its secret, which is shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct WebhookSecretBody {
    /// Verifies its messages: `whsec_` and 32 bytes in base64.
    pub secret: String,
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookBody,
}

/// A message that is on its way.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SentBody {
    /// Its id in the log and in the header `webhook-id`.
    #[schema(value_type = Uuid)]
    pub delivery_id: DeliveryId,
}

/// One message of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryBody {
    /// Its id, the `webhook-id` of every attempt.
    #[schema(value_type = Uuid)]
    pub id: DeliveryId,
    /// The event.
    pub event: String,
    /// `pending`, `delivered`, `failed`, or `dropped` (the webhook was disabled, or the case closed, before it arrived).
    pub state: String,
    /// The last 50 attempts, oldest first.
    pub attempts: Vec<AttemptBody>,
    /// When it is tried next (RFC 3339).
    pub next_at: Option<String>,
    /// When what it tells of happened (RFC 3339).
    pub created_at: String,
    /// When it last moved (RFC 3339).
    pub updated_at: String,
}

/// One attempt at a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttemptBody {
    /// 1, 2, 3 …
    pub number: u32,
    /// When (RFC 3339).
    pub at: String,
    /// How long the answer was waited for, in milliseconds.
    pub milliseconds: u64,
    /// The status that was answered.
    pub status: Option<u16>,
    /// Why none was.
    pub error: Option<String>,
}

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            case_id: webhook.case,
            url: webhook.url,
            events: webhook.events,
            enabled: webhook.disabled.is_none(),
            disabled_reason: webhook.disabled,
            failures: webhook.failures,
            former_secret_until: webhook.former_until.map(Timestamp::rfc3339),
            created_by: webhook.created_by,
            created_at: webhook.created_at.rfc3339(),
            updated_at: webhook.updated_at.rfc3339(),
        }
    }
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event: delivery.event,
            state: delivery.state,
            attempts: delivery.attempts.into_iter().map(AttemptBody::from).collect(),
            next_at: delivery.next_at.map(Timestamp::rfc3339),
            created_at: delivery.created_at.rfc3339(),
            updated_at: delivery.updated_at.rfc3339(),
        }
    }
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.at.rfc3339(),
            milliseconds: attempt.milliseconds,
            status: attempt.status,
            error: attempt.error,
        }
    }
}

/// Refuses a URL that messages would not be sent to. What its host's name stands for is judged with every attempt.
fn check_url(state: &State, url: &str) -> Result<()> {
    let refused = |refusal| Error::new(Code::Invalid, format!("url cannot be told anything: {refusal}"));
    state.webhook_reach.url(url).map(drop).map_err(refused)
}

/// Gives a case a webhook: an HTTPS URL that is told what happens in it, signed as Standard Webhooks 1.0 says. The secret is shown
/// this once.
#[utoipa::path(
    post, path = "/cases/{id}/webhooks", tag = "webhooks", request_body = WebhookFields,
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = WebhookSecretBody))
)]
async fn create_webhook(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Path(id): Path<CaseId>,
    Json(fields): Json<WebhookFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &fields)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    check_url(&state, &fields.url)?;
    let (webhook, secret) = case.create_webhook(&mut tx, &fields.url, &fields.events).await?;
    let body = WebhookSecretBody { secret: secret.to_string(), webhook: webhook.into() };
    created(tx, &request, StatusCode::CREATED, &body).await
}

/// The webhooks of a case, oldest first, without their secrets.
#[utoipa::path(
    get, path = "/cases/{id}/webhooks", tag = "webhooks", params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<WebhookBody>))
)]
async fn list_webhooks(
    state: State,
    user: CurrentUser,
    Path(id): Path<CaseId>,
    Query(params): Query<PageParams>,
) -> Result<Json<PageBody<WebhookBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    Ok(Json(case.webhooks(&mut tx, &PageQuery::from(params)).await?.into()))
}

/// One webhook, without its secret.
#[utoipa::path(
    get, path = "/cases/{id}/webhooks/{webhook_id}", tag = "webhooks",
    params(("id" = Uuid, Path), ("webhook_id" = Uuid, Path)), responses((status = 200, body = WebhookBody))
)]
async fn read_webhook(
    state: State,
    user: CurrentUser,
    Path((id, webhook)): Path<(CaseId, WebhookId)>,
) -> Result<Json<WebhookBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    Ok(Json(case.webhook(&mut tx, webhook).await?.into()))
}

/// Changes where a webhook's messages are sent, what it is told of, and whether.
#[utoipa::path(
    patch, path = "/cases/{id}/webhooks/{webhook_id}", tag = "webhooks", request_body = WebhookPatch,
    params(("id" = Uuid, Path), ("webhook_id" = Uuid, Path)), responses((status = 200, body = WebhookBody))
)]
async fn update_webhook(
    state: State,
    user: CurrentUser,
    Path((id, webhook)): Path<(CaseId, WebhookId)>,
    Json(patch): Json<WebhookPatch>,
) -> Result<Json<WebhookBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    let found = case.webhook(&mut tx, webhook).await?;
    if let Some(url) = &patch.url {
        check_url(&state, url)?;
    }
    let change = WebhookChange { url: patch.url, events: patch.events, is_enabled: patch.enabled };
    found.update(&mut tx, &change).await?;
    let body = case.webhook(&mut tx, webhook).await?.into();
    tx.commit().await?;
    Ok(Json(body))
}

/// Removes a webhook with its log; what was not delivered never is.
#[utoipa::path(
    delete, path = "/cases/{id}/webhooks/{webhook_id}", tag = "webhooks",
    params(("id" = Uuid, Path), ("webhook_id" = Uuid, Path)), responses((status = 204, description = "removed"))
)]
async fn remove_webhook(
    state: State,
    user: CurrentUser,
    Path((id, webhook)): Path<(CaseId, WebhookId)>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    case.webhook(&mut tx, webhook).await?.remove(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook a new secret, shown this once. The former one signs too for 24 hours: messages then carry both signatures.
#[utoipa::path(
    post, path = "/cases/{id}/webhooks/{webhook_id}/rotate", tag = "webhooks",
    params(
        ("id" = Uuid, Path), ("webhook_id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters"),
    ),
    responses((status = 201, body = WebhookSecretBody))
)]
async fn rotate_webhook(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Path((id, webhook)): Path<(CaseId, WebhookId)>,
) -> Result<Response> {
    let request = key.request(&user.actor, &())?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    let found = case.webhook(&mut tx, webhook).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let secret = found.rotate(&mut tx).await?.to_string();
    let webhook = case.webhook(&mut tx, webhook).await?.into();
    created(tx, &request, StatusCode::CREATED, &WebhookSecretBody { secret, webhook }).await
}

/// Sends a webhook a `webhook.test`, whatever it is told of otherwise.
#[utoipa::path(
    post, path = "/cases/{id}/webhooks/{webhook_id}/test", tag = "webhooks",
    params(
        ("id" = Uuid, Path), ("webhook_id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters"),
    ),
    responses((status = 202, body = SentBody))
)]
async fn test_webhook(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Path((id, webhook)): Path<(CaseId, WebhookId)>,
) -> Result<Response> {
    let request = key.request(&user.actor, &())?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    let found = case.webhook(&mut tx, webhook).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let body = SentBody { delivery_id: found.test(&mut tx).await? };
    created(tx, &request, StatusCode::ACCEPTED, &body).await
}

/// The messages to a webhook and what became of each, newest first; they stay for `webhooks.retention_days`.
#[utoipa::path(
    get, path = "/cases/{id}/webhooks/{webhook_id}/deliveries", tag = "webhooks",
    params(("id" = Uuid, Path), ("webhook_id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<DeliveryBody>))
)]
async fn list_deliveries(
    state: State,
    user: CurrentUser,
    Path((id, webhook)): Path<(CaseId, WebhookId)>,
    Query(params): Query<PageParams>,
) -> Result<Json<PageBody<DeliveryBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    let found = case.webhook(&mut tx, webhook).await?;
    Ok(Json(found.deliveries(&mut tx, &PageQuery::from(params)).await?.into()))
}

/// Sends a message again, under the same id and with the same body. One that is still being sent is a `conflict`.
#[utoipa::path(
    post, path = "/cases/{id}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", tag = "webhooks",
    params(("id" = Uuid, Path), ("webhook_id" = Uuid, Path), ("delivery_id" = Uuid, Path)),
    responses((status = 202, body = SentBody))
)]
async fn redeliver(
    state: State,
    user: CurrentUser,
    Path((id, webhook, delivery)): Path<(CaseId, WebhookId, DeliveryId)>,
) -> Result<(StatusCode, Json<SentBody>)> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWebhooks).await?;
    case.webhook(&mut tx, webhook).await?.redeliver(&mut tx, delivery).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(SentBody { delivery_id: delivery })))
}
