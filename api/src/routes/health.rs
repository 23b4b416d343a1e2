//! Is dia alive, and can it serve?

use domain::{actor::Actor, error::Code, ids};
use serde::Serialize;
use storage::users;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Error, Result, State, extract::Json};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(read_live)).routes(routes!(read_ready))
}

/// The state of the process.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HealthBody {
    /// `live` or `ready`.
    pub status: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, body = HealthBody)))]
async fn read_live() -> Json<HealthBody> {
    Json(HealthBody { status: "live" })
}

/// The database is reachable, the object store too (a directory takes writes), and dia is not stopping; 503 otherwise.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses((status = 200, body = HealthBody)))]
async fn read_ready(state: State) -> Result<Json<HealthBody>> {
    if state.shutdown.is_cancelled() {
        return Err(Code::Unavailable.into());
    }
    let away = |error: storage::Error| {
        tracing::warn!(%error, "not ready");
        Error::from(Code::Unavailable)
    };
    let mut tx = state.storage.read(&Actor::system(ids::fresh())).await.map_err(away)?;
    users::none_yet(&mut tx).await.map_err(away)?;
    state.storage.objects.check().await.map_err(|error| away(error.into()))?;
    Ok(Json(HealthBody { status: "ready" }))
}
