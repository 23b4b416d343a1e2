//! The truth of the queue. A job is a row: enqueued in the transaction that causes it, claimed in batches under a lease with
//! a fencing number, completed in the transaction of its effect. Jobs may run twice and must not matter twice.

mod admin;
mod claim;
mod settle;

use domain::{
    ids::{CaseId, DocumentId, JobId, UserId},
    jobs::{Job, Queue},
};
use serde_json::Value;
use uuid::Uuid;

pub use admin::{
    JobFilter, JobRow, QueueStats, cancel, counts, find, forget_old, list, retry, service_times, set_paused,
};
pub(crate) use claim::reclaim_all;
pub use claim::{Claimer, Lane};
pub use settle::{Heartbeat, again, cancel_for_batch, done, extend, hand_over, release, set_aside};

use crate::{
    Result, Tx,
    db::{change, query},
};

/// A job this process holds the lease of.
#[derive(Debug, Clone)]
pub struct Held {
    /// The row.
    pub id: JobId,
    /// Rises with every claim; an older holder's number no longer counts.
    pub fence: i64,
    /// The kind, a key of the wire contract.
    pub kind: String,
    /// The payload.
    pub payload: Value,
    /// Claims so far, this one included.
    pub attempts: u32,
    /// Claims allowed.
    pub max_attempts: u32,
    /// The case it works for.
    pub case: Option<CaseId>,
    /// The document it works on.
    pub document: Option<DocumentId>,
    /// The request that began it all.
    pub request: Uuid,
    /// The person whose act caused it.
    pub on_behalf: Option<UserId>,
}

impl Tx {
    /// Enqueues a job as part of this transaction; the queue's bell rings after the commit. A unique job that already
    /// waits is not enqueued twice.
    pub async fn enqueue<J: Job>(&mut self, job: &J) -> Result<()> {
        self.enqueue_at(job, None).await
    }

    /// Enqueues a job that is not claimed before `at` (by the shared clock).
    pub async fn enqueue_at<J: Job>(&mut self, job: &J, at: Option<domain::clock::Timestamp>) -> Result<()> {
        let now = self.now();
        let (request, on_behalf) = (self.actor().origin.request, self.actor().user());
        let payload = serde_json::to_value(job)?;
        // The update that changes nothing keeps the job that waits from being claimed before this transaction is visible:
        // it would run without seeing what it was asked to run for.
        let id: Uuid = change!(self, c => sqlx::query_scalar(
            "insert into jobs (id, kind, queue, lane, document_id, payload, state, priority, max_attempts, run_at, unique_key,
             request_id, on_behalf, created_at) values ($1,$2,$3,$4,$5,$6,'ready',$7,$8,$9,$10,$11,$12,$13)
             on conflict (unique_key) where state = 'ready' do update set kind = excluded.kind returning id")
            .bind(JobId::new().uuid()).bind(J::KIND).bind(J::QUEUE.name())
            .bind(job.case().map_or(Uuid::nil(), CaseId::uuid)).bind(job.document().map(DocumentId::uuid))
            .bind(sqlx::types::Json(&payload)).bind(i64::from(J::POLICY.priority)).bind(i64::from(J::POLICY.max_attempts))
            .bind(at.unwrap_or(now).0).bind(job.unique_key()).bind(request).bind(on_behalf.map(UserId::uuid)).bind(now.0)
            .fetch_one(c).await)?;
        // What is due later is found by looking.
        if at.is_none_or(|at| at <= now) {
            self.ring(J::QUEUE, Some(JobId(id)));
        }
        Ok(())
    }

    /// Completes a job in the transaction of its effect. [`crate::Error::LeaseLost`] when another process took the job
    /// over meanwhile: then this transaction must not commit.
    pub async fn complete(&mut self, held: &Held) -> Result<()> {
        settle::finish(self, held, "done", None).await
    }

    /// True when a job of this one's unique key waits or runs.
    pub async fn is_live<J: Job>(&mut self, job: &J) -> Result<bool> {
        Ok(query!(self, c => sqlx::query_scalar(
            "select exists (select 1 from jobs where unique_key = $1 and state = 'ready')
             or exists (select 1 from jobs where unique_key = $1 and state = 'running')")
            .bind(job.unique_key()).fetch_one(c).await)?)
    }

    /// True when the queue is paused.
    pub async fn is_paused(&mut self, queue: Queue) -> Result<bool> {
        let paused: Option<bool> = query!(self, c => sqlx::query_scalar("select paused from queues where name = $1")
            .bind(queue.name()).fetch_optional(c).await)?;
        Ok(paused.unwrap_or(false))
    }
}
