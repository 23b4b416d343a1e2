//! `ingest_document`: verify the stored bytes, identify them, detect a copy, and make the members of a container documents
//! of their own. Run twice it changes nothing: members are keyed by container and position.

use std::io::{self, Read};

use domain::{
    jobs::IngestDocument,
    outcome::{Category, DocumentState, Exception},
};
use pipeline::{Format, Identified, ReadError};
use sha2::{Digest as _, Sha256};
use storage::{
    Storage, Tx,
    audit::Audit,
    documents::{Details, Document, NewMember, claim_content},
    failpoint,
    objects::{BlobKind, ObjectError, Reader},
    vault::CaseKey,
};

use super::{discard, flag, give_up, members::Members};
use crate::{
    context::Context,
    runner::{Handler, JobError, Run, measure},
};

/// What identification looks at.
const HEAD: usize = 4 << 20;
/// Members named in one audit event.
const AUDITED_AT_ONCE: usize = 1_000;

/// What became of the bytes.
struct Looked {
    identified: Identified,
    members: Vec<NewMember>,
    exception: Option<Exception>,
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
        let identified = match self.identify(run, &document, &key).await? {
            Ok(identified) => identified,
            Err(exception) => return end(run, &document, &exception, None).await,
        };
        failpoint::hit("ingest.after_identify");
        if is_copy(run, &document).await? {
            return Ok(());
        }
        let looked = self.unpack(run, &document, &key, identified).await?;
        failpoint::hit("ingest.after_store");
        let stored: Vec<_> = looked.members.iter().map(|member| member.stored.blob).collect();
        let recorded = record(run, &document, looked).await;
        if recorded.is_err() {
            discard(&run.storage, stored).await;
        }
        recorded
    }

    async fn buried(&self, tx: &mut Tx, job: &IngestDocument, error: &JobError) -> storage::Result<()> {
        give_up(tx, job.case, job.document, error).await
    }
}

impl Context {
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
    async fn unpack(
        &self,
        run: &Run,
        document: &Document,
        key: &CaseKey,
        identified: Identified,
    ) -> Result<Looked, JobError> {
        let format = identified.format;
        if !format.is_container() {
            return Ok(Looked { identified, members: Vec::new(), exception: unreadable(format) });
        }
        let (reader, storage, document, key) =
            (self.reader.clone(), run.storage.clone(), document.clone(), key.clone());
        let cancel = flag(&run.cancel);
        tokio::task::spawn_blocking(move || {
            let mut input = match open(&storage, &document, &key) {
                Ok(input) => input,
                Err(error) => {
                    let exception = Some(integrity(error)?);
                    return Ok(Looked { identified, members: Vec::new(), exception });
                }
            };
            let too_deep = document.depth >= reader.settings().limits.max_depth;
            let mut members = Members::new(&storage, &key, &document, too_deep);
            let ended = reader.unpack(format, &mut input, &mut members, &cancel);
            let exception = match ended {
                Ok(_) => None,
                Err(_) if members.found_too_deep() => Some(Exception::new(
                    Category::TooDeep,
                    format!("the container lies within {} others and has members of its own", document.depth),
                )),
                Err(ReadError::Exception(exception)) => Some(exception),
                Err(ReadError::Cancelled) => return members.throw_away(JobError::Cancelled),
                Err(ReadError::Io(error)) => match integrity_io(error) {
                    Ok(exception) => Some(exception),
                    Err(error) => return members.throw_away(error),
                },
            };
            Ok(Looked { identified, members: members.into_members(), exception })
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
    match format {
        Format::EncryptedOffice => Some(Exception::new(Category::Encrypted, "an Office file protected by a password")),
        other if !other.is_readable() => {
            Some(Exception::new(Category::Unsupported, format!("no reader for {}", other.media_type())))
        }
        _ => None,
    }
}

/// Marks a copy of a document that is already in the database as such, before any work is spent on it.
async fn is_copy(run: &Run, document: &Document) -> Result<bool, JobError> {
    let mut tx = run.begin().await?;
    let Some(first) = claim_content(&mut tx, document).await? else { return Ok(false) };
    document.set_duplicate(&mut tx, first).await?;
    run.complete(tx).await?;
    measure::documents(DocumentState::Duplicate, 1, document.size);
    Ok(true)
}

/// One transaction: members, audit events, the document's next state and its next job.
async fn record(run: &Run, document: &Document, looked: Looked) -> Result<(), JobError> {
    let Looked { identified, members, exception } = looked;
    let (format, media_type) = (identified.format.name(), identified.media_type);
    let mut tx = run.begin().await?;
    if claim_content(&mut tx, document).await?.is_some() {
        return Err(JobError::retry(anyhow::anyhow!("a copy was received meanwhile")));
    }
    let added = document.add_members(&mut tx, &members).await?;
    let mut events: Vec<_> = added.chunks(AUDITED_AT_ONCE).map(<[_]>::to_vec).collect();
    if events.is_empty() {
        events.push(Vec::new());
    }
    for members in events {
        tx.audit(Audit::DocumentIngested { case: document.case, document: document.id, members }).await?;
    }
    if let Some(exception) = &exception {
        document.set_exception(&mut tx, exception, Some((format, media_type))).await?;
    } else {
        let details = Details { extension_mismatch: identified.extension_mismatch, ..document.details.clone() };
        document.set_ingested(&mut tx, format, media_type, &details).await?;
    }
    run.complete(tx).await?;
    if exception.is_some() {
        measure::documents(DocumentState::Exception, 1, document.size);
    }
    let failed = members.iter().filter(|member| member.exception.is_some());
    let (count, bytes) = failed.fold((0, 0), |(count, bytes), member| (count + 1, bytes + member.stored.size));
    measure::documents(DocumentState::Exception, count, bytes);
    Ok(())
}

/// The document ends as an exception, and the job with it.
pub(super) async fn end(
    run: &Run,
    document: &Document,
    exception: &Exception,
    format: Option<(&str, &str)>,
) -> Result<(), JobError> {
    let mut tx = run.begin().await?;
    document.set_exception(&mut tx, exception, format).await?;
    run.complete(tx).await?;
    measure::documents(DocumentState::Exception, 1, document.size);
    Ok(())
}
