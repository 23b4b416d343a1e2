//! Every kind of job delivered again: once more when it was done, and twice at once when it is due. Jobs may run twice and
//! must not matter twice. A kind without a case here fails, so a new one cannot be forgotten.

use std::{collections::BTreeSet, time::Duration};

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{AlertId, BlobId, CaseId, DeliveryId, DocumentId, ItemId, LoadFileId, MessageId, UploadId},
    jobs::{
        AlertRoute, AnswerChat, AssembleUpload, CollectGarbage, DeliverWebhook, ExtractText, FetchItem, IndexDatabase,
        IngestDocument, Job, KINDS, Policy, PurgeCase, Queue, RaiseAlerts, ReadLoadFile, RecogniseText,
        ReindexDatabase, RelateDocuments, ReprocessBatch, RetryProtected, SealAudit, SendAlert, SendPasswordReset,
        SweepJobs,
    },
};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use storage::{
    batches::{Batch, BatchDetails},
    cases::Case,
    conversations::Conversation,
    databases::{Database, Deduplication},
    documents::{self, Details},
    messages,
    objects::BlobKind,
    uploads::UploadKind,
};
use tempfile::TempDir;
use testkit::TestStorage;
use workers::{Context, References, ReferencesConfig, Webhooks, WebhooksConfig, WorkersConfig, jobs::registry};

use crate::{
    both, intake,
    intake::announce,
    matter::{LONG, Matter, context, eml, new_case, reading_scans, sample},
    passwords::add,
    probe::enqueue,
    until,
};

both!(a_second_delivery_changes_nothing, two_deliveries_at_once_have_one_effect);

/// The same job once more: the key that keeps a job single does not hold a second delivery back.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "J: Serialize + DeserializeOwned")]
struct Again<J>(J);

impl<J: Job> Job for Again<J> {
    const KIND: &'static str = J::KIND;
    const QUEUE: Queue = J::QUEUE;
    const POLICY: Policy = J::POLICY;

    fn case(&self) -> Option<CaseId> {
        self.0.case()
    }

    fn document(&self) -> Option<DocumentId> {
        self.0.document()
    }
}

/// What jobs have been done on, or are to be.
struct Subjects {
    documents: Vec<DocumentId>,
    answer: MessageId,
    deleted: CaseId,
    load_file: LoadFileId,
    item: ItemId,
    upload: UploadId,
    message: DeliveryId,
    /// Everything read before then is to be read again.
    asked_at: Timestamp,
}

#[tokio::test]
async fn every_kind_has_a_handler() {
    let registry = registry(context());
    let handled: BTreeSet<&str> = registry.kinds().collect();
    assert_eq!(handled, BTreeSet::from(KINDS));
}

async fn a_second_delivery_changes_nothing(test: TestStorage) {
    let matter = Matter::open(test).await;
    deliver(&matter).await;
    // What nothing opens is tried once with what there is.
    matter.deliver(&[("locked.pdf", sample("locked.pdf")), ("box.zip", sample("zipcrypto.zip"))]).await;
    add(&matter, &["wrong"]).await;
    let config = WorkersConfig { retired_seconds: 0, ..busy(Queue::ALL.to_vec()) };
    let (mounted, references) = mount();
    let office = matter.work(Context { config, references, webhooks: webhooks(), ..reading_scans() });
    matter.settled().await;
    let documents = matter.documents().await.iter().map(|document| document.id).collect();
    let asked_at = matter.test.storage.clock.now();
    let (answer, deleted) = (ask(&matter).await, delete_a_case(&matter).await);
    let load_file = announce(&matter, b"path\none.txt\n").await;
    matter.settled().await;
    let upload = upload(&matter).await;
    let item = intake::refer(&matter, load_file, mounted.path()).await;
    let message = tell(&matter).await;
    let subjects = Subjects { documents, answer, deleted, load_file, item, upload, message, asked_at };
    matter.settled().await;
    for kind in KINDS {
        // The first may have something to do: reindexing retires a generation, which is garbage then.
        let mut pictures = Vec::new();
        for _ in 0..2 {
            deliver_again(&matter, kind, &subjects).await;
            matter.settled().await;
            pictures.push(Picture::take(&matter).await);
        }
        assert_eq!(pictures[0].lasting, pictures[1].lasting, "{kind}");
        // Building an index anew is its whole effect: another generation, holding the same.
        if kind != ReindexDatabase::KIND {
            assert_eq!(pictures[0].index, pictures[1].index, "{kind}");
        }
        assert_eq!(matter.found("quintembre OR alpha").await.len(), 2, "{kind}");
    }
    office.close().await;
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
}

