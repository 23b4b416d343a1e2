//! Highlights are exact, also where characters are longer than a byte.

use std::fmt::Write as _;

use domain::text::slice;
use index::SearchRequest;

use crate::support::{Paper, ask, indexed};

/// The matched texts of every hit's highlights, checked against the canonical text.
fn matched(paper: &Paper, query: &str) -> Vec<String> {
    let reader = indexed(std::slice::from_ref(paper));
    let mut texts = Vec::new();
    for highlight in ask(&reader, query).hits.into_iter().flat_map(|hit| hit.highlights) {
        assert_eq!(slice(&paper.text, highlight.start..highlight.end), Some(&*highlight.text), "{query}");
        for place in highlight.matches {
            assert!(highlight.start <= place.start && place.end <= highlight.end, "{query}");
            texts.push(slice(&paper.text, place.start..place.end).unwrap().to_owned());
        }
    }
    texts.sort();
    texts
}

#[test]
fn matches_are_the_very_words() {
    let text =
        "Ænder “Vertrag” über Maß — 契約書を締結。 😀 résumé, RESUME; the breach of\ncontract. Nachträge zum Vertrag";
    let mut paper = Paper::new("x.txt", text);
    paper.chunk = 200;
    let cases: &[(&str, &[&str])] = &[
        ("vertrag", &["Vertrag", "Vertrag"]),
        ("mass", &["Maß"]),
        ("契約", &["契約"]),
        ("resume", &["RESUME", "résumé"]),
        ("\"breach of contract\"", &["breach of\ncontract"]),
        ("nachtr*", &["Nachträge"]),
        ("\"zum vert*\"", &["zum Vertrag"]),
        ("vertrag NOT absent", &["Vertrag", "Vertrag"]),
        ("mass OR absent", &["Maß"]),
        ("\"breach of\" \"of contract\"", &["breach of\ncontract"]),
        ("aender", &["Ænder"]),
    ];
    for (query, expected) in cases {
        assert_eq!(matched(&paper, query), *expected, "{query}");
    }
}

#[test]
fn highlights_are_few_best_first_and_know_their_page() {
    let mut text = String::new();
    for page in 0..20 {
        let line = if page % 5 == 2 { "some liability is noted on this page too" } else { "nothing to see" };
        write!(text, "{line:<80}").unwrap();
    }
    text.push_str("liability liability liability cap");
    let paper = Paper::new("x.txt", &text);
    let reader = indexed(std::slice::from_ref(&paper));
    let mut request = SearchRequest::new(index::query::parse("liability").unwrap());
    request.highlights = 3;
    let hit = index::search(&[reader], &request).unwrap().hits.remove(0);
    let pages: Vec<u32> = hit.highlights.iter().map(|highlight| highlight.first_page).collect();
    assert_eq!(pages, [21, 3, 8]);
    assert_eq!(hit.highlights[0].matches.len(), 3);
}

#[test]
fn a_phrase_across_two_chunks_is_still_shown() {
    let paper = Paper::new("x.txt", &format!("{:<73}breach of contract here", "start"));
    assert_eq!(matched(&paper, "\"breach of contract\""), ["breach", "contract", "of"]);
}
