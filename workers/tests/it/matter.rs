//! A case with a database, files delivered into it, and all workers running on it.

use std::{
    io::{Cursor, Write as _},
    path::PathBuf,
    time::Duration,
};

use domain::{
    access::Action,
    actor::Actor,
    events::Counts,
    ids::{BlobId, DocumentId},
    jobs::Queue,
    page::PageQuery,
};
use index::{BlockCache, Query, SearchRequest};
use pipeline::{Reader, Settings};
use storage::{
    Storage,
    batches::{Batch, BatchDetails},
    cases::{Case, NewCase},
    databases::{Database, Deduplication},
    documents::{self, Details, Document, DocumentFilter, Receipt},
    generations,
    objects::{BlobKind, IndexFiles},
};
use testkit::TestStorage;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workers::{AlertsConfig, Context, Workers, WorkersConfig};

use crate::until;

pub(crate) struct Matter {
    pub(crate) test: TestStorage,
    pub(crate) actor: Actor,
    pub(crate) case: Case,
    pub(crate) database: Database,
    pub(crate) batch: Batch,
}

pub(crate) fn new_case(title: &str) -> NewCase {
    NewCase {
        title: title.into(),
        description: String::new(),
        status: "open".into(),
        priority: "normal".into(),
        kind: "litigation".into(),
    }
}

impl Matter {
    pub(crate) async fn open(test: TestStorage) -> Self {
        let actor = test.member().await;
        let mut tx = test.storage.begin(&actor).await.unwrap();
        let case = Case::create(&mut tx, &new_case("Smith v. Jones")).await.unwrap();
        let database = Database::create(&mut tx, &case, "Correspondence", "", Deduplication::default()).await.unwrap();
        let batch = Batch::open(&mut tx, &database, "upload", &BatchDetails::default()).await.unwrap();
        tx.commit().await.unwrap();
        Self { test, actor, case, database, batch }
    }

    /// Stores files and receives them into the batch.
    pub(crate) async fn deliver(&self, files: &[(&str, Vec<u8>)]) -> Vec<Receipt> {
        let storage = &self.test.storage;
        let mut tx = storage.begin(&self.actor).await.unwrap();
        let key = tx.case_key(self.case.id).await.unwrap();
        let mut received = Vec::new();
        for (name, bytes) in files {
            let mut writer =
                storage.objects.writer(&key, self.case.id, BlobId::new(), BlobKind::Original).await.unwrap();
            writer.write(bytes.clone().into()).await.unwrap();
            let details = Details { name: (*name).into(), path: (*name).into(), ..Details::default() };
            received.push((*name, details, writer.finish().await.unwrap()));
        }
        let receipts = documents::receive(&mut tx, &self.batch, &received).await.unwrap();
        tx.commit().await.unwrap();
        receipts
    }

    pub(crate) fn work(&self, context: Context) -> Office {
        let shutdown = CancellationToken::new();
        let config = context.config.clone();
        let handle = Workers::start(self.test.storage.clone(), context, &config, shutdown.clone());
        Office { shutdown, handle }
    }

    pub(crate) async fn counts(&self) -> Counts {
        let mut tx = self.test.storage.read(&self.actor).await.unwrap();
        self.database.status(&mut tx).await.unwrap().counts
    }

    /// Waits until no document and no job of the matter is on its way.
    pub(crate) async fn settled(&self) {
        until("the work is done", async || {
            self.counts().await.in_flight == 0
                && self.test.number("select count(*) from jobs where state in ('ready', 'running')").await == 0
        })
        .await;
    }

    pub(crate) async fn documents(&self) -> Vec<Document> {
        let mut tx = self.test.storage.read(&self.actor).await.unwrap();
        let database = Database::find(&mut tx, self.database.id, Action::ReadDocuments).await.unwrap();
        Document::list(&mut tx, &database, &DocumentFilter::default(), &PageQuery::default()).await.unwrap().items
    }

    pub(crate) async fn document(&self, name: &str) -> Document {
        self.documents().await.into_iter().find(|d| d.details.name == name).unwrap()
    }

    /// The documents that the published index finds.
    pub(crate) async fn found(&self, query: &str) -> Vec<DocumentId> {
        self.found_from(&self.test.storage, query).await
    }

    /// The same, opened and searched from `storage`, which may be another machine's.
    pub(crate) async fn found_from(&self, storage: &Storage, query: &str) -> Vec<DocumentId> {
        let mut tx = storage.read(&self.actor).await.unwrap();
        let live = generations::live(&mut tx, self.case.id, self.database.id).await.unwrap().unwrap();
        let key = tx.case_key(self.case.id).await.unwrap();
        let files = IndexFiles::read_only(storage.objects.clone(), key, self.case.id, live.manifest.files);
        let blocks = BlockCache::new(1 << 20).of(self.database.id);
        let reader = index::Reader::open(std::sync::Arc::new(files), &live.manifest.meta, &blocks).unwrap();
        let request = SearchRequest::new(query.parse::<Query>().unwrap());
        let results = index::search(&[reader], &request).unwrap();
        results.hits.iter().map(|hit| hit.document).collect()
    }
}

/// The workers of a test.
pub(crate) struct Office {
    shutdown: CancellationToken,
    handle: JoinHandle<()>,
}

impl Office {
    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        self.handle.await.unwrap();
    }
}

/// The reader is an example of this crate: `cargo test` builds it beside the tests.
pub(crate) fn context() -> Context {
    context_with(Settings::default())
}

/// Reads scans too, with the tesseract of the machine.
#[expect(clippy::disallowed_methods, reason = "tests take the machine's tesseract")]
pub(crate) fn reading_scans() -> Context {
    context_with(Settings::default().discover(std::env::var("PATH").ok().as_deref(), None))
}

pub(crate) fn context_with(settings: Settings) -> Context {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    program.push("examples/reader");
    let config = WorkersConfig {
        queues: Queue::ALL.to_vec(),
        poll_milliseconds: 20,
        index_linger_milliseconds: 300,
        relate_linger_milliseconds: 100,
        ..WorkersConfig::default()
    };
    let reader = Reader::new(settings, program, Vec::new());
    let (llm, references) = (workers::LlmConfig::default(), workers::References::default());
    let audit = workers::checkpoints::AuditConfig::default();
    let webhooks = workers::Webhooks::new(&workers::WebhooksConfig::default()).unwrap();
    Context {
        reader,
        config,
        known_files: None,
        llm,
        audit,
        alerts: AlertsConfig::default(),
        mail: workers::MailConfig::default(),
        references,
        webhooks,
        cache: BlockCache::new(8 << 20),
    }
}

/// A file of the pipeline's tests.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pipeline/tests/data");
    std::fs::read(folder.join(name)).unwrap()
}

pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A message with one attachment.
pub(crate) fn eml(body: &str, attachment: (&str, &str)) -> Vec<u8> {
    let (name, content) = attachment;
    format!(
        "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: The lease\r\n\
         Date: Tue, 03 Feb 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"cut\"\r\n\r\n--cut\r\nContent-Type: text/plain\r\n\r\n{body}\r\n\
         --cut\r\nContent-Type: text/plain; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n\
         {content}\r\n--cut--\r\n"
    )
    .into_bytes()
}

/// Time enough for anything the schedule holds.
pub(crate) const LONG: Duration = Duration::from_hours(24 * 400);
