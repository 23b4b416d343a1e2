//! The jobs: one file each, with its behaviour and what happens to its document when it is given up.

mod answer_chat;
mod assemble_upload;
mod bank;
mod collect_garbage;
mod deliver_webhook;
mod extract_text;
mod fetch_item;
mod index_database;
mod ingest_document;
mod known_files;
mod members;
mod publish;
mod purge_case;
mod raise_alerts;
mod read_load_file;
mod recognise_text;
mod reindex_database;
mod relate_documents;
mod reprocess_batch;
mod retry_protected;
mod seal_audit;
mod send_alert;
mod send_password_reset;
mod sweep_jobs;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::{
    ids::{CaseId, DocumentId},
    jobs::{
        AnswerChat, AssembleUpload, CollectGarbage, DeliverWebhook, ExtractText, FetchItem, IndexDatabase,
        IngestDocument, PurgeCase, RaiseAlerts, ReadLoadFile, RecogniseText, ReindexDatabase, RelateDocuments,
        ReprocessBatch, RetryProtected, SealAudit, SendAlert, SendPasswordReset, SweepJobs,
    },
    outcome::{Category, DocumentState, Exception},
};
use storage::{Tx, blobs::discard, documents::Document};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    runner::{JobError, Registry, measure},
};

/// Every job with its handler.
pub fn registry(context: Context) -> Registry {
    let answerer = Arc::new(answer_chat::Answerer::new(&context.llm, context.cache.clone()));
    let context = Arc::new(context);
    Registry::default()
        .on::<IngestDocument>(&context)
        .on::<ExtractText>(&context)
        .on::<RecogniseText>(&context)
        .on::<IndexDatabase>(&context)
        .on::<ReindexDatabase>(&context)
        .on::<RelateDocuments>(&context)
        .on::<ReprocessBatch>(&context)
        .on::<RetryProtected>(&context)
        .on::<ReadLoadFile>(&context)
        .on::<FetchItem>(&context)
        .on::<DeliverWebhook>(&context)
        .on::<AssembleUpload>(&context)
        .on::<PurgeCase>(&context)
        .on::<CollectGarbage>(&context)
        .on::<SweepJobs>(&context)
        .on::<SealAudit>(&context)
        .on::<RaiseAlerts>(&context)
        .on::<SendAlert>(&context)
        .on::<SendPasswordReset>(&context)
        .on::<AnswerChat>(&answerer)
}

/// The cancel flag that the pipeline watches, raised with the token.
fn flag(token: &CancellationToken) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(token.is_cancelled()));
    let (raised, token) = (Arc::clone(&flag), token.clone());
    // A run's token is cancelled when the run ends, so this task ends with it.
    tokio::spawn(async move {
        token.cancelled().await;
        raised.store(true, Ordering::SeqCst);
    });
    flag
}

/// Gives the document of a dead-lettered job its exception, so that its batch closes.
async fn give_up(tx: &mut Tx, case: CaseId, document: DocumentId, error: &JobError) -> storage::Result<()> {
    let document = Document::load(tx, case, document).await?;
    if document.state.is_terminal() {
        return Ok(());
    }
    let exception = Exception::new(Category::Internal, error.to_string());
    document.set_exception(tx, &exception, None).await?;
    measure::documents(DocumentState::Exception, 1, document.size);
    Ok(())
}
