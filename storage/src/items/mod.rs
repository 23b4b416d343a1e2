//! Items: the files that the load files of a batch announce. An item waits until its file comes, which is known by its path;
//! then the document carries what the load file says of it. One that says where its file lies is fetched from there. What never came,
//! or came otherwise than announced, is listed.

mod fetch;
mod problems;

use std::collections::BTreeMap;

use domain::{
    clock::Timestamp,
    ids::{BatchId, CaseId, DocumentId, ItemId, LoadFileId},
    jobs::FetchItem,
    outcome::Category,
    page::{Page, PageQuery},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Result, Tx,
    audit::Audit,
    batches::Batch,
    db::{change, query},
    documents::Details,
    load_files::LoadFile,
    objects::Stored,
    tx::{seal, unseal},
    vault::{CaseKey, Place},
};

pub(crate) use fetch::forget;
pub use problems::{Problem, problems};

/// Folders before a delivered path that the load file may not speak of.
const MOST_FOLDERS: usize = 16;

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemState {
    /// Its file has not come.
    Awaited,
    /// Its file is fetched from where the load file says.
    Fetching,
    /// Its file came and is a document.
    Delivered,
    /// It cannot be used, or its file came otherwise than announced.
    Failed,
}

impl ItemState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Awaited, Self::Fetching, Self::Delivered, Self::Failed];

    /// The name in rows and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Fetching => "fetching",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What is wrong with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemError {
    /// The record of the load file cannot be used.
    Refused,
    /// The file that came does not have the announced SHA-256.
    HashMismatch,
    /// Its reference may not be followed, or the place it names does not hand the file out.
    ReferenceRefused,
    /// There is no file where its reference says.
    ReferenceMissing,
    /// The file at its reference is larger than allowed.
    ReferenceTooLarge,
    /// The file at its reference could not be fetched, however often it was tried.
    ReferenceFailed,
    /// The batch takes no more files, and the item's never came.
    Missing,
    /// The document, or one unpacked from it, ended as an exception of this category.
    Exception(Category),
}

impl ItemError {
    /// What the rows of items may hold; the others follow from elsewhere.
    const STORED: [Self; 6] = [
        Self::Refused,
        Self::HashMismatch,
        Self::ReferenceRefused,
        Self::ReferenceMissing,
        Self::ReferenceTooLarge,
        Self::ReferenceFailed,
    ];

    /// `refused`, `hash_mismatch`, `reference_refused`, `reference_missing`, `reference_too_large`, `reference_failed`, `missing`,
    /// or the category of the document's exception.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::HashMismatch => "hash_mismatch",
            Self::ReferenceRefused => "reference_refused",
            Self::ReferenceMissing => "reference_missing",
            Self::ReferenceTooLarge => "reference_too_large",
            Self::ReferenceFailed => "reference_failed",
            Self::Missing => "missing",
            Self::Exception(category) => category.name(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::STORED.into_iter().find(|error| error.name() == name)
    }
}

/// One announced file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// Its delivery.
    pub batch: BatchId,
    /// The load file that announces it.
    pub load_file: LoadFileId,
    /// The first line of its record there, from 1.
    pub line: u64,
    /// Where it stands.
    pub state: ItemState,
    /// What is wrong with it.
    pub error: Option<ItemError>,
    /// The document it became.
    pub document: Option<DocumentId>,
    /// The sealed part.
    pub details: ItemDetails,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// The sealed part of an item: what the load file says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ItemDetails {
    /// Where it lies in the delivery, as written.
    pub path: String,
    /// Where it can be fetched.
    pub source: Option<String>,
    /// Its number in the production.
    pub control_number: Option<String>,
    /// The control number of the item it is attached to.
    pub parent: Option<String>,
    /// Whose document it is.
    pub custodian: Option<String>,
    /// The SHA-256 it should have, in hexadecimal.
    pub sha256: Option<String>,
    /// Everything else that is said about it.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Why it failed, in words.
    pub message: Option<String>,
}

/// What the load file says of a document, kept with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The item it was announced as.
    pub item: ItemId,
    /// Its number in the production.
    pub control_number: Option<String>,
    /// The control number of the item it is attached to.
    pub parent: Option<String>,
    /// Everything else, by the names of the load file.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// How many items of a batch stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ItemCounts {
    /// Not come yet; in a batch that takes no more files: missing.
    pub awaited: u64,
    /// Being fetched from where the load file says.
    pub fetching: u64,
    /// Came.
    pub delivered: u64,
    /// Cannot be used, or came otherwise than announced.
    pub failed: u64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    batch_id: Uuid,
    load_file_id: Uuid,
    line: i64,
    state: String,
    error: Option<String>,
    document_id: Option<Uuid>,
    sealed_details: Vec<u8>,
    updated_at: i64,
}

/// Selects items in the order of [`Row`], from the `where` on.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select id, batch_id, load_file_id, line, state, error, document_id, sealed_details, updated_at from items ",
            $tail
        )
    };
}

fn place(id: ItemId) -> Place {
    Place::new("items", "sealed_details", id)
}

