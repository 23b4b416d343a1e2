//! The moves of a document's life. Each is conditional on where the document stands, so that a job run twice, or a job that
//! lost a race with a cancellation, changes nothing.

use domain::{
    access::Action,
    events::{Event, Topic},
    ids::DocumentId,
    jobs::{ExtractText, IndexDatabase, IngestDocument},
    outcome::{Category, Exception},
    text::{Metadata, Warning},
};
use uuid::Uuid;

use super::{Details, Document, DocumentFilter, place, release_contents};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches::Batch,
    databases::Database,
    db::{change, query},
    objects::{BlobKind, Stored},
    tx::seal,
};

/// What extraction produced.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// The stored text.
    pub text: Stored,
    /// Pages in it.
    pub pages: u32,
    /// Scalars in it.
    pub characters: u32,
    /// What the document says about itself.
    pub metadata: Metadata,
    /// What could not be read.
    pub warnings: Vec<Warning>,
    /// What read it: name and version.
    pub reader: String,
}

impl Document {
    /// Received → ingested: identified and unpacked; its text is wanted next. `details` carries what identification learned.
    pub async fn set_ingested(&self, tx: &mut Tx, format: &str, media_type: &str, details: &Details) -> Result<()> {
        let (now, sealed) = (tx.now(), self.sealed(tx, details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'ingested', format = $2, media_type = $3, sealed_details = $4, exception = null,
             updated_at = $5 where id = $1 and state = 'received' and deleted_at is null")
            .bind(self.id.uuid()).bind(format).bind(media_type).bind(sealed).bind(now.0).execute(c).await
            .map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        tx.enqueue(&ExtractText { case: self.case, document: self.id }).await
    }

    /// Received → duplicate of `first`. Terminal.
    pub async fn set_duplicate(&self, tx: &mut Tx, first: DocumentId) -> Result<()> {
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'duplicate', duplicate_of = $2, updated_at = $3
             where id = $1 and state = 'received' and deleted_at is null")
            .bind(self.id.uuid()).bind(first.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        tx.audit(Audit::DocumentDuplicate { case: self.case, document: self.id, duplicate_of: first }).await
    }

    /// Ingested → extracted: its text is stored; its database's index is asked to take it.
    pub async fn set_extracted(&self, tx: &mut Tx, extracted: &Extracted) -> Result<()> {
        let details = Details {
            metadata: extracted.metadata.clone(),
            warnings: extracted.warnings.clone(),
            exception: None,
            ..self.details.clone()
        };
        let (now, sealed) = (tx.now(), self.sealed(tx, &details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'extracted', text_blob = $2, pages = $3, characters = $4, reader = $5,
             sealed_details = $6, exception = null, updated_at = $7 where id = $1 and state = 'ingested' and deleted_at is null")
            .bind(self.id.uuid()).bind(extracted.text.blob.uuid()).bind(i64::from(extracted.pages))
            .bind(i64::from(extracted.characters)).bind(&extracted.reader).bind(sealed).bind(now.0).execute(c).await
            .map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        if let Some(old) = self.text {
            tx.forget_blob(old).await?;
        }
        tx.register_blob(self.case, BlobKind::Text, &extracted.text).await?;
        tx.audit(Audit::DocumentExtracted {
            case: self.case,
            document: self.id,
            reader: extracted.reader.clone(),
            text_sha256: hex::encode(extracted.text.sha256),
        })
        .await?;
        tx.enqueue(&IndexDatabase { case: self.case, database: self.database }).await
    }

    /// Any moving state → exception. Terminal until somebody retries. `format` when the document was identified.
    pub async fn set_exception(&self, tx: &mut Tx, exception: &Exception, format: Option<(&str, &str)>) -> Result<()> {
        let details = Details { exception: Some(exception.clone()), ..self.details.clone() };
        let (now, sealed) = (tx.now(), self.sealed(tx, &details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'exception', exception = $2, sealed_details = $3, format = coalesce($4, format),
             media_type = coalesce($5, media_type), updated_at = $6
             where id = $1 and state in ('received', 'ingested', 'extracted') and deleted_at is null")
            .bind(self.id.uuid()).bind(exception.category.name()).bind(sealed).bind(format.map(|f| f.0)).bind(format.map(|f| f.1))
            .bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        tx.audit(Audit::DocumentException { case: self.case, document: self.id, category: exception.category }).await
    }

    /// Deletes a document with everything unpacked from it: gone for readers at once, from the index with its next
    /// generation.
    pub async fn delete(&self, tx: &mut Tx) -> Result<u64> {
        crate::cases::permit(tx, self.role, Action::DeleteDocuments)?;
        let now = tx.now();
        let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
            "with recursive tree (id) as (select id from documents where id = $1
             union all select d.id from documents d join tree on d.parent_id = tree.id) select id from tree")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        let mut removed = Vec::with_capacity(ids.len());
        for id in ids {
            change!(tx, c => sqlx::query("update documents set deleted_at = $2, updated_at = $2 where id = $1 and deleted_at is null")
                .bind(id).bind(now.0).execute(c).await.map(drop))?;
            change!(tx, c => sqlx::query(
                "update jobs set state = 'cancelled', finished_at = $2, lease_until = null
                 where document_id = $1 and state in ('ready', 'running')")
                .bind(id).bind(now.0).execute(c).await.map(drop))?;
            tx.audit(Audit::DocumentDeleted { case: self.case, document: DocumentId(id) }).await?;
            removed.push(DocumentId(id));
        }
        release_contents(tx, self.case, &removed).await?;
        tx.enqueue(&IndexDatabase { case: self.case, database: self.database }).await?;
        self.changed(tx);
        Ok(removed.len() as u64)
    }

    async fn sealed(&self, tx: &mut Tx, details: &Details) -> Result<Vec<u8>> {
        let key = tx.case_key(self.case).await?;
        seal(&key, &place(self.id), details)
    }

    fn changed(&self, tx: &mut Tx) {
        tx.publish(Topic::Database(self.database), Event::DatabaseChanged { database: self.database });
    }

    /// One row moved, or the document is no longer where the job thought.
    fn moved(&self, tx: &mut Tx, rows: u64) -> Result<()> {
        if rows != 1 {
            return Err(Error::LeaseLost);
        }
        self.changed(tx);
        Ok(())
    }
}

/// Ends every unfinished document of a cancelled batch, and its copies of them, as excluded.
pub async fn exclude_unfinished(tx: &mut Tx, batch: &Batch) -> Result<u64> {
    let now = tx.now();
    let excluded: Vec<Uuid> = change!(tx, c => sqlx::query_scalar(
        "update documents set state = 'excluded', updated_at = $2
         where batch_id = $1 and state in ('received', 'ingested', 'extracted') returning id")
        .bind(batch.id.uuid()).bind(now.0).fetch_all(c).await)?;
    // Copies it brought of its own unfinished documents must not take their place.
    let copies = change!(tx, c => sqlx::query(
        "update documents set state = 'excluded', duplicate_of = null, updated_at = $2
         where batch_id = $1 and state = 'duplicate' and deleted_at is null
         and duplicate_of in (select id from documents where batch_id = $1 and state = 'excluded')")
        .bind(batch.id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    let ids: Vec<DocumentId> = excluded.iter().copied().map(DocumentId).collect();
    release_contents(tx, batch.case_id, &ids).await?;
    Ok(excluded.len() as u64 + copies)
}

/// Sends exceptions through the pipeline again: one document, all of a category, or all of a database found with
/// [`Action::Upload`]. Returns how many.
pub async fn retry_exceptions(
    tx: &mut Tx,
    database: &Database,
    filter: &DocumentFilter,
    one: Option<DocumentId>,
) -> Result<u64> {
    crate::cases::permit(tx, database.role, Action::Upload)?;
    let now = tx.now();
    let ids: Vec<Uuid> = change!(tx, c => sqlx::query_scalar(
        "update documents set state = 'received', exception = null, updated_at = $2
         where database_id = $1 and state = 'exception' and deleted_at is null and ($3 or exception = $4) and ($5 or batch_id = $6)
         and ($7 or id = $8) returning id")
        .bind(database.id.uuid()).bind(now.0)
        .bind(filter.category.is_none()).bind(filter.category.map_or("", Category::name))
        .bind(filter.batch.is_none()).bind(filter.batch.map_or(Uuid::nil(), domain::ids::BatchId::uuid))
        .bind(one.is_none()).bind(one.map_or(Uuid::nil(), DocumentId::uuid)).fetch_all(c).await)?;
    for id in &ids {
        tx.enqueue(&IngestDocument { case: database.case_id, document: DocumentId(*id) }).await?;
    }
    let documents = ids.len() as u64;
    tx.audit(Audit::DocumentsRetried { case: database.case_id, database: database.id, documents }).await?;
    tx.publish(Topic::Database(database.id), Event::DatabaseChanged { database: database.id });
    Ok(documents)
}
