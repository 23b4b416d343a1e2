//! `extract_text`: read a document in its sandboxed child and store its text. The text is an object of its own; the row
//! says only how long it is and what read it.

use domain::{
    jobs::ExtractText,
    outcome::{DocumentState, Exception},
    text::{self, Text},
};
use pipeline::{Format, ReadError};
use storage::{
    Tx,
    documents::{Document, Extracted, write_text},
    failpoint,
    objects::BlobKind,
    vault::CaseKey,
};

use super::{
    discard, flag, give_up,
    ingest_document::{end, integrity, integrity_io},
};
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// What stands in a document's row as its reader.
const READER: &str = concat!("dia ", env!("CARGO_PKG_VERSION"));

impl Handler<ExtractText> for Context {
    async fn run(&self, job: &ExtractText, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let document = Document::load(&mut tx, job.case, job.document).await?;
        let key = tx.case_key(job.case).await?;
        drop(tx);
        if document.state != DocumentState::Ingested {
            return Ok(());
        }
        let extracted = match self.extract(run, &document, &key).await? {
            Ok(extracted) => extracted,
            Err(exception) => return end(run, &document, &exception, None).await,
        };
        failpoint::hit("extract.after_store");
        let recorded = record(run, &document, &extracted).await;
        if recorded.is_err() {
            discard(&run.storage, [extracted.text.blob]).await;
        }
        recorded
    }

    async fn buried(&self, tx: &mut Tx, job: &ExtractText, error: &JobError) -> storage::Result<()> {
        give_up(tx, job.case, job.document, error).await
    }
}

impl Context {
    async fn extract(
        &self,
        run: &Run,
        document: &Document,
        key: &CaseKey,
    ) -> Result<Result<Extracted, Exception>, JobError> {
        let (reader, storage, document, key) =
            (self.reader.clone(), run.storage.clone(), document.clone(), key.clone());
        let cancel = flag(&run.cancel);
        tokio::task::spawn_blocking(move || {
            let format = document.format.as_deref().and_then(Format::parse).unwrap_or(Format::Unknown);
            let mut input = match storage.objects.reader(&key, document.case, document.original, BlobKind::Original) {
                Ok(input) => input,
                Err(error) => return integrity(error).map(Err),
            };
            let text = match reader.extract(format, &document.details.name, &mut input, &cancel) {
                Ok(text) => text,
                Err(ReadError::Exception(exception)) => return Ok(Err(exception)),
                Err(ReadError::Cancelled) => return Err(JobError::Cancelled),
                Err(ReadError::Io(error)) => return integrity_io(error).map(Err),
            };
            failpoint::hit("extract.after_read");
            let stored = write_text(&storage.objects, &key, document.case, &text)?;
            Ok(Ok(summary(text, stored)))
        })
        .await?
    }
}

fn summary(text: Text, stored: storage::objects::Stored) -> Extracted {
    Extracted {
        text: stored,
        pages: u32::try_from(text.pages.len()).unwrap_or(u32::MAX),
        characters: text::scalars(&text.text),
        metadata: text.metadata,
        warnings: text.warnings,
        reader: READER.to_owned(),
    }
}

async fn record(run: &Run, document: &Document, extracted: &Extracted) -> Result<(), JobError> {
    let mut tx = run.begin().await?;
    document.set_extracted(&mut tx, extracted).await?;
    Ok(run.complete(tx).await?)
}
