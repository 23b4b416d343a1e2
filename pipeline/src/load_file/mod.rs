//! Load files: the lists that come with a delivery and say of each file where it lies and what is known about it. Read as a
//! stream, in bounded memory, whatever their length:
//!
//! - delimited text with a header line: Concordance DAT (`þ` and U+0014, or whatever the header shows) and CSV;
//! - Opticon OPT: the page images of a production, one a line;
//! - EDRM XML 1.0 to 1.2;
//! - newline-delimited JSON, one object a line.
//!
//! Delimiter, quote and encoding are found out from the beginning of the file; [`Described`] says what was found.

mod characters;
mod columns;
mod delimited;
mod edrm;
mod lines;
mod ndjson;
mod opticon;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    ops::ControlFlow,
};

use thiserror::Error;

use self::characters::Characters;

/// Most bytes of one field.
pub(crate) const MOST_FIELD: usize = 1 << 20;
/// Most bytes of one record.
pub(crate) const MOST_RECORD: usize = 4 << 20;
/// Most columns of a delimited file.
pub(crate) const MOST_COLUMNS: usize = 2_000;

/// One file that a load file announces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// Where it lies in the delivery, as written: `.\VOL001\NATIVES\0001.msg`.
    pub path: String,
    /// Where it can be fetched: `https://…`, `s3://bucket/key` or `file:///…`.
    pub source: Option<String>,
    /// Its number in the production (Bates number, control number).
    pub control_number: Option<String>,
    /// The control number of the item it is attached to.
    pub parent: Option<String>,
    /// Whose document it is.
    pub custodian: Option<String>,
    /// SHA-256 of its bytes, 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    /// Everything else that is said about it, by the names of the load file.
    pub fields: BTreeMap<String, String>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An item.
    Item(Item),
    /// The record cannot be used; why, in words for a person. Reading goes on behind it.
    Refused(&'static str),
}

/// Which kind of load file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Delimited text with a header line: Concordance DAT or CSV.
    Delimited {
        /// Stands between fields.
        delimiter: char,
        /// Stands around fields, if anything does.
        quote: Option<char>,
    },
    /// Opticon: page images.
    Opticon,
    /// EDRM XML.
    EdrmXml,
    /// Newline-delimited JSON.
    Ndjson,
}

impl Kind {
    /// `concordance`, `csv`, `opticon`, `edrm_xml` or `ndjson`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delimited { delimiter: delimited::CONCORDANCE, .. } => "concordance",
            Self::Delimited { .. } => "csv",
            Self::Opticon => "opticon",
            Self::EdrmXml => "edrm_xml",
            Self::Ndjson => "ndjson",
        }
    }
}

/// What a load file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its kind.
    pub kind: Kind,
    /// Its encoding, by the name of the WHATWG Encoding Standard.
    pub encoding: &'static str,
    /// Characters could not be decoded and read as U+FFFD.
    pub damaged: bool,
    /// The columns of a delimited file.
    pub columns: Vec<String>,
}

/// Why a load file cannot be read on.
#[derive(Debug, Error)]
pub enum LoadFileError {
    /// Its bytes could not be had.
    #[error("the load file cannot be read")]
    Io(#[from] io::Error),
    /// It is not a load file, or is damaged beyond use: what is wrong and what to do.
    #[error("line {line}: {message}")]
    Malformed {
        /// Where, from 1.
        line: u64,
        /// What is wrong, and what to do.
        message: &'static str,
    },
    /// Who takes the records wants no more.
    #[error("the reading was stopped")]
    Stopped,
}

/// Takes the number of a record's first line and the record.
type Take<'a> = dyn FnMut(u64, Record) -> ControlFlow<()> + 'a;

/// Reads a load file and gives each record to `take`, with the number of its first line, until the end or until `take` breaks
/// ([`LoadFileError::Stopped`]).
pub fn read(
    input: &mut dyn Read,
    take: &mut dyn FnMut(u64, Record) -> ControlFlow<()>,
) -> Result<Described, LoadFileError> {
    let mut characters = Characters::new(input)?;
    let kind = kind_of(characters.beginning());
    let columns = match kind {
        Kind::Delimited { delimiter, quote } => delimited::read(&mut characters, delimiter, quote, take)?,
        Kind::Opticon => opticon::read(&mut characters, take).map(|()| Vec::new())?,
        Kind::EdrmXml => edrm::read(&mut characters, take).map(|()| Vec::new())?,
        Kind::Ndjson => ndjson::read(&mut characters, take).map(|()| Vec::new())?,
    };
    Ok(Described { kind, encoding: characters.encoding(), damaged: characters.damaged(), columns })
}

fn kind_of(beginning: &str) -> Kind {
    match beginning.trim_start().chars().next() {
        Some('{') => Kind::Ndjson,
        Some('<') => Kind::EdrmXml,
        _ if opticon::is_like(beginning) => Kind::Opticon,
        _ => delimited::kind(beginning),
    }
}

fn malformed(line: u64, message: &'static str) -> LoadFileError {
    LoadFileError::Malformed { line, message }
}

/// Gives a record away.
fn give(take: &mut Take<'_>, line: u64, record: Record) -> Result<(), LoadFileError> {
    if take(line, record).is_break() { Err(LoadFileError::Stopped) } else { Ok(()) }
}
