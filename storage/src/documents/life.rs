//! The moves of a document's life. Each is conditional on where the document stands, so that a job run twice, or a job that
//! lost a race with a cancellation, changes nothing.

use domain::{
    access::Action,
    events::{Event, Topic},
    ids::{CaseId, DocumentId},
    jobs::{ExtractText, IndexDatabase},
    outcome::{Category, DocumentState, Exception},
    provenance::Provenance,
    text::{Metadata, Warning},
};
use uuid::Uuid;

use super::{Details, Document, Fingerprints, content::copies_changed, place, release_contents};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches::Batch,
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
    /// What read it.
    pub provenance: Provenance,
    /// What relates it to others.
    pub fingerprints: Fingerprints,
}

impl Document {
    /// Received → ingested: identified and unpacked; its text is wanted next. `details` carries what identification learned.
    pub async fn set_ingested(&self, tx: &mut Tx, format: &str, media_type: &str, details: &Details) -> Result<()> {
        let (now, sealed) = (tx.now(), self.sealed(tx, details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'ingested', format = $2, media_type = $3, sealed_details = $4, exception = null,
             updated_at = $5 where id = $1 and state = 'received' and original_blob = $6 and deleted_at is null")
            .bind(self.id.uuid()).bind(format).bind(media_type).bind(sealed).bind(now.0).bind(self.original.uuid()).execute(c).await
            .map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        tx.enqueue(&ExtractText { case: self.case, document: self.id }).await
    }

    /// Received → duplicate of `first`. Terminal.
    pub async fn set_duplicate(&self, tx: &mut Tx, first: DocumentId) -> Result<()> {
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'duplicate', duplicate_of = $2, exception = null, updated_at = $3
             where id = $1 and state = 'received' and original_blob = $4 and deleted_at is null")
            .bind(self.id.uuid()).bind(first.uuid()).bind(now.0).bind(self.original.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        if !self.custodian_is_known(tx, first).await? {
            copies_changed(tx, self.case, first).await?;
        }
        tx.audit(Audit::DocumentDuplicate { case: self.case, document: self.id, duplicate_of: first }).await
    }

    /// Received → excluded: the operator's list of known files names its bytes. Terminal. What it stood for falls to its first copy.
    pub async fn set_known_file(&self, tx: &mut Tx) -> Result<()> {
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'excluded', exclusion = 'known_file', exception = null, updated_at = $2
             where id = $1 and state = 'received' and original_blob = $3 and deleted_at is null")
            .bind(self.id.uuid()).bind(now.0).bind(self.original.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        release_contents(tx, self.case, &[self.id]).await?;
        tx.audit(Audit::DocumentKnownFile { case: self.case, document: self.id }).await
    }

    /// Ingested → extracted: its text is stored; its database's index is asked to take it.
    pub async fn set_extracted(&self, tx: &mut Tx, extracted: &Extracted) -> Result<()> {
        let details = Details {
            metadata: extracted.metadata.clone(),
            warnings: self.details.left_in.iter().chain(&extracted.warnings).cloned().collect(),
            exception: None,
            ignored: None,
            ..self.details.clone()
        };
        let reader = self.record_text(tx, extracted).await?;
        let (now, sealed) = (tx.now(), self.sealed(tx, &details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'extracted', text_blob = $2, pages = $3, characters = $4, reader = $5,
             sealed_details = $6, exception = null, updated_at = $7
             where id = $1 and state = 'ingested' and original_blob = $8 and deleted_at is null")
            .bind(self.id.uuid()).bind(extracted.text.blob.uuid()).bind(i64::from(extracted.pages))
            .bind(i64::from(extracted.characters)).bind(&reader[..]).bind(sealed).bind(now.0).bind(self.original.uuid())
            .execute(c).await.map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        tx.register_blob(self.case, BlobKind::Text, &extracted.text).await?;
        self.record_fingerprints(tx, &extracted.fingerprints).await?;
        tx.audit(Audit::DocumentExtracted {
            case: self.case,
            document: self.id,
            reader: format!("{} {}", extracted.provenance.tool, extracted.provenance.version),
            text_sha256: hex::encode(extracted.text.sha256),
        })
        .await?;
        tx.enqueue(&IndexDatabase { case: self.case, database: self.database }).await
    }

    /// Any moving state → exception. Terminal until somebody retries. `format` when the document was identified. A document
    /// that was only read again keeps the text it had, with a warning: nothing that was found before is lost by it.
    pub async fn set_exception(&self, tx: &mut Tx, exception: &Exception, format: Option<(&str, &str)>) -> Result<()> {
        if self.state == DocumentState::Ingested && self.in_index && self.text.is_some() {
            return self.keep_text(tx, exception).await;
        }
        let details = Details { exception: Some(exception.clone()), ignored: None, ..self.details.clone() };
        let (now, sealed) = (tx.now(), self.sealed(tx, &details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'exception', exception = $2, sealed_details = $3, format = coalesce($4, format),
             media_type = coalesce($5, media_type), updated_at = $6
             where id = $1 and state in ('received', 'ingested', 'extracted') and original_blob = $7 and deleted_at is null")
            .bind(self.id.uuid()).bind(exception.category.name()).bind(sealed).bind(format.map(|f| f.0)).bind(format.map(|f| f.1))
            .bind(now.0).bind(self.original.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        self.note_damage(tx, exception.category).await?;
        tx.audit(Audit::DocumentException { case: self.case, document: self.id, category: exception.category }).await
    }

    /// That stored bytes are not what they were is an event of its own, which whoever watches over the whole system may see.
    async fn note_damage(&self, tx: &mut Tx, category: Category) -> Result<()> {
        if category != Category::Integrity {
            return Ok(());
        }
        tx.audit(Audit::DocumentDamaged { case: self.case, document: self.id }).await
    }

    /// Ingested → indexed: the second reading failed and the first one stands.
    async fn keep_text(&self, tx: &mut Tx, exception: &Exception) -> Result<()> {
        let mut details = self.details.clone();
        details.warnings.push(Warning {
            category: exception.category,
            page: exception.page,
            detail: format!("reading it again failed, so its earlier text stands: {}", exception.detail),
        });
        let (now, sealed) = (tx.now(), self.sealed(tx, &details).await?);
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'indexed', sealed_details = $2, updated_at = $3
             where id = $1 and state = 'ingested' and in_index and original_blob = $4 and deleted_at is null")
            .bind(self.id.uuid()).bind(sealed).bind(now.0).bind(self.original.uuid()).execute(c).await
            .map(|r| r.rows_affected()))?;
        self.moved(tx, moved)?;
        self.note_damage(tx, exception.category).await?;
        tx.audit(Audit::TextKept { case: self.case, document: self.id, category: exception.category }).await
    }

    /// Deletes a document with everything unpacked from it: gone for readers at once, from the index with its next
    /// generation.
    pub async fn delete(&self, tx: &mut Tx) -> Result<u64> {
        crate::cases::permit(tx, self.case, &self.standing, Action::DeleteDocuments)?;
        let removed = remove(tx, self.case, self.id).await?;
        tx.enqueue(&IndexDatabase { case: self.case, database: self.database }).await?;
        self.changed(tx);
        Ok(removed)
    }

    async fn sealed(&self, tx: &mut Tx, details: &Details) -> Result<Vec<u8>> {
        let key = tx.case_key(self.case).await?;
        seal(&key, &place(self.id), details)
    }

    pub(super) fn changed(&self, tx: &mut Tx) {
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

/// Deletes a document and everything unpacked from it, and ends their jobs. Returns how many documents.
pub(super) async fn remove(tx: &mut Tx, case: CaseId, document: DocumentId) -> Result<u64> {
    let now = tx.now();
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
        "with recursive tree (id) as (select id from documents where id = $1
         union all select d.id from documents d join tree on d.parent_id = tree.id) select id from tree")
        .bind(document.uuid()).fetch_all(c).await)?;
    let mut removed = Vec::with_capacity(ids.len());
    for id in ids {
        let copy_of: Option<Option<Uuid>> = change!(tx, c => sqlx::query_scalar(
            "update documents set deleted_at = $2, updated_at = $2 where id = $1 and deleted_at is null
             returning case when state = 'duplicate' then duplicate_of end")
            .bind(id).bind(now.0).fetch_optional(c).await)?;
        if let Some(first) = copy_of.flatten() {
            copies_changed(tx, case, DocumentId(first)).await?;
        }
        change!(tx, c => sqlx::query(
            "update jobs set state = 'cancelled', finished_at = $2, lease_until = null
             where document_id = $1 and state in ('ready', 'running')")
            .bind(id).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::DocumentDeleted { case, document: DocumentId(id) }).await?;
        removed.push(DocumentId(id));
    }
    release_contents(tx, case, &removed).await?;
    Ok(removed.len() as u64)
}

/// Ends every unfinished document of a cancelled batch, and its copies of them, as excluded. What was only read again stays
/// indexed with the text it had.
pub async fn exclude_unfinished(tx: &mut Tx, batch: &Batch) -> Result<u64> {
    let now = tx.now();
    change!(tx, c => sqlx::query(
        "update documents set state = 'indexed', updated_at = $2
         where batch_id = $1 and state = 'ingested' and in_index and text_blob is not null and deleted_at is null")
        .bind(batch.id.uuid()).bind(now.0).execute(c).await.map(drop))?;
    let excluded: Vec<Uuid> = change!(tx, c => sqlx::query_scalar(
        "update documents set state = 'excluded', exclusion = 'cancelled', updated_at = $2
         where batch_id = $1 and state in ('received', 'ingested', 'extracted')
         and not (in_index and text_blob is not null and state = 'extracted') returning id")
        .bind(batch.id.uuid()).bind(now.0).fetch_all(c).await)?;
    // Copies it brought of its own unfinished documents must not take their place.
    let copies = change!(tx, c => sqlx::query(
        "update documents set state = 'excluded', exclusion = 'cancelled', duplicate_of = null, updated_at = $2
         where batch_id = $1 and state = 'duplicate' and deleted_at is null
         and duplicate_of in (select id from documents where batch_id = $1 and state = 'excluded')")
        .bind(batch.id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    let ids: Vec<DocumentId> = excluded.iter().copied().map(DocumentId).collect();
    release_contents(tx, batch.case_id, &ids).await?;
    Ok(excluded.len() as u64 + copies)
}
