//! The audit trail and the log it is: lists and files of what was done, and the proofs that nothing of it was changed.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    access::{Action, SystemAction, may_system},
    actor::Actor,
    clock::Timestamp,
    error::Code,
    ids::{ApiKeyId, AuditId, CaseId, UserId},
    page::{MAX_LIMIT, PageQuery},
};
use futures::stream;
use serde::{Deserialize, Serialize};
use storage::{
    audit::{
        self, Audit, Filter,
        bundle::{self, Head},
        log,
        merkle::Hash,
    },
    cases::Case,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::exceptions::cell;
use crate::{
    Error, Result, State,
    download::attachment,
    extract::{CurrentUser, Json, Path, Query},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(read_audit))
        .routes(routes!(read_audit_bundle))
        .routes(routes!(prove_event))
        .routes(routes!(read_system_audit))
        .routes(routes!(read_log_bundle))
        .routes(routes!(read_checkpoint))
        .routes(routes!(prove_growth))
}

/// One thing that was done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditBody {
    /// Its id, in order of writing.
    pub id: Uuid,
    /// When (RFC 3339).
    pub at: String,
    /// `user`, `key`, `system` or `anonymous`.
    pub actor_kind: String,
    /// The person, if any.
    pub actor_id: Option<Uuid>,
    /// The API key they acted with, if any.
    pub key_id: Option<Uuid>,
    /// The session they acted in, if any.
    pub session_id: Option<Uuid>,
    /// The address it was asked from.
    pub address: Option<String>,
    /// The program it was asked with, as it named itself.
    pub agent: Option<String>,
    /// The request.
    pub request_id: Uuid,
    /// The case, if any.
    pub case_id: Option<Uuid>,
    /// `thing.verb`.
    pub action: String,
    /// What kind of thing.
    pub resource_type: String,
    /// Which.
    pub resource_id: Option<Uuid>,
    /// Fields of the event: ids and names, never text of a document. Null where the key of its case is not at hand: in the trail of the whole
    /// system, and after the case was purged.
    #[schema(value_type = Option<Object>)]
    pub details: serde_json::Value,
    /// Its position in the signed log; absent for about a minute.
    pub log_index: Option<u64>,
}

impl From<audit::Entry> for AuditBody {
    fn from(entry: audit::Entry) -> Self {
        Self {
            id: entry.id.uuid(),
            at: entry.at.rfc3339(),
            actor_kind: entry.actor_kind,
            actor_id: entry.actor.map(UserId::uuid),
            key_id: entry.key.map(ApiKeyId::uuid),
            session_id: entry.session,
            address: entry.address,
            agent: entry.agent,
            request_id: entry.request,
            case_id: entry.case.map(CaseId::uuid),
            action: entry.action,
            resource_type: entry.resource_type,
            resource_id: entry.resource,
            details: entry.details,
            log_index: entry.position,
        }
    }
}

/// Which entries, and how.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Only of this action, such as `document.viewed`, or of every action of a thing, such as `document.`.
    action: Option<String>,
    /// Only by this person.
    #[param(value_type = Option<Uuid>)]
    actor_id: Option<UserId>,
    /// Only of this document, batch, session …
    resource_id: Option<Uuid>,
    /// Not before this time (RFC 3339).
    from: Option<String>,
    /// Before this time (RFC 3339).
    to: Option<String>,
    /// `json` (the default) for a page, or `csv` for all of them as a file.
    format: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

impl AuditParams {
    fn filter(&self) -> Result<Filter> {
        let time = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Timestamp::parse(text).map(Some).ok_or_else(|| {
                Error::new(Code::BadRequest, format!("{name} must be a time like 2026-01-31T12:00:00Z"))
            }),
        };
        Ok(Filter {
            action: self.action.clone(),
            actor: self.actor_id,
            resource: self.resource_id,
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
        })
    }

    /// Everything as a file, or a page?
    fn is_file(&self) -> Result<bool> {
        match self.format.as_deref() {
            None | Some("json") => Ok(false),
            Some("csv") => Ok(true),
            Some(_) => Err(Error::new(Code::BadRequest, "format must be json or csv")),
        }
    }

    fn page(&self) -> PageQuery {
        PageQuery { cursor: self.cursor.clone(), limit: self.limit }
    }
}

/// What was done in a case, oldest first.
#[utoipa::path(
    get, path = "/cases/{id}/audit", tag = "audit", params(("id" = Uuid, Path), AuditParams),
    responses((status = 200, content((PageBody<AuditBody> = "application/json"), (String = "text/csv"))))
)]
async fn read_audit(
    state: State,
    user: CurrentUser,
    Path(id): Path<CaseId>,
    Query(params): Query<AuditParams>,
) -> Result<Response> {
    let filter = params.filter()?;
    if params.is_file()? {
        note_export(&state, &user.actor, Some(id)).await?;
        return Ok(csv(state, user.actor, Some(id), filter));
    }
    let page = entries(&state, &user.actor, Some(id), &filter, &params.page()).await?;
    Ok(Json(PageBody::<AuditBody>::from(page)).into_response())
}

