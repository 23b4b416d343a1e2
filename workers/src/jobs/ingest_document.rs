//! `ingest_document`: show the stored bytes to the virus scanner, verify and identify them, detect a copy, and make the members
//! of a container documents of their own, with the passwords of the case where it is protected. Run twice it changes nothing: members are keyed by container and position.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    iter,
};

use domain::{
    ids::DocumentId,
    jobs::IngestDocument,
    outcome::{Category, DocumentState, Exception},
    provenance::Provenance,
    text::Warning,
};
use pipeline::{Format, Identified, ReadError, Unpacked};
use sha2::{Digest as _, Sha256};
use storage::{
    Storage, Tx,
    audit::Audit,
    documents::{Details, Document, NewMember, claim_content, release_contents},
    failpoint,
    objects::{BlobKind, ObjectError, Reader},
    passwords,
    vault::CaseKey,
};

use super::{bank::Bank, discard, flag, give_up, known_files, members::Members};
use crate::{
    clamd::{self, ScanError, Verdict},
    context::Context,
    runner::{Cause, Handler, JobError, Run, measure},
};

/// What identification looks at.
const HEAD: usize = 4 << 20;
/// Members named in one audit event.
const AUDITED_AT_ONCE: usize = 1_000;

/// What became of the bytes.
#[derive(Default)]
pub(super) struct Looked {
    /// What a message has in common with its copies.
    message: Option<[u8; 32]>,
    pub(super) members: Vec<NewMember>,
    pub(super) exception: Option<Exception>,
    /// Places of the passwords that opened it or members of it.
    pub(super) opened_with: BTreeSet<u32>,
}

impl Looked {
    fn failed(exception: Exception) -> Self {
        Self { exception: Some(exception), ..Self::default() }
    }

    /// True when there is something that a password would open.
    pub(super) fn is_protected(&self) -> bool {
        let own = self.exception.iter();
        own.chain(self.members.iter().filter_map(|member| member.exception.as_ref())).any(is_protected)
    }
}

/// True for what a password would help against.
pub(super) fn is_protected(exception: &Exception) -> bool {
    exception.category == Category::Encrypted
}

/// What is looked for in a container.
pub(super) struct Sought {
    pub(super) format: Format,
    /// Only members at these positions.
    pub(super) only: Option<BTreeSet<u32>>,
}

/// What became of the members in the rows.
enum Recorded {
    /// They are documents now.
    Members,
    /// The container turned out to be a copy, which has none.
    Copy,
    /// Something is protected, and a password was added meanwhile: nothing is recorded.
    Outdated,
}

impl Handler<IngestDocument> for Context {
    async fn run(&self, job: &IngestDocument, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let document = Document::load(&mut tx, job.case, job.document).await?;
        let key = tx.case_key(job.case).await?;
        drop(tx);
        if document.state != DocumentState::Received {
            return Ok(());
        }
        let mut bank = Bank::unopened(&self.reader);
        if let Some(exception) = self.scan(run, &document, &key).await? {
            return end(run, &document, &exception, &self.provenance().await?, &bank).await.map(drop);
        }
        let identified = match self.identify(run, &document, &key).await? {
            Ok(identified) => identified,
            Err(exception) => return end(run, &document, &exception, &self.provenance().await?, &bank).await.map(drop),
        };
        failpoint::hit("ingest.after_identify");
        if known_files::exclude(self.known_files.as_ref(), run, &document, &key).await? {
            return Ok(());
        }
        if is_copy(run, &document).await? {
            return Ok(());
        }
        let most = self.config.max_passwords_tried;
        loop {
            let members = Sought { format: identified.format, only: None };
            let looked = self.unpack(run, &document, &key, &bank, members).await?;
            let stored: Vec<_> = looked.members.iter().map(|member| member.stored.blob).collect();
            if looked.is_protected() && bank.load(run, job.case, most).await? {
                discard(&run.storage, stored).await;
                continue;
            }
            failpoint::hit("ingest.after_store");
            let recorded = record(run, &document, &identified, looked, &self.provenance().await?, &bank).await;
            if !matches!(recorded, Ok(Recorded::Members)) {
                discard(&run.storage, stored).await;
            }
            match recorded? {
                Recorded::Members | Recorded::Copy => return Ok(()),
                Recorded::Outdated => bank.load(run, job.case, most).await?,
            };
        }
    }

    async fn buried(&self, tx: &mut Tx, job: &IngestDocument, error: &JobError) -> storage::Result<()> {
        give_up(tx, job.case, job.document, error).await
    }
}

