//! An answer without a model: the sentences of the retrieved passages that say most of what the passages were sought by,
//! each quoted and cited. A word counts by its rarity among the candidates; words of the document's own name count
//! little, because a question uses them to name the document, not to ask.

#![allow(clippy::cast_precision_loss, reason = "counts of words and sentences are small")]

use std::collections::{HashMap, HashSet};

use domain::{
    cite::{sentences, words_with_meaning},
    events::{Answer, Sentence},
    text::{scalars, slice},
};
use index::{SoughtWord, stemmed};

use super::{Source, is_supported, joined};

/// The method that answers carry.
pub(crate) const METHOD: &str = "extractive";
/// What is said when there is nothing to quote.
pub(crate) const NOTHING: &str = "Nothing in the documents you may read here answers this question.";

/// Passages that are quoted, and sentences quoted in all.
const QUOTED_PASSAGES: usize = 4;
const SENTENCES: usize = 5;
/// A sentence must be worth this share of the best one.
const WORTH: f32 = 0.45;
/// Weight of a word that names the document.
const NAMING: f32 = 0.2;
/// A sentence of so many distinct words counts half: clauses are long and say what is asked, so length tells little.
const LONG: f32 = 600.0;
/// Share of words in common that makes two sentences one.
const SAME: f32 = 0.8;

struct Candidate {
    /// Which source, and its rank.
    source: usize,
    part: std::ops::Range<u32>,
    text: String,
    words: HashSet<String>,
    stems: HashSet<String>,
    score: f32,
}

/// An answer that says that there is none.
pub(crate) fn nothing(method: &str) -> Answer {
    Answer { text: NOTHING.to_owned(), sentences: Vec::new(), method: method.to_owned() }
}

/// The best supported sentences of `sources`.
pub(crate) fn answer(sources: &[Source]) -> Answer {
    let mut candidates = candidates(sources);
    weigh(sources, &mut candidates);
    candidates.retain(|candidate| candidate.score > 0.0);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let least = candidates.first().map_or(0.0, |best| best.score * WORTH);
    let mut chosen: Vec<&Candidate> = Vec::new();
    let mut said: Vec<Sentence> = Vec::new();
    for candidate in candidates.iter().take_while(|candidate| candidate.score >= least) {
        let passages: HashSet<usize> = chosen.iter().map(|c| c.source).collect();
        let crowded = passages.len() >= QUOTED_PASSAGES && !passages.contains(&candidate.source);
        if crowded || chosen.iter().any(|other| are_same(&other.words, &candidate.words)) {
            continue;
        }
        let Some(citation) = sources.get(candidate.source).and_then(|source| source.cite(candidate.part.clone()))
        else {
            continue;
        };
        let citations = vec![citation];
        if !is_supported(&candidate.text, &citations, sources) {
            continue;
        }
        chosen.push(candidate);
        said.push(Sentence { text: candidate.text.clone(), supported: true, citations });
        if said.len() == SENTENCES {
            break;
        }
    }
    if said.is_empty() {
        return nothing(METHOD);
    }
    Answer { text: joined(&said), sentences: said, method: METHOD.to_owned() }
}

fn candidates(sources: &[Source]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let passage = source.passage();
        for part in sentences(passage) {
            let Some(raw) = slice(passage, part.clone()) else { continue };
            let text = raw.split_whitespace().collect::<Vec<_>>().join(" ");
            let words = words_with_meaning(&text).into_iter().collect();
            let stems = stemmed(&text).into_iter().collect();
            candidates.push(Candidate { source: at, part, text, words, stems, score: 0.0 });
        }
    }
    candidates
}

fn weigh(sources: &[Source], candidates: &mut [Candidate]) {
    let count = candidates.len() as f32;
    let mut holders: HashMap<String, f32> = HashMap::new();
    for stem in candidates.iter().flat_map(|candidate| &candidate.stems) {
        *holders.entry(stem.clone()).or_default() += 1.0;
    }
    let names: Vec<HashSet<String>> = sources
        .iter()
        .map(|source| stemmed(&source.name.replace(['_', '-', '.'], " ")).into_iter().collect())
        .collect();
    // A document that was filled up has passages without any of the words: they take no rank.
    let mut ranked: Vec<usize> = Vec::new();
    for candidate in candidates {
        let (Some(source), Some(name)) = (sources.get(candidate.source), names.get(candidate.source)) else { continue };
        let said = source.sought.iter().filter(|word| candidate.stems.contains(&word.stem));
        let weight = |word: &SoughtWord| {
            let rarity = (1.0 + count / holders.get(&word.stem).copied().unwrap_or(1.0)).ln();
            word.weight * if name.contains(&word.stem) { rarity * NAMING } else { rarity }
        };
        let sum: f32 = said.map(weight).sum();
        if sum > 0.0 && ranked.last() != Some(&candidate.source) {
            ranked.push(candidate.source);
        }
        let length = candidate.words.len() as f32;
        let rank = ranked.len().max(1) as f32;
        candidate.score = sum / (1.0 + length / LONG) * (1.0 + 1.0 / rank) * completeness(&candidate.text);
    }
}

