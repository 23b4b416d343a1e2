//! `retry_protected`: passwords were added to the bank of a case, so what no password opened so far is tried again. Documents
//! go back to the beginning, a page a transaction; containers that did not give up all members are opened for just those,
//! one after the other. Killed and run again it goes on where it stood: what was tried with today's bank no longer stands
//! where it looks.

use std::collections::BTreeSet;

use domain::{
    ids::{BlobId, DocumentId},
    jobs::RetryProtected,
};
use pipeline::Format;
use storage::{
    documents::{Document, Opened, protected_container, retry_protected},
    failpoint, passwords,
    vault::CaseKey,
};
use uuid::Uuid;

use super::{
    bank::Bank,
    discard,
    ingest_document::{Looked, Sought},
};
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

/// Documents sent in one transaction.
const PAGE: u32 = 500;
const BEGINNING: DocumentId = DocumentId(Uuid::nil());

impl Handler<RetryProtected> for Context {
    async fn run(&self, job: &RetryProtected, run: &Run) -> Result<(), JobError> {
        send_documents(job, run).await?;
        let mut after = BEGINNING;
        loop {
            let mut tx = run.read().await?;
            let Some(container) = protected_container(&mut tx, job.case, after).await? else { return Ok(()) };
            let members = container.protected_members(&mut tx).await?;
            let key = tx.case_key(job.case).await?;
            drop(tx);
            after = container.id;
            self.open_again(run, &container, members, &key).await?;
            if run.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
        }
    }
}

/// Sends what could not be opened through the pipeline again.
async fn send_documents(job: &RetryProtected, run: &Run) -> Result<(), JobError> {
    let mut after = BEGINNING;
    loop {
        let mut tx = run.begin().await?;
        let sent = retry_protected(&mut tx, job.case, after, PAGE).await?;
        if sent.documents > 0 {
            tx.commit().await?;
            failpoint::hit("protected.after_page");
        }
        if sent.last == after {
            return Ok(());
        }
        after = sent.last;
        if run.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
    }
}

impl Context {
    /// Opens a container with the bank as it is now, for the members at these positions.
    async fn open_again(
        &self,
        run: &Run,
        container: &Document,
        members: Vec<u32>,
        key: &CaseKey,
    ) -> Result<(), JobError> {
        let mut bank = Bank::unopened(&self.reader);
        let looked = if bank.load(run, container.case, self.config.max_passwords_tried).await? {
            let format = container.format.as_deref().and_then(Format::parse).unwrap_or(Format::Unknown);
            let sought = Sought { format, only: Some(members.into_iter().collect()) };
            self.unpack(run, container, key, &bank, sought).await?
        } else {
            Looked::default()
        };
        failpoint::hit("protected.after_store");
        let recorded = record(run, container, &looked, &bank).await;
        let opened = recorded.as_deref().unwrap_or_default();
        let kept: BTreeSet<BlobId> = opened.iter().map(|one| one.original).collect();
        let stored = looked.members.iter().map(|member| member.stored.blob);
        let unwanted: Vec<BlobId> =
            stored.filter(|blob| !kept.contains(blob)).chain(opened.iter().map(|one| one.former)).collect();
        discard(&run.storage, unwanted).await;
        recorded.map(drop)
    }
}

/// One transaction: the members that were opened and their jobs, and what was tried on those that were not.
async fn record(run: &Run, container: &Document, looked: &Looked, bank: &Bank) -> Result<Vec<Opened>, JobError> {
    let mut tx = run.begin().await?;
    let Some(opened) = container.open_members(&mut tx, &looked.members, bank.edition()).await? else {
        return Ok(Vec::new());
    };
    if !opened.is_empty() {
        passwords::used(&mut tx, container.case, container.id, &bank.at(&looked.opened_with)).await?;
    }
    tx.commit().await?;
    Ok(opened)
}