impl Row {
    fn open(self, key: &CaseKey) -> Result<Item> {
        let id = ItemId(self.id);
        Ok(Item {
            id,
            batch: BatchId(self.batch_id),
            load_file: LoadFileId(self.load_file_id),
            line: u64::try_from(self.line).unwrap_or(0),
            state: ItemState::parse(&self.state).ok_or(crate::Error::Invalid("unknown item state in a row"))?,
            error: self.error.as_deref().and_then(ItemError::parse),
            document: self.document_id.map(DocumentId),
            details: unseal(key, &place(id), &self.sealed_details)?,
            updated_at: Timestamp(self.updated_at),
        })
    }
}

/// A record of a load file on its way into a row.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// The first line of the record, from 1.
    pub line: u64,
    /// What it says.
    pub details: ItemDetails,
    /// What is expected of it.
    pub expected: Expected,
}

/// What is expected of a record of a load file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// That its file comes.
    File,
    /// That its file can be fetched from its source: a job does it.
    Reference,
    /// Nothing but that its file comes after all: its source may not be followed; `details.message` says why.
    RefusedReference,
    /// Nothing: it cannot be used; `details.message` says why.
    Nothing,
}

impl Expected {
    fn state(self) -> (ItemState, Option<ItemError>) {
        match self {
            Self::File => (ItemState::Awaited, None),
            Self::Reference => (ItemState::Fetching, None),
            Self::RefusedReference => (ItemState::Failed, Some(ItemError::ReferenceRefused)),
            Self::Nothing => (ItemState::Failed, Some(ItemError::Refused)),
        }
    }
}

/// Notes what a load file announces, and has fetched what can be. Records noted by an earlier run stay as they are.
pub async fn announce(tx: &mut Tx, file: &LoadFile, records: &[NewItem]) -> Result<()> {
    let key = tx.case_key(file.case).await?;
    let now = tx.now();
    let (mut fresh, mut refused) = (0_u64, 0_u64);
    for record in records {
        let id = ItemId::new();
        let sealed = seal(&key, &place(id), &record.details)?;
        let is_refused = record.expected == Expected::Nothing;
        let path_key = (!is_refused).then(|| path_key(&key, &known_path(&record.details.path)));
        let (state, error) = record.expected.state();
        let inserted = change!(tx, c => sqlx::query(
            "insert into items (id, case_id, database_id, batch_id, load_file_id, line, path_key, state, error, sealed_details, created_at,
             updated_at) values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$11) on conflict do nothing")
            .bind(id.uuid()).bind(file.case.uuid()).bind(file.database.uuid()).bind(file.batch.uuid()).bind(file.id.uuid())
            .bind(i64::try_from(record.line).unwrap_or(i64::MAX)).bind(path_key.map(|key| key.to_vec())).bind(state.name())
            .bind(error.map(ItemError::name)).bind(sealed).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        fresh += inserted;
        refused += if is_refused { inserted } else { 0 };
        if inserted == 1 && record.expected == Expected::Reference {
            tx.enqueue(&FetchItem { case: file.case, item: id }).await?;
        }
    }
    change!(tx, c => sqlx::query("update load_files set items = items + $2, refused = refused + $3, updated_at = $4 where id = $1")
        .bind(file.id.uuid()).bind(i64::try_from(fresh).unwrap_or(0)).bind(i64::try_from(refused).unwrap_or(0)).bind(now.0)
        .execute(c).await.map(drop))?;
    tx.audit(Audit::ItemsAnnounced { case: file.case, load_file: file.id, items: fresh }).await
}

/// The last line that an earlier run noted of a load file; 0 for none.
pub async fn last_line(tx: &mut Tx, file: &LoadFile) -> Result<u64> {
    let line: Option<i64> = query!(tx, c => sqlx::query_scalar("select max(line) from items where load_file_id = $1")
        .bind(file.id.uuid()).fetch_one(c).await)?;
    Ok(line.and_then(|line| u64::try_from(line).ok()).unwrap_or(0))
}

/// Items of a batch in the order they were announced.
pub async fn list(tx: &mut Tx, batch: &Batch, state: Option<ItemState>, page: &PageQuery) -> Result<Page<Item>> {
    let limit = page.limit()?;
    let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(select!(
        "where batch_id = $1 and id > $2 and ($3 or state = $4) order by id limit $5"))
        .bind(batch.id.uuid()).bind(after).bind(state.is_none()).bind(state.map_or("", ItemState::name)).bind(i64::from(limit) + 1).fetch_all(c).await)?;
    Ok(Page::of(open_all(tx, batch, rows).await?, limit, |item| item.id))
}

/// Items of a batch that failed, or that can no longer come, after `after`.
pub(crate) async fn troubled(tx: &mut Tx, batch: &Batch, after: Uuid, most: i64) -> Result<Vec<Item>> {
    let ended = batch.state != "open";
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(select!(
        "where batch_id = $1 and id > $2 and (state = 'failed' or (state = 'awaited' and $3)) order by id limit $4"))
        .bind(batch.id.uuid()).bind(after).bind(ended).bind(most).fetch_all(c).await)?;
    let mut items = open_all(tx, batch, rows).await?;
    for item in items.iter_mut().filter(|item| item.state == ItemState::Awaited) {
        item.error = Some(ItemError::Missing);
    }
    Ok(items)
}

