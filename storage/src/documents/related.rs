//! The documents that belong with one: the conversation a message is of, the near-duplicates of a text, what is attached to
//! messages. A copy belongs where the document stands that it is a copy of.

use domain::{
    ids::{CaseId, DocumentId},
    page::{Page, PageQuery},
};
use uuid::Uuid;

use super::{Document, Row, columns, open_all, relations::signatures_of};
use crate::{Error, Result, Tx, db::query};

/// A near-duplicate of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct NearDuplicate {
    /// The other document.
    pub document: Document,
    /// How alike the two are, in percent; `None` when one of them was read again since, and is too short now.
    pub similarity: Option<u8>,
}

impl Document {
    /// The messages of its thread that are indexed, in the order of time; none when it is no message.
    pub async fn conversation(&self, tx: &mut Tx, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let (position, after): (i64, Uuid) = page.key()?.unwrap_or((-1, Uuid::nil()));
        let thread = self.relation.thread.map_or(Uuid::nil(), DocumentId::uuid);
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where r.thread_id = $1 and r.case_id = $2 and f.duplicate_of is null and f.deleted_at is null
             and (r.position > $3 or (r.position = $3 and f.id > $4)) order by r.position, f.id limit $5"))
            .bind(thread).bind(self.case.uuid()).bind(position).bind(after).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let documents = open_all(tx, self.case, rows).await?;
        Ok(Page::of(documents, limit, |message| (message.position, message.id)))
    }

    /// The other documents of its group of near-duplicates, those most like the pivot first; none when it has no group.
    pub async fn near_duplicates(&self, tx: &mut Tx, page: &PageQuery) -> Result<Page<NearDuplicate>> {
        let limit = page.limit()?;
        let (similarity, after): (i64, Uuid) = page.key()?.unwrap_or((i64::MAX, Uuid::nil()));
        let first = self.duplicate_of.unwrap_or(self.id);
        let group = self.relation.group.map_or(Uuid::nil(), |(pivot, _)| pivot.uuid());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where r.group_id = $1 and r.case_id = $2 and f.id <> $3 and f.duplicate_of is null and f.deleted_at is null
             and (r.similarity < $4 or (r.similarity = $4 and f.id > $5)) order by r.similarity desc, f.id limit $6"))
            .bind(group).bind(self.case.uuid()).bind(first.uuid()).bind(similarity).bind(after).bind(i64::from(limit) + 1)
            .fetch_all(c).await)?;
        let page = Page::of(open_all(tx, self.case, rows).await?, limit, |other| {
            (other.relation.group.map_or(0, |(_, percent)| i64::from(percent)), other.id)
        });
        let mut compared: Vec<DocumentId> = page.items.iter().map(|other| other.id).collect();
        compared.push(first);
        let signatures = signatures_of(tx, &compared).await?;
        let signature = |of: DocumentId| signatures.iter().find(|(id, _)| *id == of).map(|(_, signature)| signature);
        let own = signature(first);
        Ok(page.map(|document| {
            let similarity = own.zip(signature(document.id)).map(|(one, other)| one.similarity(other));
            NearDuplicate { document, similarity }
        }))
    }
}

/// The ids of a thread's messages, in no order; [`Error::Invalid`] when there are more than `most`.
pub async fn of_thread(tx: &mut Tx, case: CaseId, thread: DocumentId, most: usize) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select document_id from relations where thread_id = $1 and case_id = $2 limit $3")
        .bind(thread.uuid()).bind(case.uuid()).bind(i64::try_from(most + 1).unwrap_or(i64::MAX)).fetch_all(c).await)?;
    if ids.len() > most {
        return Err(Error::Invalid("the thread has too many messages to be searched by itself"));
    }
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// What is attached to messages, parts shown inline left out: the message and the SHA-256 of the attachment.
pub async fn attachments(tx: &mut Tx, case: CaseId, messages: &[DocumentId]) -> Result<Vec<(DocumentId, [u8; 32])>> {
    let mut found = Vec::new();
    for ids in messages.chunks(500) {
        let rows: Vec<Row> = query!(tx, c => {
            let mut sql = sqlx::QueryBuilder::<Driver>::new(columns!("where f.deleted_at is null and f.parent_id in ("));
            let mut list = sql.separated(", ");
            for id in ids {
                list.push_bind(id.uuid());
            }
            sql.push(")");
            sql.build_query_as::<Row>().fetch_all(c).await.map_err(Error::from)
        })?;
        let attached = open_all(tx, case, rows).await?.into_iter().filter(|document| !document.details.inline);
        found.extend(attached.filter_map(|document| Some((document.parent?, document.sha256.try_into().ok()?))));
    }
    Ok(found)
}
