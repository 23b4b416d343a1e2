//! Cases: open, list, read, change, delete, and read the trail of what was done in them.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    ids::{CaseId, UserId},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use storage::cases::{Case, CaseFilter, NewCase};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Result, State,
    extract::{CurrentUser, Idempotent, Json, Path, Query, SteppedUp, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_cases, create_case)).routes(routes!(read_case, update_case, delete_case))
}

/// What a case is made of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseFields {
    /// 1 to 300 characters.
    pub title: String,
    /// Up to 20,000 characters.
    #[serde(default)]
    pub description: String,
    /// `open`, `pending`, `closed` or `archived`.
    #[serde(default = "open")]
    pub status: String,
    /// `low`, `normal`, `high` or `urgent`.
    #[serde(default = "normal")]
    pub priority: String,
    /// The kind of matter in your words: litigation, merger, ….
    #[serde(default, rename = "type")]
    pub kind: String,
}

fn open() -> String {
    "open".to_owned()
}

fn normal() -> String {
    "normal".to_owned()
}

impl From<CaseFields> for NewCase {
    fn from(fields: CaseFields) -> Self {
        let CaseFields { title, description, status, priority, kind } = fields;
        Self { title, description, status, priority, kind }
    }
}

/// A legal matter as you see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CaseBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: CaseId,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// `open`, `pending`, `closed` or `archived`.
    pub status: String,
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: String,
    /// The kind of matter.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who opened it.
    #[schema(value_type = Uuid)]
    pub owner_id: UserId,
    /// Your role in it: `auditor`, `reviewer`, `paralegal`, `lawyer` or `manager`; null while you read it by a break-glass grant.
    pub role: Option<&'static str>,
    /// When it was opened (RFC 3339).
    pub created_at: String,
    /// When it was last changed (RFC 3339).
    pub updated_at: String,
}

impl From<Case> for CaseBody {
    fn from(case: Case) -> Self {
        let Case { id, title, description, status, priority, kind, owner, role, created_at, updated_at, .. } = case;
        Self {
            id,
            title,
            description,
            status,
            priority,
            kind,
            owner_id: owner,
            role: role.map(domain::access::CaseRole::name),
            created_at: created_at.rfc3339(),
            updated_at: updated_at.rfc3339(),
        }
    }
}

/// Which cases to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CaseParams {
    /// Only with this status.
    status: Option<String>,
    /// Only with this priority.
    priority: Option<String>,
    /// Only with this in the title.
    q: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Your cases, newest first.
#[utoipa::path(get, path = "/cases", tag = "cases", params(CaseParams), responses((status = 200, body = PageBody<CaseBody>)))]
async fn list_cases(
    state: State,
    user: CurrentUser,
    Query(params): Query<CaseParams>,
) -> Result<Json<PageBody<CaseBody>>> {
    let filter = CaseFilter { status: params.status, priority: params.priority, title: params.q };
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(Case::list(&mut tx, &filter, &page).await?.into()))
}

/// Opens a case; you become its owner and manager.
#[utoipa::path(
    post, path = "/cases", tag = "cases", request_body = CaseFields,
    params(("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = CaseBody))
)]
async fn create_case(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Json(fields): Json<CaseFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &fields)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let case = Case::create(&mut tx, &fields.into()).await?;
    created(tx, &request, StatusCode::CREATED, &CaseBody::from(case)).await
}

/// One case.
#[utoipa::path(get, path = "/cases/{id}", tag = "cases", params(("id" = Uuid, Path)), responses((status = 200, body = CaseBody)))]
async fn read_case(state: State, user: CurrentUser, Path(id): Path<CaseId>) -> Result<Json<CaseBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(Case::find(&mut tx, id, Action::SeeCase).await?.into()))
}

/// Replaces the fields of a case.
#[utoipa::path(
    put, path = "/cases/{id}", tag = "cases", params(("id" = Uuid, Path)), request_body = CaseFields,
    responses((status = 200, body = CaseBody))
)]
async fn update_case(
    state: State,
    user: CurrentUser,
    Path(id): Path<CaseId>,
    Json(fields): Json<CaseFields>,
) -> Result<Json<CaseBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::EditCase).await?;
    let case = case.update(&mut tx, &fields.into()).await?;
    tx.commit().await?;
    Ok(Json(case.into()))
}

/// Deletes a case with everything in it, for ever.
#[utoipa::path(delete, path = "/cases/{id}", tag = "cases", params(("id" = Uuid, Path)), security(("bearer" = [])), responses((status = 204, description = "deleted")))]
async fn delete_case(state: State, SteppedUp(user): SteppedUp, Path(id): Path<CaseId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::DeleteCase).await?;
    case.delete(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
