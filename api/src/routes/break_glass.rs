//! Breaking the glass: an administrator reads a case without being a member, for a reason, for a while, and only once another
//! administrator approved.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    clock::Timestamp,
    ids::{BreakGlassId, CaseId, UserId},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use storage::{break_glass::BreakGlass, cases::Case};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Result, State,
    extract::{Idempotent, Json, Path, Query, SignedIn, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(ask_break_glass))
        .routes(routes!(list_break_glass))
        .routes(routes!(end_break_glass))
        .routes(routes!(approve_break_glass))
        .routes(routes!(refuse_break_glass))
}

/// Why, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassFields {
    /// 10 to 2,000 characters; sealed under the case's key.
    pub reason: String,
    /// At least 1, at most `access.break_glass_minutes`; they begin with the approval.
    pub minutes: u32,
}

/// A request to read a case, and what became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BreakGlassBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: BreakGlassId,
    /// The case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// Who wants to read.
    #[schema(value_type = Uuid)]
    pub requested_by: UserId,
    /// Why.
    pub reason: String,
    /// For how long.
    pub minutes: u32,
    /// `pending`, `approved`, `refused`, `ended`, `expired`, or `lapsed` when nobody decided within a day.
    pub state: &'static str,
    /// Who decided.
    #[schema(value_type = Option<Uuid>)]
    pub decided_by: Option<UserId>,
    /// When (RFC 3339).
    pub decided_at: Option<String>,
    /// When reading ends (RFC 3339).
    pub expires_at: Option<String>,
    /// Who ended it early.
    #[schema(value_type = Option<Uuid>)]
    pub ended_by: Option<UserId>,
    /// When it was asked (RFC 3339).
    pub created_at: String,
}

impl From<BreakGlass> for BreakGlassBody {
    fn from(request: BreakGlass) -> Self {
        Self {
            id: request.id,
            case_id: request.case,
            requested_by: request.requested_by,
            reason: request.reason,
            minutes: request.minutes,
            state: request.state,
            decided_by: request.decided_by,
            decided_at: request.decided_at.map(Timestamp::rfc3339),
            expires_at: request.expires_at.map(Timestamp::rfc3339),
            ended_by: request.ended_by,
            created_at: request.created_at.rfc3339(),
        }
    }
}

/// Says in the log what an operator should not overlook.
fn warn(id: BreakGlassId, case: CaseId, requested_by: UserId, what: &'static str) {
    tracing::warn!(target: "security", break_glass = %id, %case, %requested_by, what, "break-glass");
}

/// Asks to read a case you are no member of (administrators). Another administrator decides.
#[utoipa::path(
    post, path = "/cases/{id}/break-glass", tag = "access", request_body = BreakGlassFields, security(("bearer" = [])),
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = BreakGlassBody))
)]
async fn ask_break_glass(
    state: State,
    SignedIn(user): SignedIn,
    key: Idempotent,
    Path(id): Path<CaseId>,
    Json(fields): Json<BreakGlassFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &(id, &fields))?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::BreakGlass).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let most = state.access.break_glass_minutes;
    let asked = case.ask_break_glass(&mut tx, &fields.reason, fields.minutes, most).await?;
    let (asked_id, by) = (asked.id, asked.requested_by);
    let answer = created(tx, &request, StatusCode::CREATED, &BreakGlassBody::from(asked)).await?;
    warn(asked_id, id, by, "asked");
    Ok(answer)
}

/// Which page.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BreakGlassParams {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Requests to read cases, newest first: all for administrators, those for their cases for managers.
#[utoipa::path(
    get, path = "/break-glass", tag = "access", params(BreakGlassParams), security(("bearer" = [])),
    responses((status = 200, body = PageBody<BreakGlassBody>))
)]
async fn list_break_glass(
    state: State,
    SignedIn(user): SignedIn,
    Query(params): Query<BreakGlassParams>,
) -> Result<Json<PageBody<BreakGlassBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(BreakGlass::list(&mut tx, &page).await?.into()))
}

/// Lets another administrator read from now on.
#[utoipa::path(
    post, path = "/break-glass/{id}/approve", tag = "access", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, body = BreakGlassBody))
)]
async fn approve_break_glass(
    state: State,
    SignedIn(user): SignedIn,
    Path(id): Path<BreakGlassId>,
) -> Result<Json<BreakGlassBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let request = BreakGlass::find(&mut tx, id).await?.approve(&mut tx).await?;
    tx.commit().await?;
    warn(id, request.case, request.requested_by, "approved");
    Ok(Json(request.into()))
}

/// Does not let them.
#[utoipa::path(
    post, path = "/break-glass/{id}/refuse", tag = "access", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, body = BreakGlassBody))
)]
async fn refuse_break_glass(
    state: State,
    SignedIn(user): SignedIn,
    Path(id): Path<BreakGlassId>,
) -> Result<Json<BreakGlassBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let request = BreakGlass::find(&mut tx, id).await?.refuse(&mut tx).await?;
    tx.commit().await?;
    warn(id, request.case, request.requested_by, "refused");
    Ok(Json(request.into()))
}

/// Ends reading at once, or takes a request back (administrators, managers of the case).
#[utoipa::path(
    delete, path = "/break-glass/{id}", tag = "access", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 204, description = "ended"))
)]
async fn end_break_glass(state: State, SignedIn(user): SignedIn, Path(id): Path<BreakGlassId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let request = BreakGlass::find(&mut tx, id).await?;
    request.end(&mut tx).await?;
    tx.commit().await?;
    warn(id, request.case, request.requested_by, "ended");
    Ok(StatusCode::NO_CONTENT)
}
