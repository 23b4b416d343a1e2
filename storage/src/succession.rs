//! Following a process that died: what it left running goes on at once instead of when its leases end.

use crate::{Result, Storage, db::change, jobs};

/// Takes back every running job and every lease; returns how many jobs. Each costs its attempt, as an expired lease does, and
/// every lease's number moves on, so that a holder that is not dead after all can publish nothing under it.
///
/// Only for a process that knows that it alone works on these rows: the caller holds the lock on their directory.
pub async fn succeed(storage: &Storage) -> Result<u64> {
    let mut tx = storage.begin_machinery().await?;
    let jobs = jobs::reclaim_all(&mut tx).await?;
    change!(tx, c => sqlx::query("update leases set fence = fence + 1, expires_at = 0 where expires_at > 0")
        .execute(c).await.map(drop))?;
    tx.commit().await?;
    Ok(jobs)
}
