//! What documents have to do with each other, in rows: the fingerprints each left when its text was extracted, and what follows
//! from all of a case together: the thread of a message, the message it answers, whether it is inclusive, and the group of
//! near-duplicates. Only documents in the index are related; who changes the index asks for it anew.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use domain::{
    ids::{BlobId, CaseId, DocumentId},
    similarity::{Member, Signature, VALUES},
    threads::Letter,
};
use uuid::Uuid;

use super::Document;
use crate::{
    Error, Result, Tx,
    audit::Audit,
    db::{change, query},
    vault::{CaseKey, Place},
};

/// The first byte of a stored signature: how it was made. One made otherwise is compared with none.
const SIGNATURE_FORM: u8 = 1;
/// The first byte of a stored letter.
const LETTER_FORM: u8 = 1;

/// What extraction leaves for relating a document to others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprints {
    /// Of a message: what threading needs of it.
    pub letter: Option<Letter>,
    /// What its text looks like; none when it is too short to be compared.
    pub signature: Option<Signature>,
}

/// What a document has to do with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relation {
    /// The message that stands for its thread; of every message that is indexed.
    pub thread: Option<DocumentId>,
    /// The message it answers, or the nearest one before that which is here.
    pub answers: Option<DocumentId>,
    /// Whether it says or brings something that no later message of its thread does.
    pub inclusive: Option<bool>,
    /// The pivot of its group of near-duplicates, and how alike the two are, in percent.
    pub group: Option<(DocumentId, u8)>,
}

/// A message as [`letters`] gives it.
#[derive(Debug)]
pub struct Message {
    /// The document.
    pub document: DocumentId,
    /// Its text.
    pub text: BlobId,
    /// Characters of its text.
    pub characters: u32,
    /// What threading needs of it.
    pub letter: Letter,
    /// [`Threaded::mark`] of where it stands in its row.
    pub mark: u64,
    /// Whether its row says that it is inclusive.
    pub inclusive: Option<bool>,
}

impl AsRef<Letter> for Message {
    fn as_ref(&self) -> &Letter {
        &self.letter
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Threaded {
    /// The message that stands for the thread.
    pub thread: DocumentId,
    /// The message it answers.
    pub answers: Option<DocumentId>,
    /// Its number in the thread, from 0, in the order of time.
    pub position: u32,
}

impl Threaded {
    /// Equal for equal places, and practically never otherwise.
    pub fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// A document with a signature as [`signatures`] gives it.
#[derive(Debug)]
pub struct Signed {
    /// The document.
    pub document: DocumentId,
    /// Its signature; texts that look the same are told by the SHA-256 of their bytes.
    pub member: Member,
    /// The group in its row, and how alike it is to the pivot.
    pub group: Option<(DocumentId, u8)>,
}

impl AsRef<Member> for Signed {
    fn as_ref(&self) -> &Member {
        &self.member
    }
}

/// One page of a walk through a case's relations.
#[derive(Debug)]
pub struct Walk<T> {
    /// Documents that are in the index.
    pub found: Vec<T>,
    /// Documents whose rows say what is no longer so, because they are no longer in the index.
    pub stale: Vec<DocumentId>,
    /// Where the next page begins; none after the last.
    pub last: Option<DocumentId>,
}

type LetterRow =
    (Uuid, Option<Vec<u8>>, Option<Uuid>, Option<Uuid>, Option<i64>, Option<bool>, Option<Uuid>, Option<i64>, bool);
type SignatureRow = (Uuid, Option<Vec<u8>>, i64, Vec<u8>, Option<Uuid>, Option<i64>, bool);

fn place(document: DocumentId) -> Place {
    Place::new("relations", "sealed_letter", document)
}

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Document {
    /// Keeps what extraction found, in the transaction that makes its text the document's. What follows from it stays as it is
    /// until all are related anew.
    pub(super) async fn record_fingerprints(&self, tx: &mut Tx, fingerprints: &Fingerprints) -> Result<()> {
        let key = tx.case_key(self.case).await?;
        let letter = fingerprints.letter.as_ref().map(|letter| sealed(&key, self.id, letter)).transpose()?;
        let signature = fingerprints.signature.map(|signature| [&[SIGNATURE_FORM], &signature.values[..]].concat());
        let words = fingerprints.signature.map_or(0, |signature| i64::from(signature.words));
        change!(tx, c => sqlx::query(
            "insert into relations (document_id, case_id, sealed_letter, signature, words) values ($1,$2,$3,$4,$5)
             on conflict (document_id) do update set sealed_letter = excluded.sealed_letter, signature = excluded.signature,
             words = excluded.words")
            .bind(self.id.uuid()).bind(self.case.uuid()).bind(letter).bind(signature).bind(words).execute(c).await.map(drop))?;
        Ok(())
    }
}

fn sealed(key: &CaseKey, document: DocumentId, letter: &Letter) -> Result<Vec<u8>> {
    let encoded = [&[LETTER_FORM], &postcard::to_stdvec(letter)?[..]].concat();
    Ok(key.seal(&place(document), &encoded)?)
}

/// `None` for a letter of another form: the message is threaded when it is read again.
fn opened(key: &CaseKey, document: DocumentId, sealed: &[u8]) -> Result<Option<Letter>> {
    let encoded = key.open(&place(document), sealed)?;
    match encoded.split_first() {
        Some((&LETTER_FORM, letter)) => Ok(Some(postcard::from_bytes(letter)?)),
        _ => Ok(None),
    }
}

/// Forgets what a document had to do with others, because its file is another now or it is deleted, and what others had to do
/// with it.
pub(super) async fn forget(tx: &mut Tx, document: DocumentId) -> Result<()> {
    for statement in [
        "update relations set answers_id = null where answers_id = $1",
        "update relations set thread_id = null, answers_id = null, position = null, is_inclusive = null where thread_id = $1",
        "update relations set group_id = null, similarity = null where group_id = $1",
        "delete from threads where id = $1",
        "delete from relations where document_id = $1",
    ] {
        change!(tx, c => sqlx::query(statement).bind(document.uuid()).execute(c).await.map(drop))?;
    }
    Ok(())
}

/// True while documents of the case are on their way to the index.
pub async fn is_moving(tx: &mut Tx, case: CaseId) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from databases d join documents f on f.database_id = d.id
         where d.case_id = $1 and f.state in ('received', 'ingested', 'extracted') and f.deleted_at is null)")
        .bind(case.uuid()).fetch_one(c).await)?)
}

