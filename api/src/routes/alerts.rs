//! Alerts: what of the audit trail somebody should look at soon (administrators).

use axum::http::StatusCode;
use domain::{alerts, clock::Timestamp, ids::AlertId, page::PageQuery};
use serde::{Deserialize, Serialize};
use storage::alerts::Alert;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    Result, State,
    extract::{CurrentUser, Json, Path, Query, SignedIn},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_alerts)).routes(routes!(acknowledge_alert))
}

/// Everything of one rule about one subject, until it was quiet for a while or somebody looked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlertBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: AlertId,
    /// The name of its rule.
    pub rule: String,
    /// What it means.
    pub meaning: Option<&'static str>,
    /// `notice`, `warning` or `critical`.
    pub severity: String,
    /// `actor`, `address`, `resource` or `system`.
    pub subject_kind: String,
    /// Whom or what it is about: an id, an address or `system`.
    pub subject: String,
    /// What the rule counted.
    pub events: u64,
    /// The first event (RFC 3339).
    pub first_at: String,
    /// The last event (RFC 3339).
    pub last_at: String,
    /// When the rule was met (RFC 3339).
    pub raised_at: String,
    /// When somebody looked at it (RFC 3339).
    pub acknowledged_at: Option<String>,
    /// Who.
    pub acknowledged_by: Option<Uuid>,
}

impl From<Alert> for AlertBody {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            meaning: alerts::rule(&alert.rule).map(|rule| rule.meaning),
            rule: alert.rule,
            severity: alert.severity,
            subject_kind: alert.subject_kind,
            subject: alert.subject,
            events: alert.events,
            first_at: alert.first_at.rfc3339(),
            last_at: alert.last_at.rfc3339(),
            raised_at: alert.raised_at.rfc3339(),
            acknowledged_at: alert.acknowledged_at.map(Timestamp::rfc3339),
            acknowledged_by: alert.acknowledged_by.map(domain::ids::UserId::uuid),
        }
    }
}

/// Which alerts to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertParams {
    /// True for those only that nobody looked at.
    #[serde(default)]
    open: bool,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// What of the audit trail somebody should look at, newest first.
#[utoipa::path(
    get, path = "/alerts", tag = "audit", params(AlertParams), responses((status = 200, body = PageBody<AlertBody>))
)]
async fn list_alerts(
    state: State,
    user: CurrentUser,
    Query(params): Query<AlertParams>,
) -> Result<Json<PageBody<AlertBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(Alert::list(&mut tx, params.open, &page).await?.into()))
}

/// Says that somebody looked at an alert; if it goes on there will be another.
#[utoipa::path(
    post, path = "/alerts/{id}/acknowledge", tag = "audit", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 204, description = "noted"))
)]
async fn acknowledge_alert(state: State, SignedIn(user): SignedIn, Path(id): Path<AlertId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    Alert::find(&mut tx, id).await?.acknowledge(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
