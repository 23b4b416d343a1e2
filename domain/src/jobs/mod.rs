//! The wire contract of the queue: every kind of job, its payload and its policy. Payloads carry ids, never text, and
//! tolerate unknown fields so that a fleet one version older keeps working.

mod queue;
mod upkeep;

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::Timestamp,
    ids::{BatchId, CaseId, DatabaseId, DeliveryId, DocumentId, ItemId, LoadFileId, MessageId, UploadId},
};

pub use queue::Queue;
pub use upkeep::{AlertRoute, CollectGarbage, RaiseAlerts, SealAudit, SendAlert, SendPasswordReset, SweepJobs};

/// How a kind of job is run and retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Claims allowed, counting those that ended in a dead process; then it is dead-lettered.
    pub max_attempts: u32,
    /// Delay before the second attempt; doubles from there.
    pub backoff: Duration,
    /// Longest delay between attempts.
    pub backoff_cap: Duration,
    /// Longest run of one attempt.
    pub timeout: Duration,
    /// Higher is claimed first within a case's lane.
    pub priority: i32,
}

impl Policy {
    const DEFAULT: Self = Self {
        max_attempts: 3,
        backoff: Duration::from_secs(1),
        backoff_cap: Duration::from_mins(2),
        timeout: Duration::from_mins(30),
        priority: 0,
    };

    /// The delay before the attempt after `attempts` failed ones, without jitter: `backoff · 2^(attempts-1)`, capped.
    pub fn delay(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        self.backoff.saturating_mul(1 << doublings).min(self.backoff_cap)
    }
}

/// A unit of queued work.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + Unpin + 'static {
    /// The name, `verb_object`; the key of the wire contract.
    const KIND: &'static str;
    /// Which workers run it.
    const QUEUE: Queue;
    /// How it is run and retried.
    const POLICY: Policy = Policy::DEFAULT;

    /// The case it works for: its lane in fair claiming. `None` for the system's own work.
    fn case(&self) -> Option<CaseId>;

    /// At most one job of this key waits at a time, and never two run at once. `None` for ordinary jobs.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// The document it works on, for listing and for cancelling with its batch.
    fn document(&self) -> Option<DocumentId> {
        None
    }
}

/// Identify a received document, unpack its members into documents of their own, detect duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestDocument {
    /// The case.
    pub case: CaseId,
    /// The document.
    pub document: DocumentId,
}

impl Job for IngestDocument {
    const KIND: &'static str = "ingest_document";
    const QUEUE: Queue = Queue::Ingest;

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn document(&self) -> Option<DocumentId> {
        Some(self.document)
    }
}

/// Extract text, page boundaries and metadata of an ingested document; one with scanned pages is handed over to
/// [`RecogniseText`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractText {
    /// The case.
    pub case: CaseId,
    /// The document.
    pub document: DocumentId,
}

impl Job for ExtractText {
    const KIND: &'static str = "extract_text";
    const QUEUE: Queue = Queue::Extract;

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn document(&self) -> Option<DocumentId> {
        Some(self.document)
    }
}

/// What [`ExtractText`] does, for a document with pages that must be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecogniseText {
    /// The case.
    pub case: CaseId,
    /// The document.
    pub document: DocumentId,
}

impl Job for RecogniseText {
    const KIND: &'static str = "recognise_text";
    const QUEUE: Queue = Queue::Ocr;
    // Twenty thousand pages (the most that are recognised) take seven hours.
    const POLICY: Policy = Policy { timeout: Duration::from_hours(12), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn document(&self) -> Option<DocumentId> {
        Some(self.document)
    }
}

/// Bring a database's index up to date with its documents and publish a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDatabase {
    /// The case.
    pub case: CaseId,
    /// The database.
    pub database: DatabaseId,
}

impl Job for IndexDatabase {
    const KIND: &'static str = "index_database";
    const QUEUE: Queue = Queue::Index;
    const POLICY: Policy = Policy { max_attempts: 10, ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("index_database:{}", self.database))
    }
}

/// Build a database's index anew beside the live one, then switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReindexDatabase {
    /// The case.
    pub case: CaseId,
    /// The database.
    pub database: DatabaseId,
}

impl Job for ReindexDatabase {
    const KIND: &'static str = "reindex_database";
    const QUEUE: Queue = Queue::Index;
    const POLICY: Policy = Policy { timeout: Duration::from_hours(12), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("reindex_database:{}", self.database))
    }
}

/// Find the threads and the near-duplicates among all documents of a case, once they have come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelateDocuments {
    /// The case.
    pub case: CaseId,
    /// Since when it waits for the case to come to rest.
    pub asked_at: Timestamp,
}

impl Job for RelateDocuments {
    const KIND: &'static str = "relate_documents";
    const QUEUE: Queue = Queue::Relate;
    // Reading the conversations of a million messages for the first time takes hours; what is done is kept.
    const POLICY: Policy = Policy { timeout: Duration::from_hours(12), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.case))
    }
}

/// Send what another reader read, or failed to read, of a batch through the pipeline again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReprocessBatch {
    /// The case.
    pub case: CaseId,
    /// The database.
    pub database: DatabaseId,
    /// The batch.
    pub batch: BatchId,
    /// Also what this reader read before `asked_at`.
    pub all: bool,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

