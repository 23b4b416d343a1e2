//! Replaced files and repeated readings in rows: what was stays, what ran on it cannot reach what is now.

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{BatchId, DocumentId},
    jobs::ReprocessBatch,
    outcome::{Category, DocumentState, Exception},
    provenance::Provenance,
    text::{Metadata, Text},
};
use storage::{
    Error,
    audit::Audit,
    batches::Batch,
    documents::{self, Details, Document, Extracted, Fingerprints, NewMember, Reread},
};
use testkit::{Matter, TestStorage, on_each_database};

on_each_database!(
    a_replaced_file_keeps_its_former_version,
    what_ran_on_the_former_bytes_reaches_nothing,
    what_was_unpacked_from_former_bytes_goes,
    a_second_reading_keeps_the_first,
    a_failed_second_reading_leaves_the_first_standing,
    a_cancelled_second_reading_leaves_the_first_standing,
    only_what_another_reader_read_is_read_again,
);

fn reader(version: &str) -> Provenance {
    Provenance { tool: "test".to_owned(), version: version.to_owned(), ..Provenance::default() }
}

async fn ingest(matter: &Matter, id: DocumentId) {
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    document.set_ingested(&mut tx, "text", "text/plain", &document.details).await.unwrap();
    tx.audit(Audit::JobsSwept { enqueued: 0 }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn text(matter: &Matter, by: &str) -> Extracted {
    let mut tx = matter.begin().await;
    let key = tx.case_key(matter.case).await.unwrap();
    drop(tx);
    let (objects, case) = (matter.storage.objects.clone(), matter.case);
    let text = Text { text: format!("words of {by}"), ..Text::default() };
    let text = tokio::task::spawn_blocking(move || documents::write_text(&objects, &key, case, &text)).await.unwrap();
    Extracted {
        text: text.unwrap(),
        pages: 1,
        characters: 10,
        metadata: Metadata::default(),
        warnings: Vec::new(),
        provenance: reader(by),
        fingerprints: Fingerprints::default(),
    }
}

async fn extract(matter: &Matter, id: DocumentId, by: &str) {
    let (document, extracted) = (matter.load(id).await, text(matter, by).await);
    let mut tx = matter.begin().await;
    document.set_extracted(&mut tx, &extracted).await.unwrap();
    tx.commit().await.unwrap();
}

async fn index(matter: &Matter, id: DocumentId) {
    let text = matter.load(id).await.text.unwrap();
    let mut tx = matter.begin().await;
    assert_eq!(documents::mark_indexed(&mut tx, &[(id, text)]).await.unwrap(), 1);
    tx.audit(Audit::JobsSwept { enqueued: 0 }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn indexed(matter: &Matter, batch: BatchId, name: &str, by: &str) -> DocumentId {
    let id = matter.document(batch, name, name.as_bytes()).await;
    ingest(matter, id).await;
    extract(matter, id, by).await;
    index(matter, id).await;
    id
}

async fn replace(matter: &Matter, id: DocumentId, bytes: &[u8]) -> storage::Result<u32> {
    let stored = matter.store(bytes).await;
    let mut tx = matter.begin().await;
    let document = Document::find(&mut tx, id, Action::Upload).await?;
    let version = document.replace(&mut tx, "better.txt", &stored, " the first was cut off ").await?;
    tx.commit().await?;
    Ok(version)
}

/// Sends one page of a batch to be read again by `by`.
async fn reread(matter: &Matter, batch: BatchId, by: &str, asked_at: Option<Timestamp>) -> u64 {
    let job = ReprocessBatch {
        case: matter.case,
        database: matter.database,
        batch,
        all: asked_at.is_some(),
        asked_at: asked_at.unwrap_or(Timestamp(0)),
    };
    let reread = Reread { job, reader: documents::reader_id(&reader(by)).unwrap() };
    let mut tx = matter.begin().await;
    let sent = reread.page(&mut tx, DocumentId(uuid::Uuid::nil()), 100).await.unwrap();
    tx.commit().await.unwrap();
    sent.documents
}

async fn a_replaced_file_keeps_its_former_version(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = indexed(&matter, batch, "a.txt", "1").await;
    let before = matter.load(id).await;
    assert!(before.in_index);
    assert_eq!(replace(&matter, id, b"better").await.unwrap(), 2);
    let after = matter.load(id).await;
    assert_eq!((after.state, after.version, after.text, after.size), (DocumentState::Received, 2, None, 6));
    assert_eq!((after.details.name.as_str(), after.details.path.as_str()), ("better.txt", "a.txt"));
    let mut tx = matter.begin().await;
    assert_eq!(documents::withdrawn(&mut tx, matter.database, 10).await.unwrap(), [id], "its entry must go");
    let versions = after.versions(&mut tx).await.unwrap();
    let shown: Vec<_> = versions.iter().map(|v| (v.number, v.current, v.name.as_str(), v.original)).collect();
    assert_eq!(shown, [(1, false, "a.txt", before.original), (2, true, "better.txt", after.original)]);
    assert_eq!(
        (versions[0].sha256.clone(), versions[0].by, versions[0].note.clone()),
        (before.sha256.clone(), matter.owner.user(), None)
    );
    assert_eq!((versions[1].by, versions[1].note.as_deref()), (matter.owner.user(), Some("the first was cut off")));
    let readings = after.readings(&mut tx).await.unwrap();
    assert_eq!(readings.len(), 1);
    assert_eq!((readings[0].version, readings[0].text, &readings[0].reader), (1, before.text, &reader("1")));
    assert_eq!(readings[0].input_sha256, before.sha256);
    documents::forget_entries(&mut tx, &[id]).await.unwrap();
    assert!(documents::withdrawn(&mut tx, matter.database, 10).await.unwrap().is_empty());
    drop(tx);

    // All of it goes with the document.
    ingest(&matter, id).await;
    extract(&matter, id, "1").await;
    let mut tx = matter.begin().await;
    Document::find(&mut tx, id, Action::DeleteDocuments).await.unwrap().delete(&mut tx).await.unwrap();
    let freed = documents::remove_deleted(&mut tx, &[id]).await.unwrap();
    assert_eq!(freed.len(), 4, "two originals and two texts");
    tx.commit().await.unwrap();
    for table in ["blobs", "versions", "readings", "documents"] {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
}

async fn what_ran_on_the_former_bytes_reaches_nothing(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = matter.document(batch, "a.txt", b"a").await;
    let received = matter.load(id).await;
    replace(&matter, id, b"b").await.unwrap();
    // The new bytes stand where the old ones stood, so only the bytes tell them apart.
    let exception = Exception::new(Category::Corrupt, "of the old bytes");
    let late = received.set_ingested(&mut matter.begin().await, "text", "text/plain", &received.details).await;
    assert!(matches!(late, Err(Error::LeaseLost)));
    assert!(matches!(received.set_exception(&mut matter.begin().await, &exception, None).await, Err(Error::LeaseLost)));
    assert!(matches!(received.set_duplicate(&mut matter.begin().await, id).await, Err(Error::LeaseLost)));
    ingest(&matter, id).await;
    let ingested = matter.load(id).await;
    replace(&matter, id, b"c").await.unwrap();
    ingest(&matter, id).await;
    let late = text(&matter, "1").await;
    assert!(matches!(ingested.set_extracted(&mut matter.begin().await, &late).await, Err(Error::LeaseLost)));
    extract(&matter, id, "1").await;
    let first = matter.load(id).await.text.unwrap();
    replace(&matter, id, b"d").await.unwrap();
    ingest(&matter, id).await;
    extract(&matter, id, "1").await;
    let mut tx = matter.begin().await;
    assert_eq!(documents::mark_indexed(&mut tx, &[(id, first)]).await.unwrap(), 0, "the index holds another text");
    drop(tx);
    // Two people replace it at once: one of them learns it.
    let mut tx = matter.begin().await;
    let stale = Document::find(&mut tx, id, Action::Upload).await.unwrap();
    drop(tx);
    replace(&matter, id, b"e").await.unwrap();
    let stored = matter.store(b"f").await;
    let lost = stale.replace(&mut matter.begin().await, "f", &stored, "").await;
    assert!(matches!(lost, Err(Error::Conflict(_))));
    assert_eq!(test.number("select count(*) from jobs where state = 'ready' and kind = 'ingest_document'").await, 1);
    assert_eq!(matter.load(id).await.version, 5);
}

async fn what_was_unpacked_from_former_bytes_goes(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let outer = matter.document(batch, "a.zip", b"zip").await;
    let copy = matter.document(batch, "copy.zip", b"zip").await;
    let unpack = async |bytes: &'static [u8]| {
        let container = matter.load(outer).await;
        let details = Details { name: "inner".to_owned(), ..Details::default() };
        let member = NewMember { ordinal: 0, details, stored: matter.store(bytes).await, exception: None };
        let mut tx = matter.begin().await;
        let contents = container.sha256.clone();
        assert_eq!(documents::claim_content(&mut tx, &container, &[&contents]).await.unwrap(), None);
        let added = container.add_members(&mut tx, &[member], false).await.unwrap();
        tx.audit(Audit::JobsSwept { enqueued: 0 }).await.unwrap();
        tx.commit().await.unwrap();
        added[0].0
    };
    let old = unpack(b"old").await;
    let mut tx = matter.begin().await;
    matter.load(copy).await.set_duplicate(&mut tx, outer).await.unwrap();
    tx.commit().await.unwrap();

    // A paralegal may deliver and retry, but not delete what was unpacked.
    let paralegal = test.member().await;
    matter.admit(&paralegal, domain::access::CaseRole::Paralegal).await;
    let stored = matter.store(b"zap").await;
    let mut tx = test.storage.begin(&paralegal).await.unwrap();
    let document = Document::find(&mut tx, outer, Action::Upload).await.unwrap();
    assert!(matches!(document.replace(&mut tx, "a.zip", &stored, "").await, Err(Error::Forbidden)));
    drop(tx);

    replace(&matter, outer, b"zap").await.unwrap();
    let mut tx = matter.begin().await;
    assert!(matches!(Document::find(&mut tx, old, Action::ReadDocuments).await, Err(Error::NotFound)));
    let counts = matter.database(&mut tx, Action::SeeCase).await.status(&mut tx).await.unwrap().counts;
    assert!(counts.balances() && counts.unpacked == 0, "{counts:?}");
    drop(tx);
    let heir = matter.load(copy).await;
    assert_eq!((heir.state, heir.duplicate_of), (DocumentState::Received, None), "the copy stands for itself");
    // The members of the new bytes are documents of their own, at the same places.
    let new = unpack(b"new").await;
    assert_ne!(new, old);
    assert_eq!(matter.load(new).await.parent, Some(outer));
}

async fn a_second_reading_keeps_the_first(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = indexed(&matter, batch, "a.txt", "1").await;
    let first = matter.load(id).await;
    assert_eq!(reread(&matter, batch, "2", None).await, 1);
    let again = matter.load(id).await;
    assert_eq!((again.state, again.text, again.in_index), (DocumentState::Ingested, first.text, true));
    let rebuild = async || {
        let mut tx = matter.begin().await;
        documents::indexed(&mut tx, matter.case, matter.database, DocumentId(uuid::Uuid::nil()), 10)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(rebuild().await, 1, "a rebuild meanwhile does not lose it");
    extract(&matter, id, "2").await;
    assert_eq!(rebuild().await, 1);
    index(&matter, id).await;
    let second = matter.load(id).await;
    assert_ne!(second.text, first.text);
    let mut tx = matter.begin().await;
    assert!(documents::withdrawn(&mut tx, matter.database, 10).await.unwrap().is_empty());
    let texts: Vec<_> = second.readings(&mut tx).await.unwrap().iter().map(|reading| reading.text).collect();
    assert_eq!(texts, [first.text, second.text]);
    for text in texts {
        assert!(tx.is_registered(text.unwrap()).await.unwrap(), "the garbage collection knows it");
    }
    assert_eq!(test.number("select count(*) from readers").await, 2);
}

async fn a_failed_second_reading_leaves_the_first_standing(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = indexed(&matter, batch, "a.txt", "1").await;
    let first = matter.load(id).await;
    assert_eq!(reread(&matter, batch, "2", None).await, 1);
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    document.record_failure(&mut tx, Category::TimedOut, &reader("2")).await.unwrap();
    document.set_exception(&mut tx, &Exception::new(Category::TimedOut, "too slow"), None).await.unwrap();
    tx.commit().await.unwrap();
    let stands = matter.load(id).await;
    assert_eq!((stands.state, stands.text, stands.category), (DocumentState::Indexed, first.text, None));
    assert_eq!(stands.details.warnings[0].category, Category::TimedOut);
    let mut tx = matter.begin().await;
    let readings = stands.readings(&mut tx).await.unwrap();
    assert_eq!((readings[1].text, readings[1].category), (None, Some(Category::TimedOut)));
    drop(tx);
    assert_eq!(reread(&matter, batch, "2", None).await, 0, "the same reader need not fail twice");
    assert_eq!(reread(&matter, batch, "3", None).await, 1);
}

async fn a_cancelled_second_reading_leaves_the_first_standing(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let (one, two) = (indexed(&matter, batch, "a", "1").await, indexed(&matter, batch, "b", "1").await);
    assert_eq!(reread(&matter, batch, "2", None).await, 2);
    extract(&matter, two, "2").await;
    let unread = matter.document(batch, "c", b"c").await;
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    assert_eq!(Batch::find(&mut tx, &database, batch).await.unwrap().cancel(&mut tx).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(matter.load(one).await.state, DocumentState::Indexed);
    assert_eq!(matter.load(two).await.state, DocumentState::Extracted, "read again; the index takes it yet");
    assert_eq!(matter.load(unread).await.state, DocumentState::Excluded);
}

async fn only_what_another_reader_read_is_read_again(test: TestStorage) {
    let test = test.with_manual_clock();
    let matter = Matter::open(&test).await;
    let (batch, other) = (matter.batch().await, matter.batch().await);
    let old = indexed(&matter, batch, "old", "1").await;
    let new = indexed(&matter, batch, "new", "2").await;
    let elsewhere = indexed(&matter, other, "elsewhere", "1").await;
    let failed = matter.document(batch, "failed", b"failed").await;
    let fail = async |by: &str| {
        let document = matter.load(failed).await;
        let mut tx = matter.begin().await;
        document.record_failure(&mut tx, Category::Corrupt, &reader(by)).await.unwrap();
        document.set_exception(&mut tx, &Exception::new(Category::Corrupt, "broken"), None).await.unwrap();
        tx.commit().await.unwrap();
    };
    fail("1").await;
    assert_eq!(reread(&matter, batch, "2", None).await, 2);
    assert_eq!(reread(&matter, batch, "2", None).await, 0, "a job delivered twice sends nothing twice");
    assert_eq!(matter.load(old).await.state, DocumentState::Ingested);
    assert_eq!(matter.load(failed).await.state, DocumentState::Received);
    for untouched in [new, elsewhere] {
        assert_eq!(matter.load(untouched).await.state, DocumentState::Indexed);
    }
    extract(&matter, old, "2").await;
    index(&matter, old).await;
    fail("2").await;
    assert_eq!(reread(&matter, batch, "2", None).await, 0, "run again it changes nothing");
    test.advance(std::time::Duration::from_secs(1));
    let asked = Some(test.storage.clock.now());
    test.advance(std::time::Duration::from_secs(1));
    assert_eq!(reread(&matter, batch, "2", asked).await, 3, "unless all is wanted");
    extract(&matter, new, "2").await;
    index(&matter, new).await;
    assert_eq!(reread(&matter, batch, "2", asked).await, 0, "which is done once for each asking");
}