impl Context {
    /// Shows the file to the virus scanner, if there is one. Without a verdict nothing goes on.
    async fn scan(&self, run: &Run, document: &Document, key: &CaseKey) -> Result<Option<Exception>, JobError> {
        let clamd = self.reader.settings().clamd.clone();
        if clamd.address.is_empty() {
            return Ok(None);
        }
        let (storage, document, key) = (run.storage.clone(), document.clone(), key.clone());
        let cancel = run.cancel.clone();
        tokio::task::spawn_blocking(move || {
            let mut file = match open(&storage, &document, &key) {
                Ok(file) => file,
                Err(error) => return integrity(error).map(Some),
            };
            match clamd::scan(&clamd, &mut file, &cancel) {
                Ok(Verdict::Clean) => Ok(None),
                Ok(Verdict::Infected(what)) => Ok(Some(Exception::new(Category::Virus, format!("{what} was found")))),
                Ok(Verdict::TooLarge) => Ok(Some(Exception::new(
                    Category::TooLarge,
                    "the file is larger than the virus scanner takes (StreamMaxLength of clamd)",
                ))),
                Err(ScanError::File(error)) => integrity_io(error).map(Some),
                Err(ScanError::Cancelled) => Err(JobError::Cancelled),
                // The scanner is away, as a database may be: no document is to blame.
                Err(error @ ScanError::Away(_)) => Err(JobError::Wait(Cause::new(error))),
                Err(error) => Err(JobError::retry(error)),
            }
        })
        .await?
    }

    /// Reads the whole object once, checks it against the hash it was received with, and identifies it.
    async fn identify(
        &self,
        run: &Run,
        document: &Document,
        key: &CaseKey,
    ) -> Result<Result<Identified, Exception>, JobError> {
        let (storage, document, key) = (run.storage.clone(), document.clone(), key.clone());
        let cancel = run.cancel.clone();
        tokio::task::spawn_blocking(move || {
            let mut reader = match open(&storage, &document, &key) {
                Ok(reader) => reader,
                Err(error) => return integrity(error).map(Err),
            };
            let (mut hash, mut head, mut piece) = (Sha256::new(), Vec::new(), vec![0; 1 << 20]);
            loop {
                if cancel.is_cancelled() {
                    return Err(JobError::Cancelled);
                }
                let read = match reader.read(&mut piece) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) => return integrity_io(error).map(Err),
                };
                let bytes = &piece[..read];
                hash.update(bytes);
                head.extend_from_slice(&bytes[..read.min(HEAD - head.len().min(HEAD))]);
            }
            if hash.finalize().as_slice() != document.sha256 {
                return Ok(Err(Exception::new(Category::Integrity, "the stored bytes do not match their SHA-256")));
            }
            if head.is_empty() {
                return Ok(Err(Exception::new(Category::Empty, "the file has no bytes")));
            }
            Ok(Ok(pipeline::identify(&head, &document.details.name)))
        })
        .await?
    }

    /// Stores the members of a container. What could not be read of it is an exception beside what could.
    pub(super) async fn unpack(
        &self,
        run: &Run,
        document: &Document,
        key: &CaseKey,
        bank: &Bank,
        sought: Sought,
    ) -> Result<Looked, JobError> {
        let Sought { format, only } = sought;
        if !format.is_container() {
            return Ok(Looked { exception: unreadable(format), ..Looked::default() });
        }
        let (reader, storage, document, key) = (bank.reader(), run.storage.clone(), document.clone(), key.clone());
        let cancel = flag(&run.cancel);
        tokio::task::spawn_blocking(move || {
            let mut input = match open(&storage, &document, &key) {
                Ok(input) => input,
                Err(error) => return integrity(error).map(Looked::failed),
            };
            let too_deep = document.depth >= reader.settings().limits.max_depth;
            let mut members = Members::new(&storage, &key, &document, too_deep, only);
            let ended = reader.unpack(format, &document.details.name, &mut input, &mut members, &cancel);
            let unpacked = ended.as_ref().ok().cloned().unwrap_or_default();
            let exception = match ended {
                Ok(_) => None,
                Err(_) if members.found_too_deep() => Some(Exception::new(
                    Category::TooDeep,
                    format!("the container lies within {} others and has members of its own", document.depth),
                )),
                Err(ReadError::Exception(exception)) => Some(exception),
                Err(ReadError::Cancelled) => return members.throw_away(JobError::Cancelled),
                Err(error @ ReadError::Scanned) => return members.throw_away(JobError::fail(error)),
                Err(ReadError::Io(error)) => match integrity_io(error) {
                    Ok(exception) => Some(exception),
                    Err(error) => return members.throw_away(error),
                },
            };
            let Unpacked { message, opened_with, .. } = unpacked;
            Ok(Looked { message, members: members.into_members(), exception, opened_with })
        })
        .await?
    }
}

fn open(storage: &Storage, document: &Document, key: &CaseKey) -> Result<Reader, ObjectError> {
    storage.objects.reader(key, document.case, document.original, BlobKind::Original)
}

/// Bytes that are gone or altered are the document's exception; any other failure is the machine's.
pub(super) fn integrity(error: ObjectError) -> Result<Exception, JobError> {
    match error {
        ObjectError::Missing(_) | ObjectError::Damaged { .. } => {
            Ok(Exception::new(Category::Integrity, "the stored copy is missing or damaged"))
        }
        error => Err(error.into()),
    }
}

/// The same for errors that came through a reader.
pub(super) fn integrity_io(error: io::Error) -> Result<Exception, JobError> {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Ok(Exception::new(Category::Integrity, "the stored copy is damaged"))
        }
        _ => Err(storage::Error::Io(error).into()),
    }
}

