//! `read_load_file`: note the items that a load file announces, a page a transaction, in bounded memory, and have fetched what it
//! names by reference. Killed and run again it
//! goes on behind the last line it noted; run twice it changes nothing.

use std::ops::ControlFlow;

use domain::{ids::CaseId, jobs::ReadLoadFile};
use pipeline::load_file::{self, Described, LoadFileError, Record};
use storage::{
    Tx, failpoint,
    items::{self, Expected, ItemDetails, ItemError, NewItem},
    load_files::{LoadFile, LoadFileDetails},
    objects::BlobKind,
};
use tokio::sync::mpsc;

use crate::{
    context::Context,
    references::References,
    runner::{Handler, JobError, Run},
};

/// Items noted in one transaction.
const PAGE: usize = 500;
/// Pages read ahead.
const AHEAD: usize = 2;

impl Handler<ReadLoadFile> for Context {
    async fn run(&self, job: &ReadLoadFile, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let file = LoadFile::load(&mut tx, job.case, job.load_file).await?;
        if file.state != "waiting" {
            return Ok(());
        }
        let (after, key) = (items::last_line(&mut tx, &file).await?, tx.case_key(job.case).await?);
        drop(tx);
        let objects = run.storage.objects.clone();
        let (pages, mut read) = mpsc::channel(AHEAD);
        let (case, blob, most) = (file.case, file.blob, self.config.max_items);
        let references = self.references.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut input = objects.reader(&key, case, blob, BlobKind::Original).map_err(std::io::Error::from)?;
            in_pages(&mut input, after, most, &pages, &|line, record| new_item(&references, case, line, record))
        });
        while let Some(page) = read.recv().await {
            let mut tx = run.begin().await?;
            items::announce(&mut tx, &file, &page).await?;
            tx.commit().await?;
            failpoint::hit("load_file.after_page");
            if run.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
        }
        let mut tx = run.begin().await?;
        // Its numbers have risen meanwhile.
        let file = LoadFile::load(&mut tx, file.case, file.id).await?;
        match reading.await? {
            Ok(described) => file.finish(&mut tx, &details(&file, described)).await?,
            Err(Ended::Unreadable(LoadFileError::Io(error))) => return Err(JobError::retry(error)),
            Err(Ended::Unreadable(error)) => file.fail(&mut tx, &error.to_string()).await?,
            Err(Ended::TooMany) => file.fail(&mut tx, &too_many(most)).await?,
        }
        Ok(run.complete(tx).await?)
    }

    async fn buried(&self, tx: &mut Tx, job: &ReadLoadFile, error: &JobError) -> storage::Result<()> {
        give_up(tx, job.case, job, error).await
    }
}

async fn give_up(tx: &mut Tx, case: CaseId, job: &ReadLoadFile, error: &JobError) -> storage::Result<()> {
    let file = LoadFile::load(tx, case, job.load_file).await?;
    if file.state == "waiting" { file.fail(tx, &error.to_string()).await } else { Ok(()) }
}

fn too_many(most: u64) -> String {
    format!("it announces more than {most} items; split it, or raise workers.max_items")
}

fn details(file: &LoadFile, described: Described) -> LoadFileDetails {
    LoadFileDetails {
        name: file.details.name.clone(),
        kind: Some(described.kind.name().to_owned()),
        encoding: Some(described.encoding.to_owned()),
        damaged: described.damaged,
        columns: described.columns,
        error: None,
    }
}

enum Ended {
    Unreadable(LoadFileError),
    TooMany,
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::Unreadable(error.into())
    }
}

/// Reads a load file and sends what stands behind line `after` in pages; ends early when nobody takes them.
fn in_pages(
    input: &mut dyn std::io::Read,
    after: u64,
    most: u64,
    pages: &mpsc::Sender<Vec<NewItem>>,
    note: &dyn Fn(u64, Record) -> NewItem,
) -> Result<Described, Ended> {
    let (mut page, mut records) = (Vec::with_capacity(PAGE), 0_u64);
    let read = load_file::read(input, &mut |line, record| {
        records += 1;
        if records > most {
            return ControlFlow::Break(());
        }
        if line > after {
            page.push(note(line, record));
        }
        if page.len() >= PAGE && pages.blocking_send(std::mem::take(&mut page)).is_err() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    if !page.is_empty() {
        // Nobody takes it when the job was told to stop; then what is missing is read again.
        let _ = pages.blocking_send(page);
    }
    match read {
        Err(LoadFileError::Stopped) if records > most => Err(Ended::TooMany),
        other => other.map_err(Ended::Unreadable),
    }
}

fn new_item(references: &References, case: CaseId, line: u64, record: Record) -> NewItem {
    let item = match record {
        Record::Item(item) => item,
        Record::Refused(message) => {
            let details = ItemDetails { message: Some(message.to_owned()), ..ItemDetails::default() };
            return NewItem { line, details, expected: Expected::Nothing };
        }
    };
    let (expected, message) = match item.source.as_deref().and_then(|source| references.judge(case, source)) {
        None => (Expected::File, None),
        Some(Err(fault)) if fault.error == ItemError::ReferenceRefused => {
            (Expected::RefusedReference, Some(fault.message.to_owned()))
        }
        // What names nothing is told by the job.
        Some(_) => (Expected::Reference, None),
    };
    let details = ItemDetails {
        path: item.path,
        source: item.source,
        control_number: item.control_number,
        parent: item.parent,
        custodian: item.custodian,
        sha256: item.sha256,
        fields: item.fields,
        message,
    };
    NewItem { line, details, expected }
}
