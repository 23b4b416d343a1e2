//! Rows through storage's public face, each test on SQLite and on PostgreSQL: the unit of work, what an actor may see and
//! do, and one effect per request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use domain::{
    access::{Action, CaseRole, Membership, Standing, may},
    ids::{BatchId, CaseId, DatabaseId, DocumentId},
    jobs::IngestDocument,
    page::PageQuery,
};
use storage::{
    Error,
    audit::Audit,
    batches::{Batch, BatchDetails},
    cases::{self, Case, CaseFilter},
    databases::{Database, Deduplication},
    documents::{Document, DocumentFilter},
    idempotency::{Kept, Request},
};
use testkit::{Matter, TestStorage, new_case, on_each_database};

on_each_database!(
    sixty_four_writers_at_once_lose_nothing_and_meet_no_busy_error,
    a_change_without_an_audit_event_cannot_be_committed,
    a_dropped_transaction_never_happened,
    strangers_find_nothing,
    each_role_does_what_the_matrix_says,
    a_child_is_found_only_under_its_parent,
    a_case_keeps_a_manager,
    lists_page_through_everything_once,
    a_deleted_case_is_gone_and_its_purge_leaves_no_row,
    a_repeated_request_gets_the_kept_answer,
    a_key_used_with_another_request_is_refused,
    twenty_requests_with_one_key_have_one_effect,
    a_request_that_failed_leaves_its_key_free,
);

async fn sixty_four_writers_at_once_lose_nothing_and_meet_no_busy_error(test: TestStorage) {
    const WRITERS: usize = 64;
    const EACH: usize = 8;
    let owner = test.member().await;
    let before = test.number("select count(*) from audit_events").await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (storage, owner) = (test.storage.clone(), owner.clone());
        writers.push(tokio::spawn(async move {
            for n in 0..EACH {
                let mut tx = storage.begin(&owner).await?;
                // Read, then write: the pattern that meets SQLITE_BUSY_SNAPSHOT when transactions begin as readers.
                Case::list(&mut tx, &CaseFilter::default(), &PageQuery::default()).await?;
                let case = Case::create(&mut tx, &new_case(&format!("{writer} {n}"))).await?;
                Database::create(&mut tx, &case, "d", "", Deduplication::default()).await?;
                tx.commit().await?;
                let mut tx = storage.read(&owner).await?;
                Case::find(&mut tx, case.id, Action::SeeCase).await?;
            }
            Ok::<(), Error>(())
        }));
    }
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let written = i64::try_from(WRITERS * EACH).unwrap();
    assert_eq!(test.number("select count(*) from cases").await, written);
    assert_eq!(test.number("select count(*) from databases").await, written);
    assert_eq!(test.number("select count(*) from audit_events").await - before, 2 * written);
}

