//! Measures chat retrieval on a set of documents and questions: indexes all documents of the set, asks every question,
//! and writes one JSON line per hit for the scorer. `retrieval SET RUN.jsonl [--pages-text FILE] [--chunk SCALARS]`.
//!
//! A set is a folder with `documents.jsonl` (`doc_id`, `filename`, and `text` unless `docs/DOC_ID.txt` holds it) and
//! `queries.jsonl` (`query_id`, `query`, perhaps `scope_doc_ids`). `--pages-text` names JSON lines `{doc_id, pages}` with
//! the text of each page, for sets of PDFs. The set's answers are never read.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a command line tool that reads files")]

#[path = "../tests/it/files.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests, which damage files")]
mod files;

use std::{
    collections::HashMap,
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use domain::{
    ids::{BatchId, DatabaseId, DocumentId},
    text::{Chunk, Metadata, PageText, Text, scalars},
};
use files::MemoryFiles;
use index::{BlockCache, Entry, Passage, Reader, Scope, Writer, retrieve};
use serde_json::{Value, json};

type Failure = Box<dyn Error>;
/// A document's id in the set, its file name and its text.
type Document = (String, String, Text);

/// Most hits the scorer looks at: passages for spans, documents for clause sets, pages for PDFs.
const PASSAGES: usize = 64;
const DOCUMENTS: usize = 100;
const PAGES: usize = 5;

struct Options {
    set: PathBuf,
    run: PathBuf,
    pages_text: Option<PathBuf>,
    chunk: usize,
}

/// What the answers of a set point at.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Span,
    Document,
    Page,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let started = Instant::now();
    let (texts, kind) = texts(&options)?;
    let files = MemoryFiles::default();
    let mut writer = Writer::open(Arc::new(files.clone()), None, 64 << 20, 1)?;
    let mut ids = HashMap::new();
    let (mut bytes, mut chunks_count) = (0, 0);
    for (doc_id, name, text) in &texts {
        let id = DocumentId::new();
        ids.insert(doc_id.clone(), id);
        let chunks = pipeline::chunk::chunks(text, options.chunk);
        bytes += text.text.len();
        chunks_count += chunks.len();
        add(&mut writer, id, name, text, &chunks)?;
    }
    let generation = writer.commit()?;
    let indexed = started.elapsed();
    let reader = Reader::open(Arc::new(files), &generation.meta, &BlockCache::new(64 << 20).of(DatabaseId::new()))?;
    let names: HashMap<DocumentId, (&str, &Text)> =
        texts.iter().filter_map(|(doc_id, _, text)| Some((*ids.get(doc_id)?, (doc_id.as_str(), text)))).collect();
    let started = Instant::now();
    let mut out = std::io::BufWriter::new(fs::File::create(&options.run)?);
    let mut questions = 0;
    for question in lines(&options.set.join("queries.jsonl"))? {
        let (query_id, query) = (string(&question, "query_id")?, string(&question, "query")?);
        let documents = question["scope_doc_ids"].as_array().into_iter().flatten();
        let scope = Scope::of_documents(documents.filter_map(|id| ids.get(id.as_str()?).copied()));
        let passages = retrieve(std::slice::from_ref(&reader), &query, &scope, wanted(kind))?;
        for (rank, (doc_id, passage, page)) in (1u32..).zip(hits(&passages, &names, kind)) {
            let line = json!({
                "query_id": query_id, "rank": rank, "doc_id": doc_id, "start_char": passage.start,
                "end_char": passage.end, "score": passage.score, "page": page,
            });
            writeln!(out, "{line}")?;
        }
        questions += 1;
    }
    out.flush()?;
    let summary = json!({
        "documents": generation.documents, "chunks": chunks_count, "text_bytes": bytes,
        "index_seconds": indexed.as_secs_f64(), "questions": questions,
        "ms_per_question": started.elapsed().as_secs_f64() * 1_000.0 / f64::from(questions),
    });
    println!("{summary}");
    Ok(())
}

