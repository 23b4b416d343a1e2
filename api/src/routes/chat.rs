//! Chat: ask, read back, search, cancel.

use axum::{http::StatusCode, response::Response};
use domain::{
    access::Action,
    error::Code,
    events::{Answer, Citation, Sentence},
    ids::{CaseId, ConversationId, DatabaseId, DocumentId, MessageId},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use storage::{
    cases::Case,
    contexts::{ContextItem, Pin},
    conversations::Conversation,
    messages::{self, Message, Speaker},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Idempotent, Json, Path, Query, created, kept},
    openapi::PageBody,
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(ask))
        .routes(routes!(read_history))
        .routes(routes!(list_conversations))
        .routes(routes!(search_chat))
        .routes(routes!(read_message))
        .routes(routes!(cancel_answer))
}

/// A question. Give the conversation it continues, or the case to begin one in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The conversation it continues.
    #[schema(value_type = Option<Uuid>)]
    pub conversation_id: Option<ConversationId>,
    /// The case to begin a conversation in.
    #[schema(value_type = Option<Uuid>)]
    pub case_id: Option<CaseId>,
    /// Pinned to the new conversation: answers draw on this database only.
    #[schema(value_type = Option<Uuid>)]
    pub database_id: Option<DatabaseId>,
    /// Pinned to the new conversation: answers draw on these documents only; at most 200.
    #[serde(default)]
    #[schema(value_type = Vec<Uuid>, max_items = 200)]
    pub document_ids: Vec<DocumentId>,
    /// 1 to 8,000 characters.
    pub message: String,
}

/// Where the answer will be.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Accepted {
    /// The conversation.
    #[schema(value_type = Uuid)]
    pub conversation_id: ConversationId,
    /// The question.
    #[schema(value_type = Uuid)]
    pub message_id: MessageId,
    /// The answer: watch it on `/ws/chat`, or read `/chat/messages/{id}`.
    #[schema(value_type = Uuid)]
    pub answer_id: MessageId,
}

/// A verified span of a document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CitationBody {
    /// The document.
    #[schema(value_type = Uuid)]
    pub document: DocumentId,
    /// Its database.
    #[schema(value_type = Uuid)]
    pub database: DatabaseId,
    /// Its name.
    pub name: String,
    /// First page the quote touches, from 1.
    pub page: u32,
    /// First character of the quote in the document's text.
    pub start: u32,
    /// One past its last character.
    pub end: u32,
    /// Exactly what stands there.
    pub quote: String,
}

impl From<Citation> for CitationBody {
    fn from(citation: Citation) -> Self {
        let Citation { document, database, name, page, start, end, quote } = citation;
        Self { document, database, name, page, start, end, quote }
    }
}

/// One sentence of an answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SentenceBody {
    /// The sentence.
    pub text: String,
    /// True when its citations support it.
    pub supported: bool,
    /// Verified citations only.
    pub citations: Vec<CitationBody>,
}

impl From<Sentence> for SentenceBody {
    fn from(sentence: Sentence) -> Self {
        let citations = sentence.citations.into_iter().map(Into::into).collect();
        Self { text: sentence.text, supported: sentence.supported, citations }
    }
}

/// A finished answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnswerBody {
    /// The whole text.
    pub text: String,
    /// Its sentences, in order.
    pub sentences: Vec<SentenceBody>,
    /// `extractive`, or the model's name.
    pub method: String,
}

impl From<Answer> for AnswerBody {
    fn from(answer: Answer) -> Self {
        let sentences = answer.sentences.into_iter().map(Into::into).collect();
        Self { text: answer.text, sentences, method: answer.method }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FailureBody {
    /// A code of the error table.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
}

/// One message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessageBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: MessageId,
    /// Its conversation.
    #[schema(value_type = Uuid)]
    pub conversation_id: ConversationId,
    /// Its case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// `pending`, `answering`, `complete`, `failed` or `cancelled`.
    pub state: &'static str,
    /// What was asked, or answered.
    pub message: String,
    /// The question an answer belongs to.
    #[schema(value_type = Option<Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_id: Option<MessageId>,
    /// The answer with its citations, once complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerBody>,
    /// Why there is none, once failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureBody>,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// When it last moved (RFC 3339).
    pub updated_at: String,
}

impl From<Message> for MessageBody {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            conversation_id: message.conversation,
            case_id: message.case_id,
            role: if message.role == Speaker::User { "user" } else { "assistant" },
            state: message.state.name(),
            message: message.body.text,
            question_id: message.body.question,
            answer: message.body.answer.map(Into::into),
            failure: message.body.failure.map(|f| FailureBody { code: f.code, message: f.message }),
            created_at: message.created_at.rfc3339(),
            updated_at: message.updated_at.rfc3339(),
        }
    }
}

/// A conversation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConversationBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: ConversationId,
    /// Its case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// What it began with.
    pub title: String,
    /// When it was begun (RFC 3339).
    pub created_at: String,
    /// When something was last asked (RFC 3339).
    pub updated_at: String,
}

impl From<Conversation> for ConversationBody {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id,
            case_id: conversation.case_id,
            title: conversation.title,
            created_at: conversation.created_at.rfc3339(),
            updated_at: conversation.updated_at.rfc3339(),
        }
    }
}

