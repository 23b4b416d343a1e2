//! Passages for a question, as a chat needs them. A question names a document and asks something of it: words of the name
//! pull up title pages, never answers. So the question is first *routed* to the documents whose header it names, then the
//! words that did the naming are dropped, and only the *residual* is put to the chunks of those documents. Documents that
//! are not routed still compete with the chunks that fit the whole question, for questions that name nothing.

mod chunks;
mod question;
mod route;
mod thesaurus;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use domain::ids::DocumentId;
use serde::Serialize;
use tantivy::{DocAddress, Score};

use crate::{
    Reader, Result, Scope,
    entry::{Card, Place},
    reader::{Statistics, document_id},
    search::allowed,
    words::stems,
};
use chunks::{Sought, best_chunks};
use question::{Asked, Question};
use route::{Routed, entry_of, route, router_scores};
use thesaurus::widened;

/// What the chunks of the document the question names best gain over others; it falls with `exp(Δ/2)` of the router's
/// score, Δ being the distance to the best. Large against any BM25 score: a chunk of another document seldom intrudes.
const ROUTE_WEIGHT: f32 = 40.0;
const ROUTE_SCALE: f32 = 2.0;
/// Documents this close to the best one fill up with the rest of their chunks when words alone give too few.
const FILL_DISTANCE: f32 = 2.0;
/// A document of so few chunks is little more than its header: the whole question is put to it.
const SHORT_DOCUMENT: u32 = 2;
/// Chunks found with the whole question, in each database, before they are weighed against the routed ones.
const MIN_UNROUTED: usize = 50;

/// A passage that may answer the question. Offsets are scalars of the document's canonical text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Passage {
    /// Which of the readers it came from.
    pub source: usize,
    /// The document.
    pub document: DocumentId,
    /// Its file name.
    pub name: String,
    /// Number of the chunk in the document, from 0.
    pub ordinal: u32,
    /// First scalar of the passage.
    pub start: u32,
    /// One past its last scalar.
    pub end: u32,
    /// First page it touches, from 1.
    pub first_page: u32,
    /// Last page it touches.
    pub last_page: u32,
    /// The passage, exactly `text[start..end]`.
    pub text: String,
    /// How well it fits; compares only within one answer.
    pub score: f32,
    /// The words it was sought by: what remained of the question once its document was named, and what those words bring along.
    pub sought: Arc<[SoughtWord]>,
}

/// A word that passages were sought by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SoughtWord {
    /// The word as [`stemmed`] gives it.
    pub stem: String,
    /// How much it counts: 1 for a word of the question, less for one that such a word brought along.
    pub weight: f32,
}

/// A chunk that may answer, before it is read.
struct Candidate {
    score: Score,
    source: usize,
    document: u128,
    address: DocAddress,
    sought: Arc<[SoughtWord]>,
}

/// The stemmed words of a text, in order, as questions and passages are compared.
pub fn stemmed(text: &str) -> Vec<String> {
    stems(text).into_iter().map(|word| word.text).collect()
}

/// The words a passage is sought by when nothing but the question is known.
pub fn sought(question: &str) -> Arc<[SoughtWord]> {
    weighted(&widened(&Question::read(question).meaning()))
}

fn weighted(asked: &[Asked]) -> Arc<[SoughtWord]> {
    asked.iter().map(|word| SoughtWord { stem: word.stem.clone(), weight: word.weight }).collect()
}

/// The `k` passages of the documents in `scope` that best fit `question`, best first. Several readers are one collection.
pub fn retrieve(readers: &[Reader], question: &str, scope: &Scope, k: usize) -> Result<Vec<Passage>> {
    if k == 0 {
        return Ok(Vec::new());
    }
    let question = Question::read(question);
    let routed = route(readers, &question, scope)?;
    let lead = routed.first().map_or(0.0, |first| first.score);
    let mut candidates = of_routed(readers, &question, &routed, lead, k)?;
    let known: HashSet<(usize, u128)> = routed.iter().map(|document| (document.source, document.id)).collect();
    candidates.extend(of_others(readers, &question, scope, lead, k, &known)?);
    candidates
        .sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| (a.source, a.address).cmp(&(b.source, b.address))));
    candidates.truncate(k);
    passages(readers, &candidates)
}

