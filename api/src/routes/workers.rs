//! The processes that work the queues (administrators).

use domain::clock::Timestamp;
use serde::Serialize;
use storage::workers::{self, QueueLoad, Worker};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Result, State,
    extract::{CurrentUser, Json},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_workers))
}

/// A process.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkerBody {
    /// Its name, as in the jobs it holds.
    pub name: String,
    /// The machine it runs on.
    pub host: String,
    /// dia's version.
    pub version: String,
    /// What it works on.
    pub queues: Vec<LoadBody>,
    /// True when it takes no more jobs.
    pub is_stopping: bool,
    /// When it began (RFC 3339).
    pub started_at: String,
    /// When it was last heard of (RFC 3339).
    pub seen_at: String,
}

/// How much of one queue a process works on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LoadBody {
    /// The queue.
    pub queue: String,
    /// Jobs it may run at once.
    pub slots: u32,
    /// Jobs it runs now.
    pub running: u32,
}

/// All processes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkersBody {
    /// By name.
    pub items: Vec<WorkerBody>,
}

impl From<QueueLoad> for LoadBody {
    fn from(QueueLoad { queue, slots, running }: QueueLoad) -> Self {
        Self { queue, slots, running }
    }
}

impl From<Worker> for WorkerBody {
    fn from(worker: Worker) -> Self {
        Self {
            name: worker.name,
            host: worker.host,
            version: worker.version,
            queues: worker.queues.into_iter().map(LoadBody::from).collect(),
            is_stopping: worker.is_stopping,
            started_at: Timestamp::rfc3339(worker.started_at),
            seen_at: Timestamp::rfc3339(worker.seen_at),
        }
    }
}

/// The processes that work the queues now; one that has not been heard of for a minute is gone.
#[utoipa::path(get, path = "/workers", tag = "jobs", responses((status = 200, body = WorkersBody)))]
async fn list_workers(state: State, user: CurrentUser) -> Result<Json<WorkersBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let found = workers::list(&mut tx).await?;
    Ok(Json(WorkersBody { items: found.into_iter().map(WorkerBody::from).collect() }))
}
