//! `fetch_item`: an announced file is fetched from where its load file says, and received. Killed and run again it begins anew; run
//! twice, or overtaken by the file itself, it finds the item settled.

use domain::jobs::FetchItem;
use storage::{
    Tx,
    audit::Audit,
    batches::Batch,
    blobs::discard,
    documents::{self, Details},
    failpoint,
    items::{Item, ItemError, ItemState},
    objects::{BlobKind, Stored},
    vault::CaseKey,
};

use crate::{
    context::Context,
    references::{Fault, Opened, TOO_LARGE},
    runner::{Cause, Handler, JobError, Run},
};

/// What an item says that was tried as often as a job is.
const GIVEN_UP: &str = "the file could not be fetched, however often it was tried; deliver it";

/// How fetching ends without a file.
enum Ended {
    Fault(Fault),
    Job(JobError),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<E: Into<storage::Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Job(error.into().into())
    }
}

/// A file that came.
struct Fetched {
    stored: Stored,
    details: Details,
    from: &'static str,
}

impl Handler<FetchItem> for Context {
    async fn run(&self, job: &FetchItem, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let item = Item::load(&mut tx, job.case, job.item).await?;
        if item.state != ItemState::Fetching {
            return Ok(());
        }
        let batch = Batch::load(&mut tx, job.case, item.batch).await?;
        let key = tx.case_key(job.case).await?;
        drop(tx);
        let fetching = self.fetch(run, &key, &batch, &item);
        let fetched = tokio::time::timeout(self.references.total(), fetching).await;
        match fetched.unwrap_or(Err(Fault::SLOW.into())) {
            Ok(fetched) => {
                failpoint::hit("fetch.after_store");
                let received = receive(run, &batch, &item, &fetched).await;
                // What the register holds stays: the object of a fresh document.
                discard(&run.storage, [fetched.stored.blob]).await;
                received
            }
            Err(Ended::Fault(fault)) if fault.again => Err(JobError::Retry(Cause::new(anyhow::anyhow!(fault.message)))),
            Err(Ended::Fault(fault)) => {
                let mut tx = run.begin().await?;
                item.fail(&mut tx, job.case, fault.error, fault.message).await?;
                Ok(run.complete(tx).await?)
            }
            Err(Ended::Job(error)) => Err(error),
        }
    }

    async fn buried(&self, tx: &mut Tx, job: &FetchItem, _: &JobError) -> storage::Result<()> {
        let item = Item::load(tx, job.case, job.item).await?;
        item.fail(tx, job.case, ItemError::ReferenceFailed, GIVEN_UP).await
    }
}

impl Context {
    async fn fetch(&self, run: &Run, key: &CaseKey, batch: &Batch, item: &Item) -> Result<Fetched, Ended> {
        let source = item.details.source.as_deref().unwrap_or_default();
        // The configuration may have changed since the item was noted.
        let reference = self.references.judge(batch.case_id, source).unwrap_or(Err(Fault::NOT_ALLOWED))?;
        let mut opened = self.references.open(&reference).await?;
        let most = self.references.max_bytes();
        if opened.length().await.is_some_and(|length| length > most) {
            return Err(TOO_LARGE.into());
        }
        let details = details(batch, item, &opened).await;
        let (objects, from) = (&run.storage.objects, opened.place());
        let mut writer = objects.writer(key, batch.case_id, domain::ids::BlobId::new(), BlobKind::Original).await?;
        let mut size = 0_u64;
        while let Some(piece) = opened.piece().await? {
            size = size.saturating_add(piece.len() as u64);
            if size > most {
                return Err(TOO_LARGE.into());
            }
            if run.cancel.is_cancelled() {
                return Err(Ended::Job(JobError::Cancelled));
            }
            writer.write(piece).await?;
        }
        Ok(Fetched { stored: writer.finish().await?, details, from })
    }
}

/// What is known of the file, as of one that was delivered from the announced path.
async fn details(batch: &Batch, item: &Item, opened: &Opened) -> Details {
    let path = item.details.path.replace('\\', "/");
    let path = path.trim_start_matches("./").to_owned();
    Details {
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        custodian: batch.details.custodian.clone(),
        labels: batch.details.labels.clone(),
        file_modified_at: opened.modified_at().await,
        path,
        ..Details::default()
    }
}

/// One transaction: the document with its register entry and job, and the item that became it.
async fn receive(run: &Run, batch: &Batch, item: &Item, fetched: &Fetched) -> Result<(), JobError> {
    let (stored, from) = (fetched.stored, fetched.from);
    let key = documents::key_of(&stored, &fetched.details.path);
    let mut tx = run.begin().await?;
    if !item.take(&mut tx).await? {
        return Ok(());
    }
    let file = (key.as_str(), fetched.details.clone(), stored);
    let receipt = documents::receive_fetched(&mut tx, batch, item, file).await?;
    let (case, document) = (batch.case_id, receipt.document);
    tx.audit(Audit::ItemFetched { case, item: item.id, document, from }).await?;
    Ok(run.complete(tx).await?)
}