async fn open_all(tx: &mut Tx, batch: &Batch, rows: Vec<Row>) -> Result<Vec<Item>> {
    let key = tx.case_key(batch.case_id).await?;
    rows.into_iter().map(|row| row.open(&key)).collect()
}

/// How many items of a batch stand where.
pub async fn counts(tx: &mut Tx, batch: &Batch) -> Result<ItemCounts> {
    let rows: Vec<(String, i64)> = query!(tx, c => sqlx::query_as("select state, count(*) from items where batch_id = $1 group by state")
        .bind(batch.id.uuid()).fetch_all(c).await)?;
    let mut counts = ItemCounts::default();
    for (state, count) in rows {
        let count = u64::try_from(count).unwrap_or(0);
        match ItemState::parse(&state) {
            Some(ItemState::Awaited) => counts.awaited = count,
            Some(ItemState::Fetching) => counts.fetching = count,
            Some(ItemState::Delivered) => counts.delivered = count,
            Some(ItemState::Failed) => counts.failed = count,
            None => {}
        }
    }
    Ok(counts)
}

/// True when a load file of the batch announces anything.
pub(crate) async fn any(tx: &mut Tx, batch: BatchId) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar("select exists (select 1 from items where batch_id = $1)")
        .bind(batch.uuid()).fetch_one(c).await)?)
}

/// The item that a file delivered from `details.path` was announced as, and what the document carries of it. A delivery may
/// have folders around what the load file speaks of.
pub(crate) async fn announced(tx: &mut Tx, batch: &Batch, details: &mut Details) -> Result<Option<Item>> {
    let key = tx.case_key(batch.case_id).await?;
    let known = known_path(&details.path);
    let mut rest = known.as_str();
    for _ in 0..MOST_FOLDERS {
        let path_key = path_key(&key, rest);
        let row: Option<Row> = query!(tx, c => sqlx::query_as(select!(
            "where batch_id = $1 and path_key = $2 order by case state when 'delivered' then 1 else 0 end, id limit 1"))
            .bind(batch.id.uuid()).bind(&path_key[..]).fetch_optional(c).await)?;
        if let Some(row) = row {
            let item = row.open(&key)?;
            item.carry(details);
            return Ok(Some(item));
        }
        let Some((_, inner)) = rest.split_once('/') else { return Ok(None) };
        rest = inner;
    }
    Ok(None)
}

/// Notes that an item's file came and is this document; whether it is what was announced shows by its hash.
pub(crate) async fn deliver(tx: &mut Tx, item: &Item, document: DocumentId, stored: &Stored) -> Result<()> {
    let as_announced = item.details.sha256.as_ref().is_none_or(|sha256| *sha256 == hex::encode(stored.sha256));
    let (state, error) = if as_announced {
        (ItemState::Delivered, None)
    } else {
        (ItemState::Failed, Some(ItemError::HashMismatch.name()))
    };
    let now = tx.now();
    change!(tx, c => sqlx::query("update items set state = $2, error = $3, document_id = $4, updated_at = $5 where id = $1")
        .bind(item.id.uuid()).bind(state.name()).bind(error).bind(document.uuid()).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

impl Item {
    /// Loads an item for a job of its case.
    pub async fn load(tx: &mut Tx, case: CaseId, id: ItemId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c => sqlx::query_as(select!("where id = $1 and case_id = $2"))
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        let key = tx.case_key(case).await?;
        row.ok_or(crate::Error::NotFound)?.open(&key)
    }

    /// Lets its document carry what the load file says.
    pub(crate) fn carry(&self, details: &mut Details) {
        details.custodian = self.details.custodian.clone().or(details.custodian.take());
        details.listed = Some(Listed {
            item: self.id,
            control_number: self.details.control_number.clone(),
            parent: self.details.parent.clone(),
            fields: self.details.fields.clone(),
        });
    }
}

fn path_key(key: &CaseKey, known: &str) -> [u8; 32] {
    key.lookup("item path", known.as_bytes())
}

/// A path as it is compared: without drive, empty folders and dots, in small letters, with `/` between its names. Load files come
/// from systems that write `.\VOL001\NATIVES\A.MSG`.
fn known_path(path: &str) -> String {
    let names = path.split(['/', '\\']).filter(|name| !name.is_empty() && *name != "." && !is_drive(name));
    names.map(str::to_lowercase).collect::<Vec<_>>().join("/")
}

fn is_drive(name: &str) -> bool {
    matches!(name.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_their_systems_write_them() {
        for (path, known) in [
            (r".\VOL001\NATIVES\A.MSG", "vol001/natives/a.msg"),
            (r"D:\Prod\A.pdf", "prod/a.pdf"),
            ("//share/x//y.TXT", "share/x/y.txt"),
            ("../up.txt", "../up.txt"),
            ("Ärger.doc", "ärger.doc"),
        ] {
            assert_eq!(known_path(path), known);
        }
    }
}
