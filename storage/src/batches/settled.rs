//! When a sealed batch has come to rest: none of its documents is on its way, no file is fetched or put together for it, no load file is
//! read. It is noted once, in the transaction that tells the webhooks; whoever sends a document of the batch through the pipeline again
//! takes the note away, so that the next rest is noted again.

use domain::{
    actor::Actor,
    ids::{BatchId, CaseId},
    webhooks::EventType,
};
use serde_json::json;
use uuid::Uuid;

use super::Batch;
use crate::{
    Result, Storage, Tx,
    audit::Audit,
    db::{change, query},
    items, webhooks,
};

/// A statement about batches `b` that are sealed, have come to rest, and are not noted for that.
macro_rules! at_rest {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " b.state = 'sealed' and b.settled_at is null
             and not exists (select 1 from documents f where f.database_id = b.database_id and f.batch_id = b.id
               and f.state in ('received', 'ingested', 'extracted') and f.deleted_at is null)
             and not exists (select 1 from items i where i.batch_id = b.id and i.state = 'fetching')
             and not exists (select 1 from load_files l where l.batch_id = b.id and l.state = 'waiting')
             and not exists (select 1 from uploads u where u.batch_id = b.id and u.document_id is null
               and u.state = 'complete' and u.kind <> 'partial')",
            $tail
        )
    };
}

/// Sealed batches that have come to rest and are not noted for that: what else notes it may have died before.
pub async fn at_rest(tx: &mut Tx) -> Result<Vec<(CaseId, BatchId)>> {
    let rows: Vec<(Uuid, Uuid)> = query!(tx, c => sqlx::query_as(at_rest!(
        "select b.case_id, b.id from batches b join cases k on k.id = b.case_id where k.deleted_at is null and",
        " order by b.id limit 1000"))
        .fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(case, batch)| (CaseId(case), BatchId(batch))).collect())
}

/// Notes that a batch has come to rest and tells the webhooks of its case, if that is so and was not noted before. In a transaction of
/// its own: it waits for the batch's row, and whoever holds that may wait for documents. True when it did.
pub async fn settle(storage: &Storage, actor: &Actor, case: CaseId, id: BatchId) -> Result<bool> {
    let mut tx = storage.read(actor).await?;
    let is_at_rest: Option<Uuid> = query!(tx, c => sqlx::query_scalar(at_rest!("select b.id from batches b where b.id = $1 and", ""))
        .bind(id.uuid()).fetch_optional(c).await)?;
    drop(tx);
    if is_at_rest.is_none() {
        return Ok(false);
    }
    let mut tx = storage.begin(actor).await?;
    let now = tx.now();
    if tx.is_postgres() {
        // Who stirs the batch holds its row until what is stirred can be seen by the statement after this one.
        let _: Option<Uuid> = query!(tx, c => sqlx::query_scalar("select id from batches where id = $1 for no key update")
            .bind(id.uuid()).fetch_optional(c).await)?;
    }
    let settled = change!(tx, c => sqlx::query(at_rest!("update batches as b set settled_at = $2 where b.id = $1 and", ""))
        .bind(id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    if settled == 0 {
        return Ok(false);
    }
    let batch = Batch::load(&mut tx, case, id).await?;
    let (counts, items) = (batch.counts(&mut tx).await?, items::counts(&mut tx, &batch).await?);
    let data = json!({
        "case_id": case, "database_id": batch.database_id, "batch_id": id, "counts": counts, "items": items,
    });
    webhooks::announce(&mut tx, case, EventType::BatchSettled, &data).await?;
    tx.audit(Audit::BatchSettled { case, batch: id }).await?;
    tx.commit().await?;
    Ok(true)
}

/// Says that documents of a batch were sent through the pipeline again in this transaction: it is settled no more. Takes the batch's row,
/// noted or not, so that whoever is about to note it sees those documents.
pub(crate) async fn stir(tx: &mut Tx, batch: BatchId) -> Result<()> {
    change!(tx, c => sqlx::query("update batches set settled_at = null where id = $1 and state = 'sealed'")
        .bind(batch.uuid()).execute(c).await.map(drop))?;
    Ok(())
}
