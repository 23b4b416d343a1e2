//! `index_database`: under the database's lease, write what is extracted (and what was deleted) into the next generation
//! of its index and publish it. One step a job; while more waits, the job enqueues itself again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    ids::DocumentId,
    jobs::{IndexDatabase, ReindexDatabase},
};
use index::Writer;
use storage::{
    documents::{self, Copies, Document},
    failpoint,
    generations::{self, Generation},
    leases::Lease,
    objects::IndexFiles,
    vault::CaseKey,
};

use super::publish::{Step, add, discard_all, publish, with_lease};
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Most deletions in one step.
const DELETIONS: u32 = 5_000;
/// How often the linger looks whether documents are still coming.
const LOOK: Duration = Duration::from_millis(100);

impl Handler<IndexDatabase> for Context {
    async fn run(&self, job: &IndexDatabase, run: &Run) -> Result<(), JobError> {
        with_lease(run, job.database, self.config.lease(), |lease| async move {
            self.linger(job, run).await?;
            self.step(job, run, &lease).await
        })
        .await
    }
}

/// What a step works on.
struct Work {
    live: Option<Generation>,
    key: CaseKey,
    documents: Vec<Document>,
    copies: BTreeMap<DocumentId, Copies>,
    removed: Vec<DocumentId>,
    withdrawn: Vec<DocumentId>,
    more: bool,
}

impl Context {
    /// Waits a little while documents of this database are still being read, so that a step holds many.
    async fn linger(&self, job: &IndexDatabase, run: &Run) -> Result<(), JobError> {
        let patience = Duration::from_millis(self.config.index_linger_milliseconds);
        let begun = Instant::now();
        while begun.elapsed() < patience {
            let mut tx = run.read().await?;
            let (waiting, coming) = documents::extracted_totals(&mut tx, job.database).await?;
            drop(tx);
            if coming == 0 || waiting >= u64::from(self.config.index_documents) {
                return Ok(());
            }
            if run.cancel.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return Err(JobError::Cancelled);
            }
        }
        Ok(())
    }

    async fn step(&self, job: &IndexDatabase, run: &Run, lease: &Lease) -> Result<(), JobError> {
        let work = self.gather(job, run).await?;
        if work.documents.is_empty() && work.removed.is_empty() && work.withdrawn.is_empty() {
            return Ok(());
        }
        let more = work.more;
        let files = work.live.as_ref().map(|live| live.manifest.files.clone()).unwrap_or_default();
        let files = IndexFiles::writable(run.storage.objects.clone(), work.key.clone(), job.case, files);
        let written = self.write(run, work, files.clone()).await;
        failpoint::hit("index.after_write");
        match written {
            Ok(Some(step)) => publish(run, job.case, job.database, lease, step, more).await,
            Ok(None) => rebuild(job, run).await,
            Err(error) => {
                discard_all(&run.storage, &files).await;
                Err(error)
            }
        }
    }

    async fn gather(&self, job: &IndexDatabase, run: &Run) -> Result<Work, JobError> {
        let mut tx = run.read().await?;
        let most = self.config.index_documents.max(1);
        let mut documents = documents::extracted(&mut tx, job.case, job.database, most).await?;
        let found = documents.len();
        documents.truncate(fitting(&documents, self.config.index_text_megabytes << 20));
        let ids: Vec<DocumentId> = documents.iter().map(|document| document.id).collect();
        let copies = documents::copies_of(&mut tx, job.case, &ids).await?;
        let removed = documents::deleted(&mut tx, job.database, DELETIONS).await?;
        let withdrawn = documents::withdrawn(&mut tx, job.database, DELETIONS).await?;
        let deletions = removed.len().max(withdrawn.len());
        let more = documents.len() < found || found >= most as usize || deletions >= DELETIONS as usize;
        let live = generations::live(&mut tx, job.case, job.database).await?;
        let key = tx.case_key(job.case).await?;
        Ok(Work { live, key, documents, copies, removed, withdrawn, more })
    }

    /// Writes the step; `None` when the live index was made by another version and has to be built anew.
    async fn write(&self, run: &Run, work: Work, files: IndexFiles) -> Result<Option<Step>, JobError> {
        let (storage, cancel) = (run.storage.clone(), run.cancel.clone());
        let memory = self.config.index_memory_megabytes << 20;
        tokio::task::spawn_blocking(move || {
            let meta = work.live.as_ref().map(|live| live.manifest.meta.as_slice());
            let mut writer = match Writer::open(Arc::new(files.clone()), meta, memory, 1) {
                Err(index::Error::Version) => return Ok(None),
                opened => opened?,
            };
            let (mut added, mut broken) = (Vec::with_capacity(work.documents.len()), Vec::new());
            for document in work.documents {
                if cancel.is_cancelled() {
                    return Err(JobError::Cancelled);
                }
                if add(&mut writer, &storage, &work.key, &document, work.copies.get(&document.id))? {
                    added.push(document);
                } else {
                    broken.push(document);
                }
            }
            for document in work.removed.iter().chain(&work.withdrawn) {
                writer.delete(*document)?;
            }
            let generation = writer.commit()?;
            let Work { copies, removed, withdrawn, .. } = work;
            Ok(Some(Step { files, generation, added, removed, withdrawn, broken, copies }))
        })
        .await?
    }
}

/// How many of the first documents hold at most `most` bytes of text together, at least one.
fn fitting(documents: &[Document], most: u64) -> usize {
    let mut bytes = 0;
    let fit = documents.iter().take_while(|document| {
        bytes += u64::from(document.characters.unwrap_or(0));
        bytes <= most
    });
    fit.count().max(1)
}

/// Asks for a rebuild with this version's fields; it indexes what waits as well, by the job it enqueues at its end.
async fn rebuild(job: &IndexDatabase, run: &Run) -> Result<(), JobError> {
    let (case, database) = (job.case, job.database);
    let mut tx = run.begin().await?;
    tx.enqueue(&ReindexDatabase { case, database }).await?;
    tx.audit(storage::audit::Audit::ReindexRequested { case, database }).await?;
    Ok(run.complete(tx).await?)
}
