//! `assemble_upload`: all bytes of an upload are there. One piece is the file as it lies; several are put together. Killed and run
//! again it begins anew; run twice it finds the document made.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use domain::{ids::BlobId, jobs::AssembleUpload};
use storage::{
    Tx,
    batches::Batch,
    documents::{self, Details},
    failpoint, load_files,
    objects::{BlobKind, Stored},
    uploads::Upload,
    vault::CaseKey,
};

use super::discard;
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Bytes copied at once.
const PIECE: usize = 1 << 20;
/// Between two looks whether a load file has been read.
const LOOK: Duration = Duration::from_secs(1);

impl Handler<AssembleUpload> for Context {
    async fn run(&self, job: &AssembleUpload, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let upload = Upload::load(&mut tx, job.case, job.upload).await?;
        if !upload.is_complete || upload.document.is_some() {
            return Ok(());
        }
        let (batch, parts) = (Batch::load(&mut tx, job.case, upload.batch).await?, upload.parts(&mut tx).await?);
        if load_files::waits(&mut tx, &batch).await? {
            drop(tx);
            return Ok(run.put_off(job, LOOK).await?);
        }
        let key = tx.case_key(job.case).await?;
        drop(tx);
        if batch.state == "cancelled" {
            return give_up(run, &upload).await;
        }
        let stored = match &parts[..] {
            [only] => *only,
            _ => put_together(run, &key, &upload, parts.clone()).await?,
        };
        failpoint::hit("upload.after_store");
        let received = receive(run, &batch, &upload, &parts, &stored).await;
        // What the register still holds stays: the document's object, or the pieces of an upload that was not received.
        let pieces: Vec<BlobId> = parts.iter().map(|part| part.blob).chain([stored.blob]).collect();
        discard(&run.storage, pieces).await;
        received
    }

    async fn buried(&self, tx: &mut Tx, job: &AssembleUpload, _: &JobError) -> storage::Result<()> {
        // Its pieces are struck from the register; the garbage collection takes their objects.
        let upload = Upload::load(tx, job.case, job.upload).await?;
        if upload.take(tx).await? { upload.end(tx).await.map(drop) } else { Ok(()) }
    }
}

/// Ends the upload of a batch that was cancelled.
async fn give_up(run: &Run, upload: &Upload) -> Result<(), JobError> {
    let mut tx = run.begin().await?;
    if !upload.take(&mut tx).await? {
        return Ok(());
    }
    let blobs: Vec<BlobId> = upload.end(&mut tx).await?;
    run.complete(tx).await?;
    discard(&run.storage, blobs).await;
    Ok(())
}

/// One object of all pieces.
async fn put_together(run: &Run, key: &CaseKey, upload: &Upload, parts: Vec<Stored>) -> Result<Stored, JobError> {
    let (objects, key, case, cancel) = (run.storage.objects.clone(), key.clone(), upload.case, run.cancel.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let mut writer =
            objects.writer_blocking(&key, case, BlobId::new(), BlobKind::Original).map_err(io::Error::from)?;
        let mut piece = vec![0; PIECE];
        for part in parts {
            let mut reader = objects.reader(&key, case, part.blob, BlobKind::Original).map_err(io::Error::from)?;
            loop {
                let read = reader.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                if cancel.is_cancelled() {
                    return Ok(None);
                }
                writer.write_all(&piece[..read])?;
            }
        }
        writer.finish().map(Some).map_err(io::Error::from)
    });
    copied.await?.map_err(JobError::retry)?.ok_or(JobError::Cancelled)
}

/// One transaction: the document with its register entry and job, and the upload that became it.
async fn receive(run: &Run, batch: &Batch, upload: &Upload, parts: &[Stored], stored: &Stored) -> Result<(), JobError> {
    let said = &upload.details;
    let details = Details {
        name: said.name.clone(),
        path: said.path.clone(),
        custodian: batch.details.custodian.clone(),
        labels: batch.details.labels.clone(),
        file_modified_at: said.modified_at,
        ..Details::default()
    };
    let key = documents::key_of(stored, &said.path);
    let mut tx = run.begin().await?;
    if !upload.take(&mut tx).await? {
        return Ok(());
    }
    upload.forget_parts(&mut tx, parts).await?;
    let receipts = documents::receive_upload(&mut tx, batch, &[(key.as_str(), details, *stored)]).await?;
    let [receipt] = receipts[..] else { return Err(JobError::fail(anyhow::anyhow!("one file has one receipt"))) };
    upload.became(&mut tx, receipt.document).await?;
    Ok(run.complete(tx).await?)
}
