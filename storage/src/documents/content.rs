//! Duplicates: of several top-level documents with the same bytes in one database, the first stands for the content and the
//! others are kept as its copies. Attachments are never suppressed: a family stays whole.

use domain::{
    ids::{CaseId, DocumentId},
    jobs::IngestDocument,
};
use uuid::Uuid;

use super::Document;
use crate::{
    Result, Tx,
    db::{change, query},
};

/// Claims the content of a top-level document in its database. `Some(first)` when another document stands for it already.
pub async fn claim_content(tx: &mut Tx, document: &Document) -> Result<Option<DocumentId>> {
    if document.parent.is_some() {
        return Ok(None);
    }
    let first: Uuid = loop {
        change!(tx, c => sqlx::query(
            "insert into contents (database_id, sha256, document_id) values ($1, $2, $3) on conflict do nothing")
            .bind(document.database.uuid()).bind(&document.sha256).bind(document.id.uuid()).execute(c).await.map(drop))?;
        // Held until the commit: whoever deletes the first must see this copy and make it the heir.
        let sql = if tx.is_postgres() {
            "select document_id from contents where database_id = $1 and sha256 = $2 for share"
        } else {
            "select document_id from contents where database_id = $1 and sha256 = $2"
        };
        let first: Option<Uuid> = query!(tx, c => sqlx::query_scalar(sql)
            .bind(document.database.uuid()).bind(&document.sha256).fetch_optional(c).await)?;
        // None when the first was deleted between the two statements: then the place is free.
        if let Some(first) = first {
            break first;
        }
    };
    Ok((first != document.id.uuid()).then_some(DocumentId(first)))
}

/// Gives up the contents these documents stand for, and sends the first remaining copy of each through the pipeline in
/// their place. Called when documents are deleted or excluded.
pub async fn release_contents(tx: &mut Tx, case: CaseId, documents: &[DocumentId]) -> Result<()> {
    let now = tx.now();
    for document in documents {
        let released = change!(tx, c => sqlx::query("delete from contents where document_id = $1")
            .bind(document.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        if released == 0 {
            continue;
        }
        let heir: Option<Uuid> = query!(tx, c => sqlx::query_scalar(
            "select id from documents where duplicate_of = $1 and state = 'duplicate' and deleted_at is null order by id limit 1")
            .bind(document.uuid()).fetch_optional(c).await)?;
        let Some(heir) = heir else { continue };
        change!(tx, c => sqlx::query(
            "update documents set state = 'received', duplicate_of = null, updated_at = $2 where id = $1")
            .bind(heir).bind(now.0).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("update documents set duplicate_of = $2 where duplicate_of = $1 and state = 'duplicate'")
            .bind(document.uuid()).bind(heir).execute(c).await.map(drop))?;
        tx.enqueue(&IngestDocument { case, document: DocumentId(heir) }).await?;
    }
    Ok(())
}
