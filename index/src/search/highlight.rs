//! The passages that show why a document matched, and the exact places of the matching words.

use std::collections::{HashMap, HashSet};

use domain::text::{Chunk, scalars};
use serde::Serialize;
use tantivy::{
    DocAddress, DocId, Score, SegmentOrdinal, SegmentReader,
    collector::{Collector, SegmentCollector},
    query::{BooleanQuery, Occur, Query as Compiled, TermSetQuery},
};

use super::{Found, SearchRequest, compile::in_field, scope::without_score};
use crate::{
    Reader, Result,
    entry::Place,
    query::{Field, Node},
    reader::{Columns, Statistics, document_id},
    words::{Word, words},
};

/// A passage with its matches. All offsets are scalars of the document's canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Highlight {
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
    /// Where words of the query stand, ascending, not overlapping; phrases as one.
    pub matches: Vec<Match>,
}

/// The place of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Match {
    /// First scalar.
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

/// Words next to each other that a document had to have.
#[derive(Debug, Clone)]
struct Wanted {
    words: Vec<String>,
    prefix: bool,
}

/// Highlights by reader and document.
pub(super) type Highlights = HashMap<(usize, u128), Vec<Highlight>>;

/// The best passages of every hit.
pub(super) fn highlights(readers: &[Reader], hits: &[(Found, usize)], request: &SearchRequest) -> Result<Highlights> {
    let mut wanted = Vec::new();
    gather(&request.query.root, &mut wanted);
    let mut shown = Highlights::new();
    if wanted.is_empty() || request.highlights == 0 {
        return Ok(shown);
    }
    let statistics = Statistics::chunks(readers);
    for (source, reader) in readers.iter().enumerate() {
        let mut ids: HashSet<u128> =
            hits.iter().filter(|(_, from)| *from == source).map(|(hit, _)| hit.key.id).collect();
        // A phrase may run across two chunks; then its words are shown one by one.
        for wanted in [&wanted, &word_by_word(&wanted)] {
            if ids.is_empty() {
                break;
            }
            let collector = PerDocument { reader, limit: request.highlights as usize };
            let query = passages(reader, &ids, wanted);
            let best = reader.searcher().search_with_statistics_provider(&query, &collector, &statistics)?;
            for (id, chunks) in best {
                let mut list = Vec::with_capacity(chunks.len());
                for (_, address) in chunks {
                    let place: Place = reader.stored(address)?;
                    list.push(highlight(place.chunk, wanted));
                }
                ids.remove(&id);
                shown.insert((source, id), list);
            }
        }
    }
    Ok(shown)
}

fn word_by_word(wanted: &[Wanted]) -> Vec<Wanted> {
    let mut single = Vec::new();
    for wanted in wanted {
        for (at, word) in wanted.words.iter().enumerate() {
            let prefix = wanted.prefix && at + 1 == wanted.words.len();
            single.push(Wanted { words: vec![word.clone()], prefix });
        }
    }
    single
}

/// What the query asks of the body, without what it excludes.
fn gather(node: &Node, wanted: &mut Vec<Wanted>) {
    match node {
        Node::Words { field: Field::Anywhere | Field::Text, words, prefix } => {
            wanted.push(Wanted { words: words.clone(), prefix: *prefix });
        }
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| gather(node, wanted)),
        Node::All | Node::Words { .. } | Node::Date { .. } | Node::Not(_) => {}
    }
}

/// Chunks of `ids` with anything that is wanted.
fn passages(reader: &Reader, ids: &HashSet<u128>, wanted: &[Wanted]) -> BooleanQuery {
    let fields = reader.fields();
    let mut any: Vec<Box<dyn Compiled>> = Vec::new();
    for wanted in wanted {
        any.push(in_field(fields.passage, &wanted.words, wanted.prefix));
    }
    let of_hits = TermSetQuery::new(ids.iter().map(|id| fields.document_term(document_id(*id).uuid())));
    BooleanQuery::new(vec![
        (Occur::Must, without_score(Box::new(of_hits))),
        (Occur::Must, Box::new(BooleanQuery::union(any))),
    ])
}

