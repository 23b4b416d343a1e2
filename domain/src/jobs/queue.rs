//! The queues: streams of work that do not wait for each other.

use serde::{Deserialize, Serialize};

/// A named stream of work with its own workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Identify, unpack, deduplicate.
    Ingest,
    /// Extract text that documents carry.
    Extract,
    /// Recognise the text of scans, which takes a thousand times longer and must not hold up the rest.
    Ocr,
    /// Write and publish indexes.
    Index,
    /// Find what documents of a case have to do with each other.
    Relate,
    /// Answer questions.
    Chat,
    /// Speak with other machines, which may be slow: nothing else waits behind them.
    Network,
    /// Housekeeping.
    Maintenance,
}

impl Queue {
    /// All queues.
    pub const ALL: [Self; 8] = [
        Self::Ingest,
        Self::Extract,
        Self::Ocr,
        Self::Index,
        Self::Relate,
        Self::Chat,
        Self::Network,
        Self::Maintenance,
    ];

    /// The name in rows, metrics and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Extract => "extract",
            Self::Ocr => "ocr",
            Self::Index => "index",
            Self::Relate => "relate",
            Self::Chat => "chat",
            Self::Network => "network",
            Self::Maintenance => "maintenance",
        }
    }

    /// The queue of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|q| q.name() == name)
    }
}
