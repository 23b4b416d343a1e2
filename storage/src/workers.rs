//! The processes that work the queues, as they tell it themselves: a row each, kept fresh by a heartbeat. It is for the operator and
//! for scaling; jobs do not depend on it, their leases do. A process that fell silent is removed by the others.

use std::time::Duration;

use domain::{
    access::{SystemAction, may_system},
    clock::Timestamp,
    jobs::Queue,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::{
    Error, Result, Storage, Tx,
    db::{change, query},
};

/// How long a process may be silent before its row is removed.
const SILENCE: Duration = Duration::from_mins(1);

/// A process that works queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// Its name, as in the rows of the jobs it holds.
    pub name: String,
    /// The machine it runs on.
    pub host: String,
    /// dia's version.
    pub version: String,
    /// What it works on.
    pub queues: Vec<QueueLoad>,
    /// True when it takes no more jobs.
    pub is_stopping: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last heard of, by the clock all processes share.
    pub seen_at: Timestamp,
}

/// How much of one queue a process works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLoad {
    /// The queue's name; a newer version may have queues that this one does not know.
    pub queue: String,
    /// Jobs it may run at once.
    pub slots: u32,
    /// Jobs it runs now.
    pub running: u32,
}

type Row = (String, String, String, Json<Vec<QueueLoad>>, bool, i64, i64);

impl QueueLoad {
    /// The load of `queue`.
    pub fn new(queue: Queue, slots: usize, running: usize) -> Self {
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Self { queue: queue.name().to_owned(), slots: count(slots), running: count(running) }
    }
}

/// Writes what a process says of itself (when it was heard of is now), and removes those that fell silent.
pub async fn beat(storage: &Storage, worker: &Worker) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    let now = tx.shared_now().await?;
    change!(tx, c => sqlx::query(
        "insert into workers (name, host, version, queues, is_stopping, started_at, seen_at) values ($1,$2,$3,$4,$5,$6,$7)
         on conflict (name) do update set queues = excluded.queues, is_stopping = excluded.is_stopping, seen_at = excluded.seen_at")
        .bind(&worker.name).bind(&worker.host).bind(&worker.version).bind(Json(&worker.queues)).bind(worker.is_stopping)
        .bind(worker.started_at.0).bind(now.0).execute(c).await.map(drop))?;
    change!(tx, c => sqlx::query("delete from workers where seen_at < $1")
        .bind(now.minus(SILENCE).0).execute(c).await.map(drop))?;
    tx.commit().await
}

/// Removes the row of a process that ends.
pub async fn leave(storage: &Storage, name: &str) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    change!(tx, c => sqlx::query("delete from workers where name = $1").bind(name).execute(c).await.map(drop))?;
    tx.commit().await
}

/// The processes heard of within a minute, by name.
pub async fn list(tx: &mut Tx) -> Result<Vec<Worker>> {
    if !may_system(tx.actor(), SystemAction::ManageJobs) {
        return Err(Error::Forbidden);
    }
    let since = tx.shared_now().await?.minus(SILENCE);
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
        "select name, host, version, queues, is_stopping, started_at, seen_at from workers where seen_at >= $1 order by name")
        .bind(since.0).fetch_all(c).await)?;
    let worker = |(name, host, version, queues, is_stopping, started, seen): Row| Worker {
        name,
        host,
        version,
        queues: queues.0,
        is_stopping,
        started_at: Timestamp(started),
        seen_at: Timestamp(seen),
    };
    Ok(rows.into_iter().map(worker).collect())
}
