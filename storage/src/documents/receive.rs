//! Receiving: a delivered file, or a member of a container, becomes a document row together with its register entry, its
//! audit event and its first job. The same item of the same batch is received once.

use domain::{
    events::{Event, Topic},
    ids::DocumentId,
    jobs::IngestDocument,
    outcome::{DocumentState, Exception},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Details, Document, place, protected::item_key};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches::Batch,
    db::{change, query},
    items::{self, Item},
    load_files,
    objects::{BlobKind, Stored},
    tx::seal,
};

/// What makes a file one item of a batch: the same bytes from the same path are the same item.
pub fn key_of(stored: &Stored, path: &str) -> String {
    format!("{} {path}", hex::encode(stored.sha256))
}

/// What became of a delivered item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The document.
    pub document: DocumentId,
    /// False when the item had been received before: then the bytes delivered now are not kept.
    pub fresh: bool,
}

/// A member unpacked from a container.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// Position in the container, from 0.
    pub ordinal: u32,
    /// Name, path and times as the container says.
    pub details: Details,
    /// Its bytes, stored.
    pub stored: Stored,
    /// Set when it could not be read: then it ends as an exception at once.
    pub exception: Option<Exception>,
}

struct Insert<'a> {
    id: DocumentId,
    item_key: [u8; 32],
    parent: Option<&'a Document>,
    family: DocumentId,
    ordinal: u32,
    state: DocumentState,
    details: &'a Details,
    stored: &'a Stored,
}

/// Receives delivered files into a batch found with [`domain::access::Action::Upload`]: rows, audit event and jobs.
/// Each file comes with the key that makes it this item of the batch (for example its path and hash): an item received
/// before keeps its document. A batch that is not open takes nothing new: [`Error::Conflict`].
pub async fn receive(tx: &mut Tx, batch: &Batch, files: &[(&str, Details, Stored)]) -> Result<Vec<Receipt>> {
    let open = batch.takes_files(tx).await?;
    take(tx, batch, files, open, None).await
}

/// The same for an upload that was complete before the batch was sealed.
pub async fn receive_upload(tx: &mut Tx, batch: &Batch, files: &[(&str, Details, Stored)]) -> Result<Vec<Receipt>> {
    let open = batch.takes_files(tx).await? || batch.state == "sealed";
    take(tx, batch, files, open, None).await
}

/// The same for the file of `item`, fetched from where its load file says. What is known of it does not wait for other load files.
pub async fn receive_fetched(
    tx: &mut Tx,
    batch: &Batch,
    item: &Item,
    file: (&str, Details, Stored),
) -> Result<Receipt> {
    let open = batch.takes_files(tx).await? || batch.state == "sealed";
    let stored = file.2;
    let receipts = take(tx, batch, &[file], open, Some(item)).await?;
    let [receipt] = receipts[..] else { return Err(Error::Invalid("one file has one receipt")) };
    if !receipt.fresh {
        items::deliver(tx, item, receipt.document, &stored).await?;
    }
    Ok(receipt)
}

async fn take(
    tx: &mut Tx,
    batch: &Batch,
    files: &[(&str, Details, Stored)],
    open: bool,
    known: Option<&Item>,
) -> Result<Vec<Receipt>> {
    if known.is_none() && load_files::waits(tx, batch).await? {
        return Err(Error::Conflict(load_files::STILL_READ));
    }
    let announced = items::any(tx, batch.id).await?;
    let mut receipts = Vec::with_capacity(files.len());
    let mut fresh = Vec::new();
    for (key, details, stored) in files {
        let item_key: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let id = DocumentId::new();
        let mut details = details.clone();
        let item = match known {
            Some(item) => {
                item.carry(&mut details);
                Some(item.clone())
            }
            None if announced => items::announced(tx, batch, &mut details).await?,
            None => None,
        };
        let state = DocumentState::Received;
        let row = Insert { id, item_key, parent: None, family: id, ordinal: 0, state, details: &details, stored };
        if !open || !insert(tx, batch.case_id, batch.database_id, batch.id, &row).await? {
            let existing = existing(tx, batch.id.uuid(), &item_key).await?;
            let document = existing.ok_or(Error::Conflict("the batch takes no more files; open another"))?;
            receipts.push(Receipt { document, fresh: false });
            continue;
        }
        if let Some(item) = item {
            items::deliver(tx, &item, id, stored).await?;
        }
        tx.register_blob(batch.case_id, BlobKind::Original, stored).await?;
        tx.enqueue(&IngestDocument { case: batch.case_id, document: id }).await?;
        fresh.push((id, hex::encode(stored.sha256)));
        receipts.push(Receipt { document: id, fresh: true });
    }
    tx.audit(Audit::DocumentsReceived { case: batch.case_id, batch: batch.id, documents: fresh }).await?;
    tx.publish(Topic::Database(batch.database_id), Event::DatabaseChanged { database: batch.database_id });
    Ok(receipts)
}

