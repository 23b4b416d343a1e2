//! Settling a held job: done, again later, or dead; and keeping its lease alive meanwhile. Every statement checks the fence.

use std::{collections::HashSet, time::Duration};

use domain::{
    actor::Actor,
    clock::Timestamp,
    ids::{BatchId, JobId},
    jobs::{Job, Queue},
};
use uuid::Uuid;

use super::Held;
use crate::{
    Error, Result, Storage, Tx,
    audit::Audit,
    db::{change, query},
};

/// What a heartbeat learned.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Jobs that were cancelled or taken over: stop working on them.
    pub lost: Vec<JobId>,
}

impl Tx {
    /// Puts a held job back, due at `delay` from now, with the reason it failed. A unique job whose successor already
    /// waits is superseded by it.
    pub async fn retry_later(&mut self, held: &Held, delay: Duration, error: &str) -> Result<()> {
        let due = self.shared_now().await?.plus(delay);
        let successor: bool = query!(self, c => sqlx::query_scalar(
            "select exists (select 1 from jobs w join jobs j on j.unique_key = w.unique_key
             where j.id = $1 and w.state = 'ready')")
            .bind(held.id.uuid()).fetch_one(c).await)?;
        if successor {
            return finish(self, held, "done", Some("superseded")).await;
        }
        let moved = change!(self, c => sqlx::query(
            "update jobs set state = 'ready', run_at = $3, lease_until = null, error = $4
             where id = $1 and fence = $2 and state = 'running'")
            .bind(held.id.uuid()).bind(held.fence).bind(due.0).bind(cut(error)).execute(c).await.map(|r| r.rows_affected()))?;
        if moved == 1 { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Dead-letters a held job. Whoever calls this also gives the job's document its exception, in this transaction.
    pub async fn bury(&mut self, held: &Held, error: &str) -> Result<()> {
        finish(self, held, "dead", Some(error)).await?;
        self.audit(Audit::JobBuried { job: held.id }).await
    }
}

/// Completes a held job by leaving its work to `next`, in `actor`'s name, not before `delay` has passed. Nothing has happened yet
/// that would be audited. [`Error::LeaseLost`] when another process took the job over meanwhile.
pub async fn hand_over(
    storage: &Storage,
    actor: &Actor,
    held: &Held,
    next: &impl Job,
    delay: Option<Duration>,
) -> Result<()> {
    let mut tx = storage.begin_machinery_for(actor).await?;
    tx.complete(held).await?;
    let due = match delay {
        None => None,
        Some(delay) => Some(tx.shared_now().await?.plus(delay)),
    };
    tx.enqueue_at(next, due).await?;
    tx.commit().await
}

pub(super) async fn finish(tx: &mut Tx, held: &Held, state: &str, error: Option<&str>) -> Result<()> {
    let now = tx.now();
    let moved = change!(tx, c => sqlx::query(
        "update jobs set state = $3, finished_at = $4, lease_until = null, error = $5
         where id = $1 and fence = $2 and state = 'running'")
        .bind(held.id.uuid()).bind(held.fence).bind(state).bind(now.0).bind(error.map(cut)).execute(c).await
        .map(|r| r.rows_affected()))?;
    if moved != 1 {
        return Err(Error::LeaseLost);
    }
    let waiting: Option<(Uuid, String)> = query!(tx, c => sqlx::query_as(
        "select w.id, w.queue from jobs w join jobs j on j.unique_key = w.unique_key where j.id = $1 and w.state = 'ready'")
        .bind(held.id.uuid()).fetch_optional(c).await)?;
    if let Some((id, queue)) = waiting
        && let Some(queue) = Queue::parse(&queue)
    {
        tx.ring(queue, Some(JobId(id)));
    }
    Ok(())
}

/// Completes a held job whose run had no effect to be completed with.
pub async fn done(storage: &Storage, held: &Held) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    tx.complete(held).await?;
    tx.commit().await
}

/// Puts a held job back after a failed run: see [`Tx::retry_later`].
pub async fn again(storage: &Storage, held: &Held, delay: Duration, error: &str) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    tx.retry_later(held, delay, error).await?;
    tx.commit().await
}

/// Keeps the leases of `held` alive for `lease` from now, and says which were lost.
pub async fn extend(storage: &Storage, held: &[(JobId, i64)], lease: Duration) -> Result<Heartbeat> {
    if held.is_empty() {
        return Ok(Heartbeat::default());
    }
    let mut tx = storage.begin_machinery().await?;
    let until = tx.shared_now().await?.plus(lease);
    let mut kept: HashSet<(Uuid, i64)> = HashSet::new();
    for (id, fence) in held {
        let alive = change!(tx, c => sqlx::query(
            "update jobs set lease_until = $3 where id = $1 and fence = $2 and state = 'running'")
            .bind(id.uuid()).bind(fence).bind(until.0).execute(c).await.map(|r| r.rows_affected()))?;
        if alive == 1 {
            kept.insert((id.uuid(), *fence));
        }
    }
    tx.commit().await?;
    Ok(Heartbeat { lost: held.iter().filter(|(id, f)| !kept.contains(&(id.uuid(), *f))).map(|(id, _)| *id).collect() })
}

/// Gives held jobs back untouched (a graceful stop): the attempt does not count and they are due at once.
pub async fn release(storage: &Storage, held: &[Held]) -> Result<()> {
    put_back(storage, held, Duration::ZERO, None).await
}

/// Leaves a held job to a worker that understands it: the attempt does not count, and it is due after `delay`.
pub async fn set_aside(storage: &Storage, held: &Held, delay: Duration, why: &str) -> Result<()> {
    put_back(storage, std::slice::from_ref(held), delay, Some(&cut(why))).await
}

async fn put_back(storage: &Storage, held: &[Held], delay: Duration, why: Option<&str>) -> Result<()> {
    if held.is_empty() {
        return Ok(());
    }
    let mut tx = storage.begin_machinery().await?;
    let now = tx.shared_now().await?;
    for job in held {
        let released = change!(tx, c => sqlx::query(
            "update jobs set state = 'ready', attempts = attempts - 1, run_at = $3, lease_until = null, error = coalesce($4, error)
             where id = $1 and fence = $2 and state = 'running'
             and not exists (select 1 from jobs w where w.unique_key = jobs.unique_key and w.state = 'ready')")
            .bind(job.id.uuid()).bind(job.fence).bind(now.plus(delay).0).bind(why).execute(c).await.map(|r| r.rows_affected()))?;
        if released == 0 {
            superseded(&mut tx, job, now).await?;
        }
    }
    tx.commit().await
}

async fn superseded(tx: &mut Tx, job: &Held, now: Timestamp) -> Result<()> {
    change!(tx, c => sqlx::query(
        "update jobs set state = 'done', finished_at = $3, lease_until = null, error = 'superseded'
         where id = $1 and fence = $2 and state = 'running'")
        .bind(job.id.uuid()).bind(job.fence).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Cancels every waiting and running job of a batch's documents; running ones learn it with their next heartbeat, and
/// cannot complete in any case.
pub async fn cancel_for_batch(tx: &mut Tx, batch: BatchId) -> Result<u64> {
    let now = tx.now();
    Ok(change!(tx, c => sqlx::query(
        "update jobs set state = 'cancelled', finished_at = $2, lease_until = null where state in ('ready', 'running')
         and document_id in (select id from documents where batch_id = $1)")
        .bind(batch.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?)
}

/// Error texts in rows are for the operator: bounded, and never a document's text by the rules of those who write them.
fn cut(error: &str) -> String {
    error.chars().take(500).collect()
}
