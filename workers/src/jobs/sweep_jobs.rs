//! `sweep_jobs`: enqueue what should exist and does not. With every change and its job in one transaction there should be
//! nothing to do; a restored backup or a defect must not leave a document waiting for ever. And note which sealed batches have come to
//! rest: their last document need not have been one that was indexed.

use std::time::Duration;

use domain::jobs::{ExtractText, IndexDatabase, IngestDocument, SweepJobs};
use storage::{audit::Audit, batches, documents};

use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// How long a document must have stood still.
const STILL: Duration = Duration::from_mins(1);
/// Documents helped in one sweep.
const MOST: u32 = 10_000;

impl Handler<SweepJobs> for Context {
    async fn run(&self, _: &SweepJobs, run: &Run) -> Result<(), JobError> {
        settle(run).await?;
        let mut tx = run.begin().await?;
        let before = tx.now().minus(STILL);
        let mut waiting = Vec::new();
        for database in documents::databases_waiting(&mut tx).await? {
            let job = IndexDatabase { case: database.case, database: database.database };
            if !tx.is_live(&job).await? {
                waiting.push(job);
            }
        }
        let stranded = documents::stranded(&mut tx, before, MOST).await?;
        let enqueued = (waiting.len() + stranded.len()) as u64;
        if enqueued == 0 {
            return Ok(());
        }
        for job in &waiting {
            tx.enqueue(job).await?;
        }
        for (case, document, ingested) in stranded {
            if ingested {
                tx.enqueue(&ExtractText { case, document }).await?;
            } else {
                tx.enqueue(&IngestDocument { case, document }).await?;
            }
        }
        tx.audit(Audit::JobsSwept { enqueued }).await?;
        Ok(run.complete(tx).await?)
    }
}

async fn settle(run: &Run) -> Result<(), JobError> {
    let mut tx = run.read().await?;
    let at_rest = batches::at_rest(&mut tx).await?;
    drop(tx);
    for (case, batch) in at_rest {
        batches::settle(&run.storage, &run.actor(), case, batch).await?;
        if run.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
    }
    Ok(())
}
