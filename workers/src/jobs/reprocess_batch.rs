//! `reprocess_batch`: send through the pipeline again what another reader (an older version, other settings) read or failed
//! to read. A page of documents a transaction, so it holds one page in memory and nobody waits long for it. Killed and run
//! again it goes on where it stood, because what was sent no longer stands where it looks; run twice it changes nothing.

use domain::{ids::DocumentId, jobs::ReprocessBatch};
use storage::{
    documents::{self, Reread},
    failpoint,
};

use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Documents sent in one transaction.
const PAGE: u32 = 500;

impl Handler<ReprocessBatch> for Context {
    async fn run(&self, job: &ReprocessBatch, run: &Run) -> Result<(), JobError> {
        let reader = documents::reader_id(&self.provenance().await?)?;
        let reread = Reread { job: *job, reader };
        let mut after = DocumentId(uuid::Uuid::nil());
        loop {
            let mut tx = run.begin().await?;
            let sent = reread.page(&mut tx, after, PAGE).await?;
            if sent.documents == 0 {
                return Ok(());
            }
            tx.commit().await?;
            failpoint::hit("reprocess.after_page");
            after = sent.last;
            if run.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
        }
    }
}
