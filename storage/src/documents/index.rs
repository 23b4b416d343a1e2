//! What the indexer and the sweeper ask of documents: who waits for the index, who must leave it, who is in it, who was left
//! behind.

use domain::{
    clock::Timestamp,
    ids::{BlobId, CaseId, DatabaseId, DocumentId},
};
use uuid::Uuid;

use super::{Document, Row, columns, open_all, relations};
use crate::{
    Error, Result, Tx,
    db::{change, query},
};

/// A database with work for the indexer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its case.
    pub case: CaseId,
    /// The database.
    pub database: DatabaseId,
}

/// Documents with text that wait for the index, oldest first.
pub async fn extracted(tx: &mut Tx, case: CaseId, database: DatabaseId, most: u32) -> Result<Vec<Document>> {
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
        "where f.database_id = $1 and f.state = 'extracted' and f.deleted_at is null order by f.id limit $2"))
        .bind(database.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    open_all(tx, case, rows).await
}

/// How many documents of a database wait for the index, and how many are on their way to waiting for it.
pub async fn extracted_totals(tx: &mut Tx, database: DatabaseId) -> Result<(u64, u64)> {
    let (waiting, coming): (i64, i64) = query!(tx, c => sqlx::query_as(
        "select coalesce(cast(sum(case when state = 'extracted' then 1 else 0 end) as bigint), 0),
         coalesce(cast(sum(case when state in ('received', 'ingested') then 1 else 0 end) as bigint), 0)
         from documents where database_id = $1 and state in ('received', 'ingested', 'extracted') and deleted_at is null")
        .bind(database.uuid()).fetch_one(c).await)?;
    Ok((u64::try_from(waiting).unwrap_or(0), u64::try_from(coming).unwrap_or(0)))
}

/// Documents after `after` that the index holds and goes on holding (indexed, or being read again), for a rebuild.
pub async fn indexed(
    tx: &mut Tx,
    case: CaseId,
    database: DatabaseId,
    after: DocumentId,
    most: u32,
) -> Result<Vec<Document>> {
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
        "where f.database_id = $1 and f.in_index and f.state in ('indexed', 'ingested', 'extracted')
         and f.text_blob is not null and f.deleted_at is null and f.id > $2 order by f.id limit $3"))
        .bind(database.uuid()).bind(after.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    open_all(tx, case, rows).await
}

/// Deleted documents whose rows (and index entries) are still to be removed.
pub async fn deleted(tx: &mut Tx, database: DatabaseId, most: u32) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select id from documents where database_id = $1 and deleted_at is not null order by id limit $2")
        .bind(database.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// Documents whose entry in the index is no longer theirs: replaced since, or ended otherwise.
pub async fn withdrawn(tx: &mut Tx, database: DatabaseId, most: u32) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select id from documents where database_id = $1 and in_index and deleted_at is null
         and (text_blob is null or state in ('duplicate', 'excluded', 'exception')) order by id limit $2")
        .bind(database.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// Notes that the index holds no entry of these, in the transaction that publishes the generation without them.
pub async fn forget_entries(tx: &mut Tx, documents: &[DocumentId]) -> Result<()> {
    for ids in documents.chunks(500) {
        change!(tx, c => {
            let mut sql = sqlx::QueryBuilder::<Driver>::new("update documents set in_index = false where id in (");
            let mut list = sql.separated(", ");
            for id in ids {
                list.push_bind(id.uuid());
            }
            sql.push(")");
            sql.build().execute(c).await.map(drop).map_err(Error::from)
        })?;
    }
    Ok(())
}

/// Extracted → indexed, in the transaction that publishes the generation which holds these texts. A document that was
/// deleted, excluded or replaced since, or has another text, stays as it is. Returns how many moved.
pub async fn mark_indexed(tx: &mut Tx, texts: &[(DocumentId, BlobId)]) -> Result<u64> {
    let now = tx.now();
    let mut moved = 0;
    for texts in texts.chunks(500) {
        moved += change!(tx, c => {
            let mut sql =
                sqlx::QueryBuilder::<Driver>::new("update documents set state = 'indexed', in_index = true, updated_at = ");
            sql.push_bind(now.0).push(" where state = 'extracted' and deleted_at is null and id in (");
            let mut list = sql.separated(", ");
            for (id, _) in texts {
                list.push_bind(id.uuid());
            }
            // A text belongs to one document, so two lists say the same as pairs.
            sql.push(") and text_blob in (");
            let mut list = sql.separated(", ");
            for (_, text) in texts {
                list.push_bind(text.uuid());
            }
            sql.push(")");
            sql.build().execute(c).await.map(|r| r.rows_affected()).map_err(Error::from)
        })?;
    }
    Ok(moved)
}

/// Removes the rows of deleted documents, in the transaction that publishes a generation without them; returns their
/// objects, struck from the register, for deletion after the commit.
pub async fn remove_deleted(tx: &mut Tx, documents: &[DocumentId]) -> Result<Vec<BlobId>> {
    let mut freed = Vec::new();
    for id in documents {
        let original: Option<Uuid> = query!(tx, c => sqlx::query_scalar(
            "select original_blob from documents where id = $1 and deleted_at is not null")
            .bind(id.uuid()).fetch_optional(c).await)?;
        let Some(original) = original else { continue };
        relations::forget(tx, *id).await?;
        let derived: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
            "select original_blob from versions where document_id = $1
             union all select text_blob from readings where document_id = $1 and text_blob is not null")
            .bind(id.uuid()).fetch_all(c).await)?;
        change!(tx, c => sqlx::query("delete from readings where document_id = $1").bind(id.uuid()).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("delete from versions where document_id = $1").bind(id.uuid()).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("update documents set parent_id = null where parent_id = $1")
            .bind(id.uuid()).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("delete from context_items where document_id = $1").bind(id.uuid()).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("update items set document_id = null where document_id = $1")
            .bind(id.uuid()).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("delete from uploads where document_id = $1").bind(id.uuid()).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("delete from documents where id = $1").bind(id.uuid()).execute(c).await.map(drop))?;
        for blob in derived.into_iter().chain([original]).map(BlobId) {
            tx.forget_blob(blob).await?;
            freed.push(blob);
        }
    }
    Ok(freed)
}

/// Databases whose index has something to do.
pub async fn databases_waiting(tx: &mut Tx) -> Result<Vec<Waiting>> {
    let rows: Vec<(Uuid, Uuid)> = query!(tx, c => sqlx::query_as(
        "select d.case_id, d.id from databases d join cases c on c.id = d.case_id where c.deleted_at is null
         and exists (select 1 from documents f where f.database_id = d.id
           and ((f.state = 'extracted' and f.deleted_at is null) or f.deleted_at is not null
             or (f.in_index and (f.text_blob is null or f.state in ('duplicate', 'excluded', 'exception')))))
         order by d.id limit 1000")
        .fetch_all(c).await)?;
    Ok(rows
        .into_iter()
        .map(|(case, database)| Waiting { case: CaseId(case), database: DatabaseId(database) })
        .collect())
}

/// Documents that wait for a job that does not exist: none is ready or running, and nothing moved since `before`. Returns
/// the case, the document and whether it was ingested already.
pub async fn stranded(tx: &mut Tx, before: Timestamp, most: u32) -> Result<Vec<(CaseId, DocumentId, bool)>> {
    let rows: Vec<(Uuid, Uuid, String)> = query!(tx, c => sqlx::query_as(
        "select f.case_id, f.id, f.state from documents f join cases c on c.id = f.case_id
         where f.state in ('received', 'ingested') and f.deleted_at is null and c.deleted_at is null and f.updated_at < $1
         and not exists (select 1 from jobs j where j.document_id = f.id and j.state in ('ready', 'running'))
         order by f.id limit $2")
        .bind(before.0).bind(i64::from(most)).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(case, id, state)| (CaseId(case), DocumentId(id), state == "ingested")).collect())
}