/// What a document's chunks gain from how well the question names it.
fn bonus(router: Score, lead: Score) -> Score {
    ROUTE_WEIGHT * ((router - lead) / ROUTE_SCALE).exp()
}

/// Chunks of the routed documents, each asked what remains of the question once the document is named.
fn of_routed(
    readers: &[Reader],
    question: &Question,
    routed: &[Routed],
    lead: Score,
    k: usize,
) -> Result<Vec<Candidate>> {
    let statistics = Statistics::chunks(readers);
    let mut candidates = Vec::new();
    for document in routed {
        let Some(reader) = readers.get(document.source) else { continue };
        let asked =
            if document.chunks <= SHORT_DOCUMENT { question.meaning() } else { question.residual(&document.named) };
        let asked = widened(&asked);
        let words = weighted(&asked);
        let sought = Sought {
            asked: &asked,
            allowed: Some(&HashSet::from([document.id])),
            fill: document.score >= lead - FILL_DISTANCE,
            limit: k,
        };
        for found in best_chunks(reader, &statistics, &sought)? {
            candidates.push(Candidate {
                score: found.score + bonus(document.score, lead),
                source: document.source,
                document: found.document,
                address: found.address,
                sought: Arc::clone(&words),
            });
        }
    }
    Ok(candidates)
}

/// Chunks of all other documents in scope, asked the whole question.
fn of_others(
    readers: &[Reader],
    question: &Question,
    scope: &Scope,
    lead: Score,
    k: usize,
    known: &HashSet<(usize, u128)>,
) -> Result<Vec<Candidate>> {
    let statistics = Statistics::chunks(readers);
    let asked = widened(&question.meaning());
    let words = weighted(&asked);
    let mut candidates = Vec::new();
    for (source, reader) in readers.iter().enumerate() {
        let allowed = allowed(reader, scope)?;
        let sought = Sought { asked: &asked, allowed: allowed.as_ref(), fill: false, limit: k.max(MIN_UNROUTED) };
        let mut found = best_chunks(reader, &statistics, &sought)?;
        found.retain(|found| !known.contains(&(source, found.document)));
        let documents: HashSet<u128> = found.iter().map(|found| found.document).collect();
        let router = router_scores(readers, reader, question, &documents)?;
        for found in found {
            let named = router.get(&found.document).copied().unwrap_or(0.0);
            candidates.push(Candidate {
                score: found.score + bonus(named, lead),
                source,
                document: found.document,
                address: found.address,
                sought: Arc::clone(&words),
            });
        }
    }
    Ok(candidates)
}

/// Reads the chosen chunks and the names of their documents.
fn passages(readers: &[Reader], candidates: &[Candidate]) -> Result<Vec<Passage>> {
    let mut names: HashMap<(usize, u128), String> = HashMap::new();
    let mut passages = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Some(reader) = readers.get(candidate.source) else { continue };
        let key = (candidate.source, candidate.document);
        let name = if let Some(name) = names.get(&key) {
            name.clone()
        } else {
            let card: Option<Card> =
                entry_of(reader, candidate.document)?.map(|entry| reader.stored(entry)).transpose()?;
            names.entry(key).or_insert(card.map(|card| card.name).unwrap_or_default()).clone()
        };
        let chunk = reader.stored::<Place>(candidate.address)?.chunk;
        passages.push(Passage {
            source: candidate.source,
            document: document_id(candidate.document),
            name,
            ordinal: chunk.ordinal,
            start: chunk.start,
            end: chunk.end,
            first_page: chunk.first_page,
            last_page: chunk.last_page,
            text: chunk.text,
            score: candidate.score,
            sought: Arc::clone(&candidate.sought),
        });
    }
    Ok(passages)
}
