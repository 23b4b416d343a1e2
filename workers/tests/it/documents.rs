//! The life of documents, from receipt to the equation, and what ends it: deletion, purge, garbage collection.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    actor::Actor,
    ids::BlobId,
    jobs::{CollectGarbage, ExtractText, IndexDatabase, IngestDocument, ReindexDatabase, SweepJobs},
    outcome::{Category, DocumentState},
};
use futures::TryStreamExt as _;
use pipeline::Settings;
use storage::{cases::Case, documents::Document, objects::BlobKind};
use testkit::TestStorage;

use crate::{
    both,
    matter::{LONG, Matter, context, context_with, eml, sample, zip},
    probe::enqueue,
    until,
};

both!(
    the_equation_closes,
    every_job_delivered_twice_has_one_effect,
    too_deep_and_too_large_containers_keep_what_was_read,
    a_deleted_document_leaves_the_index_and_the_store,
    a_purged_case_leaves_nothing,
    garbage_is_what_nothing_refers_to,
    the_sweep_finds_what_was_left_behind,
    damaged_bytes_are_an_exception,
);

async fn the_equation_closes(test: TestStorage) {
    let matter = Matter::open(test).await;
    let message = eml("The tenant objects.", ("schedule.txt", "Rent is due on quintembre first."));
    let junk: Vec<u8> = (0..1_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    matter
        .deliver(&[
            ("memo.pdf", sample("fake_memo.pdf")),
            ("letter.docx", sample("word_tables.docx")),
            ("memo again.pdf", sample("fake_memo.pdf")),
            ("empty.txt", Vec::new()),
            ("locked.pdf", sample("locked.pdf")),
            ("matter.zip", zip(&[("notes.txt", b"The notary was absent."), ("mail/nested.eml", &message)])),
            ("junk.bin", junk),
        ])
        .await;
    let office = matter.work(context());
    matter.settled().await;
    office.close().await;

    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    assert_eq!((counts.received, counts.unpacked), (7, 3), "{counts:?}");
    assert_eq!((counts.indexed, counts.duplicate, counts.exception), (6, 1, 3), "{counts:?}");
    for (name, category) in
        [("empty.txt", Category::Empty), ("locked.pdf", Category::Encrypted), ("junk.bin", Category::Unsupported)]
    {
        assert_eq!(matter.document(name).await.category, Some(category), "{name}");
    }
    let first = matter.document("memo.pdf").await;
    let copy = matter.document("memo again.pdf").await;
    // Which of the two came first is the queue's business; that one stands for the other is not.
    let pair = [(first.duplicate_of, copy.id), (copy.duplicate_of, first.id)];
    assert_eq!(pair.iter().filter(|(of, other)| *of == Some(*other)).count(), 1);
    let schedule = matter.document("schedule.txt").await;
    assert_eq!(schedule.details.path, "matter.zip/mail/nested.eml/schedule.txt");
    assert_eq!((schedule.depth, schedule.family), (2, matter.document("matter.zip").await.id));
    assert_eq!(schedule.parent, Some(matter.document("nested.eml").await.id));
    assert_eq!(matter.found("quintembre").await, [schedule.id]);
    assert_eq!(matter.test.number("select count(*) from jobs where state <> 'done'").await, 0);
}

async fn every_job_delivered_twice_has_one_effect(test: TestStorage) {
    let matter = Matter::open(test).await;
    let message = eml("See attached.", ("a.txt", "alpha"));
    let receipts = matter.deliver(&[("one.txt", b"one".to_vec()), ("two.eml", message)]).await;
    let (case, database) = (matter.case.id, matter.database.id);
    let twice = async || {
        for document in matter.documents().await.iter().map(|document| document.id) {
            enqueue(&matter.test.storage, &[IngestDocument { case, document }, IngestDocument { case, document }])
                .await;
            enqueue(&matter.test.storage, &[ExtractText { case, document }, ExtractText { case, document }]).await;
        }
        enqueue(&matter.test.storage, &[IndexDatabase { case, database }]).await;
        enqueue(&matter.test.storage, &[ReindexDatabase { case, database }]).await;
        enqueue(&matter.test.storage, &[SweepJobs {}]).await;
        enqueue(&matter.test.storage, &[CollectGarbage {}]).await;
    };
    assert_eq!(receipts.len(), 2);
    twice().await; // while everything is still to be done
    let office = matter.work(context());
    matter.settled().await;
    twice().await; // and when everything is done
    matter.settled().await;
    office.close().await;

    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    assert_eq!((counts.received, counts.unpacked, counts.indexed), (2, 1, 3), "{counts:?}");
    assert_eq!(matter.found("alpha").await.len(), 1);
    for (action, times) in [("document.received", 1), ("document.ingested", 3), ("document.extracted", 3)] {
        let sql = format!("select count(*) from audit_events where action = '{action}'");
        assert_eq!(matter.test.number(&sql).await, times, "{action}");
    }
    let registered = "select count(*) from blobs where kind in ('original', 'text')";
    assert_eq!(matter.test.number(registered).await, 6);
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
}

async fn too_deep_and_too_large_containers_keep_what_was_read(test: TestStorage) {
    let matter = Matter::open(test).await;
    let mut settings = Settings::default();
    settings.limits.max_depth = 1;
    settings.limits.max_unpacked_bytes = 1_000;
    let context = context_with(settings);
    let deepest = zip(&[("c.txt", b"charlie")]);
    let inner = zip(&[("deepest.zip", &deepest)]);
    matter
        .deliver(&[
            ("outer.zip", zip(&[("inner.zip", &inner)])),
            ("large.zip", zip(&[("1.txt", b"first"), ("2.txt", b"second"), ("3.txt", &[b'x'; 5_000])])),
        ])
        .await;
    let office = matter.work(context);
    matter.settled().await;
    office.close().await;
    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    assert_eq!(matter.document("inner.zip").await.category, Some(Category::TooDeep));
    assert_eq!(matter.document("large.zip").await.category, Some(Category::ArchiveBomb));
    assert_eq!(matter.document("2.txt").await.state, DocumentState::Indexed);
    assert_eq!((counts.unpacked, counts.indexed, counts.exception), (3, 3, 2), "{counts:?}");
}

async fn a_deleted_document_leaves_the_index_and_the_store(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("keep.txt", b"sparrow".to_vec()), ("drop.txt", b"sparrow eagle".to_vec())]).await;
    let office = matter.work(context());
    matter.settled().await;
    assert_eq!(matter.found("sparrow").await.len(), 2);
    let doomed = matter.document("drop.txt").await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let doomed = Document::find(&mut tx, doomed.id, domain::access::Action::DeleteDocuments).await.unwrap();
    doomed.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    until("the row is gone", async || {
        matter.test.number("select count(*) from documents where deleted_at is not null").await == 0
    })
    .await;
    matter.settled().await;
    office.close().await;
    assert_eq!(matter.found("sparrow").await, [matter.document("keep.txt").await.id]);
    assert_eq!(matter.found("eagle").await, []);
    assert_eq!(matter.test.number("select count(*) from blobs where kind in ('original', 'text')").await, 2);
}

