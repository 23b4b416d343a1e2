//! The life of documents in rows, on SQLite and on PostgreSQL: received once, counted always, one document for one content,
//! cancelled, retried, deleted, published.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use domain::{
    access::Action,
    events::Counts,
    ids::{BatchId, BlobId, DocumentId},
    outcome::{Category, DocumentState, Exception, Exclusion},
    page::PageQuery,
    provenance::Provenance,
    text::{Metadata, Text},
};
use storage::{
    Error, Storage, Tx,
    audit::Audit,
    batches::{Batch, BatchDetails},
    cases::Case,
    databases::{Database, Deduplication},
    documents::{self, Details, Extracted, NewMember, Selection},
    generations::{self, Manifest, Publication},
    jobs,
    leases::{self, Lease},
};
use testkit::{Matter, TestStorage, on_each_database};

on_each_database!(
    an_item_is_received_once,
    the_same_item_received_by_eight_at_once_is_one_document,
    a_batch_that_is_not_open_takes_nothing_new,
    the_equation_counts_every_end,
    members_are_added_once_and_belong_to_the_family,
    of_copies_the_first_stands_and_the_others_follow,
    how_far_copies_are_looked_for_is_the_databases_choice,
    a_deleted_original_gives_its_place_to_the_next_copy,
    a_copy_found_while_its_original_is_deleted_is_not_left_behind,
    a_cancelled_batch_stops,
    a_cancelled_original_frees_its_content,
    a_batch_cancelled_meanwhile_takes_nothing_new,
    exceptions_are_retried_by_choice,
    an_ignored_exception_is_excluded_until_it_is_named,
    more_exceptions_than_a_page_are_ignored_page_by_page,
    moves_happen_once_and_only_from_where_the_document_stands,
    a_deleted_document_leaves_with_its_family_and_its_objects,
    a_generation_is_published_under_the_lease_only,
    a_retired_generation_frees_only_files_nobody_lists,
);

const LEASE: Duration = Duration::from_mins(1);

async fn counts(matter: &Matter) -> Counts {
    let mut tx = matter.begin().await;
    let counts = matter.database(&mut tx, Action::SeeCase).await.status(&mut tx).await.unwrap().counts;
    assert!(counts.balances(), "{counts:?}");
    counts
}

async fn ingest(matter: &Matter, id: DocumentId) {
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    document.set_ingested(&mut tx, "text", "text/plain", &document.details).await.unwrap();
    audited(&mut tx).await;
    tx.commit().await.unwrap();
}

async fn extract(matter: &Matter, id: DocumentId) {
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    let key = tx.case_key(matter.case).await.unwrap();
    let (objects, case) = (matter.storage.objects.clone(), matter.case);
    let text = Text { text: "words".to_owned(), ..Text::default() };
    let text = tokio::task::spawn_blocking(move || documents::write_text(&objects, &key, case, &text)).await.unwrap();
    let extracted = Extracted {
        text: text.unwrap(),
        pages: 1,
        characters: 5,
        metadata: Metadata::default(),
        warnings: Vec::new(),
        provenance: Provenance { tool: "test".to_owned(), version: "1".to_owned(), ..Provenance::default() },
        fingerprints: documents::Fingerprints::default(),
    };
    document.set_extracted(&mut tx, &extracted).await.unwrap();
    tx.commit().await.unwrap();
}

/// Documents with the texts they have now.
async fn texts(matter: &Matter, ids: &[DocumentId]) -> Vec<(DocumentId, BlobId)> {
    let mut texts = Vec::new();
    for id in ids {
        texts.push((*id, matter.load(*id).await.text.unwrap()));
    }
    texts
}

async fn index(matter: &Matter, ids: &[DocumentId]) -> u64 {
    let mut tx = matter.begin().await;
    let texts = texts(matter, ids).await;
    let moved = documents::mark_indexed(&mut tx, &texts).await.unwrap();
    audited(&mut tx).await;
    tx.commit().await.unwrap();
    moved
}

/// The event that the job around these moves would write.
async fn audited(tx: &mut Tx) {
    tx.audit(Audit::JobsSwept { enqueued: 0 }).await.unwrap();
}