impl Job for ReprocessBatch {
    const KIND: &'static str = "reprocess_batch";
    const QUEUE: Queue = Queue::Maintenance;

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}:{}", Self::KIND, self.batch, if self.all { "all" } else { "changed" }))
    }
}

/// Try the passwords of a case on what no password of its bank has opened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryProtected {
    /// The case.
    pub case: CaseId,
}

impl Job for RetryProtected {
    const KIND: &'static str = "retry_protected";
    const QUEUE: Queue = Queue::Ingest;
    // It opens containers, one after the other.
    const POLICY: Policy = Policy { timeout: Duration::from_hours(12), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.case))
    }
}

/// Read a load file and note the items it announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLoadFile {
    /// The case.
    pub case: CaseId,
    /// The load file.
    pub load_file: LoadFileId,
}

impl Job for ReadLoadFile {
    const KIND: &'static str = "read_load_file";
    const QUEUE: Queue = Queue::Ingest;
    // Files wait for what is known about them.
    const POLICY: Policy = Policy { timeout: Duration::from_hours(12), priority: 10, ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.load_file))
    }
}

/// Fetch the file of an announced item from where its load file says, and receive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchItem {
    /// The case.
    pub case: CaseId,
    /// The item.
    pub item: ItemId,
}

impl Job for FetchItem {
    const KIND: &'static str = "fetch_item";
    const QUEUE: Queue = Queue::Network;
    // A host that is down for an hour is not down for good.
    const POLICY: Policy = Policy {
        max_attempts: 10,
        backoff: Duration::from_secs(5),
        backoff_cap: Duration::from_mins(30),
        timeout: Duration::from_hours(12),
        ..Policy::DEFAULT
    };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.item))
    }
}

/// Send a message to a webhook once; when it does not arrive, the next attempt is a job of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// The case.
    pub case: CaseId,
    /// The message.
    pub delivery: DeliveryId,
}

impl Job for DeliverWebhook {
    const KIND: &'static str = "deliver_webhook";
    const QUEUE: Queue = Queue::Network;
    // An attempt that fails is no failure of the job: this is for machines that fail.
    const POLICY: Policy = Policy { max_attempts: 10, timeout: Duration::from_mins(10), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.delivery))
    }
}

/// Put the parts of an upload that is complete together into one file, and receive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssembleUpload {
    /// The case.
    pub case: CaseId,
    /// The upload.
    pub upload: UploadId,
}

impl Job for AssembleUpload {
    const KIND: &'static str = "assemble_upload";
    const QUEUE: Queue = Queue::Ingest;
    const POLICY: Policy = Policy { timeout: Duration::from_hours(12), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.upload))
    }
}

/// Answer the user's message: the payload names the assistant message that will hold the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerChat {
    /// The case.
    pub case: CaseId,
    /// The assistant's message to fill.
    pub message: MessageId,
}

impl Job for AnswerChat {
    const KIND: &'static str = "answer_chat";
    const QUEUE: Queue = Queue::Chat;
    const POLICY: Policy =
        Policy { backoff: Duration::from_millis(250), timeout: Duration::from_mins(5), ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("answer_chat:{}", self.message))
    }
}

/// Remove a deleted case: destroy its key, then its bytes and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeCase {
    /// The case.
    pub case: CaseId,
}

impl Job for PurgeCase {
    const KIND: &'static str = "purge_case";
    const QUEUE: Queue = Queue::Maintenance;
    const POLICY: Policy = Policy { max_attempts: 20, ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("purge_case:{}", self.case))
    }
}

/// Every kind, for tests that enumerate them.
pub const KINDS: [&str; 20] = [
    IngestDocument::KIND,
    ExtractText::KIND,
    RecogniseText::KIND,
    IndexDatabase::KIND,
    ReindexDatabase::KIND,
    RelateDocuments::KIND,
    ReprocessBatch::KIND,
    RetryProtected::KIND,
    ReadLoadFile::KIND,
    FetchItem::KIND,
    DeliverWebhook::KIND,
    AssembleUpload::KIND,
    AnswerChat::KIND,
    PurgeCase::KIND,
    CollectGarbage::KIND,
    SweepJobs::KIND,
    SealAudit::KIND,
    RaiseAlerts::KIND,
    SendAlert::KIND,
    SendPasswordReset::KIND,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_to_its_cap() {
        let policy = Policy::DEFAULT;
        let delays: Vec<u64> = (1..=9).map(|n| policy.delay(n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(policy.delay(u32::MAX), policy.backoff_cap);
    }

    #[test]
    fn payloads_are_ids_and_tolerate_fields_of_a_newer_version() {
        let job = IndexDatabase { case: CaseId::new(), database: DatabaseId::new() };
        let mut wire = serde_json::to_value(job).unwrap_or_default();
        assert_eq!(wire.as_object().map(serde_json::Map::len), Some(2));
        wire["added_later"] = 1.into();
        assert_eq!(serde_json::from_value::<IndexDatabase>(wire).ok(), Some(job));
    }
}
