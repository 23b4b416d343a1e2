//! From bytes to text to chunks: synchronous, without network, database or clock. The whole path:
//!
//! 1. [`identify`] names the format from the bytes; the file name only decides between plain-text kinds.
//! 2. [`Reader::unpack`] hands out the members of a container (ZIP members, e-mail attachments, mailbox messages).
//! 3. [`Reader::extract`] gives the document's [`Text`](domain::text::Text): pages, offsets, words, headings, metadata.
//! 4. [`chunk::chunks`] cuts the text into passages for the index.
//!
//! What is protected is opened with the candidates of [`Reader::with_passwords`]; [`Unpacked`] and [`Extraction`] say which of
//! them fitted, and what none fits ends as [`Category::Encrypted`](domain::outcome::Category::Encrypted).
//!
//! Steps 2 and 3 parse hostile bytes, so each runs in a child process of its own ([`child_main`]) that has shut itself
//! into a sandbox before it reads the first byte. The parent keeps the clock, the cancel flag and the limits, and turns
//! whatever happens to the child into an [`Exception`](domain::outcome::Exception) a person can act on.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod chunk;
#[doc(hidden)]
pub mod fuzz;
pub mod load_file;

mod child;
mod compose;
mod compound;
mod decode;
mod extract;
mod format;
mod limits;
mod mail;
mod mapi;
mod ocr;
mod passwords;
mod protection;
mod reader;
mod sandbox;
mod settings;
mod sniff;
mod unpack;
mod wire;

pub use child::child_main;
pub use format::Format;
pub use limits::Limits;
pub use reader::{Extraction, MemberHead, MemberSink, ReadError, Reader, Unpacked};
pub use settings::{Clamd, Settings};
pub use sniff::{Identified, identify};