async fn a_change_without_an_audit_event_cannot_be_committed(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let jobs = test.number("select count(*) from jobs").await;
    let mut tx = matter.begin().await;
    tx.enqueue(&IngestDocument { case: matter.case, document: DocumentId::new() }).await.unwrap();
    assert!(matches!(tx.commit().await, Err(Error::Unaudited)));
    assert_eq!(test.number("select count(*) from jobs").await, jobs);

    let mut tx = matter.begin().await;
    tx.enqueue(&IngestDocument { case: matter.case, document: DocumentId::new() }).await.unwrap();
    tx.audit(Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(test.number("select count(*) from jobs").await, jobs + 1);
    matter.begin().await.commit().await.unwrap();
}

async fn a_dropped_transaction_never_happened(test: TestStorage) {
    let owner = test.member().await;
    let events = test.number("select count(*) from audit_events").await;
    let mut tx = test.storage.begin(&owner).await.unwrap();
    Case::create(&mut tx, &new_case("never")).await.unwrap();
    drop(tx);
    test.storage.begin(&owner).await.unwrap().commit().await.unwrap();
    assert_eq!(test.number("select count(*) from cases").await, 0);
    assert_eq!(test.number("select count(*) from audit_events").await, events);
}

async fn strangers_find_nothing(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let document = matter.document(batch, "a.txt", b"a").await;
    // An administrator is a stranger to evidence too.
    let administrator = test.administrator().await;
    for stranger in [test.member().await, administrator.clone()] {
        let mut tx = test.storage.read(&stranger).await.unwrap();
        for action in Action::ALL {
            // They decide over access without seeing what it is to.
            let decides = matches!(action, Action::ManageWalls | Action::BreakGlass | Action::ExplainAccess);
            let found = Case::find(&mut tx, matter.case, action).await;
            if decides && stranger == administrator {
                assert!(found.is_ok(), "{action:?}");
            } else {
                assert!(matches!(found, Err(Error::NotFound)), "{action:?}");
            }
            assert!(
                matches!(Database::find(&mut tx, matter.database, action).await, Err(Error::NotFound)),
                "{action:?}"
            );
            assert!(matches!(Document::find(&mut tx, document, action).await, Err(Error::NotFound)), "{action:?}");
            assert!(matches!(Case::find(&mut tx, CaseId::new(), action).await, Err(Error::NotFound)));
            assert!(matches!(Database::find(&mut tx, DatabaseId::new(), action).await, Err(Error::NotFound)));
            assert!(matches!(Document::find(&mut tx, DocumentId::new(), action).await, Err(Error::NotFound)));
        }
        let cases = Case::list(&mut tx, &CaseFilter::default(), &PageQuery::default()).await.unwrap();
        assert!(cases.items.is_empty());
        assert!(Database::list(&mut tx, None, &PageQuery::default()).await.unwrap().items.is_empty());
        assert!(Database::list(&mut tx, Some(matter.case), &PageQuery::default()).await.unwrap().items.is_empty());
    }
}

async fn each_role_does_what_the_matrix_says(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let document = matter.document(batch, "a.txt", b"a").await;
    for role in CaseRole::ALL {
        let member = test.member().await;
        matter.admit(&member, role).await;
        let mut tx = test.storage.begin(&member).await.unwrap();
        let standing = Standing { membership: Some(Membership::of(role)), ..Standing::default() };
        let may = |action| may(&member, matter.case, &standing, tx.now(), action);
        let allowed: Vec<(Action, bool)> = Action::ALL.into_iter().map(|action| (action, may(action))).collect();
        let allowed = |action| allowed.contains(&(action, true));
        for action in Action::ALL {
            let results = [
                Case::find(&mut tx, matter.case, action).await.map(drop),
                Database::find(&mut tx, matter.database, action).await.map(drop),
                Document::find(&mut tx, document, action).await.map(drop),
            ];
            for result in results {
                match result {
                    Ok(()) => assert!(allowed(action), "{role:?} {action:?}"),
                    Err(Error::Forbidden) => assert!(!allowed(action), "{role:?} {action:?}"),
                    Err(other) => panic!("{role:?} {action:?}: {other}"),
                }
            }
        }
        // Having found a thing for looking is no way round: the change asks again.
        let case = Case::find(&mut tx, matter.case, Action::SeeCase).await.unwrap();
        let database = Database::find(&mut tx, matter.database, Action::SeeCase).await.unwrap();
        let opened = Batch::open(&mut tx, &database, "upload", &BatchDetails::default()).await;
        assert_eq!(opened.is_ok(), allowed(Action::Upload), "{role:?}");
        assert_eq!(case.update(&mut tx, &new_case("other")).await.is_ok(), allowed(Action::EditCase), "{role:?}");
        assert_eq!(
            Database::create(&mut tx, &case, "d", "", Deduplication::default()).await.is_ok(),
            allowed(Action::ManageDatabase),
            "{role:?}"
        );
        let promoted = case.set_member(&mut tx, member.user().unwrap(), CaseRole::Manager).await;
        assert_eq!(promoted.is_ok(), allowed(Action::ManageMembers), "{role:?}");
        assert_eq!(case.delete(&mut tx).await.is_ok(), allowed(Action::DeleteCase), "{role:?}");
    }
}

async fn a_child_is_found_only_under_its_parent(test: TestStorage) {
    let (one, two) = (Matter::open(&test).await, Matter::open(&test).await);
    // Somebody who may read both still cannot reach a batch of one through the other.
    two.admit(&one.owner, CaseRole::Manager).await;
    let batch = one.batch().await;
    let document = one.document(batch, "a.txt", b"a").await;
    let mut tx = one.begin().await;
    let (own, other) = (one.database(&mut tx, Action::Upload).await, two.database(&mut tx, Action::Upload).await);
    assert!(Batch::find(&mut tx, &own, batch).await.is_ok());
    assert!(matches!(Batch::find(&mut tx, &other, batch).await, Err(Error::NotFound)));
    assert!(matches!(Batch::find(&mut tx, &own, BatchId::new()).await, Err(Error::NotFound)));
    assert!(Document::load(&mut tx, one.case, document).await.is_ok());
    assert!(matches!(Document::load(&mut tx, two.case, document).await, Err(Error::NotFound)));
    let all = DocumentFilter::default();
    assert!(Document::list(&mut tx, &other, &all, &PageQuery::default()).await.unwrap().items.is_empty());
    assert_eq!(Document::present(&mut tx, one.case, &[document]).await.unwrap().len(), 1);
    assert!(Document::present(&mut tx, two.case, &[document]).await.unwrap().is_empty());
}

async fn a_case_keeps_a_manager(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let owner = matter.owner.user().unwrap();
    let mut tx = matter.begin().await;
    let case = Case::find(&mut tx, matter.case, Action::ManageMembers).await.unwrap();
    assert!(matches!(case.set_member(&mut tx, owner, CaseRole::Lawyer).await, Err(Error::Conflict(_))));
    drop(tx);
    let mut tx = matter.begin().await;
    assert!(matches!(case.remove_member(&mut tx, owner).await, Err(Error::Conflict(_))));
    drop(tx);

    let second = test.member().await;
    matter.admit(&second, CaseRole::Manager).await;
    let mut tx = matter.begin().await;
    case.remove_member(&mut tx, owner).await.unwrap();
    assert!(matches!(case.remove_member(&mut tx, owner).await, Err(Error::NotFound)));
    tx.commit().await.unwrap();
    let mut tx = matter.begin().await;
    assert!(matches!(Case::find(&mut tx, matter.case, Action::SeeCase).await, Err(Error::NotFound)));
}

async fn lists_page_through_everything_once(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut expected = Vec::new();
    for n in 0..7 {
        expected.push(matter.document(batch, &format!("{n}.txt"), &[n]).await);
    }
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::ReadDocuments).await;
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let query = PageQuery { cursor: cursor.take(), limit: Some(3) };
        let page = Document::list(&mut tx, &database, &DocumentFilter::default(), &query).await.unwrap();
        assert!(page.items.len() <= 3);
        found.extend(page.items.iter().map(|d| (d.id, d.details.name.clone())));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<_> = expected.into_iter().enumerate().map(|(n, id)| (id, format!("{n}.txt"))).collect();
    assert_eq!(found, expected);
    let trail = test.trail(matter.case).await;
    let actions: Vec<&str> = trail.iter().map(|e| e.action.as_str()).collect();
    assert_eq!(&actions[..3], ["case.created", "database.created", "batch.opened"]);
    assert_eq!(actions[3..], ["document.received"; 7]);
    assert!(trail.iter().all(|e| e.actor == matter.owner.user()));
}

