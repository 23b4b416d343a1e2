//! Finds the passages for a question. Access is asked here, when the documents are read, not when the question was: the
//! databases the asker may read now, narrowed to what is pinned to the conversation. Rows have the last word: a document
//! deleted since the index was published is not quoted.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use domain::{
    ids::{BlobId, CaseId, DatabaseId, DocumentId},
    text::Text,
};
use index::{Passage, Scope, SoughtWord, retrieve, sought};
use storage::{
    Storage, Tx,
    contexts::ContextItem,
    conversations::{may_ask, readable_databases},
    documents::{Document, read_text},
    generations::{self, Generation},
    messages::Message,
    vault::CaseKey,
};

use super::Source;
use crate::{
    readers::Readers,
    runner::{JobError, Run},
};

/// Passages retrieved for a question.
const MOST: usize = 24;
/// Pinned passages up to this many scalars are taken whole.
const WHOLE: u32 = 4_000;

/// Where to look.
#[derive(Default)]
struct Plan {
    /// Searched as a whole.
    databases: Vec<Generation>,
    /// Searched for the pinned documents only.
    narrowed: Vec<Generation>,
    documents: Vec<DocumentId>,
    /// Pinned passages, and their databases.
    spans: Vec<(DatabaseId, DocumentId, Range<u32>)>,
}

/// A passage before its document was looked at.
struct Candidate {
    database: DatabaseId,
    document: DocumentId,
    span: Range<u32>,
    sought: Arc<[SoughtWord]>,
}

/// The passages that best fit `question`, best first; `None` when the asker may not read the case any more.
pub(crate) async fn gather(
    run: &Run,
    readers: &Readers,
    message: &Message,
    question: &str,
) -> Result<Option<Vec<Source>>, JobError> {
    let case = message.case_id;
    let mut tx = run.read().await?;
    if !may_ask(&mut tx, case, message.owner).await? {
        return Ok(None);
    }
    let readable = readable_databases(&mut tx, case, message.owner).await?;
    let pins = ContextItem::list(&mut tx, case, message.conversation).await?;
    let plan = plan(&mut tx, case, &readable, &pins).await?;
    let key = tx.case_key(case).await?;
    drop(tx);

    let (storage, readers, question) = (run.storage.clone(), readers.clone(), question.to_owned());
    let opener = key.clone();
    let candidates =
        tokio::task::spawn_blocking(move || candidates(&storage, &readers, &opener, plan, &question)).await?;
    let candidates = candidates.map_err(|error| JobError::retry(anyhow::Error::new(error)))?;

    let mut tx = run.read().await?;
    let ids: HashSet<DocumentId> = candidates.iter().map(|candidate| candidate.document).collect();
    let present = Document::present(&mut tx, case, &ids.into_iter().collect::<Vec<_>>()).await?;
    drop(tx);
    let storage = run.storage.clone();
    let sources = tokio::task::spawn_blocking(move || sources(&storage, &key, case, candidates, present)).await??;
    Ok(Some(sources))
}

async fn plan(tx: &mut Tx, case: CaseId, readable: &[DatabaseId], pins: &[ContextItem]) -> storage::Result<Plan> {
    let mut plan = Plan::default();
    for database in readable {
        let pinned: Vec<&ContextItem> = pins.iter().filter(|pin| pin.database == *database).collect();
        let whole = pins.is_empty() || pinned.iter().any(|pin| pin.document.is_none());
        if !whole && pinned.is_empty() {
            continue;
        }
        let Some(live) = generations::live(tx, case, *database).await? else { continue };
        if whole {
            plan.databases.push(live);
            continue;
        }
        for pin in pinned {
            match (pin.document, &pin.span) {
                (Some(document), Some(span)) => plan.spans.push((*database, document, span.clone())),
                (Some(document), None) => plan.documents.push(document),
                (None, _) => {}
            }
        }
        plan.narrowed.push(live);
    }
    Ok(plan)
}

/// Blocks.
fn candidates(
    storage: &Storage,
    readers: &Readers,
    key: &CaseKey,
    plan: Plan,
    question: &str,
) -> index::Result<Vec<Candidate>> {
    let look = |generations: Vec<Generation>, scope: &Scope| -> index::Result<Vec<Candidate>> {
        let databases: Vec<DatabaseId> = generations.iter().map(|generation| generation.database).collect();
        let open = generations.into_iter().map(|generation| readers.open(storage, key, generation));
        let open = open.collect::<index::Result<Vec<_>>>()?;
        let found = retrieve(&open, question, scope, MOST)?;
        let of = |p: Passage| {
            let database = *databases.get(p.source)?;
            Some(Candidate { database, document: p.document, span: p.start..p.end, sought: p.sought })
        };
        Ok(found.into_iter().filter_map(of).collect())
    };
    let mut found = Vec::new();
    let (short, long): (Vec<_>, Vec<_>) = plan.spans.into_iter().partition(|(_, _, span)| span.len() <= WHOLE as usize);
    let words = sought(question);
    let pinned = |(database, document, span)| Candidate { database, document, span, sought: Arc::clone(&words) };
    found.extend(short.into_iter().map(pinned));
    if !long.is_empty() {
        let scope = Scope::of_documents(long.iter().map(|(_, document, _)| *document));
        for candidate in look(plan.narrowed.clone(), &scope)? {
            for (_, document, span) in &long {
                let part = candidate.span.start.max(span.start)..candidate.span.end.min(span.end);
                if *document == candidate.document && !part.is_empty() {
                    found.push(Candidate { span: part, sought: Arc::clone(&candidate.sought), ..candidate });
                }
            }
        }
    }
    if !plan.documents.is_empty() {
        found.extend(look(plan.narrowed, &Scope::of_documents(plan.documents))?);
    }
    if !plan.databases.is_empty() {
        found.extend(look(plan.databases, &Scope::default())?);
    }
    Ok(found)
}

/// The candidates in their documents, as long as those are there. Blocks.
fn sources(
    storage: &Storage,
    key: &CaseKey,
    case: CaseId,
    candidates: Vec<Candidate>,
    present: Vec<Document>,
) -> storage::Result<Vec<Source>> {
    let present: HashMap<DocumentId, (Arc<str>, BlobId)> =
        present.into_iter().filter_map(|d| Some((d.id, (Arc::from(d.details.name), d.text?)))).collect();
    let mut texts: HashMap<BlobId, Arc<Text>> = HashMap::new();
    let mut sources: Vec<Source> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Some((name, blob)) = present.get(&candidate.document) else { continue };
        if !texts.contains_key(blob) {
            texts.insert(*blob, Arc::new(read_text(&storage.objects, key, case, *blob)?));
        }
        let Some(text) = texts.get(blob).map(Arc::clone) else { continue };
        // A text extracted anew may be shorter than the one the index knows.
        if text.slice(candidate.span.clone()).is_none_or(|passage| passage.trim().is_empty()) {
            continue;
        }
        let Candidate { database, document, span, sought } = candidate;
        sources.push(Source { document, database, name: Arc::clone(name), span, text, sought });
    }
    Ok(sources)
}