fn options() -> Result<Options, Failure> {
    let (mut places, mut pages_text, mut chunk) = (Vec::new(), None, 800);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--pages-text" => pages_text = arguments.next().map(PathBuf::from),
            "--chunk" => chunk = arguments.next().ok_or("--chunk needs a number")?.parse()?,
            _ => places.push(PathBuf::from(argument)),
        }
    }
    let [set, run] =
        <[PathBuf; 2]>::try_from(places).map_err(|_| "usage: retrieval SET RUN.jsonl [--pages-text FILE]")?;
    Ok(Options { set, run, pages_text, chunk })
}

fn add(writer: &mut Writer, id: DocumentId, name: &str, text: &Text, chunks: &[Chunk]) -> Result<(), Failure> {
    let entry = Entry {
        document: id,
        family: id,
        batch: BatchId::new(),
        name,
        path: name,
        media_type: "text/plain",
        custodian: None,
        copy_custodians: &[],
        control_number: None,
        listed: &[],
        labels: &[],
        metadata: &Metadata::default(),
        pages: u32::try_from(text.pages.len())?,
        chunks,
        text: &text.text,
    };
    Ok(writer.add(&entry)?)
}

/// Every document's id, file name and text, and what answers point at.
fn texts(options: &Options) -> Result<(Vec<Document>, Kind), Failure> {
    let mut pages = HashMap::new();
    for line in options.pages_text.iter().map(|file| lines(file)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
    {
        pages.insert(string(&line, "doc_id")?, line["pages"].clone());
    }
    let mut kind = Kind::Span;
    let mut texts = Vec::new();
    for document in lines(&options.set.join("documents.jsonl"))? {
        let doc_id = string(&document, "doc_id")?;
        let name = document["filename"].as_str().unwrap_or_default().to_owned();
        let text = if let Some(text) = document["text"].as_str() {
            kind = Kind::Document;
            paged(&[text.to_owned()])
        } else if let Some(pages) = pages.get(&doc_id) {
            kind = Kind::Page;
            paged(&serde_json::from_value::<Vec<String>>(pages.clone())?)
        } else {
            paged(&[fs::read_to_string(options.set.join("docs").join(format!("{doc_id}.txt")))?])
        };
        texts.push((doc_id, name, text));
    }
    Ok((texts, kind))
}

/// The text of a document whose pages these are.
fn paged(pages: &[String]) -> Text {
    let mut text = Text::default();
    let mut start = 0;
    for (number, page) in (1u32..).zip(pages) {
        if number > 1 {
            text.text.push('\n');
            start += 1;
        }
        let end = start + scalars(page);
        text.text.push_str(page);
        text.pages.push(PageText { number, start, end, ..PageText::default() });
        start = end;
    }
    text
}

fn wanted(kind: Kind) -> usize {
    match kind {
        Kind::Span => PASSAGES,
        Kind::Document => 2 * DOCUMENTS,
        Kind::Page => 4 * PAGES,
    }
}

/// Passages as the scorer wants them: each once for spans, the first of each document or page otherwise.
fn hits<'a>(
    passages: &'a [Passage],
    names: &HashMap<DocumentId, (&'a str, &Text)>,
    kind: Kind,
) -> Vec<(&'a str, &'a Passage, u32)> {
    let mut hits: Vec<(&str, &Passage, u32)> = Vec::new();
    for passage in passages {
        let Some((doc_id, text)) = names.get(&passage.document) else { continue };
        let page = main_page(passage, text);
        let seen = hits.iter().any(|(other, _, other_page)| {
            other == doc_id && (kind == Kind::Document || (kind == Kind::Page && *other_page == page))
        });
        if !seen {
            hits.push((*doc_id, passage, page));
        }
    }
    hits.truncate(match kind {
        Kind::Span => PASSAGES,
        Kind::Document => DOCUMENTS,
        Kind::Page => PAGES,
    });
    hits
}

/// The page that holds most of a passage.
fn main_page(passage: &Passage, text: &Text) -> u32 {
    let shared = |page: &&PageText| page.end.min(passage.end).saturating_sub(page.start.max(passage.start));
    text.pages.iter().max_by_key(shared).map_or(1, |page| page.number)
}

fn lines(file: &Path) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(file)?;
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn string(value: &Value, key: &str) -> Result<String, Failure> {
    Ok(value[key].as_str().ok_or_else(|| format!("a line has no {key}"))?.to_owned())
}
