//! What a WebSocket can say. Events travel through pub/sub to whoever may hear them; rows remain the truth, so a lost
//! event is a late picture, never a wrong one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{BatchId, CaseId, ConversationId, DatabaseId, DocumentId, MessageId},
};

/// Where an event is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "topic", content = "id")]
pub enum Topic {
    /// Progress of one database.
    Database(DatabaseId),
    /// Deltas of one conversation.
    Conversation(ConversationId),
    /// Access in a case changed: open sockets check again.
    Access(CaseId),
    /// Sessions of a user changed: open sockets check again.
    User(crate::ids::UserId),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// Something in this database moved; subscribers read the counts again.
    DatabaseChanged {
        /// The database.
        database: DatabaseId,
    },
    /// A piece of an answer.
    Chat(ChatEvent),
    /// Grants or sessions changed.
    AccessChanged,
}

/// One step of an answer, numbered so that a client that reconnects can resume after the last it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatEvent {
    /// The conversation.
    pub conversation: ConversationId,
    /// The assistant's message being written.
    pub message: MessageId,
    /// 1, 2, 3 … within one message and run.
    pub seq: u64,
    /// What happened.
    pub step: ChatStep,
}

/// What happened in one step of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum ChatStep {
    /// A run begins (again, after a crash): forget what was shown of this message.
    Started,
    /// More text.
    Delta {
        /// The characters to append.
        text: String,
    },
    /// The answer stands: final text with verified citations.
    Finished {
        /// The message as `GET /chat/history` shows it.
        answer: Answer,
    },
    /// No answer will come.
    Failed {
        /// A code of the error table.
        code: String,
        /// What happened and what to do next.
        message: String,
    },
    /// The user stopped it; no answer is kept.
    Cancelled,
}

/// A finished answer: sentences, each with the citations that support it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The whole text as shown.
    pub text: String,
    /// The sentences of `text`, in order.
    pub sentences: Vec<Sentence>,
    /// `extractive`, or the model's name.
    pub method: String,
}

/// One sentence and its support.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// True when its citations support it by the checks of `domain::cite`.
    pub supported: bool,
    /// Verified citations only; empty when unsupported.
    pub citations: Vec<Citation>,
}

/// A verified span of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The document.
    pub document: DocumentId,
    /// Its database.
    pub database: DatabaseId,
    /// Its name.
    pub name: String,
    /// First page the quote touches, from 1.
    pub page: u32,
    /// First scalar of the quote in the document's canonical text.
    pub start: u32,
    /// One past the last scalar.
    pub end: u32,
    /// Exactly `text[start..end]`.
    pub quote: String,
}

/// The equation of a database or batch: `received + unpacked = indexed + duplicate + excluded + exception + in_flight`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Files delivered.
    pub received: u64,
    /// Items found inside containers.
    pub unpacked: u64,
    /// Searchable.
    pub indexed: u64,
    /// Copies of documents already there.
    pub duplicate: u64,
    /// Left out on purpose.
    pub excluded: u64,
    /// Not fully processed.
    pub exception: u64,
    /// Still moving; zero when the work is done.
    pub in_flight: u64,
    /// Exceptions by category.
    pub exceptions: BTreeMap<String, u64>,
}

impl Counts {
    /// True when both sides of the equation agree.
    pub fn balances(&self) -> bool {
        self.received + self.unpacked == self.indexed + self.duplicate + self.excluded + self.exception + self.in_flight
    }
}

/// The status of a database as `GET /databases/{id}/status` and `/ws/database-status` say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// The database.
    pub database: DatabaseId,
    /// `empty`, `processing`, `ready` or `paused`.
    pub status: String,
    /// The equation over all its documents.
    #[serde(flatten)]
    pub counts: Counts,
    /// Documents in the published index.
    pub generation: u64,
    /// When that was published.
    pub published_at: Option<Timestamp>,
    /// The equation of each open batch.
    pub batches: Vec<BatchCounts>,
}

/// One batch's share of a database's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// The batch.
    pub batch: BatchId,
    /// Its equation.
    #[serde(flatten)]
    pub counts: Counts,
}
