//! Which messages of a thread must be read. Judging that takes the texts of the whole thread, so a thread is judged again only
//! when it is made of other messages or texts than before.

use std::collections::BTreeMap;

use domain::{
    fingerprint::{Fact, FingerprintKey},
    ids::{CaseId, DocumentId},
    threads::{Body, body, inclusive},
};
use storage::{
    Storage,
    documents::{
        attachments, read_text,
        relations::{self, Change},
    },
    objects::ObjectError,
    vault::CaseKey,
};

use super::{PAGE, WRITTEN, threads::Placed};
use crate::runner::{JobError, Run};

/// A thread beyond either is not judged: all its messages are inclusive.
const MOST_MESSAGES: usize = 1_000;
const MOST_CHARACTERS: u64 = 64 << 20;

/// Judges the threads of several messages that are not as they were.
pub(super) async fn judge(run: &Run, case: CaseId, key: &CaseKey, placed: Vec<Placed>) -> Result<(), JobError> {
    let mut judged = judged(run, case).await?;
    let fingerprints = key.fingerprints();
    let (mut changes, mut digests) = (Vec::new(), Vec::new());
    let threads = placed.chunk_by(|one, other| one.thread == other.thread);
    for thread in threads.filter(|thread| thread.len() > 1) {
        let (name, digest) = (thread[0].thread, digest(thread, &fingerprints));
        let known = judged.remove(&name);
        if known == Some(digest) && thread.iter().all(|message| message.inclusive.is_some()) {
            continue;
        }
        digests.push((name, Some(digest)));
        changes.extend(verdicts(run, case, key, thread).await?);
        if changes.len() >= WRITTEN {
            write(run, case, &mut changes, &mut digests).await?;
        }
    }
    digests.extend(judged.into_keys().map(|former| (former, None)));
    write(run, case, &mut changes, &mut digests).await
}

/// What threads were made of when they were judged.
async fn judged(run: &Run, case: CaseId) -> Result<BTreeMap<DocumentId, i64>, JobError> {
    let mut judged = BTreeMap::new();
    let mut after = DocumentId(uuid::Uuid::nil());
    loop {
        let mut tx = run.read().await?;
        let page = relations::digests(&mut tx, case, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(judged) };
        after = *last;
        judged.extend(page);
    }
}

fn digest(messages: &[Placed], key: &FingerprintKey) -> i64 {
    let parts = messages.iter().flat_map(|message| [message.document.uuid(), message.text.uuid()]);
    let bytes: Vec<u8> = parts.flat_map(uuid::Uuid::into_bytes).collect();
    key.hash(Fact::Thread, &bytes).cast_signed()
}

/// What is to be written of a thread.
async fn verdicts(
    run: &Run,
    case: CaseId,
    key: &CaseKey,
    thread: &[Placed],
) -> Result<Vec<(DocumentId, Change)>, JobError> {
    let documents: Vec<DocumentId> = thread.iter().map(|message| message.document).collect();
    let characters: u64 = thread.iter().map(|message| u64::from(message.characters)).sum();
    let verdicts = if documents.len() > MOST_MESSAGES || characters > MOST_CHARACTERS {
        vec![true; documents.len()]
    } else {
        let mut tx = run.read().await?;
        let attached = attachments(&mut tx, case, &documents).await?;
        drop(tx);
        let (storage, key, thread) = (run.storage.clone(), key.clone(), thread.to_vec());
        tokio::task::spawn_blocking(move || compare(&storage, &key, case, &thread, &attached)).await??
    };
    if run.cancel.is_cancelled() {
        return Err(JobError::Cancelled);
    }
    Ok(documents.into_iter().zip(verdicts.into_iter().map(Change::Inclusive)).collect())
}

fn compare(
    storage: &Storage,
    key: &CaseKey,
    case: CaseId,
    messages: &[Placed],
    attached: &[(DocumentId, [u8; 32])],
) -> Result<Vec<bool>, JobError> {
    let (mut texts, mut brought) = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
    for message in messages {
        texts.push(match read_text(&storage.objects, key, case, message.text) {
            Ok(text) => Some(text.text),
            Err(storage::Error::Object(ObjectError::Missing(_) | ObjectError::Damaged { .. })) => None,
            Err(error) => return Err(error.into()),
        });
        let own = attached.iter().filter(|(of, _)| *of == message.document).map(|(_, sha256)| *sha256);
        let mut own: Vec<[u8; 32]> = own.collect();
        own.sort_unstable();
        own.dedup();
        brought.push(own);
    }
    let bodies = texts.iter().zip(&brought);
    let bodies = bodies.map(|(text, attachments)| Body { text: text.as_deref().map(body), attachments });
    Ok(inclusive(&bodies.collect::<Vec<_>>()))
}

/// Writes what is judged, the verdicts together with what they were judged by.
async fn write(
    run: &Run,
    case: CaseId,
    changes: &mut Vec<(DocumentId, Change)>,
    digests: &mut Vec<(DocumentId, Option<i64>)>,
) -> Result<(), JobError> {
    let mut tx = run.begin().await?;
    let made =
        relations::apply(&mut tx, case, changes).await? + relations::note_digests(&mut tx, case, digests).await?;
    if made > 0 {
        tx.commit().await?;
    }
    changes.clear();
    digests.clear();
    Ok(())
}
