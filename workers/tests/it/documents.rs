//! The life of documents, from receipt to the equation, and what ends it: deletion, purge, garbage collection.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    access::Action,
    actor::Actor,
    ids::BlobId,
    jobs::{CollectGarbage, IndexDatabase, PurgeCase, Queue, SweepJobs},
    outcome::{Category, DocumentState},
};
use futures::TryStreamExt as _;
use pipeline::Settings;
use storage::{
    attempts,
    cases::Case,
    databases::Database,
    documents::{Document, reprocess},
    objects::BlobKind,
    sessions,
};
use testkit::TestStorage;
use workers::{Context, WorkersConfig};

use crate::{
    both,
    matter::{LONG, Matter, context, context_with, eml, reading_scans, sample, zip},
    probe::enqueue,
    until,
};

both!(
    the_equation_closes,
    letters_do_not_wait_for_scans,
    too_deep_and_too_large_containers_keep_what_was_read,
    a_document_that_keeps_its_members_is_read_all_the_same,
    a_deleted_document_leaves_the_index_and_the_store,
    a_purged_case_leaves_nothing,
    a_case_that_stands_is_not_purged,
    an_index_is_held_no_longer_than_configured,
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

async fn letters_do_not_wait_for_scans(test: TestStorage) {
    let matter = Matter::open(test).await;
    // The same page twenty times, each with an end of its own, so that none is a copy of another.
    let scan = |n: u8| [sample("testOCR.png"), vec![n]].concat();
    let names: Vec<String> = (0..20).map(|n| format!("scan {n}.png")).collect();
    let mut files: Vec<_> = names.iter().zip(0..).map(|(name, n)| (name.as_str(), scan(n))).collect();
    let letters: Vec<String> = (0..20).map(|n| format!("letter {n}.txt")).collect();
    files.extend(letters.iter().map(|name| (name.as_str(), format!("sincerely, {name}").into_bytes())));
    matter.deliver(&files).await;
    let mut context = reading_scans();
    (context.config.extract, context.config.ocr) = (1, 2);
    pause(&matter, Queue::Ocr, true).await;
    let office = matter.work(context);
    until("the letters are indexed, and nobody has touched a scan", async || {
        let counts = matter.counts().await;
        (counts.indexed, counts.in_flight) == (20, 20)
            && matter.test.number("select count(*) from jobs where kind = 'recognise_text' and state = 'ready'").await
                == 20
    })
    .await;
    assert!(
        matter.documents().await.iter().all(|document| {
            (document.state == DocumentState::Indexed) == document.details.name.starts_with("letter")
        })
    );
    assert_eq!(
        matter.test.number("select count(*) from jobs where kind = 'extract_text' and state <> 'done'").await,
        0
    );

    pause(&matter, Queue::Ocr, false).await;
    matter.settled().await;
    office.close().await;
    let counts = matter.counts().await;
    assert!(counts.balances() && counts.indexed == 40, "{counts:?}");
    assert_eq!(matter.test.number("select count(*) from audit_events where action = 'document.extracted'").await, 40);
}

/// Pauses or resumes a queue as an operator does.
async fn pause(matter: &Matter, queue: Queue, paused: bool) {
    let mut tx = matter.test.storage.begin(&matter.test.administrator().await).await.unwrap();
    storage::jobs::set_paused(&mut tx, queue, paused).await.unwrap();
    tx.commit().await.unwrap();
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

async fn a_document_that_keeps_its_members_is_read_all_the_same(test: TestStorage) {
    let matter = Matter::open(test).await;
    let mut settings = Settings::default();
    settings.limits.max_members = 1;
    let message = |parts: &str| {
        format!(
            "From: a@example.org\nSubject: the lease\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
             --b\nContent-Type: text/plain\n\nThe tenant quavers.\n{parts}--b--\n"
        )
        .into_bytes()
    };
    let part = "--b\nContent-Type: application/octet-stream; name=a.txt\nContent-Disposition: attachment\n\nrent\n";
    matter
        .deliver(&[
            ("two.eml", message(&part.repeat(2))),
            ("one.eml", message(part)),
            ("two.zip", zip(&[("1.txt", b"first"), ("2.txt", b"second")])),
        ])
        .await;
    let office = matter.work(context_with(settings));
    matter.settled().await;
    let two = matter.document("two.eml").await;
    assert_eq!((two.state, two.details.warnings.len()), (DocumentState::Indexed, 1), "{:?}", two.details);
    let warning = &two.details.warnings[0];
    assert_eq!(warning.category, Category::TooManyMembers);
    assert!(warning.detail.starts_with("its embedded files could not be taken out: "), "{}", warning.detail);
    assert_eq!(matter.document("one.eml").await.details.warnings, []);
    assert_eq!(matter.document("two.zip").await.category, Some(Category::TooManyMembers), "a container is its members");
    assert_eq!(matter.found("quavers").await.len(), 2);
    let counts = matter.counts().await;
    assert!(counts.balances() && counts.exception == 1, "{counts:?}");

    // Read again, which does not take anything out, it still says what it lacks.
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    reprocess(&mut tx, &database, &matter.batch, true).await.unwrap();
    tx.commit().await.unwrap();
    matter.settled().await;
    office.close().await;
    assert_eq!(matter.document("two.eml").await.details.warnings.len(), 1);
}

async fn a_deleted_document_leaves_the_index_and_the_store(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("keep.txt", b"sparrow".to_vec()), ("drop.txt", b"sparrow eagle".to_vec())]).await;
    let office = matter.work(context());
    matter.settled().await;
    assert_eq!(matter.found("sparrow").await.len(), 2);
    let doomed = matter.document("drop.txt").await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let doomed = Document::find(&mut tx, doomed.id, Action::DeleteDocuments).await.unwrap();
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
    crate::passwords::add(&matter, &["secret"]).await;
    let office = matter.work(context());
    matter.settled().await;
    assert!(stored(&matter).await > 5);
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::DeleteCase).await.unwrap();
    case.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    until("it is purged", async || {
        matter.test.number("select count(*) from jobs where kind = 'purge_case' and state = 'done'").await == 1
    })
    .await;
    office.close().await;
    for table in
        ["case_keys", "documents", "databases", "batches", "generations", "blobs", "contents", "leases", "passwords"]
    {
        assert_eq!(matter.test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
    assert_eq!(stored(&matter).await, 0);
    for action in ["case.deleted", "case.key_destroyed", "case.purged"] {
        let sql = format!("select count(*) from audit_events where action = '{action}'");
        assert_eq!(matter.test.number(&sql).await, 1, "{action}");
    }
}

async fn a_case_that_stands_is_not_purged(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("brief.txt", b"the brief stands".to_vec())]).await;
    let office = matter.work(context());
    matter.settled().await;
    let before = stored(&matter).await;
    enqueue(&matter.test.storage, &[PurgeCase { case: matter.case.id }]).await;
    matter.settled().await;
    office.close().await;
    assert_eq!(matter.test.number("select count(*) from jobs where kind = 'purge_case' and state = 'dead'").await, 1);
    assert_eq!(stored(&matter).await, before);
    assert_eq!(matter.found("stands").await.len(), 1);
}

