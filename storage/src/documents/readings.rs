//! Readings: every text a document was given, with the bytes it was read from and the reader that read it, and every
//! attempt that gave none. A text that was superseded is kept. A reader is named by the SHA-256 of its provenance.

use std::collections::BTreeMap;

use domain::{
    clock::Timestamp,
    ids::{BlobId, ReadingId},
    outcome::Category,
    provenance::Provenance,
};
use sha2::{Digest as _, Sha256};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Document, life::Extracted};
use crate::{
    Result, Tx,
    db::{change, query},
};

/// One reading of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its row.
    pub id: ReadingId,
    /// Which of the document's versions was read.
    pub version: u32,
    /// SHA-256 of the bytes read.
    pub input_sha256: Vec<u8>,
    /// What read them.
    pub reader: Provenance,
    /// The text; none when the reading failed.
    pub text: Option<BlobId>,
    /// SHA-256 of the stored text.
    pub text_sha256: Option<Vec<u8>>,
    /// Pages in it.
    pub pages: Option<u32>,
    /// Scalars in it.
    pub characters: Option<u32>,
    /// Why there is no text.
    pub category: Option<Category>,
    /// When it was read.
    pub at: Timestamp,
}

/// The name of a reader: SHA-256 of its provenance as JSON (names sorted).
pub fn reader_id(provenance: &Provenance) -> Result<[u8; 32]> {
    Ok(Sha256::digest(serde_json::to_vec(provenance)?).into())
}

/// Puts a reader on record, if it is not; returns its name.
async fn remember(tx: &mut Tx, provenance: &Provenance) -> Result<[u8; 32]> {
    let (id, now) = (reader_id(provenance)?, tx.now());
    let known: bool = query!(tx, c => sqlx::query_scalar("select exists (select 1 from readers where id = $1)")
        .bind(&id[..]).fetch_one(c).await)?;
    if !known {
        change!(tx, c => sqlx::query(
            "insert into readers (id, tool, version, parameters, created_at) values ($1,$2,$3,$4,$5) on conflict do nothing")
            .bind(&id[..]).bind(&provenance.tool).bind(&provenance.version).bind(Json(&provenance.parameters)).bind(now.0)
            .execute(c).await.map(drop))?;
    }
    Ok(id)
}

impl Document {
    /// Puts a reading that gave a text on record; returns the reader's name.
    pub(super) async fn record_text(&self, tx: &mut Tx, extracted: &Extracted) -> Result<[u8; 32]> {
        let (reader, now) = (remember(tx, &extracted.provenance).await?, tx.now());
        change!(tx, c => sqlx::query(
            "insert into readings (id, case_id, document_id, version, input_sha256, reader, text_blob, text_sha256, pages,
             characters, created_at) values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)")
            .bind(ReadingId::new().uuid()).bind(self.case.uuid()).bind(self.id.uuid()).bind(i64::from(self.version))
            .bind(&self.sha256).bind(&reader[..]).bind(extracted.text.blob.uuid()).bind(&extracted.text.sha256[..])
            .bind(i64::from(extracted.pages)).bind(i64::from(extracted.characters)).bind(now.0)
            .execute(c).await.map(drop))?;
        Ok(reader)
    }

    /// Puts an attempt on record that gave no text, beside the exception it ends with in the same transaction: the same
    /// reader need not try again.
    pub async fn record_failure(&self, tx: &mut Tx, category: Category, provenance: &Provenance) -> Result<()> {
        let (reader, now) = (remember(tx, provenance).await?, tx.now());
        change!(tx, c => sqlx::query(
            "insert into readings (id, case_id, document_id, version, input_sha256, reader, exception, created_at)
             values ($1,$2,$3,$4,$5,$6,$7,$8)")
            .bind(ReadingId::new().uuid()).bind(self.case.uuid()).bind(self.id.uuid()).bind(i64::from(self.version))
            .bind(&self.sha256).bind(&reader[..]).bind(category.name()).bind(now.0).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("update documents set reader = $2 where id = $1 and original_blob = $3")
            .bind(self.id.uuid()).bind(&reader[..]).bind(self.original.uuid()).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Every reading of the document, oldest first.
    pub async fn readings(&self, tx: &mut Tx) -> Result<Vec<Reading>> {
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            "select g.id, g.version, g.input_sha256, r.tool, r.version as tool_version, r.parameters, g.text_blob, g.text_sha256,
             g.pages, g.characters, g.exception, g.created_at
             from readings g join readers r on r.id = g.reader where g.document_id = $1 order by g.id")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        Ok(rows.into_iter().map(Reading::from).collect())
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    version: i64,
    input_sha256: Vec<u8>,
    tool: String,
    tool_version: String,
    parameters: Json<BTreeMap<String, String>>,
    text_blob: Option<Uuid>,
    text_sha256: Option<Vec<u8>>,
    pages: Option<i64>,
    characters: Option<i64>,
    exception: Option<String>,
    created_at: i64,
}

impl From<Row> for Reading {
    fn from(row: Row) -> Self {
        let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            id: ReadingId(row.id),
            version: small(row.version),
            input_sha256: row.input_sha256,
            reader: Provenance { tool: row.tool, version: row.tool_version, parameters: row.parameters.0 },
            text: row.text_blob.map(BlobId),
            text_sha256: row.text_sha256,
            pages: row.pages.map(small),
            characters: row.characters.map(small),
            category: row.exception.as_deref().and_then(Category::parse),
            at: Timestamp(row.created_at),
        }
    }
}
