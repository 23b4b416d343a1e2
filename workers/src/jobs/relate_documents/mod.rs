//! `relate_documents`: what the documents of a case have to do with each other, found among all of them together: the threads of
//! its messages, which messages are inclusive, and the groups of near-duplicates. Messages answer each other across databases, so
//! it is a matter of the case. It waits for the case to come to rest; then it walks through the case's fingerprints, a few hundred
//! bytes a document, and writes what changed. What it finds follows from the documents alone, so it may run twice, be
//! killed and begin again.

mod inclusive;
mod near_duplicates;
mod threads;

use std::time::Duration;

use domain::{
    ids::{CaseId, DocumentId},
    jobs::RelateDocuments,
};
use storage::{
    Tx,
    documents::relations::{self, Change, Message, Signed, Walk},
    failpoint,
};

use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Rows read in one transaction.
const PAGE: u32 = 2_000;
/// Changes written in one transaction.
const WRITTEN: usize = 500;

impl Handler<RelateDocuments> for Context {
    async fn run(&self, job: &RelateDocuments, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let key = tx.case_key(job.case).await?;
        let patience = Duration::from_secs(self.config.relate_patience_seconds);
        if relations::is_moving(&mut tx, job.case).await? && tx.now() < job.asked_at.plus(patience) {
            drop(tx);
            let linger = Duration::from_millis(self.config.relate_linger_milliseconds.max(1));
            return Ok(run.put_off(job, linger).await?);
        }
        drop(tx);
        let placed = threads::find(run, job.case).await?;
        failpoint::hit("relate.after_threads");
        inclusive::judge(run, job.case, &key, placed).await?;
        failpoint::hit("relate.after_inclusive");
        near_duplicates::find(run, job.case, self.config.near_duplicate_percent).await
    }
}

/// What a walk through a case's fingerprints finds.
trait Found: Sized + Send {
    /// A page of them after `after`.
    fn page(tx: &mut Tx, case: CaseId, after: DocumentId) -> impl Future<Output = storage::Result<Walk<Self>>> + Send;
}

impl Found for Message {
    async fn page(tx: &mut Tx, case: CaseId, after: DocumentId) -> storage::Result<Walk<Self>> {
        relations::letters(tx, case, after, PAGE).await
    }
}

impl Found for Signed {
    async fn page(tx: &mut Tx, case: CaseId, after: DocumentId) -> storage::Result<Walk<Self>> {
        relations::signatures(tx, case, after, PAGE).await
    }
}

/// Walks through all pages of a case: what was found, and whose rows say what is no longer so.
async fn walk<T: Found>(run: &Run, case: CaseId) -> Result<(Vec<T>, Vec<DocumentId>), JobError> {
    let (mut found, mut stale) = (Vec::new(), Vec::new());
    let mut after = DocumentId(uuid::Uuid::nil());
    loop {
        let mut tx = run.read().await?;
        let walked = T::page(&mut tx, case, after).await?;
        drop(tx);
        found.extend(walked.found);
        stale.extend(walked.stale);
        let Some(last) = walked.last else { return Ok((found, stale)) };
        after = last;
        if run.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
    }
}

/// Writes changes, a few hundred in one transaction.
async fn write(run: &Run, case: CaseId, changes: &[(DocumentId, Change)]) -> Result<(), JobError> {
    for changes in changes.chunks(WRITTEN) {
        let mut tx = run.begin().await?;
        if relations::apply(&mut tx, case, changes).await? > 0 {
            tx.commit().await?;
        }
        if run.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
    }
    Ok(())
}