async fn fail(matter: &Matter, id: DocumentId, category: Category) {
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    document.set_exception(&mut tx, &Exception::new(category, "it is broken"), None).await.unwrap();
    tx.commit().await.unwrap();
}

/// What the ingest job does about copies.
async fn deduplicate(matter: &Matter, id: DocumentId) -> Option<DocumentId> {
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    let first = documents::claim_content(&mut tx, &document, &[&document.sha256]).await.unwrap();
    if let Some(first) = first {
        document.set_duplicate(&mut tx, first).await.unwrap();
    }
    audited(&mut tx).await;
    tx.commit().await.unwrap();
    first
}

async fn delete(matter: &Matter, id: DocumentId) -> u64 {
    let mut tx = matter.begin().await;
    let document = documents::Document::find(&mut tx, id, Action::DeleteDocuments).await.unwrap();
    let deleted = document.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    deleted
}

async fn cancel(matter: &Matter, batch: BatchId) -> u64 {
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    let excluded = Batch::find(&mut tx, &database, batch).await.unwrap().cancel(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    excluded
}

async fn waiting_jobs(test: &TestStorage, kind: &str) -> i64 {
    test.number(&format!("select count(*) from jobs where state = 'ready' and kind = '{kind}'")).await
}

async fn retry(matter: &Matter, selection: Selection) -> u64 {
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    let retried = documents::retry_exceptions(&mut tx, &database, &selection).await.unwrap();
    tx.commit().await.unwrap();
    retried
}

async fn an_item_is_received_once(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let first = matter.receive(batch, "letter.txt", b"dear").await.unwrap();
    let again = matter.receive(batch, "letter.txt", b"dear").await.unwrap();
    assert!(first.fresh && !again.fresh);
    assert_eq!(first.document, again.document);
    assert_eq!(test.number("select count(*) from documents").await, 1);
    assert_eq!(test.number("select count(*) from blobs").await, 1, "the second copy of the bytes is not registered");
    assert_eq!(waiting_jobs(&test, "ingest_document").await, 1);
    let other_batch = matter.batch().await;
    assert!(
        matter.receive(other_batch, "letter.txt", b"dear").await.unwrap().fresh,
        "another delivery is another item"
    );
}

async fn the_same_item_received_by_eight_at_once_is_one_document(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut deliveries = Vec::new();
    for _ in 0..8 {
        let matter = matter.clone();
        deliveries.push(tokio::spawn(async move { matter.receive(batch, "letter.txt", b"dear").await.unwrap() }));
    }
    let mut receipts = Vec::new();
    for delivery in deliveries {
        receipts.push(delivery.await.unwrap());
    }
    assert_eq!(receipts.iter().filter(|r| r.fresh).count(), 1);
    assert!(receipts.iter().all(|r| r.document == receipts[0].document));
    assert_eq!(test.number("select count(*) from documents").await, 1);
    assert_eq!(waiting_jobs(&test, "ingest_document").await, 1);
}

async fn a_batch_that_is_not_open_takes_nothing_new(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let known = matter.document(batch, "a.txt", b"a").await;
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    let row = Batch::find(&mut tx, &database, batch).await.unwrap();
    row.seal(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(matter.receive(batch, "b.txt", b"b").await, Err(Error::Conflict(_))));
    assert_eq!(
        matter.receive(batch, "a.txt", b"a").await.unwrap().document,
        known,
        "a repeated delivery still gets its answer"
    );
    assert_eq!(test.number("select count(*) from documents").await, 1);
    assert!(matches!(
        Batch::open(
            &mut matter.begin().await,
            &database,
            "upload",
            &BatchDetails { labels: vec![String::new(); 51], ..BatchDetails::default() }
        )
        .await,
        Err(Error::Invalid(_))
    ));
}

async fn the_equation_counts_every_end(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(
            matter
                .document(batch, &format!("{n}"), if n == 5 { b"0" } else { std::slice::from_ref(&b"01234"[n]) })
                .await,
        );
    }
    assert_eq!(counts(&matter).await.in_flight, 6);
    for id in &ids {
        deduplicate(&matter, *id).await;
    }
    ingest(&matter, ids[0]).await;
    extract(&matter, ids[0]).await;
    assert_eq!(index(&matter, &ids[..1]).await, 1);
    fail(&matter, ids[1], Category::Encrypted).await;
    ingest(&matter, ids[2]).await;
    fail(&matter, ids[2], Category::Corrupt).await;
    let found = counts(&matter).await;
    let categories = BTreeMap::from([("corrupt".to_owned(), 1), ("encrypted".to_owned(), 1)]);
    let mut expected =
        Counts { received: 6, indexed: 1, duplicate: 1, exception: 2, in_flight: 2, ..Counts::default() };
    expected.exceptions = categories;
    assert_eq!(found, expected);
    assert_eq!(cancel(&matter, batch).await, 2);
    let found = counts(&matter).await;
    assert_eq!((found.indexed, found.duplicate, found.excluded, found.exception, found.in_flight), (1, 1, 2, 2, 0));
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::SeeCase).await;
    let of_batch = Batch::find(&mut tx, &database, batch).await.unwrap().counts(&mut tx).await.unwrap();
    assert_eq!(of_batch, found);
}