async fn two_deliveries_at_once_have_one_effect(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    deliver(&matter).await;
    let audited = async |action: &str| {
        matter.test.number(&format!("select count(*) from audit_events where action = '{action}'")).await
    };
    let (mounted, references) = mount();
    let (nobody, mut read) = (MessageId::new(), LoadFileId::new());
    for kind in KINDS {
        let documents = matter.documents().await.iter().map(|document| document.id).collect();
        // Nothing is old enough to be read again: that would send documents back through the stages before.
        let asked_at = Timestamp(0);
        let (load_file, upload_id) = (LoadFileId::new(), UploadId::new());
        let deleted = matter.case.id;
        let (item, message) = (ItemId::new(), DeliveryId::new());
        let mut subjects =
            Subjects { documents, answer: nobody, deleted, load_file, item, upload: upload_id, message, asked_at };
        let (queue, action, times) = match kind {
            IngestDocument::KIND => (Queue::Ingest, "document.ingested", 4),
            ExtractText::KIND => (Queue::Extract, "document.extracted", 3),
            RecogniseText::KIND => (Queue::Ocr, "document.extracted", 4),
            IndexDatabase::KIND => (Queue::Index, "database.generation_published", 1),
            ReindexDatabase::KIND => {
                deliver_again(&matter, kind, &subjects).await;
                (Queue::Index, "database.generation_published", 3)
            }
            // One message in a thread of its own, and no two texts alike: one change, made once.
            RelateDocuments::KIND => (Queue::Relate, "case.related", 1),
            ReprocessBatch::KIND => (Queue::Maintenance, "batch.reprocessed", 0),
            RetryProtected::KIND => {
                lock(&matter).await;
                (Queue::Ingest, "document.members_opened", 1)
            }
            ReadLoadFile::KIND => {
                read = announce(&matter, b"path\nlater.txt\n").await;
                subjects.load_file = read;
                (Queue::Ingest, "load_file.read", 1)
            }
            FetchItem::KIND => {
                subjects.item = intake::refer(&matter, read, mounted.path()).await;
                (Queue::Network, "item.fetched", 1)
            }
            DeliverWebhook::KIND => {
                subjects.message = tell(&matter).await;
                (Queue::Network, "webhook.attempted", 1)
            }
            AssembleUpload::KIND => {
                subjects.upload = upload(&matter).await;
                (Queue::Ingest, "document.received", 4)
            }
            AnswerChat::KIND => {
                subjects.answer = ask(&matter).await;
                (Queue::Chat, "message.answered", 1)
            }
            PurgeCase::KIND => {
                subjects.deleted = delete_a_case(&matter).await;
                (Queue::Maintenance, "case.purged", 1)
            }
            CollectGarbage::KIND => {
                litter(&matter).await;
                matter.test.advance(LONG);
                (Queue::Maintenance, "document.ingested", 12)
            }
            SweepJobs::KIND => {
                strand(&matter).await;
                (Queue::Maintenance, "document.ingested", 12)
            }
            // It leaves no event, for each would be one more to seal.
            SealAudit::KIND => (Queue::Maintenance, "case.key_destroyed", 1),
            RaiseAlerts::KIND => {
                let raised = audited("alert.raised").await;
                subjects.message = tell(&matter).await;
                (Queue::Maintenance, "alert.raised", raised + 1)
            }
            // Told twice; rows do not say so.
            // So may a person be; without a server nothing is written (dia/tests/it/mail.rs has one).
            SendAlert::KIND | SendPasswordReset::KIND => (Queue::Network, "case.key_destroyed", 1),
            other => panic!("no case for {other}"),
        };
        deliver_again(&matter, kind, &subjects).await;
        let twice = format!("select count(*) from jobs where kind = '{kind}' and state = 'ready'");
        assert!(matter.test.number(&twice).await >= 1, "{kind}");
        let (config, references) = (busy(vec![queue]), references.clone());
        let context = Context { config, references, webhooks: webhooks(), ..reading_scans() };
        let office = matter.work(context);
        let open =
            format!("select count(*) from jobs where queue = '{}' and state in ('ready', 'running')", queue.name());
        ended(&matter, kind, &open).await;
        office.close().await;
        assert_eq!(audited(action).await, times, "{kind}");
        let registered = matter.test.number("select count(*) from blobs").await;
        assert_eq!(i64::try_from(objects(&matter).await.len()), Ok(registered), "{kind}: one object a row");
    }
    assert_eq!(audited("case.key_destroyed").await, 1);
    assert_eq!(matter.test.number("select count(*) from generations").await, 1, "the others are collected");
    let office = matter.work(reading_scans());
    ended(&matter, "the rest", "select count(*) from jobs where state in ('ready', 'running')").await;
    office.close().await;
    assert_eq!(audited("document.ingested").await, 13, "what was swept up");
    assert_eq!(matter.found("quintembre OR alpha OR lost").await.len(), 3);
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
}