fn highlight(chunk: Chunk, wanted: &[Wanted]) -> Highlight {
    let matches = matches(&chunk, wanted);
    let Chunk { ordinal, start, end, first_page, last_page, text } = chunk;
    Highlight { ordinal, start, end, first_page, last_page, text, matches }
}

/// Where anything wanted stands in the chunk; overlapping places are joined.
fn matches(chunk: &Chunk, wanted: &[Wanted]) -> Vec<Match> {
    let found = words(&chunk.text);
    let mut places: Vec<(usize, usize)> = Vec::new();
    for wanted in wanted {
        for window in found.windows(wanted.words.len().max(1)) {
            if let (true, [first, ..], [.., last]) = (wanted.fits(window), window, window) {
                places.push((first.start, last.end));
            }
        }
    }
    places.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in places {
        match joined.last_mut() {
            Some(before) if start < before.1 => before.1 = before.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    let mut counted = Counted { text: &chunk.text, byte: 0, scalar: chunk.start };
    joined.into_iter().map(|(start, end)| Match { start: counted.at(start), end: counted.at(end) }).collect()
}

impl Wanted {
    fn fits(&self, window: &[Word]) -> bool {
        let last = self.words.len().saturating_sub(1);
        self.words.iter().zip(window).enumerate().all(|(at, (wanted, word))| {
            wanted == &word.text || (self.prefix && at == last && word.text.starts_with(wanted.as_str()))
        })
    }
}

/// Turns ascending byte offsets into scalar offsets in one walk.
struct Counted<'a> {
    text: &'a str,
    byte: usize,
    scalar: u32,
}

impl Counted<'_> {
    fn at(&mut self, byte: usize) -> u32 {
        self.scalar += self.text.get(self.byte..byte).map_or(0, scalars);
        self.byte = byte;
        self.scalar
    }
}

/// Keeps the best chunks of each document.
struct PerDocument<'a> {
    reader: &'a Reader,
    limit: usize,
}

type Best = HashMap<u128, Vec<(Score, DocAddress)>>;

struct SegmentPerDocument {
    ordinal: SegmentOrdinal,
    columns: Columns,
    limit: usize,
    best: Best,
}

/// Adds a chunk to the best of its document: by score, earlier ones first among equals.
fn keep(best: &mut Vec<(Score, DocAddress)>, score: Score, address: DocAddress, limit: usize) {
    let at = best.partition_point(|(other, place)| score.total_cmp(other).then(place.cmp(&address)).is_lt());
    if at < limit {
        best.insert(at, (score, address));
        best.truncate(limit);
    }
}

impl Collector for PerDocument<'_> {
    type Fruit = Best;
    type Child = SegmentPerDocument;

    fn for_segment(&self, ordinal: SegmentOrdinal, _: &SegmentReader) -> tantivy::Result<SegmentPerDocument> {
        let columns = self.reader.columns_of(ordinal)?;
        Ok(SegmentPerDocument { ordinal, columns, limit: self.limit, best: Best::new() })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<Best>) -> tantivy::Result<Best> {
        let mut all = Best::new();
        for (id, chunks) in segments.into_iter().flatten() {
            let best = all.entry(id).or_default();
            for (score, address) in chunks {
                keep(best, score, address, self.limit);
            }
        }
        Ok(all)
    }
}

impl SegmentCollector for SegmentPerDocument {
    type Fruit = Best;

    fn collect(&mut self, entry: DocId, score: Score) {
        let best = self.best.entry(self.columns.id(entry)).or_default();
        keep(best, score, DocAddress::new(self.ordinal, entry), self.limit);
    }

    fn harvest(self) -> Best {
        self.best
    }
}