async fn member(matter: &Matter, ordinal: u32, bytes: &[u8], exception: Option<Exception>) -> NewMember {
    let details = Details { name: format!("member {ordinal}"), ..Details::default() };
    NewMember { ordinal, details, stored: matter.store(bytes).await, exception }
}

async fn members_are_added_once_and_belong_to_the_family(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let outer = matter.document(batch, "a.zip", b"zip").await;
    let members = [
        member(&matter, 0, b"same", None).await,
        member(&matter, 1, b"same", None).await,
        member(&matter, 2, b"broken", Some(Exception::new(Category::Encrypted, "needs a password"))).await,
    ];
    for round in 0..2 {
        let document = matter.load(outer).await;
        let mut tx = matter.begin().await;
        let added = document.add_members(&mut tx, &members, false).await.unwrap();
        assert_eq!(added.len(), if round == 0 { 3 } else { 0 });
        audited(&mut tx).await;
        tx.commit().await.unwrap();
    }
    let found = counts(&matter).await;
    assert_eq!((found.received, found.unpacked, found.exception, found.in_flight), (1, 3, 1, 3));
    let mut tx = matter.begin().await;
    let children = matter.load(outer).await.children(&mut tx, 10).await.unwrap();
    drop(tx);
    assert_eq!(
        children.iter().map(|c| (c.ordinal, c.depth, c.family)).collect::<Vec<_>>(),
        [(0, 1, outer), (1, 1, outer), (2, 1, outer)]
    );
    // Attachments with equal bytes both stay: a family is never split.
    for child in &children {
        assert_eq!(documents::claim_content(&mut matter.begin().await, child, &[&child.sha256]).await.unwrap(), None);
    }
}

async fn of_copies_the_first_stands_and_the_others_follow(test: TestStorage) {
    let (matter, other) = (Matter::open(&test).await, Matter::open(&test).await);
    let batch = matter.batch().await;
    let first = matter.document(batch, "1", b"same").await;
    let second = matter.document(batch, "2", b"same").await;
    let elsewhere = other.batch().await;
    let elsewhere = other.document(elsewhere, "1", b"same").await;
    assert_eq!(deduplicate(&matter, first).await, None);
    assert_eq!(deduplicate(&matter, first).await, None, "a job that runs twice finds its own claim");
    assert_eq!(deduplicate(&matter, second).await, Some(first));
    assert_eq!(deduplicate(&other, elsewhere).await, None, "another case knows nothing of it");
    let second = matter.load(second).await;
    assert_eq!((second.state, second.duplicate_of), (DocumentState::Duplicate, Some(first)));
}

