//! Reading a batch again: what another reader read, or failed to read, goes through the pipeline once more. An indexed
//! document keeps its text and its place in the index until the new text is published.

use domain::{
    access::Action,
    events::{Event, Topic},
    ids::DocumentId,
    jobs::{ExtractText, IngestDocument, ReprocessBatch},
};
use uuid::Uuid;

use crate::{
    Result, Tx,
    audit::Audit,
    batches::{self, Batch},
    cases::permit,
    databases::Database,
    db::change,
};

/// Which documents of a batch are read again.
#[derive(Debug, Clone, Copy)]
pub struct Reread {
    /// The job that asks.
    pub job: ReprocessBatch,
    /// The reader there is now: what it read is left alone, unless all is wanted.
    pub reader: [u8; 32],
}

/// One page of documents sent through the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// How many; 0 when no more are left.
    pub documents: u64,
    /// The last of them.
    pub last: DocumentId,
}

/// Asks for a batch of a database found with [`Action::Upload`] to be read again: what another reader than today's read or
/// failed to read, or all of it.
pub async fn reprocess(tx: &mut Tx, database: &Database, batch: &Batch, all: bool) -> Result<()> {
    permit(tx, database.case_id, &database.standing, Action::Upload)?;
    let (case, asked_at) = (batch.case_id, tx.now());
    tx.audit(Audit::ReprocessRequested { case, batch: batch.id, all }).await?;
    tx.enqueue(&ReprocessBatch { case, database: database.id, batch: batch.id, all, asked_at }).await
}

impl Reread {
    /// Sends the first `most` documents after `after` that are to be read again: indexed ones to extraction, exceptions to
    /// the beginning. A member that its container did not give up has nothing to be read. Those sent no longer stand where this looks, so repeating it sends nothing twice.
    pub async fn page(&self, tx: &mut Tx, after: DocumentId, most: u32) -> Result<Sent> {
        let (now, job) = (tx.now(), self.job);
        let rows: Vec<(Uuid, String)> = change!(tx, c => sqlx::query_as(
            "update documents set state = case when state = 'indexed' then 'ingested' else 'received' end,
             exception = case when exception = 'virus' then exception end, updated_at = $2 where id in (
               select id from documents where batch_id = $1 and id > $3 and state in ('indexed', 'exception')
               and deleted_at is null and (reader is not null or parent_id is null)
               and (reader is null or reader <> $4 or ($5 and updated_at < $6)) order by id limit $7)
             and state in ('indexed', 'exception') returning id, state")
            .bind(job.batch.uuid()).bind(now.0).bind(after.uuid()).bind(&self.reader[..]).bind(job.all).bind(job.asked_at.0)
            .bind(i64::from(most)).fetch_all(c).await)?;
        if !rows.is_empty() {
            batches::stir(tx, job.batch).await?;
        }
        let case = job.case;
        for (id, state) in &rows {
            let document = DocumentId(*id);
            if state == "ingested" {
                tx.enqueue(&ExtractText { case, document }).await?;
            } else {
                tx.enqueue(&IngestDocument { case, document }).await?;
            }
        }
        let sent =
            Sent { documents: rows.len() as u64, last: rows.iter().map(|(id, _)| *id).max().map_or(after, DocumentId) };
        tx.audit(Audit::BatchReprocessed { case, batch: job.batch, documents: sent.documents }).await?;
        let database = job.database;
        tx.publish(Topic::Database(database), Event::DatabaseChanged { database });
        Ok(sent)
    }
}
