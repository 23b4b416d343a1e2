//! How a document ends: the states of its life, and the categories of exception with what a paralegal can do about each.

use serde::{Deserialize, Serialize};

/// Where a document stands. Every document ends in one of the four terminal states, so a batch always closes:
/// received + unpacked = indexed + duplicate + excluded + exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentState {
    /// Stored and durable; waits to be identified and unpacked.
    Received,
    /// Identified, its members (if any) are documents of their own; waits for its text to be extracted.
    Ingested,
    /// Text extracted and stored; waits for the index.
    Extracted,
    /// Searchable. Terminal.
    Indexed,
    /// A copy of a document already in the case; kept, not indexed again. Terminal.
    Duplicate,
    /// Left out on purpose; see [`Exclusion`]. Terminal.
    Excluded,
    /// Could not be fully processed; see the exception's category. Terminal.
    Exception,
}

impl DocumentState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::Ingested,
        Self::Extracted,
        Self::Indexed,
        Self::Duplicate,
        Self::Excluded,
        Self::Exception,
    ];

    /// True when nothing more will happen by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Indexed | Self::Duplicate | Self::Excluded | Self::Exception)
    }

    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Ingested => "ingested",
            Self::Extracted => "extracted",
            Self::Indexed => "indexed",
            Self::Duplicate => "duplicate",
            Self::Excluded => "excluded",
            Self::Exception => "exception",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Why a document was left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// Its batch or its job was cancelled before it was finished.
    Cancelled,
    /// It was an exception that somebody set aside with a note.
    Ignored,
    /// The operator's list of known files names its bytes.
    KnownFile,
}

impl Exclusion {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cancelled, Self::Ignored, Self::KnownFile];

    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Ignored => "ignored",
            Self::KnownFile => "known_file",
        }
    }

    /// The exclusion of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|exclusion| exclusion.name() == name)
    }
}

macro_rules! categories {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $advice:literal;)+) => {
        /// Why a document, or a part of it, could not be processed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Category {
            $($(#[$doc])* $variant,)+
        }

        impl Category {
            /// All categories.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in rows and JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What a paralegal can do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }

            /// The category of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

categories! {
    /// Zero bytes.
    Empty = "empty", "the file has no content; ask the producing party for it again";
    /// A password is needed.
    Encrypted = "encrypted", "the file is password-protected; add its password to the case and it is tried again by itself, or upload an unprotected copy";
    /// The bytes are not what the format demands.
    Corrupt = "corrupt", "the file is damaged or truncated; ask for a fresh copy";
    /// Identified, but no reader exists for the format.
    Unsupported = "unsupported", "dia has no reader for this format; convert it, or review the native file";
    /// Over a configured size, page, pixel or output limit.
    TooLarge = "too_large", "the file exceeds a configured limit; raise the limit and retry, or split the file";
    /// A container with too many members.
    TooManyMembers = "too_many_members", "the container holds more items than allowed; unpack it and upload the parts";
    /// A container nested too deep.
    TooDeep = "too_deep", "containers are nested deeper than allowed; unpack it and upload the parts";
    /// A container that expands beyond the allowed ratio or byte budget.
    ArchiveBomb = "archive_bomb", "the container expands suspiciously; check where it came from before unpacking it elsewhere";
    /// Over the CPU or wall-clock limit.
    TimedOut = "timed_out", "reading the file took longer than allowed; raise the limit and retry";
    /// Over the memory limit.
    Memory = "memory", "reading the file took more memory than allowed; raise the limit and retry";
    /// The reader was killed or crashed.
    Crashed = "crashed", "the reader failed on this file; retry once, then review the native file";
    /// Infected, by the virus scanner's word. Never unpacked, read or handed out.
    Virus = "virus", "the virus scanner found something; do not open the file, and ask for a clean copy";
    /// Text can only be had by OCR and none is installed.
    OcrUnavailable = "ocr_unavailable", "the document is an image and no OCR engine is installed; install tesseract and retry";
    /// Read, but without any text even after OCR.
    NoText = "no_text", "no text could be found; look at the file itself";
    /// Part was read and part was not; the part read is searchable.
    Partial = "partial", "part of the document could not be read; see the warnings";
    /// The stored bytes no longer match their checksum or cannot be opened.
    Integrity = "integrity", "the stored copy fails its integrity check; restore it from backup";
    /// Work on the document failed again and again for an internal reason.
    Internal = "internal", "processing failed repeatedly; retry, and send the job's error to the operator";
}

/// Why one document ended as [`DocumentState::Exception`]. `detail` may name members of a container and is stored sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// The kind of failure.
    pub category: Category,
    /// What happened, for a person; never the document's text.
    pub detail: String,
    /// The page concerned, from 1.
    pub page: Option<u32>,
    /// The member of the container concerned.
    pub member: Option<String>,
}

impl Exception {
    /// An exception that concerns the whole document.
    pub fn new(category: Category, detail: impl Into<String>) -> Self {
        Self { category, detail: detail.into(), page: None, member: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for state in DocumentState::ALL {
            assert_eq!(DocumentState::parse(state.name()), Some(state));
            assert_eq!(serde_json::to_value(state).ok(), Some(state.name().into()));
        }
        for exclusion in Exclusion::ALL {
            assert_eq!(Exclusion::parse(exclusion.name()), Some(exclusion));
            assert_eq!(serde_json::to_value(exclusion).ok(), Some(exclusion.name().into()));
        }
        for category in Category::ALL {
            assert_eq!(Category::parse(category.name()), Some(*category));
            assert_eq!(serde_json::to_value(category).ok(), Some(category.name().into()));
        }
    }

    /// `docs/errors.md` explains every category.
    #[test]
    fn the_documentation_is_true() {
        let page = include_str!("../../docs/errors.md");
        for category in Category::ALL {
            let (name, advice) = (category.name(), category.advice());
            assert!(page.lines().any(|l| l.starts_with(&format!("| `{name}` |")) && l.contains(advice)), "{name}");
        }
    }
}
