//! Claiming: a batch at a time, round-robin over the cases that have ready work, so that a case with a hundred thousand
//! documents cannot starve another case's ten. Within a case: by priority, then by due time.

use std::time::Duration;

use domain::{
    clock::Timestamp,
    ids::{CaseId, DocumentId, JobId, UserId},
    jobs::Queue,
};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::Held;
use crate::{
    Error, Result, Storage, Tx,
    db::{change, query},
};

/// The lane a claim takes from: a case, or the nil UUID for the system's own work.
pub type Lane = Uuid;

/// Claims jobs of one queue for one worker, remembering which lane was served last.
#[derive(Debug)]
pub struct Claimer {
    storage: Storage,
    queue: Queue,
    worker: String,
    lease: Duration,
    last: Lane,
}

type Row = (Uuid, i64, String, Json<Value>, i64, i64, Uuid, Option<Uuid>, Uuid, Option<Uuid>);

/// The cases with ready work, by a loose index scan: its cost grows with the number of cases, not of jobs.
const LANES: &str = "with recursive lanes (lane) as (
    select (select lane from jobs where queue = $1 and state = 'ready' order by lane limit 1)
    union all
    select (select j.lane from jobs j where j.queue = $1 and j.state = 'ready' and j.lane > lanes.lane order by j.lane limit 1)
    from lanes where lanes.lane is not null)
  select lane from lanes where lane is not null limit 10000";

macro_rules! claim_sql {
    ($locking:literal) => {
        concat!(
            "update jobs set state = 'running', attempts = attempts + 1, fence = fence + 1, lease_until = $5, worker = $6,
               started_at = $3 where id in (
               select j.id from jobs j where j.queue = $1 and j.state = 'ready' and j.lane = $2 and j.run_at <= $3
               and (j.unique_key is null or not exists
                 (select 1 from jobs r where r.unique_key = j.unique_key and r.state = 'running'))
               order by j.priority desc, j.run_at, j.id limit $4",
            $locking,
            ") returning id, fence, kind, payload, attempts, max_attempts, lane, document_id, request_id, on_behalf"
        )
    };
}

impl Claimer {
    /// A claimer for `queue`; `worker` is written to the rows for the operator, `lease` is how long a silent holder keeps
    /// a job.
    pub fn new(storage: Storage, queue: Queue, worker: impl Into<String>, lease: Duration) -> Self {
        Self { storage, queue, worker: worker.into(), lease, last: Uuid::nil() }
    }

    /// Claims up to `most` jobs; empty when there are none due or the queue is paused. Jobs whose holder fell silent are
    /// put back first; that attempt counts.
    pub async fn claim(&mut self, most: u32) -> Result<Vec<Held>> {
        match self.try_claim(most).await {
            // Two processes claimed two jobs of one unique key at the same moment: neither counts, both look again.
            Err(e) if e.is_unique_violation() => Ok(Vec::new()),
            claimed => claimed,
        }
    }

    async fn try_claim(&mut self, most: u32) -> Result<Vec<Held>> {
        let mut tx = self.storage.begin_machinery().await?;
        if tx.is_paused(self.queue).await? {
            return Ok(Vec::new());
        }
        let now = tx.shared_now().await?;
        reclaim(&mut tx, self.queue, now, now).await?;
        let lanes = self.lanes_in_turn(&mut tx).await?;
        let mut claimed = Vec::new();
        let mut left = lanes.len();
        for lane in lanes {
            let room = (most as usize).saturating_sub(claimed.len());
            if room == 0 {
                break;
            }
            let share = room.div_ceil(left);
            left -= 1;
            let jobs = self.claim_lane(&mut tx, lane, share, now.0).await?;
            if !jobs.is_empty() {
                self.last = lane;
            }
            claimed.extend(jobs);
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Lanes with ready work, beginning after the one served last.
    async fn lanes_in_turn(&self, tx: &mut Tx) -> Result<Vec<Lane>> {
        let mut lanes: Vec<Lane> =
            query!(tx, c => sqlx::query_scalar(LANES).bind(self.queue.name()).fetch_all(c).await)?;
        let after = lanes.partition_point(|lane| *lane <= self.last);
        lanes.rotate_left(after);
        Ok(lanes)
    }

    async fn claim_lane(&self, tx: &mut Tx, lane: Lane, most: usize, now: i64) -> Result<Vec<Held>> {
        let sql = if tx.is_postgres() { claim_sql!(" for update skip locked") } else { claim_sql!("") };
        let until = now.saturating_add(i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX));
        let rows: std::result::Result<Vec<Row>, sqlx::Error> = change!(tx, c => sqlx::query_as(sql)
            .bind(self.queue.name()).bind(lane).bind(now).bind(i64::try_from(most).unwrap_or(i64::MAX)).bind(until)
            .bind(&self.worker).fetch_all(c).await);
        Ok(rows.map_err(Error::from)?.into_iter().map(held).collect())
    }
}

fn held(row: Row) -> Held {
    let (id, fence, kind, payload, attempts, max_attempts, lane, document, request, on_behalf) = row;
    Held {
        id: JobId(id),
        fence,
        kind,
        payload: payload.0,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        max_attempts: u32::try_from(max_attempts).unwrap_or(1),
        case: (!lane.is_nil()).then_some(CaseId(lane)),
        document: document.map(DocumentId),
        request,
        on_behalf: on_behalf.map(UserId),
    }
}

/// Puts back every running job, whatever its lease: for the moment when no process can be running any. Those attempts
/// count. Returns how many there were.
pub(crate) async fn reclaim_all(tx: &mut Tx) -> Result<u64> {
    let now = tx.shared_now().await?;
    let mut reclaimed = 0;
    for queue in Queue::ALL {
        reclaimed += reclaim(tx, queue, Timestamp(i64::MAX), now).await?;
    }
    Ok(reclaimed)
}

/// Puts back what holders left whose lease ended before `ended`; returns how many jobs. A unique job whose successor already
/// waits is superseded by it.
async fn reclaim(tx: &mut Tx, queue: Queue, ended: Timestamp, now: Timestamp) -> Result<u64> {
    let expired: bool = query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from jobs where state = 'running' and lease_until < $1)")
        .bind(ended.0).fetch_one(c).await)?;
    if !expired {
        return Ok(0);
    }
    let superseded = change!(tx, c => sqlx::query(
        "update jobs set state = 'done', finished_at = $3, lease_until = null, error = 'superseded' where queue = $1
         and state = 'running' and lease_until < $2 and unique_key is not null
         and exists (select 1 from jobs w where w.unique_key = jobs.unique_key and w.state = 'ready')")
        .bind(queue.name()).bind(ended.0).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    let returned = change!(tx, c => sqlx::query(
        "update jobs set state = 'ready', run_at = $3, lease_until = null, error = 'its worker died'
         where queue = $1 and state = 'running' and lease_until < $2")
        .bind(queue.name()).bind(ended.0).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    Ok(superseded + returned)
}
