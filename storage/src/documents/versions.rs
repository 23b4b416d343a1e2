//! Versions of a document: its file replaced by another, the former bytes and texts kept. The row of the document is its
//! current version; a row here is one that was superseded. What was unpacked from superseded bytes is deleted, because the
//! new bytes bring their own members.

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{BlobId, DocumentId, UserId},
    jobs::{IndexDatabase, IngestDocument},
    outcome::{Category, DocumentState},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Details, Document, content::copies_changed, life::remove, place, relations};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches,
    cases::permit,
    db::{change, query},
    objects::{BlobKind, Stored},
    tx::{seal, unseal},
    vault::Place,
};

/// Longest note, in characters.
const LONGEST_NOTE: usize = 2_000;

/// Who replaced a document's file, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The reason, in that person's words; may be empty.
    pub note: String,
    /// Who.
    pub by: Option<UserId>,
    /// When.
    pub at: Timestamp,
}

/// Bytes a document has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// 1 for the bytes as received, then 2, 3 …
    pub number: u32,
    /// True for the one the document stands for now.
    pub current: bool,
    /// File name as delivered.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Vec<u8>,
    /// The bytes.
    pub original: BlobId,
    /// The format's name, if it was identified.
    pub format: Option<String>,
    /// Why it could not be fully processed.
    pub category: Option<Category>,
    /// When these bytes came.
    pub at: Timestamp,
    /// Who brought them.
    pub by: Option<UserId>,
    /// Why they replaced what was before.
    pub note: Option<String>,
}

type Row = (i64, i64, Vec<u8>, Uuid, Option<String>, Option<String>, Vec<u8>);

fn sealed_place(original: Uuid) -> Place {
    Place::new("versions", "sealed_details", original)
}

impl Document {
    /// Replaces the file of a document found with [`Action::Upload`] by `stored`, which goes through the pipeline as if it
    /// were new. Who replaces a container deletes what was unpacked from it, and so must be allowed to. Returns the number
    /// of the version. [`Error::Conflict`] when somebody else replaced it meanwhile.
    pub async fn replace(&self, tx: &mut Tx, name: &str, stored: &Stored, note: &str) -> Result<u32> {
        permit(tx, self.case, &self.standing, Action::Upload)?;
        if note.chars().count() > LONGEST_NOTE {
            return Err(Error::Invalid("a note must have at most 2000 characters"));
        }
        let (number, now) = (self.version.saturating_add(1), tx.now());
        let replacement = Replacement { note: note.trim().to_owned(), by: tx.actor().user(), at: now };
        let details = Details {
            name: name.to_owned(),
            path: self.details.path.clone(),
            custodian: self.details.custodian.clone(),
            labels: self.details.labels.clone(),
            inline: self.details.inline,
            listed: self.details.listed.clone(),
            replacement: Some(replacement),
            ..Details::default()
        };
        let key = tx.case_key(self.case).await?;
        let sealed = seal(&key, &place(self.id), &details)?;
        batches::stir(tx, self.batch).await?;
        let moved = change!(tx, c => sqlx::query(
            "update documents set version = $3, state = 'received', format = null, media_type = null, size = $4, sha256 = $5,
             original_blob = $6, text_blob = null, pages = null, characters = null, duplicate_of = null, exception = null,
             exclusion = null, reader = null, sealed_details = $7, updated_at = $8
             where id = $1 and original_blob = $2 and deleted_at is null")
            .bind(self.id.uuid()).bind(self.original.uuid()).bind(i64::from(number))
            .bind(i64::try_from(stored.size).unwrap_or(i64::MAX)).bind(&stored.sha256[..]).bind(stored.blob.uuid())
            .bind(sealed).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if moved != 1 {
            return Err(Error::Conflict("the file was replaced or deleted meanwhile; read the document again"));
        }
        let sealed = seal(&key, &sealed_place(self.original.uuid()), &self.details)?;
        change!(tx, c => sqlx::query(
            "insert into versions (document_id, number, case_id, original_blob, size, sha256, format, exception, sealed_details)
             values ($1,$2,$3,$4,$5,$6,$7,$8,$9)")
            .bind(self.id.uuid()).bind(i64::from(self.version)).bind(self.case.uuid()).bind(self.original.uuid())
            .bind(i64::try_from(self.size).unwrap_or(i64::MAX)).bind(&self.sha256).bind(&self.format)
            .bind(self.category.map(Category::name)).bind(sealed).execute(c).await.map(drop))?;
        tx.register_blob(self.case, BlobKind::Original, stored).await?;
        self.supersede(tx).await?;
        let (case, document, sha256) = (self.case, self.id, hex::encode(stored.sha256));
        tx.audit(Audit::DocumentReplaced { case, document, version: number, sha256 }).await?;
        tx.enqueue(&IngestDocument { case, document }).await?;
        tx.enqueue(&IndexDatabase { case, database: self.database }).await?;
        self.changed(tx);
        Ok(number)
    }

    /// Ends what was under way with the former bytes: its jobs, its place as the first of its copies and among others, what was
    /// unpacked.
    async fn supersede(&self, tx: &mut Tx) -> Result<()> {
        let now = tx.now();
        change!(tx, c => sqlx::query(
            "update jobs set state = 'cancelled', finished_at = $2, lease_until = null
             where document_id = $1 and state in ('ready', 'running')")
            .bind(self.id.uuid()).bind(now.0).execute(c).await.map(drop))?;
        let members: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
            "select id from documents where parent_id = $1 and deleted_at is null order by id")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        if !members.is_empty() {
            permit(tx, self.case, &self.standing, Action::DeleteDocuments)?;
        }
        for member in members {
            remove(tx, self.case, DocumentId(member)).await?;
        }
        relations::forget(tx, self.id).await?;
        if let (DocumentState::Duplicate, Some(first)) = (self.state, self.duplicate_of) {
            copies_changed(tx, self.case, first).await?;
        }
        super::release_contents(tx, self.case, &[self.id]).await
    }

    /// All versions, the first one first.
    pub async fn versions(&self, tx: &mut Tx) -> Result<Vec<Version>> {
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            "select number, size, sha256, original_blob, format, exception, sealed_details from versions
             where document_id = $1 order by number").bind(self.id.uuid()).fetch_all(c).await)?;
        let sender: Option<Uuid> = query!(tx, c => sqlx::query_scalar("select created_by from batches where id = $1")
            .bind(self.batch.uuid()).fetch_one(c).await)?;
        let key = tx.case_key(self.case).await?;
        let origin = |details: &Details| match &details.replacement {
            Some(replacement) => (replacement.at, replacement.by, Some(replacement.note.clone())),
            None => (self.created_at, sender.map(UserId), None),
        };
        let mut versions = Vec::with_capacity(rows.len() + 1);
        for (number, size, sha256, original, format, exception, sealed) in rows {
            let details: Details = unseal(&key, &sealed_place(original), &sealed)?;
            let (at, by, note) = origin(&details);
            versions.push(Version {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                current: false,
                name: details.name,
                size: u64::try_from(size).unwrap_or(0),
                sha256,
                original: BlobId(original),
                format,
                category: exception.as_deref().and_then(Category::parse),
                at,
                by,
                note,
            });
        }
        let (at, by, note) = origin(&self.details);
        versions.push(Version {
            number: self.version,
            current: true,
            name: self.details.name.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
            original: self.original,
            format: self.format.clone(),
            category: self.category,
            at,
            by,
            note,
        });
        Ok(versions)
    }
}