async fn how_far_copies_are_looked_for_is_the_databases_choice(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut found = Vec::new();
    let choices = [Deduplication::Case, Deduplication::Case, Deduplication::Database, Deduplication::None];
    for choice in choices {
        let mut tx = matter.begin().await;
        let case = Case::find(&mut tx, matter.case, Action::ManageDatabase).await.unwrap();
        let database = Database::create(&mut tx, &case, "Production", "", choice).await.unwrap().id;
        tx.commit().await.unwrap();
        let matter = Matter { database, ..matter.clone() };
        let batch = matter.batch().await;
        for n in 0..2 {
            let id = matter.document(batch, &n.to_string(), b"same").await;
            found.push((id, deduplicate(&matter, id).await));
        }
    }
    let (wide, narrow) = (found[0].0, found[4].0);
    let firsts: Vec<_> = found.iter().map(|(_, first)| *first).collect();
    assert_eq!(firsts, [None, Some(wide), Some(wide), Some(wide), None, Some(narrow), None, None]);
    let mut tx = matter.begin().await;
    let first = documents::Document::find(&mut tx, wide, Action::ReadDocuments).await.unwrap();
    let copies = first.copies(&mut tx, &PageQuery { limit: Some(2), cursor: None }).await.unwrap();
    assert_eq!(copies.items.iter().map(|copy| copy.id).collect::<Vec<_>>(), [found[1].0, found[2].0]);
    let copies = first.copies(&mut tx, &PageQuery { limit: Some(2), cursor: copies.next_cursor }).await.unwrap();
    assert_eq!(copies.items.iter().map(|copy| copy.id).collect::<Vec<_>>(), [found[3].0]);
    drop(tx);
    // The heir may lie in another database of the case.
    assert_eq!(delete(&matter, wide).await, 1);
    assert_eq!(delete(&matter, found[1].0).await, 1);
    assert_eq!(matter.load(found[2].0).await.state, DocumentState::Received);
    assert_eq!(matter.load(found[3].0).await.duplicate_of, Some(found[2].0));
}

async fn a_deleted_original_gives_its_place_to_the_next_copy(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(matter.document(batch, &n.to_string(), b"same").await);
        deduplicate(&matter, ids[n]).await;
    }
    let before = waiting_jobs(&test, "ingest_document").await;
    assert_eq!(delete(&matter, ids[0]).await, 1);
    let (heir, copy) = (matter.load(ids[1]).await, matter.load(ids[2]).await);
    assert_eq!((heir.state, heir.duplicate_of), (DocumentState::Received, None));
    assert_eq!((copy.state, copy.duplicate_of), (DocumentState::Duplicate, Some(ids[1])));
    assert_eq!(waiting_jobs(&test, "ingest_document").await, before, "one job cancelled with the original, one new");
    assert_eq!(deduplicate(&matter, ids[1]).await, None);
    assert_eq!(counts(&matter).await.received, 2);
}

/// On SQLite the two transactions cannot overlap; on PostgreSQL the deletion must wait for the copy to be seen.
async fn a_copy_found_while_its_original_is_deleted_is_not_left_behind(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let first = matter.document(batch, "1", b"same").await;
    let second = matter.document(batch, "2", b"same").await;
    deduplicate(&matter, first).await;

    let document = matter.load(second).await;
    let mut tx = matter.begin().await;
    assert_eq!(documents::claim_content(&mut tx, &document, &[&document.sha256]).await.unwrap(), Some(first));
    document.set_duplicate(&mut tx, first).await.unwrap();
    let deletion = tokio::spawn({
        let matter = matter.clone();
        async move { delete(&matter, first).await }
    });
    let blocked =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while test.is_postgres() && !deletion.is_finished() && test.number(blocked).await == 0 {
        tokio::task::yield_now().await;
    }
    tx.commit().await.unwrap();
    deletion.await.unwrap();
    let second = matter.load(second).await;
    assert_eq!((second.state, second.duplicate_of), (DocumentState::Received, None));
}

async fn a_cancelled_batch_stops(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let (batch, other) = (matter.batch().await, matter.batch().await);
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(matter.document(batch, &n.to_string(), b"same").await);
        deduplicate(&matter, ids[n]).await;
    }
    let outside = matter.document(other, "x", b"same").await;
    assert_eq!(deduplicate(&matter, outside).await, Some(ids[0]));
    let held =
        jobs::Claimer::new(test.storage.clone(), domain::jobs::Queue::Ingest, "w", LEASE).claim(2).await.unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!(cancel(&matter, batch).await, 4, "its copies of an excluded original end as excluded too");
    for id in &ids {
        assert_eq!(matter.load(*id).await.state, DocumentState::Excluded);
    }
    // The copy of another delivery takes over; nothing of the cancelled one moves again.
    assert_eq!(matter.load(outside).await.state, DocumentState::Received);
    let waiting = "select count(*) from jobs where state in ('ready', 'running')";
    let outside_only = format!("{waiting} and document_id <> (select id from documents where state = 'received')");
    assert_eq!(test.number(&outside_only).await, 0);
    // A worker that held one of its jobs learns it, and cannot complete.
    let pairs: Vec<_> = held.iter().map(|job| (job.id, job.fence)).collect();
    assert_eq!(jobs::extend(&test.storage, &pairs, LEASE).await.unwrap().lost.len(), held.len());
    assert!(matches!(jobs::done(&test.storage, &held[0]).await, Err(Error::LeaseLost)));
}