/// Why a format that is no container cannot go on to extraction.
fn unreadable(format: Format) -> Option<Exception> {
    (!format.is_readable()).then(|| Exception::new(Category::Unsupported, format.unsupported()))
}

/// What ends a document, and what is only a warning: a document whose members could not be taken out is still a document, so
/// it is read, and says what it lacks.
fn judged(format: Format, exception: Option<Exception>) -> (Option<Exception>, Option<Warning>) {
    match exception {
        Some(exception)
            if format.is_document() && !matches!(exception.category, Category::Integrity | Category::Encrypted) =>
        {
            let detail = format!("its embedded files could not be taken out: {}", exception.detail);
            (None, Some(Warning { category: exception.category, page: exception.page, detail }))
        }
        other => (other, None),
    }
}

/// Marks a copy of a document that is already in the database as such, before any work is spent on it.
async fn is_copy(run: &Run, document: &Document) -> Result<bool, JobError> {
    let mut tx = run.begin().await?;
    let Some(first) = claim_content(&mut tx, document, &[&document.sha256]).await? else { return Ok(false) };
    end_as_copy(run, tx, document, first).await?;
    Ok(true)
}

async fn end_as_copy(run: &Run, mut tx: Tx, document: &Document, first: DocumentId) -> Result<(), JobError> {
    // A message may have claimed its bytes before it was found to be a copy by what it says.
    release_contents(&mut tx, document.case, &[document.id]).await?;
    document.set_duplicate(&mut tx, first).await?;
    run.complete(tx).await?;
    measure::documents(DocumentState::Duplicate, 1, document.size);
    Ok(())
}

/// One transaction: members, audit events, the document's next state and its next job.
async fn record(
    run: &Run,
    document: &Document,
    identified: &Identified,
    looked: Looked,
    reader: &Provenance,
    bank: &Bank,
) -> Result<Recorded, JobError> {
    let protected = looked.is_protected();
    let Looked { message, members, exception, opened_with } = looked;
    let (exception, left_in) = judged(identified.format, exception);
    let (format, media_type) = (identified.format.name(), identified.media_type);
    let mut tx = run.begin().await?;
    if protected && !bank.is_current(&mut tx, document.case).await? {
        return Ok(Recorded::Outdated);
    }
    let contents: Vec<&[u8]> =
        iter::once(document.sha256.as_slice()).chain(message.as_ref().map(<[u8; 32]>::as_slice)).collect();
    if let Some(first) = claim_content(&mut tx, document, &contents).await? {
        return end_as_copy(run, tx, document, first).await.map(|()| Recorded::Copy);
    }
    let added = document.add_members(&mut tx, &members, identified.format.is_mail_store()).await?;
    audit_members(&mut tx, document, &added).await?;
    if let Some(exception) = &exception {
        document.record_failure(&mut tx, exception.category, reader).await?;
        document.set_exception(&mut tx, exception, Some((format, media_type))).await?;
    } else {
        let extension_mismatch = identified.extension_mismatch;
        let details = Details { extension_mismatch, left_in, ..document.details.clone() };
        document.set_ingested(&mut tx, format, media_type, &details).await?;
    }
    passwords::used(&mut tx, document.case, document.id, &bank.at(&opened_with)).await?;
    if protected {
        bank.note(&mut tx, document).await?;
    }
    run.complete(tx).await?;
    if exception.is_some() {
        measure::documents(DocumentState::Exception, 1, document.size);
    }
    let failed = members.iter().filter(|member| member.exception.is_some());
    let (count, bytes) = failed.fold((0, 0), |(count, bytes), member| (count + 1, bytes + member.stored.size));
    measure::documents(DocumentState::Exception, count, bytes);
    Ok(Recorded::Members)
}

/// Puts on record which documents were made of a container's members; an event at least.
pub(super) async fn audit_members(
    tx: &mut Tx,
    document: &Document,
    added: &[(DocumentId, String)],
) -> storage::Result<()> {
    let mut events: Vec<_> = added.chunks(AUDITED_AT_ONCE).map(<[_]>::to_vec).collect();
    if events.is_empty() {
        events.push(Vec::new());
    }
    for members in events {
        tx.audit(Audit::DocumentIngested { case: document.case, document: document.id, members }).await?;
    }
    Ok(())
}

/// The document ends as an exception, and the job with it. False when it is protected and a password was added meanwhile:
/// then nothing happened.
pub(super) async fn end(
    run: &Run,
    document: &Document,
    exception: &Exception,
    reader: &Provenance,
    bank: &Bank,
) -> Result<bool, JobError> {
    let mut tx = run.begin().await?;
    if is_protected(exception) && !bank.is_current(&mut tx, document.case).await? {
        return Ok(false);
    }
    document.record_failure(&mut tx, exception.category, reader).await?;
    document.set_exception(&mut tx, exception, None).await?;
    if is_protected(exception) {
        bank.note(&mut tx, document).await?;
    }
    run.complete(tx).await?;
    measure::documents(DocumentState::Exception, 1, document.size);
    Ok(true)
}
