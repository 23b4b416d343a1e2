//! `reindex_database`: build a database's index anew from the stored texts, beside the live one, then switch. Readers
//! never stop; documents that arrive meanwhile wait for the job enqueued at the end.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    ids::{CaseId, DatabaseId, DocumentId},
    jobs::ReindexDatabase,
};
use index::Writer;
use storage::{
    documents::{self, Copies, Document},
    failpoint,
    objects::IndexFiles,
    vault::CaseKey,
};
use tokio::sync::mpsc;

use super::publish::{Step, add, discard_all, publish, with_lease};
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Documents, and the copies of those that have any.
type Page = (Vec<Document>, BTreeMap<DocumentId, Copies>);

/// Documents loaded at once.
const PAGE: u32 = 500;

impl Handler<ReindexDatabase> for Context {
    async fn run(&self, job: &ReindexDatabase, run: &Run) -> Result<(), JobError> {
        with_lease(run, job.database, self.config.lease(), |lease| async move {
            let mut tx = run.read().await?;
            let key = tx.case_key(job.case).await?;
            drop(tx);
            let files = IndexFiles::writable(run.storage.objects.clone(), key.clone(), job.case, BTreeMap::new());
            match self.build(job, run, key, files.clone()).await {
                Ok(step) => {
                    failpoint::hit("reindex.after_write");
                    publish(run, job.case, job.database, &lease, step, true).await
                }
                Err(error) => {
                    discard_all(&run.storage, &files).await;
                    Err(error)
                }
            }
        })
        .await
    }
}

impl Context {
    async fn build(&self, job: &ReindexDatabase, run: &Run, key: CaseKey, files: IndexFiles) -> Result<Step, JobError> {
        let (pages, mut incoming) = mpsc::channel::<Page>(1);
        let (storage, cancel) = (run.storage.clone(), run.cancel.clone());
        let memory = self.config.index_memory_megabytes << 20;
        let writing = tokio::task::spawn_blocking(move || {
            let mut writer = Writer::open(Arc::new(files.clone()), None, memory, 1)?;
            let mut added = Vec::new();
            while let Some((page, copies)) = incoming.blocking_recv() {
                for document in page {
                    if cancel.is_cancelled() {
                        return Err(JobError::Cancelled);
                    }
                    // A text that cannot be read leaves its document out of search; its bytes are the verifier's business.
                    if add(&mut writer, &storage, &key, &document, copies.get(&document.id))? {
                        added.push(document.id);
                    }
                }
            }
            if cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            let generation = writer.commit()?;
            Ok(Step {
                files,
                generation,
                added: Vec::new(),
                removed: Vec::new(),
                withdrawn: Vec::new(),
                broken: Vec::new(),
                copies: BTreeMap::new(),
            })
        });
        let fed = feed(run, job.case, job.database, pages).await;
        let written = writing.await?;
        fed?;
        written
    }
}

/// Sends every indexed document to the writer, a page at a time; ends early when the writer has failed.
async fn feed(run: &Run, case: CaseId, database: DatabaseId, pages: mpsc::Sender<Page>) -> Result<(), JobError> {
    let mut after = DocumentId(uuid::Uuid::nil());
    loop {
        let mut tx = run.read().await?;
        let page = documents::indexed(&mut tx, case, database, after, PAGE).await?;
        let ids: Vec<DocumentId> = page.iter().map(|document| document.id).collect();
        let copies = documents::copies_of(&mut tx, case, &ids).await?;
        drop(tx);
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        if pages.send((page, copies)).await.is_err() {
            return Ok(());
        }
    }
}
