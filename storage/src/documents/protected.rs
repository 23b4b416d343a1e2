//! Protected documents on their way back into the pipeline. A document that could not be opened starts anew. A member that its
//! container did not give up has no bytes: the container is opened again, and the member gets its bytes then. What somebody
//! set aside, and what a cancelled batch left, stays where it is until a person names it.

use domain::{
    events::{Event, Topic},
    ids::{BatchId, BlobId, CaseId, DatabaseId, DocumentId},
    jobs::IngestDocument,
    outcome::Category,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Details, Document, NewMember, Selection, Sent, place};
use crate::{
    Result, Tx,
    audit::Audit,
    batches,
    db::{change, query},
    objects::BlobKind,
    tx::{seal, unseal},
};

/// Members named in one audit event.
const AUDITED_AT_ONCE: usize = 1_000;

/// A member that got its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its document.
    pub document: DocumentId,
    /// Its bytes.
    pub original: BlobId,
    /// The empty object it had, struck from the register.
    pub former: BlobId,
}

/// What tells the same member of the same bytes of a container.
pub(super) fn item_key(container: &Document, ordinal: u32) -> [u8; 32] {
    Sha256::new().chain_update(container.original.uuid()).chain_update(ordinal.to_be_bytes()).finalize().into()
}

/// Sends the first `most` documents of a case after `after` that were not tried with today's bank through the pipeline
/// again. Those sent no longer stand where this looks, so repeating it sends nothing twice.
pub async fn retry_protected(tx: &mut Tx, case: CaseId, after: DocumentId, most: u32) -> Result<Sent> {
    let found: Vec<(Uuid, Uuid)> = query!(tx, c => sqlx::query_as(
        "select f.id, f.batch_id from documents f join cases k on k.id = f.case_id
         where f.case_id = $1 and f.id > $2 and f.exception = 'encrypted' and f.state = 'exception' and f.deleted_at is null
         and (f.reader is not null or f.parent_id is null) and coalesce(f.bank_edition, 0) < k.bank_edition
         and k.deleted_at is null order by f.id limit $3")
        .bind(case.uuid()).bind(after.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    let Some(last) = found.last().map(|(id, _)| DocumentId(*id)) else { return Ok(Sent { documents: 0, last: after }) };
    let now = tx.now();
    let mut documents = 0;
    for (id, batch) in found {
        if is_cancelled(tx, batch).await? {
            continue;
        }
        let database: Option<Uuid> = change!(tx, c => sqlx::query_scalar(
            "update documents set state = 'received', exception = null, updated_at = $2
             where id = $1 and state = 'exception' and exception = 'encrypted' and deleted_at is null returning database_id")
            .bind(id).bind(now.0).fetch_optional(c).await)?;
        let Some(database) = database else { continue };
        batches::stir(tx, BatchId(batch)).await?;
        tx.enqueue(&IngestDocument { case, document: DocumentId(id) }).await?;
        changed(tx, DatabaseId(database));
        documents += 1;
    }
    if documents > 0 {
        tx.audit(Audit::ProtectedRetried { case, documents }).await?;
    }
    Ok(Sent { documents, last })
}

/// True when the batch was cancelled; otherwise it is not until this transaction ends.
async fn is_cancelled(tx: &mut Tx, batch: Uuid) -> Result<bool> {
    let sql = if tx.is_postgres() {
        "select state from batches where id = $1 for share"
    } else {
        "select state from batches where id = $1"
    };
    let state: Option<String> = query!(tx, c => sqlx::query_scalar(sql).bind(batch).fetch_optional(c).await)?;
    Ok(state.as_deref() == Some("cancelled"))
}

fn changed(tx: &mut Tx, database: DatabaseId) {
    tx.publish(Topic::Database(database), Event::DatabaseChanged { database });
}

/// The first container of a case after `after` with members that were not tried with today's bank. One that is on its way
/// through the pipeline tries them there; an infected one is never opened.
pub async fn protected_container(tx: &mut Tx, case: CaseId, after: DocumentId) -> Result<Option<Document>> {
    let id: Option<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select p.id from documents f join documents p on p.id = f.parent_id join cases k on k.id = f.case_id
         join batches b on b.id = f.batch_id
         where f.case_id = $1 and f.exception = 'encrypted' and f.state = 'exception' and f.reader is null
         and f.deleted_at is null and p.deleted_at is null and p.id > $2 and coalesce(f.bank_edition, 0) < k.bank_edition
         and p.state <> 'received' and (p.exception is null or p.exception <> 'virus') and k.deleted_at is null
         and b.state <> 'cancelled' order by p.id limit 1")
        .bind(case.uuid()).bind(after.uuid()).fetch_optional(c).await)?;
    match id {
        Some(id) => Document::load(tx, case, DocumentId(id)).await.map(Some),
        None => Ok(None),
    }
}

impl Document {
    /// Positions of the members that this container did not give up for want of a password.
    pub async fn protected_members(&self, tx: &mut Tx) -> Result<Vec<u32>> {
        let ordinals: Vec<i64> = query!(tx, c => sqlx::query_scalar(
            "select ordinal from documents where parent_id = $1 and state = 'exception' and exception = 'encrypted'
             and reader is null and deleted_at is null order by ordinal")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        Ok(ordinals.into_iter().filter_map(|ordinal| u32::try_from(ordinal).ok()).collect())
    }

    /// Gives members of this container the bytes it gave up now, and sends them through the pipeline. One that is not, or no
    /// longer, a member without bytes of that position and path is left as it is, and its new object belongs to nobody. Those
    /// still protected note the `edition` of the bank that was tried. `None` when somebody else did all this meanwhile: then
    /// there is nothing to commit.
    pub async fn open_members(&self, tx: &mut Tx, members: &[NewMember], edition: i64) -> Result<Option<Vec<Opened>>> {
        let (mut opened, mut hashes) = (Vec::new(), Vec::new());
        let cancelled = is_cancelled(tx, self.batch.uuid()).await?;
        for member in members.iter().filter(|_| !cancelled) {
            if let Some(one) = self.open_member(tx, member).await? {
                hashes.push((one.document, hex::encode(member.stored.sha256)));
                opened.push(one);
            }
        }
        if !opened.is_empty() {
            batches::stir(tx, self.batch).await?;
        }
        let noted = self.note_tried(tx, edition).await?;
        if opened.is_empty() && noted == 0 {
            return Ok(None);
        }
        let (case, document) = (self.case, self.id);
        let mut events: Vec<_> = hashes.chunks(AUDITED_AT_ONCE).map(<[_]>::to_vec).collect();
        if events.is_empty() {
            events.push(Vec::new());
        }
        for members in events {
            tx.audit(Audit::MembersOpened { case, document, members }).await?;
        }
        Ok(Some(opened))
    }

    pub(super) async fn open_member(&self, tx: &mut Tx, member: &NewMember) -> Result<Option<Opened>> {
        if member.exception.is_some() {
            return Ok(None);
        }
        let row: Option<(Uuid, Uuid, Vec<u8>)> = query!(tx, c => sqlx::query_as(
            "select id, original_blob, sealed_details from documents where batch_id = $1 and item_key = $2 and parent_id = $3
             and state = 'exception' and exception = 'encrypted' and reader is null and deleted_at is null")
            .bind(self.batch.uuid()).bind(&item_key(self, member.ordinal)[..]).bind(self.id.uuid())
            .fetch_optional(c).await)?;
        let Some((id, former, sealed)) = row else { return Ok(None) };
        let (document, former, now) = (DocumentId(id), BlobId(former), tx.now());
        let key = tx.case_key(self.case).await?;
        let details: Details = unseal(&key, &place(document), &sealed)?;
        if details.path != member.details.path {
            return Ok(None);
        }
        let sealed = seal(&key, &place(document), &Details { exception: None, ..details })?;
        let stored = &member.stored;
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'received', exception = null, bank_edition = null, size = $3, sha256 = $4,
             original_blob = $5, sealed_details = $6, updated_at = $7
             where id = $1 and original_blob = $2 and state = 'exception' and deleted_at is null")
            .bind(id).bind(former.uuid()).bind(i64::try_from(stored.size).unwrap_or(i64::MAX)).bind(&stored.sha256[..])
            .bind(stored.blob.uuid()).bind(sealed).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if moved != 1 {
            return Ok(None);
        }
        tx.register_blob(self.case, BlobKind::Original, stored).await?;
        tx.forget_blob(former).await?;
        tx.enqueue(&IngestDocument { case: self.case, document }).await?;
        self.changed(tx);
        Ok(Some(Opened { document, original: stored.blob, former }))
    }

    /// Notes that this edition of the bank was tried on what is still protected of this document: itself, or its members.
    /// Returns how many had not noted it.
    pub async fn note_tried(&self, tx: &mut Tx, edition: i64) -> Result<u64> {
        Ok(change!(tx, c => sqlx::query(
            "update documents set bank_edition = $2 where (id = $1 or (parent_id = $1 and reader is null))
             and state = 'exception' and exception = 'encrypted' and (bank_edition is null or bank_edition < $2)
             and deleted_at is null")
            .bind(self.id.uuid()).bind(edition).execute(c).await.map(|r| r.rows_affected()))?)
    }

    /// Has a document tried again with the passwords there are, because somebody named it. False when neither it nor a
    /// member of it waits for one.
    pub(crate) async fn unlock(&self, tx: &mut Tx) -> Result<bool> {
        let now = tx.now();
        let without_bytes = wait_for_container(
            tx,
            self.database,
            &Selection { document: Some(self.id), category: Some(Category::Encrypted), batch: None },
        )
        .await?;
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'received', exclusion = null, exception = null, updated_at = $2
             where id = $1 and (state = 'exception' or (state = 'excluded' and exclusion = 'ignored'))
             and exception = 'encrypted' and (reader is not null or parent_id is null) and deleted_at is null")
            .bind(self.id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if moved == 1 {
            batches::stir(tx, self.batch).await?;
            tx.enqueue(&IngestDocument { case: self.case, document: self.id }).await?;
        }
        self.changed(tx);
        let inside = without_bytes > 0 || !self.protected_members(tx).await?.is_empty();
        Ok(moved == 1 || (inside && !is_cancelled(tx, self.batch.uuid()).await?))
    }
}

/// Lets the selected members that their containers did not give up wait for `retry_protected`, which opens the container
/// again: sent through the pipeline they would be files without a byte. One that is named, also when it is ignored.
pub(super) async fn wait_for_container(tx: &mut Tx, database: DatabaseId, selection: &Selection) -> Result<u64> {
    let now = tx.now();
    let Selection { category, batch, document } = *selection;
    if category.is_some_and(|category| category != Category::Encrypted) {
        return Ok(0);
    }
    Ok(change!(tx, c => sqlx::query(
        "update documents set state = 'exception', exclusion = null, bank_edition = null, updated_at = $2
         where database_id = $1 and (state = 'exception' or ($5 = id and state = 'excluded' and exclusion = 'ignored'))
         and exception = 'encrypted' and reader is null and parent_id is not null and deleted_at is null
         and ($3 or batch_id = $4) and ($6 or id = $5)")
        .bind(database.uuid()).bind(now.0)
        .bind(batch.is_none()).bind(batch.map_or(Uuid::nil(), BatchId::uuid))
        .bind(document.map_or(Uuid::nil(), DocumentId::uuid)).bind(document.is_none())
        .execute(c).await.map(|r| r.rows_affected()))?)
}