async fn stored(matter: &Matter) -> usize {
    let everything = domain::clock::Timestamp(i64::MAX);
    let pages: Vec<_> = matter.test.storage.objects.list(everything).try_collect().await.unwrap();
    pages.iter().map(Vec::len).sum()
}

async fn a_purged_case_leaves_nothing(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("secret.txt", b"the settlement sum".to_vec()), ("a.zip", zip(&[("b.txt", b"bravo")]))]).await;
    let office = matter.work(context());
    matter.settled().await;
    assert!(stored(&matter).await > 5);
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, domain::access::Action::DeleteCase).await.unwrap();
    case.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    until("it is purged", async || {
        matter.test.number("select count(*) from jobs where kind = 'purge_case' and state = 'done'").await == 1
    })
    .await;
    office.close().await;
    for table in ["case_keys", "documents", "databases", "batches", "generations", "blobs", "contents"] {
        assert_eq!(matter.test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
    assert_eq!(stored(&matter).await, 0);
}

async fn garbage_is_what_nothing_refers_to(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    matter.deliver(&[("one.txt", b"first of all".to_vec())]).await;
    let office = matter.work(context());
    matter.settled().await;
    matter.deliver(&[("two.txt", b"second of all".to_vec())]).await;
    matter.settled().await;
    office.close().await;
    let storage = &matter.test.storage;
    let orphan = BlobId::new();
    let mut tx = storage.read(&matter.actor).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    drop(tx);
    let mut writer = storage.objects.writer(&key, matter.case.id, orphan, BlobKind::Original).await.unwrap();
    writer.write(Bytes::from_static(b"nobody knows me")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(matter.test.number("select count(*) from generations").await, 2);

    matter.test.advance(LONG);
    enqueue(storage, &[CollectGarbage {}]).await;
    let office = matter.work(context());
    until("it is collected", async || {
        matter.test.number("select count(*) from jobs where kind = 'collect_garbage' and state = 'done'").await >= 1
    })
    .await;
    matter.settled().await;
    office.close().await;
    assert!(storage.objects.open(&key, matter.case.id, orphan, BlobKind::Original).is_err());
    assert_eq!(matter.test.number("select count(*) from generations").await, 1);
    assert_eq!(matter.found("all").await.len(), 2, "what is live stays");
    let registered = matter.test.number("select count(*) from blobs").await;
    assert_eq!(i64::try_from(stored(&matter).await), Ok(registered), "one object a row, one row an object");
}

async fn the_sweep_finds_what_was_left_behind(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    matter.deliver(&[("lost.txt", b"found again".to_vec())]).await;
    assert_eq!(matter.test.number("delete from jobs returning cast(1 as bigint)").await, 1);
    matter.test.advance(Duration::from_mins(2));
    enqueue(&matter.test.storage, &[SweepJobs {}]).await;
    let office = matter.work(context());
    matter.settled().await;
    office.close().await;
    assert_eq!(matter.found("again").await.len(), 1);
}

async fn damaged_bytes_are_an_exception(test: TestStorage) {
    let matter = Matter::open(test).await;
    let receipts = matter.deliver(&[("good.txt", b"whole".to_vec()), ("bad.txt", b"broken".to_vec())]).await;
    let storage = &matter.test.storage;
    let mut tx = storage.read(&Actor::system(domain::ids::fresh())).await.unwrap();
    let bad = Document::load(&mut tx, matter.case.id, receipts[1].document).await.unwrap();
    drop(tx);
    storage.objects.delete(bad.original).await.unwrap();
    let office = matter.work(context());
    matter.settled().await;
    office.close().await;
    assert_eq!(matter.document("bad.txt").await.category, Some(Category::Integrity));
    assert_eq!(matter.document("good.txt").await.state, DocumentState::Indexed);
}
