//! `collect_garbage`: objects no row refers to, files of retired index generations, and rows that have had their time.

use std::time::Duration;

use domain::jobs::CollectGarbage;
use storage::{
    api_keys, attempts, audit::Audit, blobs, failpoint, generations, idempotency, jobs, password_resets, sessions,
    sign_in_steps, uploads, webhooks,
};

use super::discard;
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Uploads ended in one transaction.
const UPLOADS: u32 = 100;

impl Handler<CollectGarbage> for Context {
    async fn run(&self, _: &CollectGarbage, run: &Run) -> Result<(), JobError> {
        retired_generations(run, Duration::from_secs(self.config.retired_seconds)).await?;
        failpoint::hit("garbage.after_generations");
        let grace = Duration::from_secs(self.config.orphan_seconds.max(1));
        let before = run.storage.clock.now().minus(grace);
        let objects = blobs::collect_orphans(&run.storage, before).await?;
        let store = run.storage.objects.clone();
        let unfinished = tokio::task::spawn_blocking(move || store.clean_temporary(before)).await;
        let unfinished = unfinished.map_err(anyhow::Error::from)?.map_err(storage::Error::from)?;
        tracing::debug!(unfinished, "removed unfinished objects");
        failpoint::hit("garbage.after_orphans");
        expired_uploads(run).await?;
        let mut tx = run.begin().await?;
        let mut rows = jobs::forget_old(&mut tx).await?;
        rows += idempotency::forget_old(&mut tx).await?;
        rows += sessions::forget_old(&mut tx).await?;
        rows += api_keys::forget_old(&mut tx).await?;
        rows += attempts::forget_old(&mut tx).await?;
        rows += sign_in_steps::forget_old(&mut tx).await?;
        rows += password_resets::forget_old(&mut tx).await?;
        rows += webhooks::forget_old(&mut tx, self.webhooks.retention()).await?;
        tx.audit(Audit::GarbageCollected { objects, rows }).await?;
        Ok(run.complete(tx).await?)
    }
}

/// Strikes the files of retired generations from the register, then deletes them: after a crash between the two they are
/// orphans.
async fn retired_generations(run: &Run, kept: Duration) -> Result<(), JobError> {
    loop {
        let mut tx = run.begin().await?;
        let before = tx.now().minus(kept);
        let (rows, freed) = generations::collect_retired(&mut tx, before).await?;
        if rows == 0 {
            return Ok(());
        }
        tx.audit(Audit::GarbageCollected { objects: freed.len() as u64, rows }).await?;
        tx.commit().await?;
        failpoint::hit("garbage.after_strike");
        discard(&run.storage, freed).await;
        if run.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
    }
}

/// Ends uploads that nobody went on with.
async fn expired_uploads(run: &Run) -> Result<(), JobError> {
    loop {
        let mut tx = run.begin().await?;
        let expired = uploads::expired(&mut tx, UPLOADS).await?;
        if expired.is_empty() {
            return Ok(());
        }
        let mut freed = Vec::new();
        for upload in expired {
            freed.extend(upload.end(&mut tx).await?);
        }
        tx.commit().await?;
        discard(&run.storage, freed).await;
        if run.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
    }
}
