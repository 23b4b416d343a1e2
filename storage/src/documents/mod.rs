//! Documents: one file, or one item unpacked from a container, from receipt to one of the four ends. Names, paths and
//! everything a document says about itself are sealed under the case key; rows show only ids, states, sizes and hashes.

mod content;
mod exceptions;
mod index;
mod life;
mod protected;
mod readings;
mod receive;
mod related;
pub mod relations;
mod reprocess;
mod text;
mod versions;

use domain::{
    access::{Action, Standing},
    clock::Timestamp,
    ids::{BatchId, BlobId, CaseId, DatabaseId, DocumentId, UserId},
    outcome::{Category, DocumentState, Exception, Exclusion},
    page::{Page, PageQuery},
    text::{Metadata, Warning},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use content::{Copies, are_the_same, claim_content, copies_of, release_contents};
pub(crate) use exceptions::exceptions_of;
pub use exceptions::{Selection, ignore_exceptions, retry_exceptions};
pub use index::{
    Waiting, databases_waiting, deleted, extracted, extracted_totals, forget_entries, indexed, mark_indexed,
    remove_deleted, stranded, withdrawn,
};
pub use life::{Extracted, exclude_unfinished};
pub use protected::{Opened, protected_container, retry_protected};
pub use readings::{Reading, reader_id};
pub use receive::{NewMember, Receipt, key_of, receive, receive_fetched, receive_upload};
pub use related::{NearDuplicate, attachments, of_thread};
pub use relations::{Fingerprints, Relation};
pub use reprocess::{Reread, Sent, reprocess};
pub use text::{read_text, write_text};
pub use versions::{Replacement, Version};

use crate::{
    Error, Result, Tx,
    cases::{Case, permit, person},
    databases::Database,
    db::query,
    items::Listed,
    standing,
    tx::unseal,
    vault::{CaseKey, Place},
};

/// A document as storage knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Its case.
    pub case: CaseId,
    /// Its database.
    pub database: DatabaseId,
    /// The delivery it came with.
    pub batch: BatchId,
    /// The container it was unpacked from.
    pub parent: Option<DocumentId>,
    /// The outermost container, or itself.
    pub family: DocumentId,
    /// Position among its siblings, from 0.
    pub ordinal: u32,
    /// Containers around it.
    pub depth: u32,
    /// Where it stands.
    pub state: DocumentState,
    /// The format's name once identified.
    pub format: Option<String>,
    /// Its media type once identified.
    pub media_type: Option<String>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes as received.
    pub sha256: Vec<u8>,
    /// The bytes as received.
    pub original: BlobId,
    /// The extracted text, once there is one.
    pub text: Option<BlobId>,
    /// Pages, once extracted.
    pub pages: Option<u32>,
    /// Scalars of text, once extracted.
    pub characters: Option<u32>,
    /// The document this one is a copy of.
    pub duplicate_of: Option<DocumentId>,
    /// Why it could not be fully processed; of an ignored document, why it could not before.
    pub category: Option<Category>,
    /// Why it was left out.
    pub exclusion: Option<Exclusion>,
    /// Which of its versions this is: 1 for the file as received, more once it was replaced.
    pub version: u32,
    /// The published index holds an entry of it.
    pub in_index: bool,
    /// What it has to do with others.
    pub relation: Relation,
    /// Its number in its thread.
    position: i64,
    /// The sealed part.
    pub details: Details,
    /// When it was received or unpacked.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// How the actor stands to its case, when an actor asked.
    pub standing: Standing,
}

/// The sealed part of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// File name as delivered; data, never a path of this machine.
    pub name: String,
    /// Where it was delivered from, containers included: `folder/archive.zip/inner/letter.docx`.
    pub path: String,
    /// Whose document it is.
    pub custodian: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The file's own time of change, as delivered.
    pub file_modified_at: Option<Timestamp>,
    /// An inline part of a message, not an attachment.
    #[serde(default)]
    pub inline: bool,
    /// True when the extension promised another format.
    #[serde(default)]
    pub extension_mismatch: bool,
    /// What the document says about itself.
    #[serde(default)]
    pub metadata: Metadata,
    /// Why it could not be processed.
    pub exception: Option<Exception>,
    /// What could not be read of it.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Why not everything in it became a document of its own; the first of its warnings once it is read.
    #[serde(default)]
    pub left_in: Option<Warning>,
    /// Who set its exception aside, and why. It counts while the document stands as [`Exclusion::Ignored`].
    #[serde(default)]
    pub ignored: Option<Ignored>,
    /// Who replaced the file, and why; none for the file as received.
    #[serde(default)]
    pub replacement: Option<Replacement>,
    /// What a load file says of it.
    #[serde(default)]
    pub listed: Option<Listed>,
}

/// Who set an exception aside, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// The reason, in that person's words.
    pub note: String,
    /// Who.
    pub by: Option<UserId>,
    /// When.
    pub at: Timestamp,
}