/// Waits until `open` counts no jobs. Whoever lost against the other may try again a moment later, so time goes on.
async fn ended(matter: &Matter, what: &str, open: &str) {
    until(what, async || {
        matter.test.advance(Duration::from_millis(20));
        matter.test.number(open).await == 0
    })
    .await;
}

/// Delivers every job of `kind` that was or is to be done on `subjects`, once more.
async fn deliver_again(matter: &Matter, kind: &str, subjects: &Subjects) {
    let storage = &matter.test.storage;
    let (case, database) = (matter.case.id, matter.database.id);
    match kind {
        IngestDocument::KIND => {
            let job = |document: &DocumentId| Again(IngestDocument { case, document: *document });
            enqueue(storage, &subjects.documents.iter().map(job).collect::<Vec<_>>()).await;
        }
        ExtractText::KIND => {
            let job = |document: &DocumentId| Again(ExtractText { case, document: *document });
            enqueue(storage, &subjects.documents.iter().map(job).collect::<Vec<_>>()).await;
        }
        RecogniseText::KIND => {
            let job = |document: &DocumentId| Again(RecogniseText { case, document: *document });
            enqueue(storage, &subjects.documents.iter().map(job).collect::<Vec<_>>()).await;
        }
        IndexDatabase::KIND => enqueue(storage, &[Again(IndexDatabase { case, database })]).await,
        ReindexDatabase::KIND => enqueue(storage, &[Again(ReindexDatabase { case, database })]).await,
        RelateDocuments::KIND => {
            enqueue(storage, &[Again(RelateDocuments { case, asked_at: Timestamp(0) })]).await;
        }
        ReprocessBatch::KIND => {
            let (batch, asked_at) = (matter.batch.id, subjects.asked_at);
            enqueue(storage, &[Again(ReprocessBatch { case, database, batch, all: true, asked_at })]).await;
        }
        RetryProtected::KIND => enqueue(storage, &[Again(RetryProtected { case })]).await,
        ReadLoadFile::KIND => enqueue(storage, &[Again(ReadLoadFile { case, load_file: subjects.load_file })]).await,
        FetchItem::KIND => enqueue(storage, &[Again(FetchItem { case, item: subjects.item })]).await,
        DeliverWebhook::KIND => enqueue(storage, &[Again(DeliverWebhook { case, delivery: subjects.message })]).await,
        AssembleUpload::KIND => enqueue(storage, &[Again(AssembleUpload { case, upload: subjects.upload })]).await,
        AnswerChat::KIND => enqueue(storage, &[Again(AnswerChat { case, message: subjects.answer })]).await,
        PurgeCase::KIND => enqueue(storage, &[Again(PurgeCase { case: subjects.deleted })]).await,
        CollectGarbage::KIND => enqueue(storage, &[Again(CollectGarbage {})]).await,
        SweepJobs::KIND => enqueue(storage, &[Again(SweepJobs {})]).await,
        SealAudit::KIND => enqueue(storage, &[Again(SealAudit {})]).await,
        RaiseAlerts::KIND => enqueue(storage, &[Again(RaiseAlerts {})]).await,
        SendAlert::KIND => {
            let alert = AlertId::new();
            enqueue(storage, &[Again(SendAlert { alert, route: AlertRoute::Syslog })]).await;
        }
        SendPasswordReset::KIND => {
            let user = matter.actor.user();
            enqueue(storage, &[Again(SendPasswordReset { user })]).await;
        }
        other => panic!("no case for {other}"),
    }
}

