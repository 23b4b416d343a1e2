//! Duplicates: of several documents with the same content, the first stands for all and the others are kept as its copies. Only
//! what begins a family can be a copy: attachments are never suppressed, a family stays whole. How far the search for copies
//! goes is the database's choice ([`Deduplication`]).

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    events::{Event, Topic},
    ids::{BatchId, CaseId, DatabaseId, DocumentId},
    jobs::{IndexDatabase, IngestDocument},
    outcome::DocumentState,
    page::{Page, PageQuery},
};
use uuid::Uuid;

use super::{Document, Row, columns, open_all};
use crate::{
    Error, Result, Tx, batches,
    databases::Deduplication,
    db::{change, query},
};

/// Copies opened at once.
const COPIES_AT_ONCE: u32 = 2_000;

/// Claims contents (SHA-256 of the bytes, or what identifies a message) for a document that begins a family.
/// `Some(first)` when another document stands for one of them already; then the others may have been claimed, and are given
/// up with the transaction or by [`release_contents`].
pub async fn claim_content(tx: &mut Tx, document: &Document, contents: &[&[u8]]) -> Result<Option<DocumentId>> {
    if document.family != document.id {
        return Ok(None);
    }
    let Some(scope) = scope(tx, document).await? else { return Ok(None) };
    for content in contents {
        let first = claim(tx, scope, content, document.id).await?;
        if first != document.id {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

async fn scope(tx: &mut Tx, document: &Document) -> Result<Option<Uuid>> {
    let name: String = query!(tx, c => sqlx::query_scalar("select deduplication from databases where id = $1")
        .bind(document.database.uuid()).fetch_one(c).await)?;
    let deduplication = Deduplication::parse(&name).ok_or(Error::Invalid("unknown deduplication in a row"))?;
    Ok(match deduplication {
        Deduplication::Database => Some(document.database.uuid()),
        Deduplication::Case => Some(document.case.uuid()),
        Deduplication::None => None,
    })
}

/// The document that stands for `content`, which is `document` when nobody did.
async fn claim(tx: &mut Tx, scope: Uuid, content: &[u8], document: DocumentId) -> Result<DocumentId> {
    loop {
        change!(tx, c => sqlx::query(
            "insert into contents (scope_id, content, document_id) values ($1, $2, $3) on conflict do nothing")
            .bind(scope).bind(content).bind(document.uuid()).execute(c).await.map(drop))?;
        // Held until the commit: whoever deletes the first must see this copy and make it the heir.
        let sql = if tx.is_postgres() {
            "select document_id from contents where scope_id = $1 and content = $2 for share"
        } else {
            "select document_id from contents where scope_id = $1 and content = $2"
        };
        let first: Option<Uuid> =
            query!(tx, c => sqlx::query_scalar(sql).bind(scope).bind(content).fetch_optional(c).await)?;
        // None when the first was deleted between the two statements: then the place is free.
        if let Some(first) = first {
            return Ok(DocumentId(first));
        }
    }
}

/// Gives up the contents these documents stand for; the first remaining copy of each inherits them and goes through the
/// pipeline in its place. Called when documents are deleted, excluded, or found to be copies themselves.
pub async fn release_contents(tx: &mut Tx, case: CaseId, documents: &[DocumentId]) -> Result<()> {
    let now = tx.now();
    for document in documents {
        // Waits for whoever is finding a copy of it right now, so that this copy is among the heirs.
        let contents: Vec<(Uuid, Vec<u8>)> = change!(tx, c => sqlx::query_as(
            "delete from contents where document_id = $1 returning scope_id, content")
            .bind(document.uuid()).fetch_all(c).await)?;
        if contents.is_empty() {
            continue;
        }
        let heir: Option<(Uuid, Uuid, Uuid)> = query!(tx, c => sqlx::query_as(
            "select id, database_id, batch_id from documents where duplicate_of = $1 and state = 'duplicate' and deleted_at is null
             order by id limit 1")
            .bind(document.uuid()).fetch_optional(c).await)?;
        let Some((heir, database, batch)) = heir else { continue };
        batches::stir(tx, BatchId(batch)).await?;
        change!(tx, c => sqlx::query(
            "update documents set state = 'received', duplicate_of = null, updated_at = $2 where id = $1")
            .bind(heir).bind(now.0).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("update documents set duplicate_of = $2 where duplicate_of = $1 and state = 'duplicate'")
            .bind(document.uuid()).bind(heir).execute(c).await.map(drop))?;
        for (scope, content) in contents {
            change!(tx, c => sqlx::query("insert into contents (scope_id, content, document_id) values ($1, $2, $3)")
                .bind(scope).bind(content).bind(heir).execute(c).await.map(drop))?;
        }
        tx.enqueue(&IngestDocument { case, document: DocumentId(heir) }).await?;
        let database = DatabaseId(database);
        tx.publish(Topic::Database(database), Event::DatabaseChanged { database });
    }
    Ok(())
}

/// The copies of a document as far as its entry in the index speaks of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copies {
    /// Whose they are.
    pub custodians: BTreeSet<String>,
    /// How many there are, and when one of them last moved.
    state: (i64, i64),
}

/// The copies of these documents; one without any is left out.
pub async fn copies_of(tx: &mut Tx, case: CaseId, ids: &[DocumentId]) -> Result<BTreeMap<DocumentId, Copies>> {
    let mut found: BTreeMap<DocumentId, Copies> = BTreeMap::new();
    for ids in ids.chunks(500) {
        for (id, state) in states(tx, ids).await? {
            found.entry(id).or_default().state = state;
        }
        let mut after = Uuid::nil();
        loop {
            let rows: Vec<Row> = query!(tx, c => {
                let mut sql = sqlx::QueryBuilder::<Driver>::new(columns!(
                    "where f.state = 'duplicate' and f.deleted_at is null and f.id > "));
                sql.push_bind(after).push(" and f.duplicate_of in (");
                let mut list = sql.separated(", ");
                for id in ids {
                    list.push_bind(id.uuid());
                }
                sql.push(") order by f.id limit ").push_bind(i64::from(COPIES_AT_ONCE));
                sql.build_query_as::<Row>().fetch_all(c).await.map_err(Error::from)
            })?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            for copy in open_all(tx, case, rows).await? {
                let (Some(first), Some(custodian)) = (copy.duplicate_of, copy.details.custodian) else { continue };
                found.entry(first).or_default().custodians.insert(custodian);
            }
        }
    }
    Ok(found)
}

/// True while the documents have the copies that [`copies_of`] found.
pub async fn are_the_same(tx: &mut Tx, ids: &[DocumentId], copies: &BTreeMap<DocumentId, Copies>) -> Result<bool> {
    for ids in ids.chunks(500) {
        let now: BTreeMap<DocumentId, (i64, i64)> = states(tx, ids).await?.into_iter().collect();
        if ids.iter().any(|id| now.get(id) != copies.get(id).map(|copies| &copies.state)) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn states(tx: &mut Tx, ids: &[DocumentId]) -> Result<Vec<(DocumentId, (i64, i64))>> {
    let rows: Vec<(Uuid, i64, i64)> = query!(tx, c => {
        let mut sql = sqlx::QueryBuilder::<Driver>::new(
            "select duplicate_of, count(*), max(updated_at) from documents
             where state = 'duplicate' and deleted_at is null and duplicate_of in (");
        let mut list = sql.separated(", ");
        for id in ids {
            list.push_bind(id.uuid());
        }
        sql.push(") group by duplicate_of");
        sql.build_query_as().fetch_all(c).await.map_err(Error::from)
    })?;
    Ok(rows.into_iter().map(|(id, number, latest)| (DocumentId(id), (number, latest))).collect())
}

/// Asks for a fresh entry in the index of a document whose copies are others now: it is found by their custodians. The row is
/// changed wherever it stands, if only to itself: so whoever publishes the entry waits for this transaction and then sees what it did
/// ([`are_the_same`]), or this one waits for them and finds the document indexed.
pub(super) async fn copies_changed(tx: &mut Tx, case: CaseId, first: DocumentId) -> Result<()> {
    let now = tx.now();
    let row: Option<(Uuid, String)> = change!(tx, c => sqlx::query_as(
        "update documents set updated_at = case when state = 'indexed' then $2 else updated_at end,
         state = case when state = 'indexed' then 'extracted' else state end
         where id = $1 and deleted_at is null returning database_id, state")
        .bind(first.uuid()).bind(now.0).fetch_optional(c).await)?;
    let Some((database, state)) = row else { return Ok(()) };
    if DocumentState::parse(&state) == Some(DocumentState::Extracted) {
        let database = DatabaseId(database);
        tx.enqueue(&IndexDatabase { case, database }).await?;
        tx.publish(Topic::Database(database), Event::DatabaseChanged { database });
    }
    Ok(())
}

impl Document {
    /// True when the entry in the index of the document that this one is a copy of speaks of this one's custodian already, or has
    /// no need to: it is the document's own, or that of one of the copies that came last.
    pub(super) async fn custodian_is_known(&self, tx: &mut Tx, first: DocumentId) -> Result<bool> {
        let Some(custodian) = &self.details.custodian else { return Ok(true) };
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where f.case_id = $2 and f.deleted_at is null and (f.id = $1 or (f.id in (select id from documents
               where duplicate_of = $1 and state = 'duplicate' and deleted_at is null order by id desc limit 100) and f.id <> $3))"))
            .bind(first.uuid()).bind(self.case.uuid()).bind(self.id.uuid()).fetch_all(c).await)?;
        Ok(open_all(tx, self.case, rows).await?.iter().any(|other| other.details.custodian.as_ref() == Some(custodian)))
    }
}

impl Document {
    /// The copies this document stands for, oldest first: whose they are and where they lay.
    pub async fn copies(&self, tx: &mut Tx, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
            "where f.duplicate_of = $1 and f.state = 'duplicate' and f.deleted_at is null and f.id > $2
             order by f.id limit $3"))
            .bind(self.id.uuid()).bind(after).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let copies = open_all(tx, self.case, rows).await?;
        Ok(Page::of(copies, limit, |copy| copy.id))
    }
}