/// Which documents to list.
#[derive(Debug, Clone, Default)]
pub struct DocumentFilter {
    /// Only in this state.
    pub state: Option<DocumentState>,
    /// Only exceptions of this category, ignored ones included.
    pub category: Option<Category>,
    /// Only left out for this reason.
    pub exclusion: Option<Exclusion>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Only of this family.
    pub family: Option<DocumentId>,
    /// Only messages of this thread.
    pub thread: Option<DocumentId>,
    /// Only of this group of near-duplicates.
    pub group: Option<DocumentId>,
    /// Only messages that are inclusive, or only those that are not.
    pub inclusive: Option<bool>,
}

/// Selects documents in the order of [`Row`]: further columns, if any, and the statement from its `where` or further joins on.
macro_rules! columns {
    ($tail:expr) => {
        $crate::documents::columns!("", $tail)
    };
    ($more:expr, $tail:expr) => {
        concat!(
            "select f.id, f.case_id, f.database_id, f.batch_id, f.parent_id, f.family_id, f.ordinal, f.depth, f.state, f.format,
             f.media_type, f.size, f.sha256, f.original_blob, f.text_blob, f.pages, f.characters, f.duplicate_of, f.exception,
             f.exclusion, f.version, f.in_index, f.sealed_details, f.created_at, f.updated_at, r.thread_id, r.answers_id, r.position,
             r.is_inclusive, r.group_id, r.similarity",
            $more,
            " from documents f left join relations r on r.document_id = coalesce(f.duplicate_of, f.id) ",
            $tail
        )
    };
}
use columns;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    database_id: Uuid,
    batch_id: Uuid,
    parent_id: Option<Uuid>,
    family_id: Uuid,
    ordinal: i64,
    depth: i64,
    state: String,
    format: Option<String>,
    media_type: Option<String>,
    size: i64,
    sha256: Vec<u8>,
    original_blob: Uuid,
    text_blob: Option<Uuid>,
    pages: Option<i64>,
    characters: Option<i64>,
    duplicate_of: Option<Uuid>,
    exception: Option<String>,
    exclusion: Option<String>,
    version: i64,
    in_index: bool,
    sealed_details: Vec<u8>,
    created_at: i64,
    updated_at: i64,
    thread_id: Option<Uuid>,
    answers_id: Option<Uuid>,
    position: Option<i64>,
    is_inclusive: Option<bool>,
    group_id: Option<Uuid>,
    similarity: Option<i64>,
    #[sqlx(flatten)]
    standing: standing::Row,
}

fn place(id: DocumentId) -> Place {
    Place::new("documents", "sealed_details", id)
}

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Row {
    fn open(self, key: &CaseKey) -> Result<Document> {
        Ok(Document {
            id: DocumentId(self.id),
            case: CaseId(self.case_id),
            database: DatabaseId(self.database_id),
            batch: BatchId(self.batch_id),
            parent: self.parent_id.map(DocumentId),
            family: DocumentId(self.family_id),
            ordinal: small(self.ordinal),
            depth: small(self.depth),
            state: DocumentState::parse(&self.state).ok_or(Error::Invalid("unknown document state in a row"))?,
            format: self.format,
            media_type: self.media_type,
            size: u64::try_from(self.size).unwrap_or(0),
            sha256: self.sha256,
            original: BlobId(self.original_blob),
            text: self.text_blob.map(BlobId),
            pages: self.pages.map(small),
            characters: self.characters.map(small),
            duplicate_of: self.duplicate_of.map(DocumentId),
            category: self.exception.as_deref().and_then(Category::parse),
            exclusion: self.exclusion.as_deref().and_then(Exclusion::parse),
            version: small(self.version),
            in_index: self.in_index,
            relation: Relation {
                thread: self.thread_id.map(DocumentId),
                answers: self.answers_id.map(DocumentId),
                inclusive: self.is_inclusive,
                group: self.group_id.map(|pivot| (DocumentId(pivot), relations::percent(self.similarity))),
            },
            position: self.position.unwrap_or(0),
            details: unseal(key, &place(DocumentId(self.id)), &self.sealed_details)?,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
            standing: self.standing.into(),
        })
    }
}

impl Document {
    /// Finds a document in a case the actor may see, and permits `action` on it.
    pub async fn find(tx: &mut Tx, id: DocumentId, action: Action) -> Result<Self> {
        let user = person(tx);
        let row: Option<Row> = query!(tx, c => sqlx::query_as(columns!(
            concat!(", ", standing::columns!()),
            concat!("join cases c on c.id = f.case_id ", standing::joins!("f.case_id", "$2"),
                "where f.id = $1 and f.deleted_at is null and c.deleted_at is null")))
            .bind(id.uuid()).bind(user).fetch_optional(c).await)?;
        let row = row.ok_or(Error::NotFound)?;
        permit(tx, CaseId(row.case_id), &row.standing.clone().into(), action)?;
        let key = tx.case_key(CaseId(row.case_id)).await?;
        row.open(&key)
    }

