//! A parsed query as a tantivy query over document entries, or over the chunks that show its matches.

use std::ops::Bound;

use tantivy::{
    Term,
    query::{
        BooleanQuery, BoostQuery, InvertedIndexRangeQuery, Occur, PhrasePrefixQuery, PhraseQuery, Query as Compiled,
        TermQuery,
    },
    schema::{Field as IndexField, IndexRecordOption},
};

use super::{
    Scope,
    scope::{dates, without_score},
};
use crate::{
    Query,
    query::{Field, Node},
    schema::{DOCUMENT, Fields},
};

/// A match in what is said about a document counts this much more than one in its body.
const ABOUT_BOOST: f32 = 2.0;
/// Words that the last part of a phrase may stand for, per segment.
const MAX_PHRASE_EXPANSIONS: u32 = 1_000;

/// The documents that `query` and `scope` name.
pub(super) fn documents(query: &Query, scope: &Scope, fields: &Fields) -> Box<dyn Compiled> {
    let mut clauses = scope.clauses(fields);
    clauses.push((Occur::Must, compile(&query.root, fields)));
    Box::new(BooleanQuery::new(clauses))
}

/// Every document entry, with score zero.
pub(crate) fn every_document(fields: &Fields) -> Box<dyn Compiled> {
    let kind = Term::from_field_u64(fields.kind, DOCUMENT);
    without_score(Box::new(TermQuery::new(kind, IndexRecordOption::Basic)))
}

fn compile(node: &Node, fields: &Fields) -> Box<dyn Compiled> {
    match node {
        Node::All => every_document(fields),
        Node::Words { field, words, prefix } => self::words(*field, words, *prefix, fields),
        Node::Date { from, until } => without_score(dates(fields, *from, *until)),
        Node::Or(nodes) => Box::new(BooleanQuery::union(nodes.iter().map(|node| compile(node, fields)).collect())),
        Node::And(nodes) => all_of(nodes, fields),
        Node::Not(node) => all_of(std::slice::from_ref(&Node::Not(node.clone())), fields),
    }
}

/// All nodes hold; with nothing but NOT among them, of every document.
fn all_of(nodes: &[Node], fields: &Fields) -> Box<dyn Compiled> {
    let mut clauses = Vec::with_capacity(nodes.len() + 1);
    for node in nodes {
        clauses.push(match node {
            Node::Not(node) => (Occur::MustNot, compile(node, fields)),
            node => (Occur::Must, compile(node, fields)),
        });
    }
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, every_document(fields)));
    }
    Box::new(BooleanQuery::new(clauses))
}

fn words(field: Field, words: &[String], prefix: bool, fields: &Fields) -> Box<dyn Compiled> {
    let one = |field| in_field(field, words, prefix);
    match field {
        Field::Anywhere => Box::new(BooleanQuery::union(vec![
            one(fields.body),
            Box::new(BoostQuery::new(one(fields.about), ABOUT_BOOST)),
        ])),
        Field::Text => one(fields.body),
        Field::Name => one(fields.name),
        Field::Subject => one(fields.subject),
        Field::From => one(fields.from),
        Field::To => one(fields.to),
        Field::Cc => one(fields.cc),
        Field::Author => one(fields.author),
        Field::Title => one(fields.title),
        Field::Custodian => one(fields.custodian),
        Field::Label => one(fields.label),
        Field::Type => one(fields.media_type),
    }
}

/// The words next to each other in one field.
pub(super) fn in_field(field: IndexField, words: &[String], prefix: bool) -> Box<dyn Compiled> {
    let mut terms: Vec<Term> = words.iter().map(|word| Term::from_field_text(field, word)).collect();
    match (terms.len(), prefix) {
        (0 | 1, true) => beginning_with(field, words.first().map_or("", String::as_str)),
        (_, true) => {
            let mut query = PhrasePrefixQuery::new(terms);
            query.set_max_expansions(MAX_PHRASE_EXPANSIONS);
            Box::new(query)
        }
        (0 | 1, false) => match terms.pop() {
            Some(term) => Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)),
            None => Box::new(tantivy::query::EmptyQuery),
        },
        (_, false) => Box::new(PhraseQuery::new(terms)),
    }
}

/// Every word that begins so, however many there are: one walk over the dictionary into one bit set, so memory is bounded
/// by the number of entries and nothing is silently left out.
fn beginning_with(field: IndexField, prefix: &str) -> Box<dyn Compiled> {
    let lower = Term::from_field_text(field, prefix);
    let upper = Term::from_field_text(field, &format!("{prefix}{}", char::MAX));
    Box::new(InvertedIndexRangeQuery::new(Bound::Included(lower), Bound::Included(upper)))
}