/// Asks; the answer comes by `/ws/chat` and `/chat/messages/{id}`.
#[utoipa::path(
    post, path = "/chat/message", tag = "chat", request_body = Question,
    params(("Idempotency-Key" = String, Header, description = "1 to 128 visible characters")),
    responses((status = 202, body = Accepted))
)]
async fn ask(state: State, user: CurrentUser, key: Idempotent, Json(question): Json<Question>) -> Result<Response> {
    let request = key.request(&user.actor, &question)?;
    let mut tx = state.storage.begin(&user.actor).await?;
    let existing = match (question.conversation_id, question.case_id) {
        (Some(id), None) if question.database_id.is_none() && question.document_ids.is_empty() => {
            Found::Conversation(Conversation::find(&mut tx, id).await?)
        }
        (None, Some(id)) => Found::Case(Case::find(&mut tx, id, Action::Chat).await?),
        _ => {
            let message = "give conversation_id, or case_id and perhaps database_id or document_ids";
            return Err(Error::new(Code::Invalid, message));
        }
    };
    if let Some(answer) = kept(&mut tx, &request).await? {
        return Ok(answer);
    }
    let conversation = match existing {
        Found::Conversation(conversation) => conversation,
        Found::Case(case) => {
            let conversation = Conversation::start(&mut tx, &case, &question.message).await?;
            if let Some(database) = question.database_id {
                ContextItem::pin(&mut tx, &conversation, &Pin::Database(database)).await?;
            }
            for document in question.document_ids {
                ContextItem::pin(&mut tx, &conversation, &Pin::Document(document, None)).await?;
            }
            conversation
        }
    };
    let asked = messages::ask(&mut tx, &conversation, &question.message).await?;
    let accepted = Accepted { conversation_id: conversation.id, message_id: asked.question, answer_id: asked.answer };
    created(tx, &request, StatusCode::ACCEPTED, &accepted).await
}

enum Found {
    Conversation(Conversation),
    Case(Case),
}

/// Which messages to read.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// Of this conversation.
    #[param(value_type = Option<Uuid>)]
    conversation_id: Option<ConversationId>,
    /// Of all your conversations in this case.
    #[param(value_type = Option<Uuid>)]
    case_id: Option<CaseId>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Your messages of a conversation or case, newest first.
#[utoipa::path(
    get, path = "/chat/history", tag = "chat", params(HistoryParams),
    responses((status = 200, body = PageBody<MessageBody>))
)]
async fn read_history(
    state: State,
    user: CurrentUser,
    Query(params): Query<HistoryParams>,
) -> Result<Json<PageBody<MessageBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    let messages = match (params.conversation_id, params.case_id) {
        (Some(id), None) => {
            let conversation = Conversation::find(&mut tx, id).await?;
            Message::list(&mut tx, &conversation, &page).await?
        }
        (None, Some(id)) => {
            let case = Case::find(&mut tx, id, Action::Chat).await?;
            Message::list_case(&mut tx, case.id, &page).await?
        }
        _ => return Err(Error::new(Code::Invalid, "give either conversation_id or case_id")),
    };
    Ok(Json(messages.into()))
}

/// Which conversations to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConversationParams {
    /// Only of this case.
    #[param(value_type = Option<Uuid>)]
    case_id: Option<CaseId>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Your conversations, newest first.
#[utoipa::path(
    get, path = "/chat/conversations", tag = "chat", params(ConversationParams),
    responses((status = 200, body = PageBody<ConversationBody>))
)]
async fn list_conversations(
    state: State,
    user: CurrentUser,
    Query(params): Query<ConversationParams>,
) -> Result<Json<PageBody<ConversationBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    if let Some(case) = params.case_id {
        Case::find(&mut tx, case, Action::Chat).await?;
    }
    Ok(Json(Conversation::list(&mut tx, params.case_id, &page).await?.into()))
}

/// What to look for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchParams {
    /// 1 to 32 words; a message must hold all of them.
    q: String,
    /// Only in this case.
    #[param(value_type = Option<Uuid>)]
    case_id: Option<CaseId>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows wanted, 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Your messages that hold all the words, newest first. A page may be short while `next_cursor` says to go on.
#[utoipa::path(
    get, path = "/chat/search", tag = "chat", params(SearchParams),
    responses((status = 200, body = PageBody<MessageBody>))
)]
async fn search_chat(
    state: State,
    user: CurrentUser,
    Query(params): Query<SearchParams>,
) -> Result<Json<PageBody<MessageBody>>> {
    let page = PageQuery { cursor: params.cursor, limit: params.limit };
    let mut tx = state.storage.read(&user.actor).await?;
    if let Some(case) = params.case_id {
        Case::find(&mut tx, case, Action::Chat).await?;
    }
    Ok(Json(messages::search(&mut tx, params.case_id, &params.q, &page).await?.into()))
}

/// One message; poll an answer here when no WebSocket is at hand.
#[utoipa::path(
    get, path = "/chat/messages/{id}", tag = "chat", params(("id" = Uuid, Path)),
    responses((status = 200, body = MessageBody))
)]
async fn read_message(state: State, user: CurrentUser, Path(id): Path<MessageId>) -> Result<Json<MessageBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    Ok(Json(Message::find(&mut tx, id).await?.into()))
}

/// Stops an answer that is being written.
#[utoipa::path(
    post, path = "/chat/messages/{id}/cancel", tag = "chat", params(("id" = Uuid, Path)),
    responses((status = 200, body = MessageBody))
)]
async fn cancel_answer(state: State, user: CurrentUser, Path(id): Path<MessageId>) -> Result<Json<MessageBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let message = Message::find(&mut tx, id).await?;
    message.cancel(&mut tx).await?;
    let message = Message::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(message.into()))
}
