//! The context of a conversation: what answers in it may look at.

use axum::{http::StatusCode, response::Response};
use domain::{
    error::Code,
    ids::{ContextId, ConversationId, DatabaseId, DocumentId},
};
use serde::{Deserialize, Serialize};
use storage::{
    contexts::{ContextItem, Pin},
    conversations::Conversation,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, Path, Query, created, kept},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_context, pin)).routes(routes!(unpin))
}

/// What to pin to a conversation: a database, a document, or a passage of a document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContext {
    /// The conversation.
    #[schema(value_type = Uuid)]
    pub conversation_id: ConversationId,
    /// A whole database.
    #[schema(value_type = Option<Uuid>)]
    pub database_id: Option<DatabaseId>,
    /// A document.
    #[schema(value_type = Option<Uuid>)]
    pub document_id: Option<DocumentId>,
    /// First character of a passage of the document.
    pub start: Option<u32>,
    /// One past its last character.
    pub end: Option<u32>,
}

/// Something pinned.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ContextBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: ContextId,
    /// The conversation.
    #[schema(value_type = Uuid)]
    pub conversation_id: ConversationId,
    /// The database, or the document's database.
    #[schema(value_type = Uuid)]
    pub database_id: DatabaseId,
    /// The document.
    #[schema(value_type = Option<Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// First character of the passage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// One past its last character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
    /// When it was pinned (RFC 3339).
    pub created_at: String,
}

impl From<ContextItem> for ContextBody {
    fn from(item: ContextItem) -> Self {
        Self {
            id: item.id,
            conversation_id: item.conversation,
            database_id: item.database,
            document_id: item.document,
            start: item.span.as_ref().map(|span| span.start),
            end: item.span.as_ref().map(|span| span.end),
            created_at: item.created_at.rfc3339(),
        }
    }
}

/// Which conversation's context to list.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ContextParams {
    /// The conversation.
    #[param(value_type = Uuid)]
    conversation_id: ConversationId,
}

/// What is pinned to a conversation.
#[utoipa::path(
    get, path = "/chat/context", tag = "chat", params(ContextParams),
    responses((status = 200, body = Vec<ContextBody>))
)]
async fn list_context(
    state: State,
    user: CurrentUser,
    Query(params): Query<ContextParams>,
) -> Result<Json<Vec<ContextBody>>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let conversation = Conversation::find(&mut tx, params.conversation_id).await?;
    let items = ContextItem::list(&mut tx, conversation.case_id, conversation.id).await?;
    Ok(Json(items.into_iter().map(Into::into).collect()))
}

/// Pins a database, a document or a passage: answers of this conversation draw on what is pinned, and on nothing else.
#[utoipa::path(
    post, path = "/chat/context", tag = "chat", request_body = NewContext,
    params(("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 201, body = ContextBody))
)]
async fn pin(state: State, user: CurrentUser, key: Idempotent, Json(new): Json<NewContext>) -> Result<Response> {
    let request = key.request(&user.actor, &new)?;
    let pin = match (new.database_id, new.document_id, new.start.zip(new.end)) {
        (Some(database), None, None) if new.start.is_none() && new.end.is_none() => Pin::Database(database),
        (None, Some(document), span) if span.is_some() == (new.start.is_some() || new.end.is_some()) => {
            Pin::Document(document, span.map(|(start, end)| start..end))
        }
        _ => return Err(Error::new(Code::Invalid, "give database_id, or document_id and perhaps both start and end")),
    };
    let mut tx = state.storage.begin(&user.actor).await?;
    let conversation = Conversation::find(&mut tx, new.conversation_id).await?;
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let item = ContextItem::pin(&mut tx, &conversation, &pin).await?;
    created(tx, &request, StatusCode::CREATED, &ContextBody::from(item)).await
}

/// Removes something pinned.
#[utoipa::path(
    delete, path = "/chat/context/{id}", tag = "chat", params(("id" = Uuid, Path)),
    responses((status = 204, description = "removed"))
)]
async fn unpin(state: State, user: CurrentUser, Path(id): Path<ContextId>) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    ContextItem::unpin(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