async fn an_index_is_held_no_longer_than_configured(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    matter.deliver(&[("coming.txt", b"never comes".to_vec())]).await;
    let (case, database) = (matter.case.id, matter.database.id);
    enqueue(&matter.test.storage, &[IndexDatabase { case, database }]).await;
    // Nobody reads the document, so the indexer waits for it with the lease in its hands.
    let config = WorkersConfig {
        queues: vec![Queue::Index],
        lease_seconds: 7,
        index_linger_milliseconds: 600_000,
        stop_seconds: 0,
        ..context().config
    };
    let office = matter.work(Context { config, ..context() });
    let now = matter.test.storage.clock.now().micros();
    let left = format!("select coalesce(max(expires_at) - {now}, 0) from leases");
    until("the index is held", async || matter.test.number(&left).await > 0).await;
    assert_eq!(matter.test.number(&left).await, 7_000_000, "microseconds");
    office.close().await;
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
    let mut tx = storage.begin(&matter.actor).await.unwrap();
    let day = Duration::from_hours(24);
    let lives = sessions::Lifetimes { idle: day, absolute: day };
    sessions::open(&mut tx, matter.actor.user().unwrap(), &lives, sessions::Proof::Password).await.unwrap();
    tx.commit().await.unwrap();
    attempts::begin(storage, "nobody@example.org", "192.0.2.1", false).await.unwrap().unwrap();

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
    for (table, left) in [("generations", 1), ("sessions", 0), ("sign_in_attempts", 0)] {
        assert_eq!(matter.test.number(&format!("select count(*) from {table}")).await, left, "{table}");
    }
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