/// Everything that a job could change: numbers of rows and times of change, and the objects.
#[derive(Debug)]
struct Picture {
    lasting: Vec<(&'static str, i64)>,
    /// What another generation of the index changes.
    index: (Vec<(&'static str, i64)>, BTreeSet<BlobId>),
}

impl Picture {
    async fn take(matter: &Matter) -> Self {
        let numbers = async |queries: &[&'static str]| {
            let mut numbers = Vec::new();
            for query in queries {
                numbers.push((*query, matter.test.number(query).await));
            }
            numbers
        };
        let lasting = numbers(&[
            "select count(*) from documents",
            "select coalesce(cast(sum(updated_at) as bigint), 0) from documents",
            "select count(*) from documents where state = 'indexed'",
            "select count(*) from contents",
            "select count(*) from relations",
            "select count(*) from items",
            "select cast(coalesce(sum(items), 0) as bigint) from load_files",
            "select count(*) from uploads where document_id is not null",
            "select count(*) from upload_parts",
            "select count(*) from relations where is_inclusive",
            "select count(*) from batches",
            "select count(*) from blobs where kind <> 'index'",
            "select coalesce(cast(sum(created_at) as bigint), 0) from blobs where kind <> 'index'",
            "select count(*) from webhook_deliveries",
            "select cast(sum(tries) as bigint) from webhook_deliveries",
            "select coalesce(cast(sum(updated_at) as bigint), 0) from webhook_deliveries",
            "select count(*) from messages",
            "select coalesce(cast(sum(updated_at) as bigint), 0) from messages",
            "select cast(sum(length(sealed_body)) as bigint) from messages",
            "select coalesce(cast(sum(updated_at) as bigint), 0) from cases",
            "select count(*) from case_keys",
            "select count(*) from databases",
            "select count(*) from audit_events where action not like 'system.%' and action not like 'alert.%' and action <> 'database.generation_published'",
        ]);
        let index = numbers(&[
            "select cast(sum(generation) as bigint) from databases",
            "select coalesce(cast(sum(updated_at) as bigint), 0) from databases",
            "select count(*) from generations",
            "select count(*) from blobs",
            "select count(*) from audit_events where action = 'database.generation_published'",
        ]);
        Self { lasting: lasting.await, index: (index.await, objects(matter).await) }
    }
}

/// Workers of these queues with room for several jobs at once.
fn busy(queues: Vec<Queue>) -> WorkersConfig {
    WorkersConfig {
        queues,
        ingest: 8,
        extract: 4,
        ocr: 4,
        index: 2,
        chat: 4,
        network: 4,
        maintenance: 4,
        ..context().config
    }
}

/// A folder that references may name.
fn mount() -> (TempDir, References) {
    let folder = TempDir::new().unwrap();
    let folders = vec![folder.path().to_str().unwrap().to_owned()];
    let references = References::new(&ReferencesConfig { folders, ..ReferencesConfig::default() }).unwrap();
    (folder, references)
}

/// A file, a copy of it, a message with an attachment, and a scan: four documents to read.
async fn deliver(matter: &Matter) {
    let message = eml("See attached.", ("a.txt", "alpha"));
    let rent = b"Rent is due on quintembre first.".to_vec();
    matter
        .deliver(&[
            ("one.txt", rent.clone()),
            ("copy.txt", rent),
            ("two.eml", message),
            ("scan.png", sample("testOCR.png")),
        ])
        .await;
}

/// An upload of two pieces, complete: the same file that came before, or another.
async fn upload(matter: &Matter) -> UploadId {
    let upload = intake::begin(matter, "pieces.txt", UploadKind::Whole, Some(8)).await;
    intake::add(matter, upload, &[b"piec", b"e by"]).await.id
}

/// One attempt at a message, and no second.
fn webhooks() -> Webhooks {
    Webhooks::new(&WebhooksConfig { attempts: 1, ..WebhooksConfig::default() }).unwrap()
}

/// A message that goes where none may go.
async fn tell(matter: &Matter) -> DeliveryId {
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::ManageWebhooks).await.unwrap();
    let (webhook, _) = case.create_webhook(&mut tx, "https://127.0.0.1:1/", &["*".to_owned()]).await.unwrap();
    let message = webhook.test(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    message
}

async fn ask(matter: &Matter) -> MessageId {
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::Chat).await.unwrap();
    let conversation = Conversation::start(&mut tx, &case, "a question").await.unwrap();
    let asked = messages::ask(&mut tx, &conversation, "When is the rent due?").await.unwrap();
    tx.commit().await.unwrap();
    asked.answer
}

/// Opens another case with a document in it, and deletes it.
async fn delete_a_case(matter: &Matter) -> CaseId {
    let storage = &matter.test.storage;
    let mut tx = storage.begin(&matter.actor).await.unwrap();
    let case = Case::create(&mut tx, &new_case("Roe v. Doe")).await.unwrap();
    let database = Database::create(&mut tx, &case, "Correspondence", "", Deduplication::default()).await.unwrap();
    let batch = Batch::open(&mut tx, &database, "upload", &BatchDetails::default()).await.unwrap();
    let key = tx.case_key(case.id).await.unwrap();
    tx.commit().await.unwrap();
    let mut writer = storage.objects.writer(&key, case.id, BlobId::new(), BlobKind::Original).await.unwrap();
    writer.write("a settlement".into()).await.unwrap();
    let stored = writer.finish().await.unwrap();
    let mut tx = storage.begin(&matter.actor).await.unwrap();
    let details = Details { name: "s.txt".into(), path: "s.txt".into(), ..Details::default() };
    documents::receive(&mut tx, &batch, &[("s.txt", details, stored)]).await.unwrap();
    case.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    case.id
}

/// Leaves a document and two members that nothing opened, and adds their passwords.
async fn lock(matter: &Matter) {
    matter.deliver(&[("locked.pdf", sample("locked.pdf")), ("box.zip", sample("zipcrypto.zip"))]).await;
    let office = matter.work(Context { config: busy(vec![Queue::Ingest, Queue::Extract]), ..reading_scans() });
    let open = "select count(*) from jobs where queue in ('ingest', 'extract') and state in ('ready', 'running')";
    ended(matter, "nothing opens them", open).await;
    office.close().await;
    add(matter, &["secret", "other"]).await;
}

/// Leaves an object that no row refers to.
async fn litter(matter: &Matter) {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    drop(tx);
    let objects = &matter.test.storage.objects;
    let mut writer = objects.writer(&key, matter.case.id, BlobId::new(), BlobKind::Original).await.unwrap();
    writer.write("nobody knows me".into()).await.unwrap();
    writer.finish().await.unwrap();
}

/// Delivers a document and loses its job.
async fn strand(matter: &Matter) {
    matter.deliver(&[("lost.txt", b"lost and found".to_vec())]).await;
    let lost = "delete from jobs where kind = 'ingest_document' and state = 'ready' returning cast(1 as bigint)";
    assert_eq!(matter.test.number(lost).await, 1);
    matter.test.advance(Duration::from_mins(2));
}

pub(crate) async fn objects(matter: &Matter) -> BTreeSet<BlobId> {
    let everything = Timestamp(i64::MAX);
    let pages: Vec<_> = matter.test.storage.objects.list(everything).try_collect().await.unwrap();
    pages.iter().flatten().map(|object| object.blob).collect()
}
