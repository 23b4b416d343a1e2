//! What is pinned to a conversation: databases, documents and passages. Answers look nowhere else; with nothing pinned they
//! look in all databases of the case.

use std::ops::Range;

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{CaseId, ContextId, ConversationId, DatabaseId, DocumentId},
};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    conversations::Conversation,
    databases::Database,
    db::{change, query},
    documents::Document,
};

/// Most items of one conversation.
const MOST: usize = 200;

/// One pinned item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextItem {
    /// Its id.
    pub id: ContextId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The database, or the database of the document.
    pub database: DatabaseId,
    /// The document, unless the whole database is pinned.
    pub document: Option<DocumentId>,
    /// The passage in scalars of the document's text, unless the whole document is pinned.
    pub span: Option<Range<u32>>,
    /// When it was pinned.
    pub created_at: Timestamp,
}

/// What to pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// A whole database.
    Database(DatabaseId),
    /// A document, or a passage of it.
    Document(DocumentId, Option<Range<u32>>),
}

type Row = (Uuid, Uuid, Uuid, Option<Uuid>, Option<i64>, Option<i64>, i64);

fn offset(n: i64) -> Option<u32> {
    u32::try_from(n).ok()
}

fn of_row((id, conversation, database, document, start, end, created_at): Row) -> ContextItem {
    let span = start.and_then(offset).zip(end.and_then(offset)).map(|(start, end)| start..end);
    ContextItem {
        id: ContextId(id),
        conversation: ConversationId(conversation),
        database: DatabaseId(database),
        document: document.map(DocumentId),
        span,
        created_at: Timestamp(created_at),
    }
}

impl ContextItem {
    /// Everything pinned to a conversation of `case`, first come first. For its owner, and for the job that answers.
    pub async fn list(tx: &mut Tx, case: CaseId, conversation: ConversationId) -> Result<Vec<Self>> {
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            "select id, conversation_id, database_id, document_id, span_start, span_end, created_at from context_items
             where conversation_id = $1 and case_id = $2 order by id")
            .bind(conversation.uuid()).bind(case.uuid()).fetch_all(c).await)?;
        Ok(rows.into_iter().map(of_row).collect())
    }

    /// Pins something of the conversation's own case; anything else is not found. What is pinned already is pinned once.
    pub async fn pin(tx: &mut Tx, conversation: &Conversation, pin: &Pin) -> Result<Self> {
        let (database, document, span) = resolve(tx, conversation, pin).await?;
        let pinned = Self::list(tx, conversation.case_id, conversation.id).await?;
        let same = |item: &&Self| item.database == database && item.document == document && item.span == span;
        if let Some(item) = pinned.iter().find(same) {
            return Ok(item.clone());
        }
        if pinned.len() >= MOST {
            return Err(Error::Conflict("a conversation holds at most 200 pinned items; remove some"));
        }
        let (id, now) = (ContextId::new(), tx.now());
        change!(tx, c => sqlx::query(
            "insert into context_items (id, conversation_id, case_id, database_id, document_id, span_start, span_end, created_at)
             values ($1,$2,$3,$4,$5,$6,$7,$8)")
            .bind(id.uuid()).bind(conversation.id.uuid()).bind(conversation.case_id.uuid()).bind(database.uuid())
            .bind(document.map(DocumentId::uuid)).bind(span.as_ref().map(|s| i64::from(s.start)))
            .bind(span.as_ref().map(|s| i64::from(s.end))).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::ContextChanged { case: conversation.case_id, conversation: conversation.id }).await?;
        Ok(Self { id, conversation: conversation.id, database, document, span, created_at: now })
    }

    /// Removes one of the actor's pinned items.
    pub async fn unpin(tx: &mut Tx, id: ContextId) -> Result<()> {
        let conversation: Option<Uuid> = query!(tx, c => sqlx::query_scalar(
            "select conversation_id from context_items where id = $1").bind(id.uuid()).fetch_optional(c).await)?;
        let conversation = conversation.map(ConversationId).ok_or(Error::NotFound)?;
        let conversation = Conversation::find(tx, conversation).await?;
        change!(tx, c => sqlx::query("delete from context_items where id = $1").bind(id.uuid()).execute(c).await.map(drop))?;
        tx.audit(Audit::ContextChanged { case: conversation.case_id, conversation: conversation.id }).await
    }
}

async fn resolve(
    tx: &mut Tx,
    conversation: &Conversation,
    pin: &Pin,
) -> Result<(DatabaseId, Option<DocumentId>, Option<Range<u32>>)> {
    match pin {
        Pin::Database(id) => {
            let database = Database::find(tx, *id, Action::ReadDocuments).await?;
            if database.case_id != conversation.case_id {
                return Err(Error::NotFound);
            }
            Ok((database.id, None, None))
        }
        Pin::Document(id, span) => {
            let document = Document::find(tx, *id, Action::ReadDocuments).await?;
            if document.case != conversation.case_id {
                return Err(Error::NotFound);
            }
            let length = document.characters.unwrap_or(0);
            if span.as_ref().is_some_and(|span| span.start >= span.end || span.end > length) {
                return Err(Error::Invalid("start and end must be a passage of the document's text"));
            }
            Ok((document.database, Some(document.id), span.clone()))
        }
    }
}
