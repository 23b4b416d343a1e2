//! What went wrong with a delivery, as a list and as a load file that can be mended and delivered again.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use domain::{
    access::Action,
    actor::Actor,
    error::Code,
    ids::{BatchId, DatabaseId, DocumentId, ItemId},
    page::{MAX_LIMIT, PageQuery},
};
use futures::stream;
use serde::{Deserialize, Serialize};
use storage::{
    batches::Batch,
    databases::Database,
    items::{self, Problem},
    load_files::LoadFile,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::exceptions::cell;
use crate::{
    Error, Result, State,
    download::attachment,
    extract::{CurrentUser, Json, Path, Query},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_errors))
}

/// Something that went wrong with a delivery.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchErrorBody {
    /// `refused`, `hash_mismatch`, `reference_refused`, `reference_missing`, `reference_too_large`, `reference_failed`, `missing`, or
    /// the category of the document's exception.
    pub error: &'static str,
    /// What happened, and what to do.
    pub message: String,
    /// Path as announced, or as delivered.
    pub path: String,
    /// The item, when a load file announces it.
    #[schema(value_type = Option<Uuid>)]
    pub item_id: Option<ItemId>,
    /// The first line of its record.
    pub line: Option<u64>,
    /// Its number in the production.
    pub control_number: Option<String>,
    /// The document, when there is one.
    #[schema(value_type = Option<Uuid>)]
    pub document_id: Option<DocumentId>,
}

impl From<Problem> for BatchErrorBody {
    fn from(problem: Problem) -> Self {
        Self {
            error: problem.error.name(),
            message: problem.message,
            path: problem.path,
            item_id: problem.item,
            line: problem.line,
            control_number: problem.control_number,
            document_id: problem.document,
        }
    }
}

/// Which errors, and how.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ErrorParams {
    /// `json` (the default) for a page; `csv` or `dat` (Concordance) for all of them as a load file.
    format: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// What went wrong with a delivery: records of load files that cannot be used, files that came otherwise than announced or not
/// at all (once the batch is sealed), references that could not be fetched, and documents that ended as exceptions. As a load file it has the columns of the batch's own
/// load files.
#[utoipa::path(
    get, path = "/databases/{id}/batches/{batch}/errors", tag = "batches",
    params(("id" = Uuid, Path), ("batch" = Uuid, Path), ErrorParams),
    responses((status = 200, content(
        (PageBody<BatchErrorBody> = "application/json"), (String = "text/csv"), (String = "text/plain"),
    )))
)]
async fn list_errors(
    state: State,
    user: CurrentUser,
    Path((id, batch)): Path<(DatabaseId, BatchId)>,
    Query(params): Query<ErrorParams>,
) -> Result<Response> {
    let mut tx = state.storage.read(&user.actor).await?;
    let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
    let batch = Batch::find(&mut tx, &database, batch).await?;
    let style = match params.format.as_deref() {
        None | Some("json") => {
            let page = PageQuery { cursor: params.cursor, limit: params.limit };
            let page = items::problems(&mut tx, &batch, &page).await?;
            return Ok(Json(PageBody::<BatchErrorBody>::from(page)).into_response());
        }
        Some("csv") => CSV,
        Some("dat") => CONCORDANCE,
        Some(_) => return Err(Error::new(Code::BadRequest, "format must be json, csv or dat")),
    };
    let mut columns = BTreeSet::new();
    let first = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    for file in LoadFile::list(&mut tx, &batch, &first).await?.items {
        columns.extend(file.details.columns.into_iter().filter(|name| !OWN.contains(&name.as_str())));
    }
    drop(tx);
    Ok(export(state, user.actor, id, batch.id, style, columns.into_iter().collect()))
}

/// How a load file is written.
#[derive(Debug, Clone, Copy)]
struct Style {
    media_type: &'static str,
    name: &'static str,
    begins: &'static str,
    delimiter: &'static str,
    cell: fn(&str) -> String,
}

const CSV: Style =
    Style { media_type: "text/csv; charset=utf-8", name: "errors.csv", begins: "", delimiter: ",", cell };
/// With a byte order mark, without which Concordance takes UTF-8 for its code page.
const CONCORDANCE: Style = Style {
    media_type: "text/plain; charset=utf-8",
    name: "errors.dat",
    begins: "\u{feff}",
    delimiter: "\u{14}",
    cell: |text| format!("þ{}þ", text.replace("\r\n", "®").replace(['\n', '\r'], "®").replace('þ', "þþ")),
};

/// The columns of every error file, before those of the batch's load files.
const OWN: [&str; 6] = ["control_number", "path", "error", "message", "line", "document_id"];

/// All of them, read page by page while the client takes it. Access is asked again with every page.
fn export(state: State, actor: Actor, id: DatabaseId, batch: BatchId, style: Style, columns: Vec<String>) -> Response {
    let first = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let mut header = style.begins.to_owned();
    write(&mut header, style, OWN.iter().map(|name| (*name).to_owned()).chain(columns.iter().cloned()));
    let pages = stream::try_unfold((Some(first), header), move |(next, mut text)| {
        let (state, actor, columns) = (state.clone(), actor.clone(), columns.clone());
        async move {
            let Some(page) = next else { return Ok(None) };
            let mut tx = state.storage.read(&actor).await?;
            let database = Database::find(&mut tx, id, Action::ReadDocuments).await?;
            let batch = Batch::find(&mut tx, &database, batch).await?;
            let page = items::problems(&mut tx, &batch, &page).await?;
            for problem in page.items {
                write(&mut text, style, cells(problem, &columns));
            }
            let next = page.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(MAX_LIMIT) });
            Ok::<_, storage::Error>(Some((text, (next, String::new()))))
        }
    });
    let headers =
        [(header::CONTENT_TYPE, style.media_type.to_owned()), (header::CONTENT_DISPOSITION, attachment(style.name))];
    (headers, Body::from_stream(pages)).into_response()
}

fn cells(mut problem: Problem, columns: &[String]) -> impl Iterator<Item = String> {
    let fields: Vec<String> = columns.iter().map(|name| problem.fields.remove(name).unwrap_or_default()).collect();
    let own = [
        problem.control_number.unwrap_or_default(),
        problem.path,
        problem.error.name().to_owned(),
        problem.message,
        problem.line.map(|line| line.to_string()).unwrap_or_default(),
        problem.document.map(|id| id.to_string()).unwrap_or_default(),
    ];
    own.into_iter().chain(fields)
}

fn write(out: &mut String, style: Style, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.map(|text| (style.cell)(&text)).collect();
    out.push_str(&cells.join(style.delimiter));
    out.push_str("\r\n");
}
