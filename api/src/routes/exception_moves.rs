//! What people do about exceptions: try them again, or set them aside with a note.

use axum::http::StatusCode;
use domain::{
    access::Action,
    ids::{BatchId, DatabaseId, DocumentId},
};
use serde::{Deserialize, Serialize};
use storage::{
    databases::Database,
    documents::{Selection, ignore_exceptions, retry_exceptions},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::documents::parse_category;
use crate::{
    Result, State,
    extract::{CurrentUser, Json, Path},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(retry)).routes(routes!(ignore))
}

/// Which exceptions to try again; all of the database when nothing is named.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryFields {
    /// Only of this category.
    pub category: Option<String>,
    /// Only this document; named like this, one that was ignored is tried again too.
    #[schema(value_type = Option<Uuid>)]
    pub document_id: Option<DocumentId>,
    /// Only of this batch.
    #[schema(value_type = Option<Uuid>)]
    pub batch_id: Option<BatchId>,
}

/// Which exceptions to set aside, all of the database when nothing is named, and why.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IgnoreFields {
    /// Why, in 1 to 2000 characters. It is kept with each document.
    pub note: String,
    /// Only of this category.
    pub category: Option<String>,
    /// Only this document.
    #[schema(value_type = Option<Uuid>)]
    pub document_id: Option<DocumentId>,
    /// Only of this batch.
    #[schema(value_type = Option<Uuid>)]
    pub batch_id: Option<BatchId>,
}

/// What is tried again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RetriedBody {
    /// Documents sent through the pipeline again.
    pub retried: u64,
}

/// What is set aside.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct IgnoredBody {
    /// Documents that are excluded now.
    pub ignored: u64,
}

/// Sends exceptions through the pipeline again.
#[utoipa::path(
    post, path = "/databases/{id}/exceptions/retry", tag = "exceptions", params(("id" = Uuid, Path)),
    request_body = RetryFields, responses((status = 202, body = RetriedBody))
)]
async fn retry(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Json(fields): Json<RetryFields>,
) -> Result<(StatusCode, Json<RetriedBody>)> {
    let selection = selection(fields.category.as_deref(), fields.document_id, fields.batch_id)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::Upload).await?;
    let retried = retry_exceptions(&mut tx, &database, &selection).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(RetriedBody { retried })))
}

/// Sets exceptions aside with a note: they count as excluded from then on. Undone by retrying the document by its id.
#[utoipa::path(
    post, path = "/databases/{id}/exceptions/ignore", tag = "exceptions", params(("id" = Uuid, Path)),
    request_body = IgnoreFields, responses((status = 200, body = IgnoredBody))
)]
async fn ignore(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Json(fields): Json<IgnoreFields>,
) -> Result<Json<IgnoredBody>> {
    let selection = selection(fields.category.as_deref(), fields.document_id, fields.batch_id)?;
    let mut ignored = 0;
    loop {
        let mut tx = state.storage.begin(&user.actor).await?;
        let database = Database::find(&mut tx, id, Action::Upload).await?;
        let (count, more) = ignore_exceptions(&mut tx, &database, &selection, &fields.note).await?;
        tx.commit().await?;
        ignored += count;
        if !more {
            return Ok(Json(IgnoredBody { ignored }));
        }
    }
}

fn selection(category: Option<&str>, document: Option<DocumentId>, batch: Option<BatchId>) -> Result<Selection> {
    Ok(Selection { category: category.map(parse_category).transpose()?, document, batch })
}