async fn a_deleted_case_is_gone_and_its_purge_leaves_no_row(test: TestStorage) {
    let (matter, other) = (Matter::open(&test).await, Matter::open(&test).await);
    for matter in [&matter, &other] {
        let batch = matter.batch().await;
        matter.document(batch, "a.txt", b"a").await;
        let (walled, chief) = (test.member().await, test.administrator().await);
        let mut tx = test.storage.begin(&chief).await.unwrap();
        let case = Case::find(&mut tx, matter.case, Action::ManageWalls).await.unwrap();
        case.set_wall(&mut tx, walled.user().unwrap(), "acted for the other side").await.unwrap();
        case.ask_break_glass(&mut tx, "the manager has left the firm", 5, 60).await.unwrap();
        tx.commit().await.unwrap();
    }
    let events = test.number("select count(*) from audit_events").await;
    let mut tx = matter.begin().await;
    assert!(!cases::destroy_key(&mut tx, matter.case).await.unwrap(), "a living case keeps its key");
    let case = Case::find(&mut tx, matter.case, Action::DeleteCase).await.unwrap();
    case.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = matter.begin().await;
    assert!(matches!(Case::find(&mut tx, matter.case, Action::SeeCase).await, Err(Error::NotFound)));
    assert!(matches!(Database::find(&mut tx, matter.database, Action::SeeCase).await, Err(Error::NotFound)));
    assert_eq!(test.number("select count(*) from jobs where kind = 'ingest_document' and state = 'ready'").await, 1);
    assert_eq!(test.number("select count(*) from jobs where kind = 'purge_case' and state = 'ready'").await, 1);

    assert!(cases::destroy_key(&mut tx, matter.case).await.unwrap());
    cases::purge_rows(&mut tx, matter.case).await.unwrap();
    tx.commit().await.unwrap();
    for table in
        ["documents", "batches", "databases", "blobs", "case_members", "case_walls", "break_glass", "case_keys"]
    {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, 1, "{table}");
    }
    assert_eq!(test.number("select count(*) from cases where title = ''").await, 1);
    assert!(test.number("select count(*) from audit_events").await > events, "the trail only grows");
    assert!(matches!(matter.begin().await.case_key(matter.case).await, Err(Error::NotFound)));
    assert!(other.begin().await.case_key(other.case).await.is_ok());
}

