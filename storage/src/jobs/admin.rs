//! The operator's view of the queue: list, show, retry, cancel, pause, count.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    access::{SystemAction, may_system},
    clock::Timestamp,
    ids::{CaseId, DocumentId, JobId},
    jobs::{ExtractText, Job as _, Queue, RecogniseText},
    page::{Page, PageQuery},
};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    db::{change, query},
    documents::release_contents,
};

/// A job as the operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// The kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// `ready`, `running`, `done`, `dead` or `cancelled`.
    pub state: String,
    /// The case it works for.
    pub case: Option<CaseId>,
    /// The document it works on.
    pub document: Option<DocumentId>,
    /// Ids only.
    pub payload: Value,
    /// Claims so far.
    pub attempts: u32,
    /// Claims allowed.
    pub max_attempts: u32,
    /// Not claimed before this.
    pub run_at: Timestamp,
    /// Until when its holder may be silent.
    pub lease_until: Option<Timestamp>,
    /// The last holder.
    pub worker: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it was last claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
}

/// Depth and age of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// Jobs due now.
    pub ready: u64,
    /// Jobs waiting for their time.
    pub delayed: u64,
    /// Jobs being worked on.
    pub running: u64,
    /// Jobs given up.
    pub dead: u64,
    /// Age of the oldest due job in microseconds.
    pub oldest_micros: u64,
    /// True when claims are paused.
    pub paused: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kind: String,
    queue: String,
    state: String,
    lane: Uuid,
    document_id: Option<Uuid>,
    payload: Json<Value>,
    attempts: i64,
    max_attempts: i64,
    run_at: i64,
    lease_until: Option<i64>,
    worker: Option<String>,
    error: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

/// The columns of a [`Row`], by name: a plan of `select *` breaks when a newer version adds one.
macro_rules! columns {
    () => {
        "id, kind, queue, state, lane, document_id, payload, attempts, max_attempts, run_at, lease_until, worker, \
         error, created_at, started_at, finished_at"
    };
}

impl From<Row> for JobRow {
    fn from(row: Row) -> Self {
        Self {
            id: JobId(row.id),
            kind: row.kind,
            queue: row.queue,
            state: row.state,
            case: (!row.lane.is_nil()).then_some(CaseId(row.lane)),
            document: row.document_id.map(DocumentId),
            payload: row.payload.0,
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            max_attempts: u32::try_from(row.max_attempts).unwrap_or_default(),
            run_at: Timestamp(row.run_at),
            lease_until: row.lease_until.map(Timestamp),
            worker: row.worker,
            error: row.error,
            created_at: Timestamp(row.created_at),
            started_at: row.started_at.map(Timestamp),
            finished_at: row.finished_at.map(Timestamp),
        }
    }
}

fn allowed(tx: &Tx) -> Result<()> {
    if may_system(tx.actor(), SystemAction::ManageJobs) { Ok(()) } else { Err(Error::Forbidden) }
}

/// Jobs, newest first.
pub async fn list(tx: &mut Tx, filter: &JobFilter, page: &PageQuery) -> Result<Page<JobRow>> {
    allowed(tx)?;
    let limit = page.limit()?;
    let before: Uuid = page.key()?.unwrap_or(Uuid::max());
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
        concat!("select ", columns!(), " from jobs where id < $1 and ($2 or state = $3) and ($4 or kind = $5) \
            order by id desc limit $6"))
        .bind(before).bind(filter.state.is_none()).bind(filter.state.as_deref().unwrap_or(""))
        .bind(filter.kind.is_none()).bind(filter.kind.as_deref().unwrap_or("")).bind(i64::from(limit) + 1)
        .fetch_all(c).await)?;
    Ok(Page::of(rows.into_iter().map(JobRow::from).collect(), limit, |job| job.id))
}

/// One job.
pub async fn find(tx: &mut Tx, id: JobId) -> Result<JobRow> {
    allowed(tx)?;
    let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!("select ", columns!(), " from jobs where id = $1"))
        .bind(id.uuid()).fetch_optional(c).await)?;
    row.map(JobRow::from).ok_or(Error::NotFound)
}

/// Makes a dead or cancelled job due again with all its attempts; the document it works on moves again too.
pub async fn retry(tx: &mut Tx, id: JobId) -> Result<JobRow> {
    let job = find(tx, id).await?;
    if !matches!(job.state.as_str(), "dead" | "cancelled") {
        return Err(Error::Conflict("only dead or cancelled jobs can be retried"));
    }
    let waiting: bool = query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from jobs w join jobs j on j.unique_key = w.unique_key where j.id = $1 and w.state = 'ready')")
        .bind(id.uuid()).fetch_one(c).await)?;
    if waiting {
        return Err(Error::Conflict("another job already waits to do the same work"));
    }
    let now = tx.shared_now().await?;
    change!(tx, c => sqlx::query(
        "update jobs set state = 'ready', attempts = 0, run_at = $2, finished_at = null, error = null where id = $1")
        .bind(id.uuid()).bind(now.0).execute(c).await.map(drop))?;
    if let Some(document) = job.document {
        let state =
            if matches!(job.kind.as_str(), ExtractText::KIND | RecogniseText::KIND) { "ingested" } else { "received" };
        set_document(tx, document, state, &["exception", "excluded"]).await?;
    }
    tx.audit(Audit::JobRetried { job: id }).await?;
    if let Some(queue) = Queue::parse(&job.queue) {
        tx.ring(queue, Some(id));
    }
    find(tx, id).await
}

