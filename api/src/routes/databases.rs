//! Databases: open, list, read, rename, count and reindex.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    events::{Counts, DatabaseStatus},
    ids::{BatchId, CaseId, DatabaseId},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::{
    Tx,
    cases::Case,
    databases::{Database, Deduplication, Holdings},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Result, State,
    extract::{CurrentUser, Idempotent, Json, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_databases, create_database))
        .routes(routes!(read_database, update_database))
        .routes(routes!(read_status))
        .routes(routes!(reindex_database))
}

/// A new database.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDatabaseFields {
    /// The case it belongs to.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// 1 to 300 characters.
    pub name: String,
    /// Up to 20,000 characters.
    #[serde(default)]
    pub description: String,
    /// How far copies are looked for: `database` (the default), `case` or `none`. Chosen once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub deduplication: Deduplication,
}

/// What can be changed of a database.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFields {
    /// 1 to 300 characters.
    pub name: String,
    /// Up to 20,000 characters.
    #[serde(default)]
    pub description: String,
}

/// A set of documents inside a case with its own index.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DatabaseBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: DatabaseId,
    /// Its case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// How far copies are looked for: `database`, `case` or `none`.
    #[schema(value_type = String)]
    pub deduplication: Deduplication,
    /// `empty`, `processing` or `ready`.
    pub status: &'static str,
    /// Documents in it.
    pub file_count: u64,
    /// Number of the published index generation; 0 before the first.
    pub generation: u64,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// When it was last changed (RFC 3339).
    pub updated_at: String,
}

impl DatabaseBody {
    /// A database with what it holds now.
    async fn read(tx: &mut Tx, database: Database) -> Result<Self> {
        let Holdings { file_count, status } = database.holdings(tx).await?;
        Ok(Self {
            id: database.id,
            case_id: database.case_id,
            name: database.name,
            description: database.description,
            deduplication: database.deduplication,
            status,
            file_count,
            generation: database.generation,
            created_at: database.created_at.rfc3339(),
            updated_at: database.updated_at.rfc3339(),
        })
    }
}

/// The equation: `received + unpacked = indexed + duplicate + excluded + exception + in_flight`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CountsBody {
    /// Files delivered.
    pub received: u64,
    /// Items found inside containers.
    pub unpacked: u64,
    /// Searchable.
    pub indexed: u64,
    /// Copies of documents already there.
    pub duplicate: u64,
    /// Left out on purpose.
    pub excluded: u64,
    /// Not fully processed.
    pub exception: u64,
    /// Still moving; zero when the work is done.
    pub in_flight: u64,
    /// Exceptions by category.
    pub exceptions: BTreeMap<String, u64>,
}

impl From<Counts> for CountsBody {
    fn from(counts: Counts) -> Self {
        let Counts { received, unpacked, indexed, duplicate, excluded, exception, in_flight, exceptions } = counts;
        Self { received, unpacked, indexed, duplicate, excluded, exception, in_flight, exceptions }
    }
}

/// One batch's share of a database's status.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchCountsBody {
    /// The batch.
    #[schema(value_type = Uuid)]
    pub batch: BatchId,
    /// Its equation.
    #[serde(flatten)]
    pub counts: CountsBody,
}

/// How far a database is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StatusBody {
    /// The database.
    #[schema(value_type = Uuid)]
    pub database: DatabaseId,
    /// `empty`, `processing` or `ready`.
    pub status: String,
    /// The equation over all its documents.
    #[serde(flatten)]
    pub counts: CountsBody,
    /// Number of the published index generation; 0 before the first.
    pub generation: u64,
    /// When that was published (RFC 3339).
    pub published_at: Option<String>,
    /// The equation of each batch that is open or still moving.
    pub batches: Vec<BatchCountsBody>,
}

impl From<DatabaseStatus> for StatusBody {
    fn from(status: DatabaseStatus) -> Self {
        Self {
            database: status.database,
            status: status.status,
            counts: status.counts.into(),
            generation: status.generation,
            published_at: status.published_at.map(domain::clock::Timestamp::rfc3339),
            batches: status
                .batches
                .into_iter()
                .map(|batch| BatchCountsBody { batch: batch.batch, counts: batch.counts.into() })
                .collect(),
        }
    }
}

/// Which databases to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DatabaseParams {
    /// Only of this case.
    #[param(value_type = Option<Uuid>)]
    case_id: Option<CaseId>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// The databases of your cases, newest first.
#[utoipa::path(
    get, path = "/databases", tag = "databases", params(DatabaseParams),
    responses((status = 200, body = PageBody<DatabaseBody>))
)]
async fn list_databases(
    state: State,
    user: CurrentUser,
    Query(params): Query<DatabaseParams>,
) -> Result<Json<PageBody<DatabaseBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    if let Some(case) = params.case_id {
        Case::find(&mut tx, case, Action::SeeCase).await?;
    }
    let found = Database::list(&mut tx, params.case_id, &page).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for database in found.items {
        items.push(DatabaseBody::read(&mut tx, database).await?);
    }
    Ok(Json(PageBody { items, next_cursor: found.next_cursor }))
}

/// Creates a database in a case.
#[utoipa::path(
    post, path = "/databases", tag = "databases", request_body = NewDatabaseFields,
    params(("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = DatabaseBody))
)]
async fn create_database(
    state: State,
    user: CurrentUser,
    key: Idempotent,
    Json(fields): Json<NewDatabaseFields>,
) -> Result<Response> {
    let request = key.request(&user.actor, &fields)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, fields.case_id, Action::ManageDatabase).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let NewDatabaseFields { name, description, deduplication, .. } = &fields;
    let database = Database::create(&mut tx, &case, name, description, *deduplication).await?;
    let body = DatabaseBody::read(&mut tx, database).await?;
    created(tx, &request, StatusCode::CREATED, &body).await
}

/// One database.
#[utoipa::path(
    get, path = "/databases/{id}", tag = "databases", params(("id" = Uuid, Path)),
    responses((status = 200, body = DatabaseBody))
)]
async fn read_database(state: State, user: CurrentUser, Path(id): Path<DatabaseId>) -> Result<Json<DatabaseBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::SeeCase).await?;
    Ok(Json(DatabaseBody::read(&mut tx, database).await?))
}

/// Renames a database.
#[utoipa::path(
    put, path = "/databases/{id}", tag = "databases", params(("id" = Uuid, Path)), request_body = DatabaseFields,
    responses((status = 200, body = DatabaseBody))
)]
async fn update_database(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Json(fields): Json<DatabaseFields>,
) -> Result<Json<DatabaseBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ManageDatabase).await?;
    let database = database.update(&mut tx, &fields.name, &fields.description).await?;
    let body = DatabaseBody::read(&mut tx, database).await?;
    tx.commit().await?;
    Ok(Json(body))
}

/// How far a database is: the equation over everything delivered to it.
#[utoipa::path(
    get, path = "/databases/{id}/status", tag = "databases", params(("id" = Uuid, Path)),
    responses((status = 200, body = StatusBody))
)]
async fn read_status(state: State, user: CurrentUser, Path(id): Path<DatabaseId>) -> Result<Json<StatusBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::SeeCase).await?;
    Ok(Json(database.status(&mut tx).await?.into()))
}

/// Builds the index anew beside the live one; searches go on meanwhile.
#[utoipa::path(
    post, path = "/databases/{id}/reindex", tag = "databases", params(("id" = Uuid, Path)),
    responses((status = 202, description = "asked for"))
)]
async fn reindex_database(state: State, user: CurrentUser, Path(id): Path<DatabaseId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ManageDatabase).await?;
    database.reindex(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::ACCEPTED)
}
