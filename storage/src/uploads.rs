//! Uploads in pieces, which survive broken connections and restarts: each piece is stored and counted when it is durable, so a client
//! goes on where the count stands. When all bytes are there a job puts them together and receives the file.

use std::time::Duration;

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{BatchId, BlobId, CaseId, DatabaseId, DocumentId, UploadId, UserId},
    jobs::AssembleUpload,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches::Batch,
    databases::Database,
    db::{change, query},
    load_files,
    objects::{BlobKind, Stored},
    tx::{seal, unseal},
    vault::Place,
};

/// Most uploads that are put together into one.
pub const MOST_JOINED: usize = 1_000;

/// Whether an upload is a file, a piece of one, or pieces put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    /// A file.
    Whole,
    /// A piece that waits to be put together with others.
    Partial,
    /// Made of pieces.
    Final,
}

impl UploadKind {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Final => "final",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Whole, Self::Partial, Self::Final].into_iter().find(|kind| kind.name() == name)
    }
}

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Its case.
    pub case: CaseId,
    /// Its database.
    pub database: DatabaseId,
    /// The delivery it belongs to.
    pub batch: BatchId,
    /// What it is.
    pub kind: UploadKind,
    /// All bytes are there.
    pub is_complete: bool,
    /// Bytes in all, once the client has said it.
    pub length: Option<u64>,
    /// Bytes that are durable.
    pub received: u64,
    /// The document it became.
    pub document: Option<DocumentId>,
    /// The sealed part.
    pub details: UploadDetails,
    /// Who began it.
    pub created_by: Option<UserId>,
    /// When it is forgotten unless it goes on before.
    pub expires_at: Timestamp,
}

/// The sealed part of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UploadDetails {
    /// File name.
    pub name: String,
    /// Path in the delivery.
    pub path: String,
    /// The file's own time of change.
    pub modified_at: Option<Timestamp>,
    /// What the client said about it, as it said it.
    #[serde(default)]
    pub said: String,
    /// What it is put together of, as the client said it.
    #[serde(default)]
    pub joined: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    database_id: Uuid,
    batch_id: Uuid,
    state: String,
    kind: String,
    length: Option<i64>,
    received: i64,
    document_id: Option<Uuid>,
    sealed_details: Vec<u8>,
    created_by: Option<Uuid>,
    expires_at: i64,
}

fn place(id: UploadId) -> Place {
    Place::new("uploads", "sealed_details", id)
}

