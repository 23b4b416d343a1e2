//! Load files: what a delivery says of its files, kept as it came and read by a job into [`items`](crate::items).

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{BatchId, BlobId, CaseId, DatabaseId, LoadFileId, UserId},
    jobs::ReadLoadFile,
    page::{Page, PageQuery},
    webhooks::EventType,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches::Batch,
    databases::Database,
    db::{change, query},
    objects::{BlobKind, Stored},
    tx::{seal, unseal},
    vault::Place,
    webhooks,
};

/// A load file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFile {
    /// Its id.
    pub id: LoadFileId,
    /// Its case.
    pub case: CaseId,
    /// Its database.
    pub database: DatabaseId,
    /// The delivery it describes.
    pub batch: BatchId,
    /// Its bytes.
    pub blob: BlobId,
    /// `waiting`, `read` or `failed`.
    pub state: String,
    /// Items it announces, those refused included; rising while it is read.
    pub items: u64,
    /// Records that cannot be used; each is an item with its reason.
    pub refused: u64,
    /// The sealed part.
    pub details: LoadFileDetails,
    /// Who delivered it.
    pub created_by: Option<UserId>,
    /// When it was delivered.
    pub created_at: Timestamp,
    /// When it was last read on.
    pub updated_at: Timestamp,
}

/// The sealed part of a load file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadFileDetails {
    /// Its name, as delivered.
    pub name: String,
    /// What it turned out to be: `concordance`, `csv`, `opticon`, `edrm_xml` or `ndjson`.
    pub kind: Option<String>,
    /// Its encoding, once known.
    pub encoding: Option<String>,
    /// Some characters could not be decoded.
    #[serde(default)]
    pub damaged: bool,
    /// The columns of a delimited file.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Why it could not be read, and what to do.
    pub error: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    database_id: Uuid,
    batch_id: Uuid,
    blob: Uuid,
    state: String,
    items: i64,
    refused: i64,
    sealed_details: Vec<u8>,
    created_by: Option<Uuid>,
    created_at: i64,
    updated_at: i64,
}

/// The columns of a [`Row`], by name: a plan of `select *` breaks when a newer version adds one.
macro_rules! columns {
    () => {
        "id, case_id, database_id, batch_id, blob, state, items, refused, sealed_details, created_by, created_at, \
         updated_at"
    };
}

fn place(id: LoadFileId) -> Place {
    Place::new("load_files", "sealed_details", id)
}

async fn open_row(tx: &mut Tx, row: Row) -> Result<LoadFile> {
    let key = tx.case_key(CaseId(row.case_id)).await?;
    Ok(LoadFile {
        id: LoadFileId(row.id),
        case: CaseId(row.case_id),
        database: DatabaseId(row.database_id),
        batch: BatchId(row.batch_id),
        blob: BlobId(row.blob),
        state: row.state,
        items: u64::try_from(row.items).unwrap_or(0),
        refused: u64::try_from(row.refused).unwrap_or(0),
        details: unseal(&key, &place(LoadFileId(row.id)), &row.sealed_details)?,
        created_by: row.created_by.map(UserId),
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
    })
}

/// Why a batch takes no files while a load file waits.
pub const STILL_READ: &str = "a load file of the batch is still being read; deliver the files when its state is read";

/// True while a load file of the batch has not been read: what it says of a file that came now would be lost.
pub async fn waits(tx: &mut Tx, batch: &Batch) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from load_files where batch_id = $1 and state = 'waiting')")
        .bind(batch.id.uuid()).fetch_one(c).await)?)
}