/// The messages of a case after `after`.
pub async fn letters(tx: &mut Tx, case: CaseId, after: DocumentId, most: u32) -> Result<Walk<Message>> {
    let rows: Vec<LetterRow> = query!(tx, c => sqlx::query_as(
        "select r.document_id, r.sealed_letter, r.thread_id, r.answers_id, r.position, r.is_inclusive, f.text_blob, f.characters,
         f.in_index and f.deleted_at is null and f.state in ('indexed', 'ingested', 'extracted')
         from relations r join documents f on f.id = r.document_id
         where r.case_id = $1 and r.document_id > $2 and (r.sealed_letter is not null or r.thread_id is not null)
         order by r.document_id limit $3")
        .bind(case.uuid()).bind(after.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    let key = tx.case_key(case).await?;
    let mut walk = Walk { found: Vec::with_capacity(rows.len()), stale: Vec::new(), last: None };
    walk.last = rows.last().map(|row| DocumentId(row.0));
    for (document, letter, thread, answers, position, inclusive, text, characters, current) in rows {
        let document = DocumentId(document);
        let letter = match (letter, text) {
            (Some(letter), Some(text)) if current => {
                opened(&key, document, &letter)?.map(|letter| (letter, BlobId(text)))
            }
            _ => None,
        };
        let standing = thread.map(|thread| Threaded {
            thread: DocumentId(thread),
            answers: answers.map(DocumentId),
            position: position.map_or(u32::MAX, small),
        });
        if let Some((letter, text)) = letter {
            let mark = standing.map_or(0, |standing| standing.mark());
            let characters = characters.map_or(0, small);
            walk.found.push(Message { document, text, characters, letter, mark, inclusive });
        } else if standing.is_some() {
            walk.stale.push(document);
        }
    }
    Ok(walk)
}

/// The documents of a case after `after` that can be compared.
pub async fn signatures(tx: &mut Tx, case: CaseId, after: DocumentId, most: u32) -> Result<Walk<Signed>> {
    let rows: Vec<SignatureRow> = query!(tx, c => sqlx::query_as(
        "select r.document_id, r.signature, r.words, f.sha256, r.group_id, r.similarity,
         f.in_index and f.deleted_at is null and f.state in ('indexed', 'ingested', 'extracted')
         from relations r join documents f on f.id = r.document_id
         where r.case_id = $1 and r.document_id > $2 and (r.signature is not null or r.group_id is not null)
         order by r.document_id limit $3")
        .bind(case.uuid()).bind(after.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    let mut walk = Walk { found: Vec::with_capacity(rows.len()), stale: Vec::new(), last: None };
    walk.last = rows.last().map(|row| DocumentId(row.0));
    for (document, signature, words, sha256, group, similarity, current) in rows {
        let document = DocumentId(document);
        let group = group.map(|group| (DocumentId(group), percent(similarity)));
        let signature = signature.as_deref().filter(|_| current).and_then(|stored| understood(stored, words));
        if let Some(signature) = signature {
            let tie = sha256.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
            let member = Member { values: signature.values, words: signature.words, tie };
            walk.found.push(Signed { document, member, group });
        } else if group.is_some() {
            walk.stale.push(document);
        }
    }
    Ok(walk)
}

pub(super) fn percent(similarity: Option<i64>) -> u8 {
    similarity.and_then(|percent| u8::try_from(percent).ok()).unwrap_or(0)
}

fn understood(stored: &[u8], words: i64) -> Option<Signature> {
    let (form, values) = stored.split_first()?;
    let values: [u8; VALUES] = values.try_into().ok()?;
    (*form == SIGNATURE_FORM).then(|| Signature { values, words: small(words) })
}

/// The signatures of these documents, those without one left out.
pub(super) async fn signatures_of(tx: &mut Tx, documents: &[DocumentId]) -> Result<Vec<(DocumentId, Signature)>> {
    let mut found = Vec::with_capacity(documents.len());
    for ids in documents.chunks(500) {
        let rows: Vec<(Uuid, Vec<u8>, i64)> = query!(tx, c => {
            let mut sql = sqlx::QueryBuilder::<Driver>::new(
                "select document_id, signature, words from relations where signature is not null and document_id in (");
            let mut list = sql.separated(", ");
            for id in ids {
                list.push_bind(id.uuid());
            }
            sql.push(")");
            sql.build_query_as().fetch_all(c).await.map_err(Error::from)
        })?;
        found.extend(
            rows.into_iter().filter_map(|(id, stored, words)| Some((DocumentId(id), understood(&stored, words)?))),
        );
    }
    Ok(found)
}

/// A change of what a row says of a document's relations.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// A message stands there; one that is alone in its thread is inclusive.
    Threaded {
        /// Where.
        place: Threaded,
        /// True for the only message of its thread.
        alone: bool,
    },
    /// It is no message of the index any more.
    Unthreaded,
    /// Whether a message is inclusive.
    Inclusive(bool),
    /// A group, with the likeness to its pivot; `None` for no group.
    Grouped(Option<(DocumentId, u8)>),
}

/// Writes changes; one whose document is gone, or that is written already, changes nothing. Returns how many were made, and leaves an
/// audit event if any was.
pub async fn apply(tx: &mut Tx, case: CaseId, changes: &[(DocumentId, Change)]) -> Result<u64> {
    let mut made = 0;
    for (document, change) in changes {
        made += match *change {
            Change::Threaded { place, alone } => change!(tx, c => sqlx::query(
                "update relations set thread_id = $2, answers_id = $3, position = $4,
                 is_inclusive = case when $5 then true else is_inclusive end where document_id = $1
                 and (thread_id is distinct from $2 or answers_id is distinct from $3 or position is distinct from $4
                   or ($5 and is_inclusive is not true))")
                .bind(document.uuid()).bind(place.thread.uuid()).bind(place.answers.map(DocumentId::uuid))
                .bind(i64::from(place.position)).bind(alone).execute(c).await.map(|r| r.rows_affected()))?,
            Change::Unthreaded => change!(tx, c => sqlx::query(
                "update relations set thread_id = null, answers_id = null, position = null, is_inclusive = null
                 where document_id = $1 and thread_id is not null")
                .bind(document.uuid()).execute(c).await.map(|r| r.rows_affected()))?,
            Change::Inclusive(inclusive) => change!(tx, c => sqlx::query(
                "update relations set is_inclusive = $2 where document_id = $1 and is_inclusive is distinct from $2")
                .bind(document.uuid()).bind(inclusive).execute(c).await.map(|r| r.rows_affected()))?,
            Change::Grouped(group) => change!(tx, c => sqlx::query(
                "update relations set group_id = $2, similarity = $3 where document_id = $1
                 and (group_id is distinct from $2 or similarity is distinct from $3)")
                .bind(document.uuid()).bind(group.map(|(pivot, _)| pivot.uuid()))
                .bind(group.map(|(_, percent)| i64::from(percent))).execute(c).await.map(|r| r.rows_affected()))?,
        };
    }
    audited(tx, case, made).await
}

async fn audited(tx: &mut Tx, case: CaseId, made: u64) -> Result<u64> {
    if made > 0 {
        tx.audit(Audit::DocumentsRelated { case, changes: made }).await?;
    }
    Ok(made)
}

/// What the threads of a case after `after` were made of when they were judged, with their names.
pub async fn digests(tx: &mut Tx, case: CaseId, after: DocumentId, most: u32) -> Result<Vec<(DocumentId, i64)>> {
    let rows: Vec<(Uuid, i64)> = query!(tx, c => sqlx::query_as(
        "select id, digest from threads where case_id = $1 and id > $2 order by id limit $3")
        .bind(case.uuid()).bind(after.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(id, digest)| (DocumentId(id), digest)).collect())
}

/// Notes what threads were judged by, or forgets (`None`) those that are none any more, in the transaction of the judgement.
pub async fn note_digests(tx: &mut Tx, case: CaseId, threads: &[(DocumentId, Option<i64>)]) -> Result<u64> {
    let mut made = 0;
    for (thread, digest) in threads {
        made += match digest {
            Some(digest) => change!(tx, c => sqlx::query(
                "insert into threads (id, case_id, digest) values ($1, $2, $3)
                 on conflict (id) do update set digest = excluded.digest where threads.digest <> excluded.digest")
                .bind(thread.uuid()).bind(case.uuid()).bind(*digest).execute(c).await.map(|r| r.rows_affected()))?,
            None => change!(tx, c => sqlx::query("delete from threads where id = $1")
                .bind(thread.uuid()).execute(c).await.map(|r| r.rows_affected()))?,
        };
    }
    audited(tx, case, made).await
}
