//! Exceptions: every document that could not be fully processed, with a reason and what to do; as a list and as a CSV file.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use domain::{
    access::Action,
    actor::Actor,
    error::Code,
    ids::{BatchId, DatabaseId, DocumentId},
    outcome::DocumentState,
    page::{MAX_LIMIT, PageQuery},
};
use futures::stream;
use serde::{Deserialize, Serialize};
use storage::{
    batches::Batch,
    databases::Database,
    documents::{Document, DocumentFilter},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{document_bodies::ExceptionBody, documents::parse_category};
use crate::{
    Error, Result, State,
    download::attachment,
    extract::{CurrentUser, Json, Path, Query},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_exceptions))
}

/// A document that could not be fully processed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExceptionRow {
    /// The document.
    #[schema(value_type = Uuid)]
    pub document_id: DocumentId,
    /// The delivery it came with.
    #[schema(value_type = Uuid)]
    pub batch_id: BatchId,
    /// Its name.
    pub name: String,
    /// Its path as delivered, containers included.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// Why.
    #[serde(flatten)]
    pub exception: ExceptionBody,
    /// When it failed (RFC 3339).
    pub at: String,
}

impl ExceptionRow {
    fn of(document: Document) -> Option<Self> {
        Some(Self {
            exception: ExceptionBody::of(&document)?,
            document_id: document.id,
            batch_id: document.batch,
            name: document.details.name,
            path: document.details.path,
            size: document.size,
            sha256: hex::encode(document.sha256),
            at: document.updated_at.rfc3339(),
        })
    }
}

/// One page of exceptions, and how many there are of each kind.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExceptionsBody {
    /// Oldest document first.
    pub items: Vec<ExceptionRow>,
    /// Pass as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// All exceptions of the database, or of the batch, by category.
    pub counts: BTreeMap<String, u64>,
}

/// Which exceptions, and how.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExceptionParams {
    /// Only of this category.
    category: Option<String>,
    /// Only of this batch.
    #[param(value_type = Option<Uuid>)]
    batch: Option<BatchId>,
    /// `json` (the default) for a page, or `csv` for all of them as a file.
    format: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// What could not be fully processed, and why.
#[utoipa::path(
    get, path = "/databases/{id}/exceptions", tag = "exceptions", params(("id" = Uuid, Path), ExceptionParams),
    responses((status = 200, content((ExceptionsBody = "application/json"), (String = "text/csv"))))
)]
async fn list_exceptions(
    state: State,
    user: CurrentUser,
    Path(id): Path<DatabaseId>,
    Query(params): Query<ExceptionParams>,
) -> Result<Response> {
    let category = params.category.as_deref().map(parse_category).transpose()?;
    let filter = DocumentFilter {
        state: Some(DocumentState::Exception),
        category,
        batch: params.batch,
        ..DocumentFilter::default()
    };
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    let batch = match params.batch {
        Some(batch) => Some(Batch::find(&mut tx, &database, batch).await?),
        None => None,
    };
    match params.format.as_deref() {
        None | Some("json") => {}
        Some("csv") => return Ok(export(state, user.actor, id, filter)),
        Some(_) => return Err(Error::new(Code::BadRequest, "format must be json or csv")),
    }
    let counts = match batch {
        Some(batch) => batch.counts(&mut tx).await?.exceptions,
        None => database.status(&mut tx).await?.counts.exceptions,
    };
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let page = Document::list(&mut tx, &database, &filter, &page).await?;
    let items = page.items.into_iter().filter_map(ExceptionRow::of).collect();
    Ok(Json(ExceptionsBody { items, next_cursor: page.next_cursor, counts }).into_response())
}

const COLUMNS: &str = "document_id,batch_id,path,name,size,sha256,category,detail,advice,page,member,at\r\n";

/// All of them as CSV (RFC 4180), read page by page while the client takes it. Access is asked again with every page.
fn export(state: State, actor: Actor, id: DatabaseId, filter: DocumentFilter) -> Response {
    let first = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let pages = stream::try_unfold((Some(first), COLUMNS.to_owned()), move |(next, mut text)| {
        let (state, actor, filter) = (state.clone(), actor.clone(), filter.clone());
        async move {
            let Some(page) = next else { return Ok(None) };
            let mut tx = state.storage.read(&actor).await?;
            let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
            let page = Document::list(&mut tx, &database, &filter, &page).await?;
            page.items.into_iter().filter_map(ExceptionRow::of).for_each(|row| line(&mut text, &row));
            let next = page.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(MAX_LIMIT) });
            Ok::<_, storage::Error>(Some((text, (next, String::new()))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, attachment("exceptions.csv")),
    ];
    (headers, Body::from_stream(pages)).into_response()
}

fn line(out: &mut String, row: &ExceptionRow) {
    let exception = &row.exception;
    let cells = [
        row.document_id.to_string(),
        row.batch_id.to_string(),
        row.path.clone(),
        row.name.clone(),
        row.size.to_string(),
        row.sha256.clone(),
        exception.category.to_owned(),
        exception.detail.clone(),
        exception.advice.to_owned(),
        exception.page.map(|page| page.to_string()).unwrap_or_default(),
        exception.member.clone().unwrap_or_default(),
        row.at.clone(),
    ];
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    out.push_str(&cells.join(","));
    out.push_str("\r\n");
}

/// A quoted cell. A name that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection).
pub(super) fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_hold_any_name() {
        for (text, want) in [
            ("a,b", "\"a,b\""),
            ("say \"no\"\r\n", "\"say \"\"no\"\"\r\n\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), want);
        }
    }
}
