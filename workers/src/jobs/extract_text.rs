//! `extract_text`: read a document in its sandboxed child and store its text. The text is an object of its own; the row
//! says only how long it is and what read it. A document with scanned pages goes on to `recognise_text`.

use std::collections::BTreeSet;

use domain::{
    fingerprint::FingerprintKey,
    ids::{CaseId, DocumentId},
    jobs::{ExtractText, RecogniseText},
    outcome::{DocumentState, Exception},
    provenance::Provenance,
    similarity::Signature,
    text::{self, Text, Warning},
    threads::{self, Letter},
};
use pipeline::{Extraction, Format, ReadError, Reader};
use storage::{
    Tx,
    documents::{Document, Extracted, Fingerprints, write_text},
    failpoint,
    objects::{BlobKind, Stored},
    passwords,
    vault::CaseKey,
};

use super::{
    bank::Bank,
    discard, flag, give_up,
    ingest_document::{Looked, Sought, audit_members, end, integrity, integrity_io, is_protected},
};
use crate::{
    context::{Context, provenance},
    runner::{Handler, JobError, Run},
};

impl Handler<ExtractText> for Context {
    async fn run(&self, job: &ExtractText, run: &Run) -> Result<(), JobError> {
        let ExtractText { case, document } = *job;
        match self.read(&self.reader.stopping_at_scans(), case, document, run).await? {
            Reached::TheEnd => Ok(()),
            Reached::AScan => Ok(run.hand_over(&RecogniseText { case, document }).await?),
        }
    }

    async fn buried(&self, tx: &mut Tx, job: &ExtractText, error: &JobError) -> storage::Result<()> {
        give_up(tx, job.case, job.document, error).await
    }
}

/// How far a document was read.
pub(super) enum Reached {
    /// To its end: its text, or why there is none, is recorded, or there was nothing to do.
    TheEnd,
    /// To a page that must be recognised, where this reader stops. Nothing is recorded.
    AScan,
}

impl Context {
    /// Reads a document with `reader`, and with the passwords of its case if it is protected; stores its text and records
    /// what became of it.
    pub(super) async fn read(
        &self,
        reader: &Reader,
        case: CaseId,
        document: DocumentId,
        run: &Run,
    ) -> Result<Reached, JobError> {
        let mut tx = run.read().await?;
        let document = Document::load(&mut tx, case, document).await?;
        let key = tx.case_key(case).await?;
        drop(tx);
        if document.state != DocumentState::Ingested {
            return Ok(Reached::TheEnd);
        }
        let (mut bank, most) = (Bank::unopened(reader), self.config.max_passwords_tried);
        let least_words = self.config.near_duplicate_words;
        loop {
            match extract(bank.reader(), least_words, run, &document, &key).await? {
                Found::Text(mut extracted, opened_with) => {
                    let inside = self.look_inside(run, &document, &key, &bank, &opened_with).await;
                    extracted.warnings.extend(inside.as_ref().ok().and_then(not_unpacked));
                    if keep(run, &document, &extracted, inside, &bank).await? {
                        return Ok(Reached::TheEnd);
                    }
                    bank.load(run, case, most).await?;
                }
                Found::Scan => return Ok(Reached::AScan),
                Found::Nothing(exception) if is_protected(&exception) && bank.load(run, case, most).await? => {}
                Found::Nothing(exception) => {
                    if end(run, &document, &exception, &provenance(reader).await?, &bank).await? {
                        return Ok(Reached::TheEnd);
                    }
                    bank.load(run, case, most).await?;
                }
            }
        }
    }

    /// Members of a document that a password opened: when it was ingested nothing could be seen of them. What was seen then,
    /// or was once read, is not looked for again.
    async fn look_inside(
        &self,
        run: &Run,
        document: &Document,
        key: &CaseKey,
        bank: &Bank,
        opened_with: &BTreeSet<u32>,
    ) -> Result<Looked, JobError> {
        let mut looked = Looked::default();
        if !opened_with.is_empty() && document.text.is_none() {
            let mut tx = run.read().await?;
            let seen = !document.children(&mut tx, 1).await?.is_empty();
            drop(tx);
            if !seen {
                looked = self.unpack(run, document, key, bank, Sought { format: format(document), only: None }).await?;
            }
        }
        looked.opened_with.extend(opened_with);
        Ok(looked)
    }
}

