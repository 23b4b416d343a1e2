//! Known files (deNIST): a file that a list of the operator's names is left out, before anything is spent on it. It concerns loose files
//! and what lies in archives. What is attached to a message or embedded in a document belongs to its family, whatever it
//! is, and stays.

use std::io::Read as _;

use domain::outcome::DocumentState;
use md5::Md5;
use pipeline::Format;
use sha1::Sha1;
use sha2::Digest as _;
use storage::{
    documents::Document,
    known_files::{HashKind, KnownFiles},
    objects::BlobKind,
    vault::CaseKey,
};

use crate::runner::{JobError, Run, measure};

/// Ends a document whose bytes are listed as excluded, and the job with it; false for any other.
pub(super) async fn exclude(
    known: Option<&KnownFiles>,
    run: &Run,
    document: &Document,
    key: &CaseKey,
) -> Result<bool, JobError> {
    let Some(known) = known else { return Ok(false) };
    if !is_loose(run, document).await? || !is_listed(known, run, document, key).await? {
        return Ok(false);
    }
    let mut tx = run.begin().await?;
    document.set_known_file(&mut tx).await?;
    run.complete(tx).await?;
    measure::documents(DocumentState::Excluded, 1, document.size);
    Ok(true)
}

/// True for a file that was delivered as such, or lies in archives and in nothing else.
async fn is_loose(run: &Run, document: &Document) -> Result<bool, JobError> {
    let mut tx = run.read().await?;
    let mut parent = document.parent;
    while let Some(id) = parent {
        let container = Document::load(&mut tx, document.case, id).await?;
        let format = container.format.as_deref().and_then(Format::parse);
        if !format.is_some_and(Format::is_archive) {
            return Ok(false);
        }
        parent = container.parent;
    }
    Ok(true)
}

async fn is_listed(known: &KnownFiles, run: &Run, document: &Document, key: &CaseKey) -> Result<bool, JobError> {
    let (known, storage, document, key) = (known.clone(), run.storage.clone(), document.clone(), key.clone());
    let cancel = run.cancel.clone();
    tokio::task::spawn_blocking(move || {
        let asked = |kind, hash: &[u8]| known.contains(kind, hash).map_err(storage::Error::Io);
        if asked(HashKind::Sha256, &document.sha256)? {
            return Ok(true);
        }
        // Only a list that has no better hashes is worth another look at the bytes.
        if known.number(HashKind::Sha1) + known.number(HashKind::Md5) == 0 {
            return Ok(false);
        }
        let mut reader = storage.objects.reader(&key, document.case, document.original, BlobKind::Original)?;
        let (mut sha1, mut md5, mut piece) = (Sha1::new(), Md5::new(), vec![0; 1 << 20]);
        loop {
            if cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            let read = reader.read(&mut piece).map_err(storage::Error::Io)?;
            if read == 0 {
                break;
            }
            sha1.update(&piece[..read]);
            md5.update(&piece[..read]);
        }
        Ok(asked(HashKind::Sha1, &sha1.finalize())? || asked(HashKind::Md5, &md5.finalize())?)
    })
    .await?
}