    /// Loads a document for a job of its case; a deleted one is not found.
    pub async fn load(tx: &mut Tx, case: CaseId, id: DocumentId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where f.id = $1 and f.case_id = $2 and f.deleted_at is null"))
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        let key = tx.case_key(case).await?;
        row.ok_or(Error::NotFound)?.open(&key)
    }

    /// A database's documents, oldest first. The caller has found the database with [`Action::ReadDocuments`].
    pub async fn list(
        tx: &mut Tx,
        database: &Database,
        filter: &DocumentFilter,
        page: &PageQuery,
    ) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where f.database_id = $1 and f.id > $2 and f.deleted_at is null and ($3 or f.state = $4)
             and ($5 or f.exception = $6) and ($7 or f.batch_id = $8) and ($9 or f.family_id = $10)
             and ($11 or f.exclusion = $12) and ($13 or r.thread_id = $14) and ($15 or r.group_id = $16)
             and ($17 or r.is_inclusive = $18) order by f.id limit $19"))
            .bind(database.id.uuid()).bind(after)
            .bind(filter.state.is_none()).bind(filter.state.map_or("", DocumentState::name))
            .bind(filter.category.is_none()).bind(filter.category.map_or("", Category::name))
            .bind(filter.batch.is_none()).bind(filter.batch.map_or(Uuid::nil(), BatchId::uuid))
            .bind(filter.family.is_none()).bind(filter.family.map_or(Uuid::nil(), DocumentId::uuid))
            .bind(filter.exclusion.is_none()).bind(filter.exclusion.map_or("", Exclusion::name))
            .bind(filter.thread.is_none()).bind(filter.thread.map_or(Uuid::nil(), DocumentId::uuid))
            .bind(filter.group.is_none()).bind(filter.group.map_or(Uuid::nil(), DocumentId::uuid))
            .bind(filter.inclusive.is_none()).bind(filter.inclusive.unwrap_or(false))
            .bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let documents = open_all(tx, database.case_id, rows).await?;
        Ok(Page::of(documents, limit, |document| document.id))
    }

    /// The documents of all databases of a case, oldest first. The caller has found the case with
    /// [`Action::ReadDocuments`].
    pub async fn list_case(tx: &mut Tx, case: &Case, filter: &DocumentFilter, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where f.case_id = $1 and f.id > $2 and f.deleted_at is null and ($3 or f.state = $4)
             and ($5 or f.exception = $6) and ($7 or f.batch_id = $8) and ($9 or f.family_id = $10)
             and ($11 or f.exclusion = $12) and ($13 or r.thread_id = $14) and ($15 or r.group_id = $16)
             and ($17 or r.is_inclusive = $18) order by f.id limit $19"))
            .bind(case.id.uuid()).bind(after)
            .bind(filter.state.is_none()).bind(filter.state.map_or("", DocumentState::name))
            .bind(filter.category.is_none()).bind(filter.category.map_or("", Category::name))
            .bind(filter.batch.is_none()).bind(filter.batch.map_or(Uuid::nil(), BatchId::uuid))
            .bind(filter.family.is_none()).bind(filter.family.map_or(Uuid::nil(), DocumentId::uuid))
            .bind(filter.exclusion.is_none()).bind(filter.exclusion.map_or("", Exclusion::name))
            .bind(filter.thread.is_none()).bind(filter.thread.map_or(Uuid::nil(), DocumentId::uuid))
            .bind(filter.group.is_none()).bind(filter.group.map_or(Uuid::nil(), DocumentId::uuid))
            .bind(filter.inclusive.is_none()).bind(filter.inclusive.unwrap_or(false))
            .bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let documents = open_all(tx, case.id, rows).await?;
        Ok(Page::of(documents, limit, |document| document.id))
    }

    /// Those of `ids` that are in the case now and not deleted, in no order. For answers made from an index or a
    /// conversation: rows decide what may still be shown.
    pub async fn present(tx: &mut Tx, case: CaseId, ids: &[DocumentId]) -> Result<Vec<Self>> {
        let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
        for ids in ids.chunks(500) {
            rows.extend(query!(tx, c => {
                let mut sql = sqlx::QueryBuilder::<Driver>::new(columns!("where f.deleted_at is null and f.case_id = "));
                sql.push_bind(case.uuid()).push(" and f.id in (");
                let mut list = sql.separated(", ");
                for id in ids {
                    list.push_bind(id.uuid());
                }
                sql.push(")");
                sql.build_query_as::<Row>().fetch_all(c).await.map_err(Error::from)
            })?);
        }
        open_all(tx, case, rows).await
    }

    /// The first `most` documents unpacked directly from this one, in order.
    pub async fn children(&self, tx: &mut Tx, most: u32) -> Result<Vec<Self>> {
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where f.parent_id = $1 and f.deleted_at is null order by f.ordinal, f.id limit $2"))
            .bind(self.id.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
        open_all(tx, self.case, rows).await
    }
}

async fn open_all(tx: &mut Tx, case: CaseId, rows: Vec<Row>) -> Result<Vec<Document>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let key = tx.case_key(case).await?;
    rows.into_iter().map(|row| row.open(&key)).collect()
}
