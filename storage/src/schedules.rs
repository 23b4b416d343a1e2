//! When the next run of a scheduled job is due. One row a schedule; whoever moves the row on enqueues the job in the same
//! transaction, so a schedule fires once however many processes watch it.

use std::time::Duration;

use domain::jobs::Job;

use crate::{Result, Storage, Tx, db::change};

/// Enqueues `job` if its schedule is due, and moves the schedule on by `every`. Returns whether it fired. A schedule seen
/// for the first time fires at once.
pub async fn fire<J: Job>(storage: &Storage, job: &J, every: Duration) -> Result<bool> {
    let mut tx = storage.begin_machinery().await?;
    let due = take(&mut tx, J::KIND, every).await?;
    if due {
        tx.enqueue(job).await?;
    }
    tx.commit().await?;
    Ok(due)
}

/// Enqueues a unique job now, whatever its schedule says.
pub async fn at_once<J: Job>(storage: &Storage, job: &J) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    tx.enqueue(job).await?;
    tx.commit().await
}

async fn take(tx: &mut Tx, name: &str, every: Duration) -> Result<bool> {
    let now = tx.shared_now().await?;
    let moved = change!(tx, c => sqlx::query(
        "insert into schedules (name, next_at) values ($1, $2)
         on conflict (name) do update set next_at = excluded.next_at where schedules.next_at <= $3")
        .bind(name).bind(now.plus(every).0).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    Ok(moved == 1)
}
