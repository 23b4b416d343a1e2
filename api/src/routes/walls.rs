//! Ethical walls of a case: who is kept out of it whatever their membership.

use axum::http::StatusCode;
use domain::{
    access::Action,
    ids::{CaseId, UserId},
};
use serde::{Deserialize, Serialize};
use storage::{cases::Case, walls::Wall};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Result, State,
    extract::{Json, Path, SignedIn},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_walls)).routes(routes!(set_wall, lift_wall))
}

/// Why somebody is kept out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WallFields {
    /// 10 to 2,000 characters; sealed, and shown to who may set walls.
    pub reason: String,
}

/// A person who is kept out of a case.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WallBody {
    /// The person.
    #[schema(value_type = Uuid)]
    pub user_id: UserId,
    /// Why.
    pub reason: String,
    /// Who said so.
    #[schema(value_type = Option<Uuid>)]
    pub created_by: Option<UserId>,
    /// Since when (RFC 3339).
    pub created_at: String,
}

impl From<Wall> for WallBody {
    fn from(wall: Wall) -> Self {
        let Wall { user, reason, created_by, created_at } = wall;
        Self { user_id: user, reason, created_by, created_at: created_at.rfc3339() }
    }
}

/// All walls of a case.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WallsBody {
    /// Oldest first.
    pub items: Vec<WallBody>,
}

/// Who is kept out of a case, for its managers and for administrators, who see nothing else of it.
#[utoipa::path(
    get, path = "/cases/{id}/walls", tag = "access", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, body = WallsBody))
)]
async fn list_walls(state: State, SignedIn(user): SignedIn, Path(id): Path<CaseId>) -> Result<Json<WallsBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWalls).await?;
    let walls = case.walls(&mut tx).await?;
    Ok(Json(WallsBody { items: walls.into_iter().map(WallBody::from).collect() }))
}

/// Keeps a person out of a case, whatever their membership: from now on it is not there for them, their keys and their sockets.
#[utoipa::path(
    put, path = "/cases/{id}/walls/{user_id}", tag = "access", params(("id" = Uuid, Path), ("user_id" = Uuid, Path)),
    security(("bearer" = [])), request_body = WallFields, responses((status = 204, description = "set"))
)]
async fn set_wall(
    state: State,
    SignedIn(user): SignedIn,
    Path((id, walled)): Path<(CaseId, UserId)>,
    Json(fields): Json<WallFields>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWalls).await?;
    case.set_wall(&mut tx, walled, &fields.reason).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a wall away; nobody does so for themselves. What membership there is counts again.
#[utoipa::path(
    delete, path = "/cases/{id}/walls/{user_id}", tag = "access", params(("id" = Uuid, Path), ("user_id" = Uuid, Path)),
    security(("bearer" = [])), responses((status = 204, description = "lifted"))
)]
async fn lift_wall(
    state: State,
    SignedIn(user): SignedIn,
    Path((id, walled)): Path<(CaseId, UserId)>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageWalls).await?;
    case.lift_wall(&mut tx, walled).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
