//! Passages for a question, as a chat needs them. A question names a document and asks something of it: words of the name
//! pull up title pages, never answers. So the question is first *routed* to the documents whose header it names, then the
//! words that did the naming are dropped, and only the *residual* is put to the chunks of those documents.

mod question;
mod route;

use domain::ids::DocumentId;
use serde::Serialize;
use tantivy::{
    DocAddress, Score, Term,
    collector::TopDocs,
    query::{BooleanQuery, BoostQuery, Occur, Query as Compiled, TermQuery, TermSetQuery},
    schema::IndexRecordOption,
};

use crate::{
    Reader, Result, Scope,
    entry::{Card, Place},
    reader::{Statistics, document_id},
};
use question::{Asked, Question};
use route::{Routed, route};

/// Weight of a routed document's lead over the next in the score of its chunks.
const ROUTE_WEIGHT: f32 = 20.0;

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
}

/// A chunk that may answer, before it is read.
struct Candidate {
    score: Score,
    routed: usize,
    address: DocAddress,
}

/// The `k` passages of the documents in `scope` that best fit `question`, best first.
pub fn retrieve(readers: &[Reader], question: &str, scope: &Scope, k: usize) -> Result<Vec<Passage>> {
    let question = Question::read(question);
    let routed = route(readers, &question, scope)?;
    let lead = routed.first().map_or(0.0, |first| first.score);
    let statistics = Statistics::chunks(readers);
    let mut candidates = Vec::new();
    for (number, document) in routed.iter().enumerate() {
        let Some(reader) = readers.get(document.source) else { continue };
        let asked = question.residual(&document.named);
        let query = chunks_of(reader, document, &asked);
        let top = TopDocs::with_limit(k.max(1)).order_by_score();
        let bonus = ROUTE_WEIGHT * ((document.score - lead) / 2.0).exp();
        for (score, address) in reader.searcher().search_with_statistics_provider(&query, &top, &statistics)? {
            candidates.push(Candidate { score: score + bonus, routed: number, address });
        }
    }
    candidates
        .sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| (a.routed, a.address).cmp(&(b.routed, b.address))));
    candidates.truncate(k);
    passages(readers, &routed, &candidates)
}

/// The chunks of one document with any of the words asked for.
fn chunks_of(reader: &Reader, document: &Routed, asked: &[&Asked]) -> BooleanQuery {
    let fields = reader.fields();
    let mut any: Vec<Box<dyn Compiled>> = Vec::with_capacity(asked.len());
    for asked in asked {
        let term = Term::from_field_text(fields.stems, &asked.stem);
        let word = TermQuery::new(term, IndexRecordOption::WithFreqs);
        any.push(Box::new(BoostQuery::new(Box::new(word), asked.weight)));
    }
    let id = fields.document_term(document_id(document.id).uuid());
    BooleanQuery::new(vec![
        (Occur::Must, crate::search::without_score(Box::new(TermSetQuery::new([id])))),
        (Occur::Must, Box::new(BooleanQuery::union(any))),
    ])
}

fn passages(readers: &[Reader], routed: &[Routed], candidates: &[Candidate]) -> Result<Vec<Passage>> {
    let mut names: Vec<Option<String>> = vec![None; routed.len()];
    let mut passages = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Some(document) = routed.get(candidate.routed) else { continue };
        let Some(reader) = readers.get(document.source) else { continue };
        let name = match &names[candidate.routed] {
            Some(name) => name.clone(),
            None => {
                let card: Card = reader.stored(document.address)?;
                names[candidate.routed].insert(card.name).clone()
            }
        };
        let chunk = reader.stored::<Place>(candidate.address)?.chunk;
        passages.push(Passage {
            source: document.source,
            document: document_id(document.id),
            name,
            ordinal: chunk.ordinal,
            start: chunk.start,
            end: chunk.end,
            first_page: chunk.first_page,
            last_page: chunk.last_page,
            text: chunk.text,
            score: candidate.score,
        });
    }
    Ok(passages)
}