impl LoadFile {
    /// Receives a load file, already stored, into an open batch of a database found with [`Action::Upload`]; a job reads it.
    pub async fn receive(tx: &mut Tx, database: &Database, batch: &Batch, name: &str, stored: &Stored) -> Result<Self> {
        crate::cases::permit(tx, database.case_id, &database.standing, Action::Upload)?;
        if !batch.takes_files(tx).await? {
            return Err(Error::Conflict("the batch takes no more files; open another"));
        }
        let (id, now, by) = (LoadFileId::new(), tx.now(), tx.actor().user());
        let key = tx.case_key(batch.case_id).await?;
        let details = LoadFileDetails { name: name.to_owned(), ..LoadFileDetails::default() };
        let sealed = seal(&key, &place(id), &details)?;
        tx.register_blob(batch.case_id, BlobKind::Original, stored).await?;
        change!(tx, c => sqlx::query(
            "insert into load_files (id, case_id, database_id, batch_id, blob, state, sealed_details, created_by, created_at, updated_at)
             values ($1,$2,$3,$4,$5,'waiting',$6,$7,$8,$8)")
            .bind(id.uuid()).bind(batch.case_id.uuid()).bind(batch.database_id.uuid()).bind(batch.id.uuid())
            .bind(stored.blob.uuid()).bind(sealed).bind(by.map(UserId::uuid)).bind(now.0).execute(c).await.map(drop))?;
        let sha256 = hex::encode(stored.sha256);
        tx.audit(Audit::LoadFileReceived { case: batch.case_id, batch: batch.id, load_file: id, sha256 }).await?;
        tx.enqueue(&ReadLoadFile { case: batch.case_id, load_file: id }).await?;
        Self::load(tx, batch.case_id, id).await
    }

    /// Finds a load file under its batch.
    pub async fn find(tx: &mut Tx, batch: &Batch, id: LoadFileId) -> Result<Self> {
        let found = Self::load(tx, batch.case_id, id).await?;
        if found.batch == batch.id { Ok(found) } else { Err(Error::NotFound) }
    }

    /// Loads a load file for a job of its case.
    pub async fn load(tx: &mut Tx, case: CaseId, id: LoadFileId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c =>
            sqlx::query_as(concat!("select ", columns!(), " from load_files where id = $1 and case_id = $2"))
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        open_row(tx, row.ok_or(Error::NotFound)?).await
    }

    /// The load files of a batch, oldest first.
    pub async fn list(tx: &mut Tx, batch: &Batch, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            concat!("select ", columns!(), " from load_files where batch_id = $1 and id > $2 order by id limit $3"))
            .bind(batch.id.uuid()).bind(after).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let mut files = Vec::with_capacity(rows.len());
        for row in rows {
            files.push(open_row(tx, row).await?);
        }
        Ok(Page::of(files, limit, |file| file.id))
    }

    /// Notes that it was read to its end, and what it is.
    pub async fn finish(&self, tx: &mut Tx, details: &LoadFileDetails) -> Result<()> {
        if !self.settle(tx, "read", details).await? {
            return Ok(());
        }
        self.tell(tx, EventType::LoadFileRead).await?;
        let (items, refused) = (self.items, self.refused);
        tx.audit(Audit::LoadFileRead { case: self.case, load_file: self.id, items, refused }).await
    }

    /// Notes that it cannot be read (on), and why. The items before that stay.
    pub async fn fail(&self, tx: &mut Tx, error: &str) -> Result<()> {
        let details = LoadFileDetails { error: Some(error.to_owned()), ..self.details.clone() };
        if !self.settle(tx, "failed", &details).await? {
            return Ok(());
        }
        self.tell(tx, EventType::LoadFileFailed).await?;
        tx.audit(Audit::LoadFileFailed { case: self.case, load_file: self.id }).await
    }

    /// Tells the webhooks of its case what became of it.
    async fn tell(&self, tx: &mut Tx, event: EventType) -> Result<()> {
        let data = json!({
            "case_id": self.case, "database_id": self.database, "batch_id": self.batch, "load_file_id": self.id,
            "items": self.items, "refused": self.refused,
        });
        webhooks::announce(tx, self.case, event, &data).await
    }

    /// False when somebody else has settled it: then nothing changes.
    async fn settle(&self, tx: &mut Tx, state: &str, details: &LoadFileDetails) -> Result<bool> {
        let key = tx.case_key(self.case).await?;
        let (sealed, now) = (seal(&key, &place(self.id), details)?, tx.now());
        let settled = change!(tx, c => sqlx::query(
            "update load_files set state = $2, sealed_details = $3, updated_at = $4 where id = $1 and state = 'waiting'")
            .bind(self.id.uuid()).bind(state).bind(sealed).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        Ok(settled == 1)
    }
}