fn format(document: &Document) -> Format {
    document.format.as_deref().and_then(Format::parse).unwrap_or(Format::Unknown)
}

/// What could not be unpacked of a document whose text could be read.
fn not_unpacked(inside: &Looked) -> Option<Warning> {
    let exception = inside.exception.as_ref()?;
    let detail = format!("what lies in the document could not be unpacked: {}", exception.detail);
    Some(Warning { category: exception.category, page: None, detail })
}

/// Records a text that is stored, and what lies in the document. False when a member is protected and a password was added
/// meanwhile: then nothing happened.
async fn keep(
    run: &Run,
    document: &Document,
    extracted: &Extracted,
    inside: Result<Looked, JobError>,
    bank: &Bank,
) -> Result<bool, JobError> {
    failpoint::hit("extract.after_store");
    let (members, recorded) = match inside {
        Ok(inside) => {
            let recorded = record(run, document, extracted, &inside, bank).await;
            (inside.members, recorded)
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    if !matches!(recorded, Ok(true)) {
        let stored: Vec<_> = members.iter().map(|member| member.stored.blob).chain([extracted.text.blob]).collect();
        discard(&run.storage, stored).await;
    }
    recorded
}

enum Found {
    /// What was read, and the places of the passwords that opened it.
    Text(Box<Extracted>, BTreeSet<u32>),
    Nothing(Exception),
    Scan,
}

async fn extract(
    reader: Reader,
    least_words: u32,
    run: &Run,
    document: &Document,
    key: &CaseKey,
) -> Result<Found, JobError> {
    let (storage, document, key) = (run.storage.clone(), document.clone(), key.clone());
    let cancel = flag(&run.cancel);
    tokio::task::spawn_blocking(move || {
        let format = format(&document);
        let mut input = match storage.objects.reader(&key, document.case, document.original, BlobKind::Original) {
            Ok(input) => input,
            Err(error) => return integrity(error).map(Found::Nothing),
        };
        let Extraction { text, opened_with } = match reader.extract(format, &document.details.name, &mut input, &cancel)
        {
            Ok(found) => found,
            Err(ReadError::Exception(exception)) => return Ok(Found::Nothing(exception)),
            Err(ReadError::Scanned) => return Ok(Found::Scan),
            Err(ReadError::Cancelled) => return Err(JobError::Cancelled),
            Err(ReadError::Io(error)) => return integrity_io(error).map(Found::Nothing),
        };
        let provenance = reader.provenance().map_err(storage::Error::Io)?;
        failpoint::hit("extract.after_read");
        let stored = write_text(&storage.objects, &key, document.case, &text)?;
        let fingerprints = fingerprints(&text, &key.fingerprints(), least_words);
        Ok(Found::Text(Box::new(summary(text, stored, provenance, fingerprints)), opened_with))
    })
    .await?
}

/// What relates a text to others. A message is compared by its body: letters to the same people are not alike for that.
fn fingerprints(text: &Text, key: &FingerprintKey, least_words: u32) -> Fingerprints {
    let is_message = text.metadata.content_hash.is_some();
    let words = if is_message { threads::body(&text.text) } else { &text.text };
    Fingerprints {
        letter: is_message.then(|| Letter::new(&text.metadata, key)),
        signature: Signature::new(words, key, least_words),
    }
}

fn summary(text: Text, stored: Stored, provenance: Provenance, fingerprints: Fingerprints) -> Extracted {
    Extracted {
        text: stored,
        pages: u32::try_from(text.pages.len()).unwrap_or(u32::MAX),
        characters: text::scalars(&text.text),
        metadata: text.metadata,
        warnings: text.warnings,
        provenance,
        fingerprints,
    }
}

async fn record(
    run: &Run,
    document: &Document,
    extracted: &Extracted,
    inside: &Looked,
    bank: &Bank,
) -> Result<bool, JobError> {
    let mut tx = run.begin().await?;
    if inside.is_protected() && !bank.is_current(&mut tx, document.case).await? {
        return Ok(false);
    }
    document.set_extracted(&mut tx, extracted).await?;
    let added = document.add_members(&mut tx, &inside.members, false).await?;
    if !added.is_empty() {
        audit_members(&mut tx, document, &added).await?;
    }
    passwords::used(&mut tx, document.case, document.id, &bank.at(&inside.opened_with)).await?;
    if inside.is_protected() {
        bank.note(&mut tx, document).await?;
    }
    run.complete(tx).await?;
    Ok(true)
}
