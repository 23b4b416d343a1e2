//! What both index jobs share: the database's lease, the entries of documents, and the publishing of a generation in one
//! transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    events::{Event, Topic},
    ids::{BatchId, BlobId, CaseId, DatabaseId, DocumentId},
    jobs::{IndexDatabase, RelateDocuments},
    outcome::{Category, DocumentState, Exception},
};
use index::{Entry, Writer};
use storage::{
    Storage,
    audit::Audit,
    batches,
    documents::{self, Copies, Document, read_text},
    failpoint,
    generations::{self, Manifest, Publication},
    leases::{self, Lease},
    objects::{IndexFiles, ObjectError},
    vault::CaseKey,
};

use super::discard;
use crate::runner::{Cause, JobError, Run, measure};

/// Target length of a passage, in scalars.
const PASSAGE: usize = 800;

/// A step of an index that is written and not yet published.
pub(super) struct Step {
    pub(super) files: IndexFiles,
    pub(super) generation: index::Generation,
    /// Documents it adds.
    pub(super) added: Vec<Document>,
    /// Deleted documents it no longer holds.
    pub(super) removed: Vec<DocumentId>,
    /// Documents whose entry it no longer holds, though they are still there.
    pub(super) withdrawn: Vec<DocumentId>,
    /// Documents whose stored text cannot be read.
    pub(super) broken: Vec<Document>,
    /// The copies of those it adds, whose custodians stand in their entries.
    pub(super) copies: BTreeMap<DocumentId, Copies>,
}

/// Runs `work` while holding the database's lease, which a silent holder keeps for `span`. [`JobError::Wait`] when somebody else holds it; when the lease is lost
/// the work is dropped, and it could not have published anyway.
pub(super) async fn with_lease<F>(
    run: &Run,
    database: DatabaseId,
    span: Duration,
    work: impl FnOnce(Lease) -> F,
) -> Result<(), JobError>
where
    F: Future<Output = Result<(), JobError>>,
{
    let name = leases::of_index(database);
    let holder = format!("{}:{}", run.held.id, run.held.fence);
    let Some(lease) = leases::acquire(&run.storage, &name, &holder, span).await? else {
        return Err(JobError::Wait(Cause::new(anyhow::anyhow!("another job writes this index"))));
    };
    let ended = tokio::select! {
        biased;
        ended = work(lease.clone()) => ended,
        lost = keep(&run.storage, &lease, span) => Err(lost),
    };
    if let Err(error) = leases::release(&run.storage, &lease).await {
        tracing::warn!(%error, "an index lease was not given back; it runs out");
    }
    ended
}

/// Keeps the lease until it is lost.
async fn keep(storage: &Storage, lease: &Lease, span: Duration) -> JobError {
    loop {
        tokio::time::sleep(span / 3).await;
        match leases::renew(storage, lease, span).await {
            Err(storage::Error::LeaseLost) => return JobError::Lost,
            Err(error) => tracing::warn!(%error, "an index lease was not renewed; it is repeated"),
            Ok(()) => {}
        }
    }
}