impl Document {
    /// Makes documents of a container's members, each with its first job (or its exception). Members added by an earlier
    /// run on the same bytes are left as they are, but for those that were protected then and are open now. Each begins a family of its own when the container is a mere store of `families`, and is of
    /// the container's family otherwise. Returns the ids and hashes of those added now, for the audit event.
    pub async fn add_members(
        &self,
        tx: &mut Tx,
        members: &[NewMember],
        families: bool,
    ) -> Result<Vec<(DocumentId, String)>> {
        let mut added = Vec::new();
        for member in members {
            let id = DocumentId::new();
            let state = if member.exception.is_some() { DocumentState::Exception } else { DocumentState::Received };
            let details = Details { exception: member.exception.clone(), ..member.details.clone() };
            let row = Insert {
                id,
                item_key: item_key(self, member.ordinal),
                parent: Some(self),
                family: if families { id } else { self.family },
                ordinal: member.ordinal,
                state,
                details: &details,
                stored: &member.stored,
            };
            if !insert(tx, self.case, self.database, self.batch, &row).await? {
                if let Some(opened) = self.open_member(tx, member).await? {
                    added.push((opened.document, hex::encode(member.stored.sha256)));
                }
                continue;
            }
            tx.register_blob(self.case, BlobKind::Original, &member.stored).await?;
            added.push((id, hex::encode(member.stored.sha256)));
            match &member.exception {
                None => tx.enqueue(&IngestDocument { case: self.case, document: id }).await?,
                Some(exception) => {
                    let category = exception.category;
                    tx.audit(Audit::DocumentException { case: self.case, document: id, category }).await?;
                }
            }
        }
        Ok(added)
    }
}

async fn existing(tx: &mut Tx, batch: Uuid, item_key: &[u8; 32]) -> Result<Option<DocumentId>> {
    let id: Option<Uuid> = query!(tx, c => sqlx::query_scalar("select id from documents where batch_id = $1 and item_key = $2")
        .bind(batch).bind(&item_key[..]).fetch_optional(c).await)?;
    Ok(id.map(DocumentId))
}

async fn insert(
    tx: &mut Tx,
    case: domain::ids::CaseId,
    database: domain::ids::DatabaseId,
    batch: domain::ids::BatchId,
    new: &Insert<'_>,
) -> Result<bool> {
    let key = tx.case_key(case).await?;
    let sealed = seal(&key, &place(new.id), new.details)?;
    let now = tx.now();
    let depth = new.parent.map_or(0, |parent| parent.depth + 1);
    let category = new.details.exception.as_ref().map(|e| e.category.name());
    let inserted = change!(tx, c => sqlx::query(
        "insert into documents (id, case_id, database_id, batch_id, parent_id, family_id, ordinal, depth, item_key, state, size,
         sha256, original_blob, exception, sealed_details, created_at, updated_at)
         values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$16) on conflict do nothing")
        .bind(new.id.uuid()).bind(case.uuid()).bind(database.uuid()).bind(batch.uuid())
        .bind(new.parent.map(|p| p.id.uuid())).bind(new.family.uuid()).bind(i64::from(new.ordinal)).bind(i64::from(depth))
        .bind(&new.item_key[..]).bind(new.state.name()).bind(i64::try_from(new.stored.size).unwrap_or(i64::MAX))
        .bind(&new.stored.sha256[..]).bind(new.stored.blob.uuid()).bind(category).bind(sealed).bind(now.0)
        .execute(c).await.map(|r| r.rows_affected()))?;
    Ok(inserted == 1)
}