fn request(content: &[u8]) -> Request {
    Request::new("user:POST /cases", "key-1", content)
}

async fn a_repeated_request_gets_the_kept_answer(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut tx = matter.begin().await;
    assert_eq!(tx.kept_answer(&request(b"body")).await.unwrap(), None);
    tx.keep_answer(&request(b"body"), 201, b"{\"id\":\"secret name\"}").await.unwrap();
    tx.audit(Audit::JobsSwept { enqueued: 0 }).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = matter.begin().await;
    let kept = Kept { status: 201, body: b"{\"id\":\"secret name\"}".to_vec() };
    assert_eq!(tx.kept_answer(&request(b"body")).await.unwrap(), Some(kept));
    drop(tx);
    let elsewhere = Request::new("another:POST /cases", "key-1", b"body");
    assert_eq!(matter.begin().await.kept_answer(&elsewhere).await.unwrap(), None, "keys belong to their scope");
}

async fn a_key_used_with_another_request_is_refused(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut tx = matter.begin().await;
    tx.kept_answer(&request(b"body")).await.unwrap();
    tx.keep_answer(&request(b"body"), 201, b"{}").await.unwrap();
    tx.audit(Audit::JobsSwept { enqueued: 0 }).await.unwrap();
    tx.commit().await.unwrap();
    let answer = matter.begin().await.kept_answer(&request(b"other body")).await;
    assert!(matches!(answer, Err(Error::IdempotencyMismatch)), "{answer:?}");
}

async fn twenty_requests_with_one_key_have_one_effect(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut requests = Vec::new();
    for _ in 0..20 {
        let matter = matter.clone();
        requests.push(tokio::spawn(async move {
            let scope = format!("{}", matter.case);
            let request = Request::new(scope, "k", b"b");
            let mut tx = matter.begin().await;
            if let Some(kept) = tx.kept_answer(&request).await.unwrap() {
                return kept.body;
            }
            let case = Case::create(&mut tx, &new_case("once")).await.unwrap();
            let body = case.id.to_string().into_bytes();
            tx.keep_answer(&request, 201, &body).await.unwrap();
            tx.commit().await.unwrap();
            body
        }));
    }
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(test.number("select count(*) from cases where title = 'once'").await, 1);
}

async fn a_request_that_failed_leaves_its_key_free(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut tx = matter.begin().await;
    assert_eq!(tx.kept_answer(&request(b"body")).await.unwrap(), None);
    drop(tx);
    assert_eq!(matter.begin().await.kept_answer(&request(b"body")).await.unwrap(), None);
}
