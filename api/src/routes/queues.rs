//! The queues: how deep, how old, paused or not (administrators).

use axum::http::StatusCode;
use domain::{
    access::{SystemAction, may_system},
    error::Code,
    jobs::Queue,
};
use serde::{Deserialize, Serialize};
use storage::jobs::{self, QueueStats};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Json, Path},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_queues)).routes(routes!(pause_queue))
}

/// One queue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QueueBody {
    /// Its name.
    pub name: &'static str,
    /// Jobs due now.
    pub ready: u64,
    /// Jobs waiting for their time.
    pub delayed: u64,
    /// Jobs being worked on.
    pub running: u64,
    /// Jobs given up.
    pub dead: u64,
    /// Age in seconds of the oldest due job.
    pub oldest_seconds: u64,
    /// True when claims are paused.
    pub paused: bool,
}

impl From<(Queue, QueueStats)> for QueueBody {
    fn from((queue, stats): (Queue, QueueStats)) -> Self {
        Self {
            name: queue.name(),
            ready: stats.ready,
            delayed: stats.delayed,
            running: stats.running,
            dead: stats.dead,
            oldest_seconds: stats.oldest_micros / 1_000_000,
            paused: stats.paused,
        }
    }
}

/// All queues.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QueuesBody {
    /// By name.
    pub items: Vec<QueueBody>,
}

/// Whether a queue is paused.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueFields {
    /// True stops claims; running jobs finish.
    pub paused: bool,
}

/// Depth and age of every queue.
#[utoipa::path(get, path = "/queues", tag = "jobs", responses((status = 200, body = QueuesBody)))]
async fn list_queues(state: State, user: CurrentUser) -> Result<Json<QueuesBody>> {
    if !may_system(&user.actor, SystemAction::ManageJobs) {
        return Err(Code::Forbidden.into());
    }
    let mut tx = state.storage.read(&user.actor).await?;
    let counts = jobs::counts(&mut tx).await?;
    Ok(Json(QueuesBody { items: counts.into_iter().map(QueueBody::from).collect() }))
}

/// Pauses or resumes a queue.
#[utoipa::path(
    put, path = "/queues/{name}", tag = "jobs", params(("name" = String, Path)), request_body = QueueFields,
    responses((status = 204, description = "set"))
)]
async fn pause_queue(
    state: State,
    user: CurrentUser,
    Path(name): Path<String>,
    Json(fields): Json<QueueFields>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    if !may_system(&user.actor, SystemAction::ManageJobs) {
        return Err(Code::Forbidden.into());
    }
    let queue = Queue::parse(&name).ok_or_else(Error::not_found)?;
    jobs::set_paused(&mut tx, queue, fields.paused).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