fn large(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

async fn open_row(tx: &mut Tx, row: Row) -> Result<Upload> {
    let key = tx.case_key(CaseId(row.case_id)).await?;
    let id = UploadId(row.id);
    Ok(Upload {
        id,
        case: CaseId(row.case_id),
        database: DatabaseId(row.database_id),
        batch: BatchId(row.batch_id),
        kind: UploadKind::parse(&row.kind).ok_or(Error::Invalid("unknown kind of upload in a row"))?,
        is_complete: row.state == "complete",
        length: row.length.map(count),
        received: count(row.received),
        document: row.document_id.map(DocumentId),
        details: unseal(&key, &place(id), &row.sealed_details)?,
        created_by: row.created_by.map(UserId),
        expires_at: Timestamp(row.expires_at),
    })
}

impl Upload {
    /// Begins an upload into an open batch of a database found with [`Action::Upload`]. It is forgotten when nothing comes for
    /// `patience`.
    pub async fn create(
        tx: &mut Tx,
        database: &Database,
        batch: &Batch,
        kind: UploadKind,
        length: Option<u64>,
        details: &UploadDetails,
        patience: Duration,
    ) -> Result<Self> {
        crate::cases::permit(tx, database.case_id, &database.standing, Action::Upload)?;
        if !batch.takes_files(tx).await? {
            return Err(Error::Conflict("the batch takes no more files; open another"));
        }
        if load_files::waits(tx, batch).await? {
            return Err(Error::Conflict(load_files::STILL_READ));
        }
        let (id, now, by) = (UploadId::new(), tx.now(), tx.actor().user());
        let key = tx.case_key(batch.case_id).await?;
        let sealed = seal(&key, &place(id), details)?;
        change!(tx, c => sqlx::query(
            "insert into uploads (id, case_id, database_id, batch_id, state, kind, length, sealed_details, created_by, created_at, expires_at)
             values ($1,$2,$3,$4,'open',$5,$6,$7,$8,$9,$10)")
            .bind(id.uuid()).bind(batch.case_id.uuid()).bind(batch.database_id.uuid()).bind(batch.id.uuid()).bind(kind.name())
            .bind(length.map(large)).bind(sealed).bind(by.map(UserId::uuid)).bind(now.0).bind(now.plus(patience).0)
            .execute(c).await.map(drop))?;
        tx.audit(Audit::UploadCreated { case: batch.case_id, batch: batch.id, upload: id }).await?;
        let mut upload = Self::load(tx, batch.case_id, id).await?;
        if length == Some(0) {
            upload.complete(tx).await?;
        }
        Ok(upload)
    }

    /// Finds an upload under its batch.
    pub async fn find(tx: &mut Tx, batch: &Batch, id: UploadId) -> Result<Self> {
        let upload = Self::load(tx, batch.case_id, id).await?;
        if upload.batch == batch.id { Ok(upload) } else { Err(Error::NotFound) }
    }

    /// Loads an upload for a job of its case.
    pub async fn load(tx: &mut Tx, case: CaseId, id: UploadId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c => sqlx::query_as(
            "select id, case_id, database_id, batch_id, state, kind, length, received, document_id, sealed_details, created_by,
             expires_at from uploads where id = $1 and case_id = $2")
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        open_row(tx, row.ok_or(Error::NotFound)?).await
    }

    /// Says how long an upload will be whose client did not know at first.
    pub async fn set_length(&mut self, tx: &mut Tx, length: u64) -> Result<()> {
        if self.length.is_some_and(|known| known != length) || length < self.received {
            return Err(Error::Conflict("the length of the upload is known already, or more has come"));
        }
        change!(tx, c => sqlx::query("update uploads set length = $2 where id = $1")
            .bind(self.id.uuid()).bind(large(length)).execute(c).await.map(drop))?;
        self.length = Some(length);
        tx.audit(Audit::UploadContinued { case: self.case, upload: self.id, received: self.received }).await?;
        if self.received == length && !self.is_complete { self.complete(tx).await } else { Ok(()) }
    }

    /// Adds pieces, stored already, behind what is there; with the last one a job receives the file. [`Error::Conflict`] when
    /// somebody else went on meanwhile, or the batch takes no more.
    pub async fn add(&mut self, tx: &mut Tx, batch: &Batch, pieces: &[Stored], patience: Duration) -> Result<()> {
        let size: u64 = pieces.iter().map(|piece| piece.size).sum();
        let (received, expires_at) = (self.received.saturating_add(size), tx.now().plus(patience));
        if self.length.is_some_and(|length| received > length) {
            return Err(Error::Invalid("more bytes came than the upload was said to have"));
        }
        if !batch.takes_files(tx).await? {
            return Err(Error::Conflict("the batch takes no more files; open another"));
        }
        let moved = change!(tx, c => sqlx::query(
            "update uploads set received = $3, expires_at = $4 where id = $1 and received = $2 and state = 'open'")
            .bind(self.id.uuid()).bind(large(self.received)).bind(large(received)).bind(expires_at.0)
            .execute(c).await.map(|r| r.rows_affected()))?;
        if moved == 0 {
            return Err(Error::Conflict("the upload went on meanwhile; ask for its offset"));
        }
        let next: i64 = query!(tx, c => sqlx::query_scalar(
            "select coalesce(max(number), -1) + 1 from upload_parts where upload_id = $1")
            .bind(self.id.uuid()).fetch_one(c).await)?;
        for (number, piece) in (next..).zip(pieces) {
            tx.register_blob(self.case, BlobKind::Original, piece).await?;
            change!(tx, c => sqlx::query(
                "insert into upload_parts (upload_id, number, case_id, blob, size, sha256) values ($1,$2,$3,$4,$5,$6)")
                .bind(self.id.uuid()).bind(number).bind(self.case.uuid()).bind(piece.blob.uuid()).bind(large(piece.size))
                .bind(&piece.sha256[..]).execute(c).await.map(drop))?;
        }
        (self.received, self.expires_at) = (received, expires_at);
        tx.audit(Audit::UploadContinued { case: self.case, upload: self.id, received }).await?;
        if self.length == Some(received) { self.complete(tx).await } else { Ok(()) }
    }

    /// Takes over the pieces of complete partial uploads, in this order; those are gone then.
    pub async fn join(&mut self, tx: &mut Tx, parts: &[Self]) -> Result<()> {
        let mut number = 0;
        for part in parts {
            if part.kind != UploadKind::Partial || !part.is_complete || part.batch != self.batch {
                return Err(Error::Conflict("only complete partial uploads of the same batch can be put together"));
            }
            let moved = change!(tx, c => sqlx::query(
                "update upload_parts set upload_id = $2, number = number + $3 where upload_id = $1")
                .bind(part.id.uuid()).bind(self.id.uuid()).bind(large(number)).execute(c).await.map(|r| r.rows_affected()))?;
            number += moved;
            let gone = change!(tx, c => sqlx::query("delete from uploads where id = $1")
                .bind(part.id.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
            if gone == 0 {
                return Err(Error::Conflict("a partial upload can be put together once"));
            }
            self.received += part.received;
        }
        change!(tx, c => sqlx::query("update uploads set received = $2, length = $2 where id = $1")
            .bind(self.id.uuid()).bind(large(self.received)).execute(c).await.map(drop))?;
        self.length = Some(self.received);
        tx.audit(Audit::UploadContinued { case: self.case, upload: self.id, received: self.received }).await?;
        self.complete(tx).await
    }

    async fn complete(&mut self, tx: &mut Tx) -> Result<()> {
        change!(tx, c => sqlx::query("update uploads set state = 'complete' where id = $1")
            .bind(self.id.uuid()).execute(c).await.map(drop))?;
        self.is_complete = true;
        if self.kind != UploadKind::Partial {
            tx.enqueue(&AssembleUpload { case: self.case, upload: self.id }).await?;
        }
        Ok(())
    }

    /// Its pieces, in order.
    pub async fn parts(&self, tx: &mut Tx) -> Result<Vec<Stored>> {
        let rows: Vec<(Uuid, i64, Vec<u8>)> = query!(tx, c => sqlx::query_as(
            "select blob, size, sha256 from upload_parts where upload_id = $1 order by number")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        let part = |(blob, size, sha256): (Uuid, i64, Vec<u8>)| {
            let sha256 = sha256.try_into().map_err(|_| Error::Invalid("a hash in a row is not a SHA-256"))?;
            let (blob, size) = (BlobId(blob), count(size));
            Ok(Stored { blob, size, sha256, stored_bytes: crate::vault::chunked::sealed_len(size) })
        };
        rows.into_iter().map(part).collect()
    }

    /// Strikes its pieces from the register; their objects may be deleted after the commit.
    pub async fn forget_parts(&self, tx: &mut Tx, parts: &[Stored]) -> Result<()> {
        for part in parts {
            tx.forget_blob(part.blob).await?;
        }
        change!(tx, c => sqlx::query("delete from upload_parts where upload_id = $1")
            .bind(self.id.uuid()).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Takes it for this transaction alone; false when it has become a document, or has ended, meanwhile.
    pub async fn take(&self, tx: &mut Tx) -> Result<bool> {
        let taken = change!(tx, c => sqlx::query(
            "update uploads set state = 'complete' where id = $1 and state = 'complete' and document_id is null")
            .bind(self.id.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        Ok(taken == 1)
    }

    /// Notes the document it became.
    pub async fn became(&self, tx: &mut Tx, document: DocumentId) -> Result<()> {
        change!(tx, c => sqlx::query("update uploads set document_id = $2 where id = $1")
            .bind(self.id.uuid()).bind(document.uuid()).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Ends an upload that became no document. Returns the objects that may be deleted after the commit.
    pub async fn end(&self, tx: &mut Tx) -> Result<Vec<BlobId>> {
        let parts = self.parts(tx).await?;
        self.forget_parts(tx, &parts).await?;
        change!(tx, c => sqlx::query("delete from uploads where id = $1").bind(self.id.uuid()).execute(c).await.map(drop))?;
        tx.audit(Audit::UploadEnded { case: self.case, upload: self.id }).await?;
        Ok(parts.iter().map(|part| part.blob).collect())
    }
}

/// Uploads of a batch that are not documents yet: those still coming, and those complete that are being put together.
pub async fn pending(tx: &mut Tx, batch: &Batch) -> Result<(u64, u64)> {
    let (coming, complete): (i64, i64) = query!(tx, c => sqlx::query_as(
        "select cast(coalesce(sum(case when state = 'open' or kind = 'partial' then 1 else 0 end), 0) as bigint),
         cast(coalesce(sum(case when state = 'open' or kind = 'partial' then 0 else 1 end), 0) as bigint)
         from uploads where batch_id = $1 and document_id is null")
        .bind(batch.id.uuid()).fetch_one(c).await)?;
    Ok((count(coming), count(complete)))
}

/// Some uploads that nothing came for until they expired, and those that became documents long enough ago.
pub async fn expired(tx: &mut Tx, most: u32) -> Result<Vec<Upload>> {
    let now = tx.now();
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
        "select id, case_id, database_id, batch_id, state, kind, length, received, document_id, sealed_details, created_by, expires_at
         from uploads where expires_at < $1 and (document_id is not null or state = 'open' or kind = 'partial')
         and case_id in (select case_id from case_keys) order by expires_at limit $2")
        .bind(now.0).bind(i64::from(most)).fetch_all(c).await)?;
    let mut uploads = Vec::with_capacity(rows.len());
    for row in rows {
        uploads.push(open_row(tx, row).await?);
    }
    Ok(uploads)
}