/// Cancels a waiting or running job; a document it worked on ends as excluded.
pub async fn cancel(tx: &mut Tx, id: JobId) -> Result<JobRow> {
    let job = find(tx, id).await?;
    let now = tx.now();
    let moved = change!(tx, c => sqlx::query(
        "update jobs set state = 'cancelled', finished_at = $2, lease_until = null where id = $1 and state in ('ready', 'running')")
        .bind(id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    if moved == 0 {
        return Err(Error::Conflict("the job has already ended"));
    }
    if let Some(document) = job.document {
        let stays = keep_indexed(tx, document).await?;
        let excluded = !stays && set_document(tx, document, "excluded", &["received", "ingested"]).await?;
        if let (true, Some(case)) = (excluded, job.case) {
            release_contents(tx, case, &[document]).await?;
        }
    }
    tx.audit(Audit::JobCancelled { job: id }).await?;
    find(tx, id).await
}

/// Moves the document of a job that the operator moved, if it stands where the job left it.
async fn set_document(tx: &mut Tx, document: DocumentId, state: &str, from: &[&str; 2]) -> Result<bool> {
    let now = tx.now();
    // What somebody ignored stays so: that is undone where it was done.
    let moved = change!(tx, c => sqlx::query(
        "update documents set state = $2, exclusion = case when $2 = 'excluded' then 'cancelled' end,
         exception = case when exception = 'virus' then exception end, updated_at = $3
         where id = $1 and state in ($4, $5) and coalesce(exclusion, '') <> 'ignored'")
        .bind(document.uuid()).bind(state).bind(now.0).bind(from[0]).bind(from[1]).execute(c).await
        .map(|r| r.rows_affected()))?;
    Ok(moved == 1)
}

/// Leaves a document that was only being read again indexed with the text it had.
async fn keep_indexed(tx: &mut Tx, document: DocumentId) -> Result<bool> {
    let now = tx.now();
    let moved = change!(tx, c => sqlx::query(
        "update documents set state = 'indexed', updated_at = $2
         where id = $1 and state = 'ingested' and in_index and text_blob is not null and deleted_at is null")
        .bind(document.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    Ok(moved == 1)
}

/// Pauses or resumes claims from a queue; running jobs finish.
pub async fn set_paused(tx: &mut Tx, queue: Queue, paused: bool) -> Result<()> {
    allowed(tx)?;
    change!(tx, c => sqlx::query(
        "insert into queues (name, paused) values ($1, $2) on conflict (name) do update set paused = excluded.paused")
        .bind(queue.name()).bind(paused).execute(c).await.map(drop))?;
    tx.audit(Audit::QueuePaused { queue, paused }).await?;
    tx.ring(queue, None);
    Ok(())
}

/// Depth and age of every queue.
pub async fn counts(tx: &mut Tx) -> Result<BTreeMap<Queue, QueueStats>> {
    let now = tx.shared_now().await?;
    let rows: Vec<(String, String, i64, i64, Option<i64>)> = query!(tx, c => sqlx::query_as(
        "select queue, state, count(*), cast(sum(case when run_at > $1 then 1 else 0 end) as bigint), min(run_at) from jobs
         where state in ('ready', 'running', 'dead') group by queue, state")
        .bind(now.0).fetch_all(c).await)?;
    let mut stats: BTreeMap<Queue, QueueStats> = Queue::ALL.into_iter().map(|q| (q, QueueStats::default())).collect();
    for (queue, state, count, future, oldest) in rows {
        let Some(entry) = Queue::parse(&queue).and_then(|q| stats.get_mut(&q)) else { continue };
        let count = u64::try_from(count).unwrap_or(0);
        match state.as_str() {
            "running" => entry.running = count,
            "dead" => entry.dead = count,
            _ => {
                entry.delayed = u64::try_from(future).unwrap_or(0);
                entry.ready = count - entry.delayed;
                entry.oldest_micros = oldest.map_or(0, |at| u64::try_from(now.0 - at).unwrap_or(0));
            }
        }
    }
    let paused: Vec<String> =
        query!(tx, c => sqlx::query_scalar("select name from queues where paused").fetch_all(c).await)?;
    for queue in paused.iter().filter_map(|name| Queue::parse(name)) {
        stats.entry(queue).or_default().paused = true;
    }
    Ok(stats)
}

/// How long the jobs of each queue ran on average, of those that were done within `span`; what none of was done is left out.
pub async fn service_times(tx: &mut Tx, span: Duration) -> Result<BTreeMap<Queue, Duration>> {
    allowed(tx)?;
    let since = tx.shared_now().await?.minus(span);
    // Both states, because those are what the index of finished jobs is about.
    let rows: Vec<(String, i64, i64)> = query!(tx, c => sqlx::query_as(
        "select queue, count(*), cast(sum(finished_at - started_at) as bigint) from jobs
         where state in ('done', 'cancelled') and finished_at > $1 and state = 'done' and started_at is not null group by queue")
        .bind(since.0).fetch_all(c).await)?;
    let mean = |(queue, count, micros): (String, i64, i64)| {
        // The clocks of processes differ a little, and some jobs take no time at all.
        let micros = u64::try_from(micros / count.max(1)).unwrap_or(0);
        Some((Queue::parse(&queue)?, Duration::from_micros(micros)))
    };
    Ok(rows.into_iter().filter_map(mean).collect())
}

/// Removes jobs that were done or cancelled more than seven days ago; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let before = tx.now().minus(Duration::from_hours(7 * 24));
    Ok(change!(tx, c => sqlx::query("delete from jobs where state in ('done', 'cancelled') and finished_at < $1")
        .bind(before.0).execute(c).await.map(|r| r.rows_affected()))?)
}