async fn a_cancelled_original_frees_its_content(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let first = matter.document(batch, "1", b"same").await;
    deduplicate(&matter, first).await;
    let administrator = test.administrator().await;
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    let job = jobs::list(&mut tx, &jobs::JobFilter::default(), &PageQuery::default()).await.unwrap().items[0].id;
    jobs::cancel(&mut tx, job).await.unwrap();
    assert!(matches!(jobs::cancel(&mut tx, job).await, Err(Error::Conflict(_))));
    tx.commit().await.unwrap();
    assert_eq!(matter.load(first).await.state, DocumentState::Excluded);
    let second = matter.document(batch, "2", b"same").await;
    assert_eq!(deduplicate(&matter, second).await, None, "the content would otherwise be found nowhere");
}

async fn a_batch_cancelled_meanwhile_takes_nothing_new(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let id = matter.batch().await;
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    let batch = Batch::find(&mut tx, &database, id).await.unwrap();
    drop(tx);
    cancel(&matter, id).await;
    let stored = matter.store(b"late").await;
    let mut tx = matter.begin().await;
    let late = documents::receive(&mut tx, &batch, &[("late", Details::default(), stored)]).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
}

async fn exceptions_are_retried_by_choice(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut ids = Vec::new();
    for n in 0..3_u8 {
        ids.push(matter.document(batch, &n.to_string(), &[n]).await);
        fail(&matter, ids[usize::from(n)], if n == 0 { Category::Encrypted } else { Category::Corrupt }).await;
    }
    let one = Selection { document: Some(ids[1]), ..Selection::default() };
    let encrypted = Selection { category: Some(Category::Encrypted), ..one };
    assert_eq!(retry(&matter, encrypted).await, 0);
    assert_eq!(retry(&matter, one).await, 1);
    assert_eq!(matter.load(ids[1]).await.state, DocumentState::Received);
    assert_eq!(matter.load(ids[1]).await.category, None);
    assert_eq!(retry(&matter, Selection::default()).await, 2);
    assert_eq!(retry(&matter, Selection::default()).await, 0);
    assert_eq!(counts(&matter).await.in_flight, 3);
}