/// What was done in the whole system, oldest first (administrators). What events of cases say stays with their members.
#[utoipa::path(
    get, path = "/audit", tag = "audit", params(AuditParams),
    responses((status = 200, content((PageBody<AuditBody> = "application/json"), (String = "text/csv"))))
)]
async fn read_system_audit(state: State, user: CurrentUser, Query(params): Query<AuditParams>) -> Result<Response> {
    let filter = params.filter()?;
    if params.is_file()? {
        note_export(&state, &user.actor, None).await?;
        return Ok(csv(state, user.actor, None, filter));
    }
    let page = entries(&state, &user.actor, None, &filter, &params.page()).await?;
    Ok(Json(PageBody::<AuditBody>::from(page)).into_response())
}

/// A page of the trail of a case, or of all. Access is asked again with every page.
async fn entries(
    state: &State,
    actor: &Actor,
    case: Option<CaseId>,
    filter: &Filter,
    page: &PageQuery,
) -> storage::Result<domain::page::Page<audit::Entry>> {
    let mut tx = state.storage.read(actor).await?;
    match case {
        Some(case) => {
            let case = Case::find(&mut tx, case, Action::ReadAudit).await?;
            audit::list(&mut tx, case.id, filter, page).await
        }
        None if may_system(actor, SystemAction::ReadAudit) => audit::list_all(&mut tx, filter, page).await,
        None => Err(storage::Error::Forbidden),
    }
}

/// Who takes the trail away leaves a trace in it.
async fn note_export(state: &State, actor: &Actor, case: Option<CaseId>) -> Result<()> {
    let mut tx = state.storage.begin(actor).await?;
    let case = match case {
        Some(case) => Some(Case::find(&mut tx, case, Action::ReadAudit).await?.id),
        None if may_system(actor, SystemAction::ReadAudit) => None,
        None => return Err(storage::Error::Forbidden.into()),
    };
    tx.audit(Audit::TrailExported { case }).await?;
    Ok(tx.commit().await?)
}

const COLUMNS: &str = "log_index,id,at,actor_kind,actor_id,key_id,session_id,address,agent,request_id,case_id,action,resource_type,\
                       resource_id,details\r\n";

/// All of them as CSV (RFC 4180), read page by page while the client takes it.
fn csv(state: State, actor: Actor, case: Option<CaseId>, filter: Filter) -> Response {
    let first = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let pages = stream::try_unfold((Some(first), COLUMNS.to_owned()), move |(next, mut text)| {
        let (state, actor, filter) = (state.clone(), actor.clone(), filter.clone());
        async move {
            let Some(page) = next else { return Ok(None) };
            let page = entries(&state, &actor, case, &filter, &page).await?;
            page.items.into_iter().for_each(|entry| line(&mut text, &entry.into()));
            let next = page.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(MAX_LIMIT) });
            Ok::<_, storage::Error>(Some((text, (next, String::new()))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, attachment("audit.csv")),
    ];
    (headers, Body::from_stream(pages)).into_response()
}

fn line(out: &mut String, row: &AuditBody) {
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let cells = [
        row.log_index.map(|index| index.to_string()).unwrap_or_default(),
        row.id.to_string(),
        row.at.clone(),
        row.actor_kind.clone(),
        id(row.actor_id),
        id(row.key_id),
        id(row.session_id),
        row.address.clone().unwrap_or_default(),
        row.agent.clone().unwrap_or_default(),
        row.request_id.to_string(),
        id(row.case_id),
        row.action.clone(),
        row.resource_type.clone(),
        id(row.resource_id),
        row.details.to_string(),
    ];
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    out.push_str(&cells.join(","));
    out.push_str("\r\n");
}

/// The trail of a case with its proofs: lines of JSON that `dia verify` checks without this server.
#[utoipa::path(
    get, path = "/cases/{id}/audit/bundle", tag = "audit", params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "application/x-ndjson", body = String))
)]
async fn read_audit_bundle(state: State, user: CurrentUser, Path(id): Path<CaseId>) -> Result<Response> {
    lines(state, user.actor, Some(id)).await
}

/// The whole log: every event, those of cases without what they say (administrators). `dia verify` checks it.
#[utoipa::path(
    get, path = "/audit/bundle", tag = "audit",
    responses((status = 200, content_type = "application/x-ndjson", body = String))
)]
async fn read_log_bundle(state: State, user: CurrentUser) -> Result<Response> {
    lines(state, user.actor, None).await
}