/// Adds a document to the index; false when its stored text cannot be read. Blocks.
pub(super) fn add(
    writer: &mut Writer,
    storage: &Storage,
    key: &CaseKey,
    document: &Document,
    copies: Option<&Copies>,
) -> Result<bool, JobError> {
    let Some(blob) = document.text else { return Ok(false) };
    let text = match read_text(&storage.objects, key, document.case, blob) {
        Ok(text) => text,
        Err(storage::Error::Object(ObjectError::Missing(_) | ObjectError::Damaged { .. })) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let details = &document.details;
    let copy_custodians: Vec<String> =
        copies.into_iter().flat_map(|copies| copies.custodians.iter().cloned()).collect();
    let listed: Vec<String> = details.listed.iter().flat_map(|listed| listed.fields.values().cloned()).collect();
    writer.add(&Entry {
        document: document.id,
        family: document.family,
        batch: document.batch,
        name: &details.name,
        path: &details.path,
        media_type: document.media_type.as_deref().unwrap_or("application/octet-stream"),
        custodian: details.custodian.as_deref(),
        copy_custodians: &copy_custodians,
        control_number: details.listed.as_ref().and_then(|listed| listed.control_number.as_deref()),
        listed: &listed,
        labels: &details.labels,
        metadata: &text.metadata,
        pages: document.pages.unwrap_or(1),
        chunks: &pipeline::chunk::chunks(&text, PASSAGE),
        text: &text.text,
    })?;
    Ok(true)
}

impl From<index::Error> for JobError {
    fn from(error: index::Error) -> Self {
        Self::retry(error)
    }
}

/// One transaction: the lease's fence, the files, the generation, its documents' states, the audit event, the next job and
/// this one's end. What the step wrote is deleted when it does not become true.
pub(super) async fn publish(
    run: &Run,
    case: CaseId,
    database: DatabaseId,
    lease: &Lease,
    step: Step,
    more: bool,
) -> Result<(), JobError> {
    let published = commit(run, case, database, lease, &step, more).await;
    match published {
        Ok(freed) => {
            discard(&run.storage, step.files.take_discarded().into_iter().chain(freed)).await;
            let bytes = |documents: &[Document]| documents.iter().map(|document| document.size).sum();
            measure::documents(DocumentState::Indexed, step.added.len() as u64, bytes(&step.added));
            measure::documents(DocumentState::Exception, step.broken.len() as u64, bytes(&step.broken));
            settle(run, case, &step).await;
            Ok(())
        }
        Err(error) => {
            discard_all(&run.storage, &step.files).await;
            Err(error)
        }
    }
}

/// Notes which batches came to rest with this step. What goes wrong here is made good by `sweep_jobs`.
async fn settle(run: &Run, case: CaseId, step: &Step) {
    let touched: BTreeSet<BatchId> = step.added.iter().chain(&step.broken).map(|document| document.batch).collect();
    for batch in touched {
        if let Err(error) = batches::settle(&run.storage, &run.actor(), case, batch).await {
            tracing::info!(%batch, %error, "it was not seen whether a batch has come to rest; it is looked at again");
        }
    }
}

/// Deletes everything an unpublished view has added.
pub(super) async fn discard_all(storage: &Storage, files: &IndexFiles) {
    let added = files.added().into_iter().map(|added| added.stored.blob);
    discard(storage, added.chain(files.take_discarded())).await;
}

async fn commit(
    run: &Run,
    case: CaseId,
    database: DatabaseId,
    lease: &Lease,
    step: &Step,
    more: bool,
) -> Result<Vec<BlobId>, JobError> {
    failpoint::hit("index.before_publish");
    let mut tx = run.begin().await?;
    let mut files = step.files.files();
    files.retain(|name, _| step.generation.files.binary_search(name).is_ok());
    for added in step.files.added().iter().filter(|added| files.contains_key(&added.name)) {
        tx.register_blob(case, storage::objects::BlobKind::Index, &added.stored).await?;
    }
    let number = generations::publish(
        &mut tx,
        &Publication {
            database,
            case,
            lease,
            manifest: Manifest { meta: step.generation.meta.clone(), files },
            documents: step.generation.documents,
            chunks: step.generation.chunks,
        },
    )
    .await?;
    let waiting: Vec<(DocumentId, BlobId)> =
        step.added.iter().filter_map(|document| Some((document.id, document.text?))).collect();
    if documents::mark_indexed(&mut tx, &waiting).await? != waiting.len() as u64 {
        // One was excluded, deleted or replaced meanwhile: it must not be found, so the step is made anew without it.
        return Err(JobError::retry(anyhow::anyhow!("documents left while they were indexed")));
    }
    let added: Vec<DocumentId> = waiting.iter().map(|(document, _)| *document).collect();
    if !documents::are_the_same(&mut tx, &added, &step.copies).await? {
        return Err(JobError::retry(anyhow::anyhow!("copies came or went while their documents were indexed")));
    }
    let exception = Exception::new(Category::Integrity, "the stored text is missing or damaged");
    for document in &step.broken {
        document.set_exception(&mut tx, &exception, None).await?;
    }
    documents::forget_entries(&mut tx, &step.withdrawn).await?;
    let freed = documents::remove_deleted(&mut tx, &step.removed).await?;
    let (added, removed) = (step.added.len() as u64, (step.removed.len() + step.withdrawn.len()) as u64);
    tx.audit(Audit::GenerationPublished { case, database, number, added, removed }).await?;
    tx.publish(Topic::Database(database), Event::DatabaseChanged { database });
    if more {
        tx.enqueue(&IndexDatabase { case, database }).await?;
    }
    if added + removed > 0 {
        let asked_at = tx.now();
        tx.enqueue(&RelateDocuments { case, asked_at }).await?;
    }
    run.complete(tx).await?;
    failpoint::hit("index.after_publish");
    Ok(freed)
}