async fn an_ignored_exception_is_excluded_until_it_is_named(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut ids = Vec::new();
    for n in 0..4_u8 {
        ids.push(matter.document(batch, &n.to_string(), &[n]).await);
        if n < 3 {
            fail(&matter, ids[usize::from(n)], if n == 0 { Category::Encrypted } else { Category::Corrupt }).await;
        }
    }
    let ignore = async |selection: Selection, note: &str| {
        let mut tx = matter.begin().await;
        let database = matter.database(&mut tx, Action::Upload).await;
        let (ignored, _) = documents::ignore_exceptions(&mut tx, &database, &selection, note).await?;
        tx.commit().await?;
        Ok::<u64, Error>(ignored)
    };
    for note in ["", "  ", &"x".repeat(2_001)] {
        assert!(matches!(ignore(Selection::default(), note).await, Err(Error::Invalid(_))));
    }
    let unfinished = Selection { document: Some(ids[3]), ..Selection::default() };
    assert_eq!(ignore(unfinished, "not an exception").await.unwrap(), 0);
    let corrupt = Selection { category: Some(Category::Corrupt), ..Selection::default() };
    assert_eq!(ignore(corrupt, " a broken copy; the original is in box 7 ").await.unwrap(), 2);
    assert_eq!(ignore(corrupt, "again").await.unwrap(), 0);
    let found = counts(&matter).await;
    assert_eq!((found.exception, found.excluded, found.in_flight), (1, 2, 1));
    let document = matter.load(ids[1]).await;
    assert_eq!((document.state, document.exclusion), (DocumentState::Excluded, Some(Exclusion::Ignored)));
    assert_eq!(document.category, Some(Category::Corrupt), "the former exception is kept");
    let ignored = document.details.ignored.clone().unwrap();
    assert_eq!((ignored.note.as_str(), ignored.by), ("a broken copy; the original is in box 7", matter.owner.user()));
    assert!(!test.said(matter.case).await.contains("box 7"), "the note is sealed");

    // A retry of all does not touch them, a retry by id does; a cancelled document is beyond it.
    assert_eq!(retry(&matter, Selection::default()).await, 1);
    assert_eq!(cancel(&matter, batch).await, 2);
    assert_eq!(matter.load(ids[3]).await.exclusion, Some(Exclusion::Cancelled));
    let by_id = |n: usize| Selection { document: Some(ids[n]), ..Selection::default() };
    assert_eq!(retry(&matter, by_id(3)).await, 0);
    assert_eq!(retry(&matter, by_id(1)).await, 1);
    let document = matter.load(ids[1]).await;
    assert_eq!((document.state, document.exclusion, document.category), (DocumentState::Received, None, None));
    fail(&matter, ids[1], Category::Corrupt).await;
    assert_eq!(matter.load(ids[1]).await.details.ignored, None);
}

async fn more_exceptions_than_a_page_are_ignored_page_by_page(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    for n in 0..501_u32 {
        let id = matter.document(batch, &n.to_string(), &n.to_be_bytes()).await;
        fail(&matter, id, Category::Corrupt).await;
    }
    let mut pages = Vec::new();
    loop {
        let mut tx = matter.begin().await;
        let database = matter.database(&mut tx, Action::Upload).await;
        let (ignored, more) =
            documents::ignore_exceptions(&mut tx, &database, &Selection::default(), "all of them").await.unwrap();
        tx.commit().await.unwrap();
        pages.push(ignored);
        if !more {
            break;
        }
    }
    assert_eq!(pages, [500, 1]);
    assert_eq!(counts(&matter).await.excluded, 501);
}

async fn moves_happen_once_and_only_from_where_the_document_stands(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = matter.document(batch, "1", b"1").await;
    let stale = matter.load(id).await;
    ingest(&matter, id).await;
    let mut tx = matter.begin().await;
    let again = stale.set_ingested(&mut tx, "text", "text/plain", &stale.details).await;
    assert!(matches!(again, Err(Error::LeaseLost)));
    drop(tx);
    extract(&matter, id).await;
    assert_eq!(index(&matter, &[id]).await, 1);
    assert_eq!(index(&matter, &[id]).await, 0);
    let mut tx = matter.begin().await;
    let late = stale.set_exception(&mut tx, &Exception::new(Category::Internal, "late"), None).await;
    assert!(matches!(late, Err(Error::LeaseLost)));
    drop(tx);
    assert_eq!(matter.load(id).await.state, DocumentState::Indexed);
}

async fn a_deleted_document_leaves_with_its_family_and_its_objects(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let outer = matter.document(batch, "a.zip", b"zip").await;
    let kept = matter.document(batch, "kept", b"kept").await;
    let members = [member(&matter, 0, b"inner", None).await];
    let mut tx = matter.begin().await;
    let added = matter.load(outer).await.add_members(&mut tx, &members, false).await;
    let inner = added.unwrap()[0].0;
    audited(&mut tx).await;
    tx.commit().await.unwrap();
    ingest(&matter, inner).await;
    extract(&matter, inner).await;
    let text = texts(&matter, &[inner]).await;

    assert_eq!(delete(&matter, outer).await, 2);
    let found = counts(&matter).await;
    assert_eq!((found.received, found.unpacked), (1, 0));
    let mut tx = matter.begin().await;
    assert!(matches!(documents::Document::find(&mut tx, inner, Action::ReadDocuments).await, Err(Error::NotFound)));
    assert!(documents::Document::present(&mut tx, matter.case, &[outer, inner]).await.unwrap().is_empty());
    let gone = documents::deleted(&mut tx, matter.database, 10).await.unwrap();
    assert_eq!(gone.len(), 2);
    assert_eq!(documents::mark_indexed(&mut tx, &text).await.unwrap(), 0, "what is deleted cannot become searchable");
    let freed = documents::remove_deleted(&mut tx, &gone).await.unwrap();
    assert_eq!(freed.len(), 3, "two originals and a text");
    for blob in &freed {
        assert!(!tx.is_registered(*blob).await.unwrap());
    }
    audited(&mut tx).await;
    tx.commit().await.unwrap();
    assert_eq!(matter.load(kept).await.id, kept);
    assert_eq!(test.number("select count(*) from documents").await, 1);
    assert_eq!(test.number("select count(*) from blobs").await, 1);
}

