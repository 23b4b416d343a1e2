//! What people do about exceptions: try them again, or set them aside with a note. An ignored document is excluded, so the
//! equation still closes; it keeps its exception and its place as the first of its copies, and can be tried again.

use std::collections::BTreeSet;

use domain::{
    access::Action,
    events::{Event, Topic},
    ids::{BatchId, DocumentId},
    jobs::{IngestDocument, RetryProtected},
    outcome::{Category, DocumentState},
    page::{MAX_LIMIT, PageQuery},
};
use uuid::Uuid;

use super::{Details, Document, DocumentFilter, Ignored, Row, columns, open_all, place, protected::wait_for_container};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    batches::{self, Batch},
    cases::permit,
    databases::Database,
    db::{change, query},
    tx::seal,
};

/// Longest note, in characters.
const LONGEST_NOTE: usize = 2_000;

/// Which exceptions of a database; all of them when nothing is named.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection {
    /// Only of this category.
    pub category: Option<Category>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Only this document.
    pub document: Option<DocumentId>,
}

/// The exceptions of a batch after `after`, unpacked documents included, in the order of their ids.
pub(crate) async fn exceptions_of(tx: &mut Tx, batch: &Batch, after: Uuid, most: i64) -> Result<Vec<Document>> {
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(columns!(
        "where f.batch_id = $1 and f.id > $2 and f.state = 'exception' and f.deleted_at is null order by f.id limit $3"))
        .bind(batch.id.uuid()).bind(after).bind(most).fetch_all(c).await)?;
    open_all(tx, batch.case_id, rows).await
}

/// Sends exceptions of a database found with [`Action::Upload`] through the pipeline again; a document that is named, also
/// when its exception is ignored. Returns how many. A protected member that its container did not give up waits for the
/// container to be opened again. What was infected counts as that until it was scanned again.
pub async fn retry_exceptions(tx: &mut Tx, database: &Database, selection: &Selection) -> Result<u64> {
    permit(tx, database.case_id, &database.standing, Action::Upload)?;
    let now = tx.now();
    let Selection { category, batch, document } = *selection;
    let waiting = wait_for_container(tx, database.id, selection).await?;
    if waiting > 0 {
        tx.enqueue(&RetryProtected { case: database.case_id }).await?;
    }
    let sent: Vec<(Uuid, Uuid)> = change!(tx, c => sqlx::query_as(
        "update documents set state = 'received', exclusion = null,
         exception = case when exception = 'virus' then exception end, updated_at = $2
         where database_id = $1 and (state = 'exception' or ($8 = id and state = 'excluded' and exclusion = 'ignored'))
         and deleted_at is null and ($3 or exception = $4) and ($5 or batch_id = $6) and ($7 or id = $8)
         and (exception <> 'encrypted' or reader is not null or parent_id is null) returning id, batch_id")
        .bind(database.id.uuid()).bind(now.0)
        .bind(category.is_none()).bind(category.map_or("", Category::name))
        .bind(batch.is_none()).bind(batch.map_or(Uuid::nil(), BatchId::uuid))
        .bind(document.is_none()).bind(document.map_or(Uuid::nil(), DocumentId::uuid)).fetch_all(c).await)?;
    for batch in sent.iter().map(|(_, batch)| *batch).collect::<BTreeSet<_>>() {
        batches::stir(tx, BatchId(batch)).await?;
    }
    for (id, _) in &sent {
        tx.enqueue(&IngestDocument { case: database.case_id, document: DocumentId(*id) }).await?;
    }
    let documents = sent.len() as u64 + waiting;
    tx.audit(Audit::DocumentsRetried { case: database.case_id, database: database.id, documents }).await?;
    tx.publish(Topic::Database(database.id), Event::DatabaseChanged { database: database.id });
    Ok(documents)
}

/// Sets aside the first page of the selected exceptions of a database found with [`Action::Upload`], with a note that is
/// sealed with each. Returns how many, and whether there may be more: then call it again in a transaction of its own, so
/// that a hundred thousand do not hold up everybody else. An exception that moves meanwhile is left alone.
pub async fn ignore_exceptions(
    tx: &mut Tx,
    database: &Database,
    selection: &Selection,
    note: &str,
) -> Result<(u64, bool)> {
    permit(tx, database.case_id, &database.standing, Action::Upload)?;
    let note = note.trim();
    if note.is_empty() || note.chars().count() > LONGEST_NOTE {
        return Err(Error::Invalid("a note must have 1 to 2000 characters"));
    }
    let (chosen, more) = choose(tx, database, selection).await?;
    if chosen.is_empty() {
        return Ok((0, false));
    }
    let (now, by) = (tx.now(), tx.actor().user());
    let key = tx.case_key(database.case_id).await?;
    let mut ignored = Vec::with_capacity(chosen.len());
    for document in chosen {
        let details =
            Details { ignored: Some(Ignored { note: note.to_owned(), by, at: now }), ..document.details.clone() };
        let sealed = seal(&key, &place(document.id), &details)?;
        let moved = change!(tx, c => sqlx::query(
            "update documents set state = 'excluded', exclusion = 'ignored', sealed_details = $2, updated_at = $3
             where id = $1 and state = 'exception' and updated_at = $4 and deleted_at is null")
            .bind(document.id.uuid()).bind(sealed).bind(now.0).bind(document.updated_at.0).execute(c).await
            .map(|r| r.rows_affected()))?;
        if moved == 1 {
            ignored.push(document.id);
        }
    }
    let count = ignored.len() as u64;
    let (case, database) = (database.case_id, database.id);
    tx.audit(Audit::DocumentsIgnored { case, database, documents: ignored }).await?;
    tx.publish(Topic::Database(database), Event::DatabaseChanged { database });
    Ok((count, more && count > 0))
}

async fn choose(tx: &mut Tx, database: &Database, selection: &Selection) -> Result<(Vec<Document>, bool)> {
    if let Some(id) = selection.document {
        let document = match Document::load(tx, database.case_id, id).await {
            Err(Error::NotFound) => return Ok((Vec::new(), false)),
            document => document?,
        };
        let fits = document.database == database.id
            && document.state == DocumentState::Exception
            && selection.batch.is_none_or(|batch| batch == document.batch)
            && selection.category.is_none_or(|category| document.category == Some(category));
        return Ok((if fits { vec![document] } else { Vec::new() }, false));
    }
    let filter = DocumentFilter {
        state: Some(DocumentState::Exception),
        category: selection.category,
        batch: selection.batch,
        ..DocumentFilter::default()
    };
    let page = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let page = Document::list(tx, database, &filter, &page).await?;
    Ok((page.items, page.next_cursor.is_some()))
}
