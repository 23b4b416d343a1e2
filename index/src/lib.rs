//! The index of one database, and nothing but the index: tantivy behind four verbs. A [`Writer`] adds and deletes
//! documents and ends in a [`Generation`]; a [`Reader`] opens a generation; [`search()`] answers a litigator's query;
//! [`retrieve()`] finds the passages that answer a question.
//!
//! One tantivy index holds two kinds of entries. A *document entry* carries the whole text and the metadata, so AND, NOT
//! and phrases speak of whole documents. A *chunk entry* carries one passage, for highlights and for chat. Both carry the
//! document's id and are replaced and deleted together.
//!
//! Bytes come and go through [`domain::files::SealedFiles`]; this crate never sees a path of the machine.

mod directory;
mod entry;
mod error;
pub mod query;
mod reader;
mod retrieve;
mod schema;
mod search;
mod words;
mod writer;

pub use directory::{BlockCache, Blocks};
pub use entry::Entry;
pub use error::{Error, Result};
pub use query::{Query, QueryError};
pub use reader::Reader;
pub use retrieve::{Passage, SoughtWord, retrieve, sought, stemmed};
pub use search::{Facet, Facets, Highlight, Hit, Match, Scope, SearchRequest, SearchResults, Sort, search};
pub use writer::{Generation, Writer};
