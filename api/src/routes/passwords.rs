//! The password bank of a case: add, list, remove, and supply one for one document. No route hands a password out.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    clock::Timestamp,
    ids::{CaseId, DocumentId, PasswordId, UserId},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use storage::{
    cases::Case,
    documents::Document,
    passwords::{Kept, Password, Secret},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, PageParams, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(add_passwords, list_passwords))
        .routes(routes!(remove_password))
        .routes(routes!(supply_password))
}

/// Passwords to keep.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasswords {
    /// 1 to 1000 passwords of 1 to 512 characters, exactly as they are typed.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    pub passwords: Vec<Secret>,
    /// Where they come from, in at most 2000 characters.
    #[serde(default)]
    pub note: String,
}

/// A password for one document.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// 1 to 512 characters, exactly as they are typed.
    #[schema(value_type = String)]
    pub password: Secret,
    /// Where it comes from, in at most 2000 characters.
    #[serde(default)]
    pub note: String,
}

/// What became of a password.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeptBody {
    /// Its id in the bank.
    #[schema(value_type = Uuid)]
    pub id: PasswordId,
    /// False when the bank held it before; then it keeps its note.
    pub fresh: bool,
}

impl From<Kept> for KeptBody {
    fn from(kept: Kept) -> Self {
        Self { id: kept.id, fresh: kept.fresh }
    }
}

/// What became of passwords.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeptPasswordsBody {
    /// In the order in which they were sent.
    pub items: Vec<KeptBody>,
}

/// A password of the bank, without the password.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PasswordBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: PasswordId,
    /// Where it comes from.
    pub note: String,
    /// Who added it.
    #[schema(value_type = Option<Uuid>)]
    pub added_by: Option<UserId>,
    /// When (RFC 3339).
    pub created_at: String,
    /// How often it opened a document, to unpack or to read it.
    pub uses: u64,
    /// When it did so last (RFC 3339).
    pub used_at: Option<String>,
}

impl From<Password> for PasswordBody {
    fn from(password: Password) -> Self {
        Self {
            id: password.id,
            note: password.note,
            added_by: password.added_by,
            created_at: password.created_at.rfc3339(),
            uses: password.uses,
            used_at: password.used_at.map(Timestamp::rfc3339),
        }
    }
}

/// What makes a repeated request the same: digests keyed under the case key, because a plain hash of a password is a way to
/// guess it.
#[derive(Serialize)]
struct Said<'a> {
    passwords: Vec<[u8; 32]>,
    note: &'a str,
}

/// Keeps passwords for the protected documents of a case. What is still protected is tried again with them, what comes later
/// is tried by itself.
#[utoipa::path(
    post, path = "/cases/{id}/passwords", tag = "passwords",
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    request_body = NewPasswords, responses((status = 201, body = KeptPasswordsBody))
)]
async fn add_passwords(
    state: State,
    user: CurrentUser,
    key: Result<Idempotent, Error>,
    Path(id): Path<CaseId>,
    Json(new): Json<NewPasswords>,
) -> Result<Response> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManagePasswords).await?;
    let case_key = tx.case_key(id).await?;
    let passwords = new.passwords.iter().map(|password| password.lookup(&case_key)).collect();
    let request = key?.request(&user.actor, &Said { passwords, note: &new.note })?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let items = case.add_passwords(&mut tx, &new.passwords, &new.note).await?;
    let body = KeptPasswordsBody { items: items.into_iter().map(KeptBody::from).collect() };
    created(tx, &request, StatusCode::CREATED, &body).await
}

/// What is in the bank of a case, oldest first: where each password comes from and how often it fitted, never the password.
#[utoipa::path(
    get, path = "/cases/{id}/passwords", tag = "passwords", params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = PageBody<PasswordBody>))
)]
async fn list_passwords(
    state: State,
    user: CurrentUser,
    Path(id): Path<CaseId>,
    Query(params): Query<PageParams>,
) -> Result<Json<PageBody<PasswordBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManagePasswords).await?;
    let page = case.passwords(&mut tx, &PageQuery::from(params)).await?;
    Ok(Json(page.into()))
}

/// Removes a password from the bank. What it opened stays open.
#[utoipa::path(
    delete, path = "/cases/{id}/passwords/{password_id}", tag = "passwords",
    params(("id" = Uuid, Path), ("password_id" = Uuid, Path)), responses((status = 204, description = "removed"))
)]
async fn remove_password(
    state: State,
    user: CurrentUser,
    Path((id, password)): Path<(CaseId, PasswordId)>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManagePasswords).await?;
    case.remove_password(&mut tx, password).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Supplies a password for one document: it is kept in the bank, and the document, or what it did not give up, is tried
/// again at once, also when its exception was ignored. A document that does not wait for a password is a `conflict`.
#[utoipa::path(
    post, path = "/documents/{id}/password", tag = "passwords",
    params(("id" = Uuid, Path), ("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    request_body = NewPassword, responses((status = 202, body = KeptBody))
)]
async fn supply_password(
    state: State,
    user: CurrentUser,
    key: Result<Idempotent, Error>,
    Path(id): Path<DocumentId>,
    Json(new): Json<NewPassword>,
) -> Result<Response> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let document = Document::find(&mut tx, id, Action::ManagePasswords).await?;
    let case_key = tx.case_key(document.case).await?;
    let passwords = vec![new.password.lookup(&case_key)];
    let request = key?.request(&user.actor, &Said { passwords, note: &new.note })?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let kept = document.supply_password(&mut tx, &new.password, &new.note).await?;
    created(tx, &request, StatusCode::ACCEPTED, &KeptBody::from(kept)).await
}