async fn take(storage: &Storage, matter: &Matter, holder: &str) -> Lease {
    leases::acquire(storage, &format!("index:{}", matter.database), holder, LEASE).await.unwrap().unwrap()
}

async fn publish(matter: &Matter, lease: &Lease, files: &[(&str, BlobId)]) -> storage::Result<u64> {
    let mut tx = matter.begin().await;
    let files = files.iter().map(|(name, blob)| ((*name).to_owned(), *blob)).collect();
    let manifest = Manifest { meta: b"meta".to_vec(), files };
    let (case, database) = (matter.case, matter.database);
    let publication = Publication { database, case, lease, manifest, documents: 2, chunks: 3 };
    let number = generations::publish(&mut tx, &publication).await?;
    audited(&mut tx).await;
    tx.commit().await?;
    Ok(number)
}

async fn a_generation_is_published_under_the_lease_only(test: TestStorage) {
    let test = test.with_manual_clock();
    let (matter, other) = (Matter::open(&test).await, Matter::open(&test).await);
    let live = async || generations::live(&mut matter.begin().await, matter.case, matter.database).await.unwrap();
    assert_eq!(live().await, None);
    let first = take(&test.storage, &matter, "a").await;
    assert_eq!(publish(&matter, &first, &[("x", BlobId::new())]).await.unwrap(), 1);
    test.advance(LEASE + Duration::from_secs(1));
    let second = take(&test.storage, &matter, "b").await;
    assert!(matches!(publish(&matter, &first, &[]).await, Err(Error::LeaseLost)));
    assert_eq!(live().await.unwrap().number, 1, "the zombie changed nothing");
    let file = BlobId::new();
    assert_eq!(publish(&matter, &second, &[("y", file)]).await.unwrap(), 2);
    let generation = live().await.unwrap();
    assert_eq!((generation.number, generation.documents, generation.chunks), (2, 2, 3));
    assert_eq!(generation.manifest.files, BTreeMap::from([("y".to_owned(), file)]));
    assert_eq!(generations::live(&mut other.begin().await, other.case, matter.database).await.unwrap(), None);
    let mut tx = matter.begin().await;
    assert_eq!(matter.database(&mut tx, Action::SeeCase).await.generation, 2);
}

async fn a_retired_generation_frees_only_files_nobody_lists(test: TestStorage) {
    let test = test.with_manual_clock();
    let matter = Matter::open(&test).await;
    let lease = take(&test.storage, &matter, "a").await;
    let (shared, old, new) = (BlobId::new(), BlobId::new(), BlobId::new());
    publish(&matter, &lease, &[("shared", shared), ("old", old)]).await.unwrap();
    publish(&matter, &lease, &[("shared", shared), ("new", new)]).await.unwrap();
    let collect = async || {
        let mut tx = matter.begin().await;
        let before = test.storage.clock.now();
        let (_, freed) = generations::collect_retired(&mut tx, before).await.unwrap();
        audited(&mut tx).await;
        tx.commit().await.unwrap();
        freed
    };
    assert!(collect().await.is_empty(), "readers that just opened it keep it");
    test.advance(Duration::from_secs(1));
    assert_eq!(collect().await, [old]);
    assert!(collect().await.is_empty());
    let generation = generations::live(&mut matter.begin().await, matter.case, matter.database).await.unwrap().unwrap();
    assert_eq!(generation.manifest.files.len(), 2);
}