/// Fragments and headings say less than sentences.
fn completeness(text: &str) -> f32 {
    let words = text.split(' ').count();
    let ends = text.ends_with(['.', '?', '!', ';', '"', ')', '\u{201D}']);
    let begins = text.chars().next().is_some_and(|c| !c.is_lowercase());
    match (words, ends && begins) {
        (0..=3, _) => 0.2,
        (_, true) if scalars(text) > 30 => 1.0,
        _ => 0.6,
    }
}

fn are_same(a: &HashSet<String>, b: &HashSet<String>) -> bool {
    let smaller = a.len().min(b.len()).max(1) as f32;
    a.intersection(b).count() as f32 / smaller >= SAME
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use std::sync::Arc;

    use domain::{
        ids::{DatabaseId, DocumentId},
        text::{PageText, Text},
    };

    use super::*;

    pub(in crate::answer) fn source(name: &str, text: &str) -> Source {
        let end = scalars(text);
        let pages = vec![PageText { number: 1, start: 0, end, ..PageText::default() }];
        Source {
            document: DocumentId::new(),
            database: DatabaseId::new(),
            name: Arc::from(name),
            span: 0..end,
            text: Arc::new(Text { text: text.into(), pages, ..Text::default() }),
            sought: Arc::default(),
        }
    }

    fn asked(question: &str, sources: &[Source]) -> Answer {
        let sought = index::sought(question);
        let sources: Vec<Source> =
            sources.iter().map(|source| Source { sought: Arc::clone(&sought), ..source.clone() }).collect();
        answer(&sources)
    }

    #[test]
    fn the_sentence_that_answers_is_quoted_where_it_stands() {
        let lease = source(
            "Smith_Jones_lease.txt",
            "This lease is made between Smith and Jones. The rent is due on the first day of each month. The tenant shall \
             keep the garden. Either party may terminate the lease on sixty (60) days written notice.",
        );
        let other = source("memo.txt", "Ä weather report. It rained in the garden of the notary.");
        let sources = [lease, other];
        for (question, quote) in [
            (
                "In the lease between Smith and Jones, when is the rent due?",
                "The rent is due on the first day of each month.",
            ),
            (
                "How much notice is needed to terminate the lease?",
                "Either party may terminate the lease on sixty (60) days written notice.",
            ),
        ] {
            let answer = asked(question, &sources);
            let first = &answer.sentences[0];
            assert_eq!(first.text, quote, "{question}");
            let citation = &first.citations[0];
            assert_eq!(sources[0].text.slice(citation.start..citation.end), Some(quote));
            assert_eq!((citation.document, citation.quote.as_str()), (sources[0].document, quote));
        }
        let found = asked("Did it rain?", &sources[1..]);
        assert!(found.sentences.iter().all(|sentence| sentence.supported));
    }

    #[test]
    fn a_document_that_is_only_filled_up_does_not_stand_before_one_that_answers() {
        let empty = |n: u32| {
            source(&format!("{n}.txt"), "All men are created equal, and hold these truths to be self-evident.")
        };
        let mut sources: Vec<Source> = (0..20).map(empty).collect();
        sources.push(source("lease.txt", "The rent is due on the first day of each month."));
        let found = asked("When is the rent due?", &sources);
        assert_eq!(found.sentences[0].citations[0].document, sources[20].document);
    }

    #[test]
    fn where_nothing_fits_nothing_is_said() {
        for (question, sources) in [
            ("What of quasars?", vec![source("a.txt", "The rent is due on the first day of each month.")]),
            ("Rent?", vec![]),
            ("", vec![source("a.txt", "The rent is due.")]),
        ] {
            let answer = asked(question, &sources);
            assert_eq!((answer.text.as_str(), answer.sentences.len()), (NOTHING, 0), "{question}");
        }
    }
}