async fn lines(state: State, actor: Actor, case: Option<CaseId>) -> Result<Response> {
    note_export(&state, &actor, case).await?;
    let mut tx = state.storage.read(&actor).await?;
    let found = bundle::head(&mut tx, case).await?;
    let nothing = || Error::new(Code::Conflict, "nothing has been signed yet; ask again in a minute");
    let (head, checkpoint): (Head, _) = found.ok_or_else(nothing)?;
    drop(tx);
    let head = json_line(&head).map_err(storage::Error::from)?;
    let first = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let pages = stream::try_unfold((Some(first), head), move |(next, mut text)| {
        let (state, actor) = (state.clone(), actor.clone());
        async move {
            let Some(page) = next else { return Ok(None) };
            let mut tx = state.storage.read(&actor).await?;
            let page = match case {
                Some(case) => {
                    let case = Case::find(&mut tx, case, Action::ReadAudit).await?;
                    bundle::of_case(&mut tx, case.id, checkpoint.size, &page).await?
                }
                None if may_system(&actor, SystemAction::ReadAudit) => {
                    bundle::of_log(&mut tx, checkpoint.size, &page).await?
                }
                None => return Err(storage::Error::Forbidden),
            };
            for leaf in &page.items {
                text.push_str(&json_line(leaf)?);
            }
            let next = page.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(MAX_LIMIT) });
            Ok::<_, storage::Error>(Some((text, (next, String::new()))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_DISPOSITION, attachment("audit.ndjson")),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// What proves that an event is in the log (RFC 9162 §2.1.3).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProofBody {
    /// Its position.
    pub index: u64,
    /// The text of the leaf; its hash is SHA-256 of a zero byte and this.
    pub leaf: String,
    /// The sibling hashes from the leaf up, in Base64.
    pub hashes: Vec<String>,
    /// The signed note (C2SP tlog-checkpoint) whose root they lead to.
    pub checkpoint: String,
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash.0)).collect()
}

/// Proves that an event of a case is in the log.
#[utoipa::path(
    get, path = "/cases/{id}/audit/{event_id}/proof", tag = "audit",
    params(("id" = Uuid, Path), ("event_id" = Uuid, Path)), responses((status = 200, body = ProofBody))
)]
async fn prove_event(
    state: State,
    user: CurrentUser,
    Path((id, event)): Path<(CaseId, AuditId)>,
) -> Result<Json<ProofBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ReadAudit).await?;
    let proof = log::prove(&mut tx, case.id, event).await?;
    let hashes = base64(&proof.hashes);
    Ok(Json(ProofBody { index: proof.index, leaf: proof.leaf, hashes, checkpoint: proof.checkpoint }))
}

/// How far the log is signed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CheckpointBody {
    /// Number of events.
    pub size: u64,
    /// The root over them, in Base64.
    pub root: String,
    /// When it was signed (RFC 3339).
    pub at: String,
    /// The signed note (C2SP tlog-checkpoint); keep it where nobody can change it.
    pub note: String,
    /// Who verifies it (C2SP signed-note): pin this.
    pub key: String,
}

/// The latest signed checkpoint of the log, for anybody signed in: it says nothing but how many events there are.
#[utoipa::path(get, path = "/audit/checkpoint", tag = "audit", responses((status = 200, body = CheckpointBody)))]
async fn read_checkpoint(state: State, user: CurrentUser) -> Result<Json<CheckpointBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let found = log::checkpoint(&mut tx).await?;
    let nothing = || Error::new(Code::Conflict, "nothing has been signed yet; ask again in a minute");
    let (checkpoint, note) = found.ok_or_else(nothing)?;
    Ok(Json(CheckpointBody {
        size: checkpoint.size,
        root: STANDARD.encode(checkpoint.root.0),
        at: checkpoint.at.rfc3339(),
        note,
        key: log::verifier(&state.storage)?.to_string(),
    }))
}

/// Two sizes of the log.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrowthParams {
    /// The size that one knows.
    from: u64,
    /// The size it has grown to, at most that of the latest checkpoint.
    to: u64,
}

/// What proves that the log only grew (RFC 9162 §2.1.4).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GrowthBody {
    /// The hashes in Base64.
    pub hashes: Vec<String>,
}

/// Proves that the log of one size begins with the log of a smaller one.
#[utoipa::path(get, path = "/audit/consistency", tag = "audit", params(GrowthParams), responses((status = 200, body = GrowthBody)))]
async fn prove_growth(state: State, user: CurrentUser, Query(params): Query<GrowthParams>) -> Result<Json<GrowthBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let hashes = log::prove_growth(&mut tx, params.from, params.to).await?;
    Ok(Json(GrowthBody { hashes: base64(&hashes) }))
}
