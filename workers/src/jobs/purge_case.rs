//! `purge_case`: the end of a deleted case. Its key goes first, and with it every secret; then its bytes, then its rows.

use domain::{ids::BlobId, jobs::PurgeCase};
use storage::{audit::Audit, blobs, cases, failpoint};

use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Objects deleted between two looks at the cancel flag.
const PAGE: u32 = 1_000;

impl Handler<PurgeCase> for Context {
    async fn run(&self, job: &PurgeCase, run: &Run) -> Result<(), JobError> {
        let mut tx = run.begin().await?;
        if !cases::is_deleted(&mut tx, job.case).await? {
            return Err(JobError::fail(anyhow::anyhow!("the case was not deleted")));
        }
        if cases::destroy_key(&mut tx, job.case).await? {
            tx.audit(Audit::CaseKeyDestroyed { case: job.case }).await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        failpoint::hit("purge.after_key");
        let mut after = BlobId(uuid::Uuid::nil());
        loop {
            let mut tx = run.read().await?;
            let page = blobs::of_case(&mut tx, job.case, after, PAGE).await?;
            drop(tx);
            let Some(last) = page.last() else { break };
            after = *last;
            for blob in page {
                run.storage.objects.delete(blob).await.map_err(storage::Error::from)?;
            }
            if run.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
        }
        failpoint::hit("purge.after_objects");
        let mut tx = run.begin().await?;
        if !cases::purge_rows(&mut tx, job.case).await? {
            return Ok(());
        }
        Ok(run.complete(tx).await?)
    }
}
