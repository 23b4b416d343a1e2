//! The queue's jobs as the operator sees them (administrators).

use domain::{clock::Timestamp, ids::JobId, page::PageQuery};
use serde::{Deserialize, Serialize};
use storage::jobs::{self, JobFilter, JobRow};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    Result, State,
    extract::{CurrentUser, Json, Path, Query},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(read_job))
        .routes(routes!(retry_job))
        .routes(routes!(cancel_job))
}

/// A job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobBody {
    /// Its id.
    pub id: Uuid,
    /// The kind, `verb_object`.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// `ready`, `running`, `done`, `dead` or `cancelled`.
    pub state: String,
    /// The case it works for.
    pub case_id: Option<Uuid>,
    /// The document it works on.
    pub document_id: Option<Uuid>,
    /// Ids only.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// Claims so far.
    pub attempts: u32,
    /// Claims allowed.
    pub max_attempts: u32,
    /// Not claimed before this (RFC 3339).
    pub run_at: String,
    /// Until when its holder may be silent (RFC 3339).
    pub lease_until: Option<String>,
    /// The last holder.
    pub worker: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was enqueued (RFC 3339).
    pub created_at: String,
    /// When it was last claimed (RFC 3339).
    pub started_at: Option<String>,
    /// When it ended (RFC 3339).
    pub finished_at: Option<String>,
}

impl From<JobRow> for JobBody {
    fn from(job: JobRow) -> Self {
        Self {
            id: job.id.uuid(),
            kind: job.kind,
            queue: job.queue,
            state: job.state,
            case_id: job.case.map(domain::ids::CaseId::uuid),
            document_id: job.document.map(domain::ids::DocumentId::uuid),
            payload: job.payload,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            run_at: job.run_at.rfc3339(),
            lease_until: job.lease_until.map(Timestamp::rfc3339),
            worker: job.worker,
            error: job.error,
            created_at: job.created_at.rfc3339(),
            started_at: job.started_at.map(Timestamp::rfc3339),
            finished_at: job.finished_at.map(Timestamp::rfc3339),
        }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobParams {
    /// Only in this state.
    state: Option<String>,
    /// Only of this kind.
    kind: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs", params(JobParams), responses((status = 200, body = PageBody<JobBody>)))]
async fn list_jobs(
    state: State,
    user: CurrentUser,
    Query(params): Query<JobParams>,
) -> Result<Json<PageBody<JobBody>>> {
    let filter = JobFilter { state: params.state, kind: params.kind };
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(jobs::list(&mut tx, &filter, &page).await?.into()))
}

/// One job.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs", params(("id" = Uuid, Path)), responses((status = 200, body = JobBody)))]
async fn read_job(state: State, user: CurrentUser, Path(id): Path<JobId>) -> Result<Json<JobBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(jobs::find(&mut tx, id).await?.into()))
}

/// Makes a dead or cancelled job due again.
#[utoipa::path(
    post, path = "/jobs/{id}/retry", tag = "jobs", params(("id" = Uuid, Path)), responses((status = 200, body = JobBody))
)]
async fn retry_job(state: State, user: CurrentUser, Path(id): Path<JobId>) -> Result<Json<JobBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let job = jobs::retry(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(job.into()))
}

/// Cancels a waiting or running job.
#[utoipa::path(
    post, path = "/jobs/{id}/cancel", tag = "jobs", params(("id" = Uuid, Path)), responses((status = 200, body = JobBody))
)]
async fn cancel_job(state: State, user: CurrentUser, Path(id): Path<JobId>) -> Result<Json<JobBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let job = jobs::cancel(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(job.into()))
}
