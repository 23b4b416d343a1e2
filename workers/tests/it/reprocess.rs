//! Replaced files and batches read again, with all workers: search, the equation and the versions stay right.

use domain::{
    access::Action,
    jobs::{CollectGarbage, ReprocessBatch},
    outcome::{Category, DocumentState},
};
use pipeline::Settings;
use storage::{
    batches::Batch,
    databases::Database,
    documents::{Document, reprocess},
    objects::BlobKind,
};
use testkit::TestStorage;

use crate::{
    both,
    matter::{Matter, context, context_with, sample, zip},
    probe::enqueue,
};

both!(a_replaced_file_is_found_by_its_new_words_only, a_batch_is_read_again_by_another_reader_only);

async fn replace(matter: &Matter, name: &str, bytes: &[u8]) {
    let id = matter.document(name).await.id;
    let storage = &matter.test.storage;
    let mut tx = storage.begin(&matter.actor).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    let blob = domain::ids::BlobId::new();
    let mut writer = storage.objects.writer(&key, matter.case.id, blob, BlobKind::Original).await.unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    let stored = writer.finish().await.unwrap();
    let document = Document::find(&mut tx, id, Action::Upload).await.unwrap();
    document.replace(&mut tx, name, &stored, "a better copy").await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_replaced_file_is_found_by_its_new_words_only(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter
        .deliver(&[
            ("letter.txt", b"a letter about the sparrow".to_vec()),
            ("papers.zip", zip(&[("old.txt", b"an old page about the eagle"), ("same.txt", b"a page about the owl")])),
            ("locked.pdf", sample("locked.pdf")),
        ])
        .await;
    let office = matter.work(context());
    matter.settled().await;
    assert_eq!(matter.found("sparrow OR eagle").await.len(), 2);
    replace(&matter, "letter.txt", b"a letter about the heron").await;
    replace(&matter, "papers.zip", &zip(&[("new.txt", b"a new page about the stork")])).await;
    replace(&matter, "locked.pdf", &sample("fake_memo.pdf")).await;
    matter.settled().await;
    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    assert_eq!((counts.received, counts.unpacked, counts.indexed, counts.exception), (3, 1, 4, 0), "{counts:?}");
    assert!(matter.found("sparrow OR eagle OR owl").await.is_empty());
    assert_eq!(matter.found("heron").await, [matter.document("letter.txt").await.id]);
    assert_eq!(matter.found("stork").await, [matter.document("new.txt").await.id]);

    // What the new file does not give is not found by the old one's words either.
    replace(&matter, "letter.txt", b"").await;
    matter.settled().await;
    assert_eq!(matter.document("letter.txt").await.category, Some(Category::Empty));
    crate::until("the index has let it go", async || matter.found("heron").await.is_empty()).await;
    enqueue(&matter.test.storage, &[CollectGarbage {}]).await;
    matter.settled().await;
    office.close().await;
    let letter = matter.document("letter.txt").await;
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let versions = letter.versions(&mut tx).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    assert_eq!(versions.len(), 3);
    for version in versions {
        let kept = matter.test.storage.objects.reader(&key, matter.case.id, version.original, BlobKind::Original);
        assert!(kept.is_ok(), "version {} is kept", version.number);
    }
}

async fn a_batch_is_read_again_by_another_reader_only(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter
        .deliver(&[
            ("letter.txt", b"a letter about the sparrow".to_vec()),
            ("memo.pdf", sample("fake_memo.pdf")),
            ("locked.pdf", sample("locked.pdf")),
            ("empty.txt", Vec::new()),
        ])
        .await;
    let office = matter.work(context());
    matter.settled().await;
    office.close().await;
    let before = matter.counts().await;
    let readings = async || matter.test.number("select count(*) from readings").await;
    assert_eq!(readings().await, 4, "two texts, two failures");
    let ask = async |all| {
        let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
        let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
        let batch = Batch::find(&mut tx, &database, matter.batch.id).await.unwrap();
        reprocess(&mut tx, &database, &batch, all).await.unwrap();
        tx.commit().await.unwrap();
    };
    let other = || {
        let mut settings = Settings::default();
        settings.limits.max_pages = 1_000;
        context_with(settings)
    };
    // The same reader has nothing to do; another reads everything once, however often it is asked.
    let office = matter.work(context());
    ask(false).await;
    matter.settled().await;
    office.close().await;
    assert_eq!(readings().await, 4);
    let office = matter.work(other());
    ask(false).await;
    ask(false).await;
    matter.settled().await;
    assert_eq!(readings().await, 8);
    ask(false).await;
    matter.settled().await;
    assert_eq!(readings().await, 8);
    assert_eq!(matter.counts().await, before);
    assert_eq!(matter.found("sparrow").await, [matter.document("letter.txt").await.id]);
    let letter = matter.document("letter.txt").await;
    assert_eq!(letter.state, DocumentState::Indexed);
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let pages: Vec<String> =
        letter.readings(&mut tx).await.unwrap().iter().map(|r| r.reader.parameters["max_pages"].clone()).collect();
    assert_eq!(pages, ["20000", "1000"]);
    drop(tx);

    // All of it, asked for once and delivered twice.
    ask(true).await;
    matter.settled().await;
    assert_eq!(readings().await, 12);
    let again: i64 = matter.test.number("select count(*) from jobs where kind = 'reprocess_batch'").await;
    assert!(again >= 3, "{again}");
    let delivered = ReprocessBatch {
        case: matter.case.id,
        database: matter.database.id,
        batch: matter.batch.id,
        all: true,
        asked_at: domain::clock::Timestamp(0),
    };
    enqueue(&matter.test.storage, &[delivered, delivered]).await;
    matter.settled().await;
    office.close().await;
    assert_eq!(readings().await, 12);
    assert_eq!(matter.counts().await, before);
}
