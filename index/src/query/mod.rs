//! The litigator's query syntax. It is small, safe on any input, and always says where it does not understand.
//!
//! ```text
//! breach contract            both words, anywhere in the document (words side by side mean AND)
//! "breach of contract"       the words in this order, next to each other
//! warrant*                   every word that begins so (at least two letters before the star)
//! breach OR default          either
//! breach AND (loss OR harm)  grouping; AND binds tighter than OR
//! breach NOT settled         without the word; -settled says the same
//! subject:invoice            only in that field; subject:(invoice OR bill) and subject:"final invoice" work too
//! date:2024-01-01..2024-12-31   date:2024   date:2024-03   date:>=2024   date:<2023-06-01
//! ```
//!
//! AND, OR and NOT are operators only in capitals. Fields: text (the body only), name, subject, from, to, cc, author,
//! title, custodian, label, type, date. A word without a field is sought in the body and in name, title, subject,
//! author, sender and recipients. Case and accents do not matter; words are not stemmed.

mod date;
mod lexer;
mod parser;

use std::str::FromStr;

pub use parser::parse;

/// The longest query, in scalars.
pub const MAX_LENGTH: usize = 4_000;
/// The deepest nesting of parentheses and NOT.
pub const MAX_DEPTH: usize = 32;
/// The most words, counted after phrases are split.
pub const MAX_WORDS: usize = 256;

/// A query that was understood. Made by [`parse`], or [`Query::all`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub(crate) root: Node,
}

impl Query {
    /// The query that every document matches, for browsing by filters.
    pub fn all() -> Self {
        Self { root: Node::All }
    }
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        parse(text)
    }
}

/// A query that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})", at + 1)]
pub struct QueryError {
    /// The character concerned, in scalars from the start of the query, from 0; its length when something is missing at the end.
    pub at: u32,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a document must satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing.
    All,
    /// The words next to each other; one word is the common case. With `prefix`, the last is only the beginning of a word.
    Words { field: Field, words: Vec<String>, prefix: bool },
    /// A date from the first moment (inclusive) to the second (exclusive), in microseconds since the epoch.
    Date { from: Option<i64>, until: Option<i64> },
    /// Every one of them.
    And(Vec<Self>),
    /// At least one of them.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Where a word is sought.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Field {
            /// Body and everything short that is said about the document.
            Anywhere,
            $($(#[$doc])* $variant,)+
        }

        impl Field {
            /// The field of that name, in lower case.
            fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        /// The names of all fields, for messages.
        const FIELD_NAMES: &[&str] = &[$($name,)+ "date"];
    };
}

fields! {
    /// The body only.
    Text = "text",
    /// File name.
    Name = "name",
    /// Subject line.
    Subject = "subject",
    /// Sender.
    From = "from",
    /// Primary recipients.
    To = "to",
    /// Copied recipients.
    Cc = "cc",
    /// Author property.
    Author = "author",
    /// Title property.
    Title = "title",
    /// Whose papers.
    Custodian = "custodian",
    /// Reviewers' labels.
    Label = "label",
    /// Media type or file extension.
    Type = "type",
}
