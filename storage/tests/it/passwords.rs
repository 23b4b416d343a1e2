//! The password bank in rows: kept once and sealed, tried newest and most used first, and what it sends back to the
//! pipeline: everything that was not tried with it, once, and nothing that a person or a cancelled batch set aside.

use domain::{
    access::{Action, CaseRole},
    ids::{BatchId, DocumentId, PasswordId},
    outcome::{Category, DocumentState, Exception, Exclusion},
    page::PageQuery,
    provenance::Provenance,
};
use storage::{
    Error,
    audit::Audit,
    batches::Batch,
    cases::Case,
    documents::{self, Details, Document, NewMember, Selection},
    passwords::{self, Kept, MOST_AT_ONCE, Secret},
};
use testkit::{Matter, TestStorage, on_each_database};

on_each_database!(
    a_password_is_kept_once_and_sealed,
    what_is_no_password,
    the_bank_is_the_cases_own,
    the_newest_and_the_most_used_are_tried_first,
    what_was_not_tried_is_sent_once,
    what_was_set_aside_is_left_alone,
    a_password_that_came_meanwhile_is_not_missed,
    members_get_their_bytes_once,
    a_retry_does_not_make_empty_files_of_members,
    a_password_for_one_document,
);

fn secrets(words: &[&str]) -> Vec<Secret> {
    words.iter().map(|word| Secret::new((*word).to_owned())).collect()
}

async fn add(matter: &Matter, words: &[&str]) -> Vec<Kept> {
    let mut tx = matter.begin().await;
    let case = Case::find(&mut tx, matter.case, Action::ManagePasswords).await.unwrap();
    let kept = case.add_passwords(&mut tx, &secrets(words), " from their letter ").await.unwrap();
    tx.commit().await.unwrap();
    kept
}

async fn bank(matter: &Matter, most: u32) -> (i64, Vec<String>) {
    let mut tx = matter.begin().await;
    let bank = passwords::bank(&mut tx, matter.case, most).await.unwrap();
    (bank.edition, bank.passwords.into_iter().map(|(_, secret)| secret.into_inner().to_string()).collect())
}

/// A protected document, found to be so with this edition of the bank.
async fn protected(matter: &Matter, batch: BatchId, name: &str, edition: i64) -> DocumentId {
    let id = matter.document(batch, name, name.as_bytes()).await;
    lock(matter, id, edition).await;
    id
}

async fn lock(matter: &Matter, id: DocumentId, edition: i64) {
    let document = matter.load(id).await;
    let mut tx = matter.begin().await;
    assert!(passwords::unchanged(&mut tx, matter.case, edition).await.unwrap());
    document.record_failure(&mut tx, Category::Encrypted, &Provenance::default()).await.unwrap();
    document.set_exception(&mut tx, &Exception::new(Category::Encrypted, "it is protected"), None).await.unwrap();
    document.note_tried(&mut tx, edition).await.unwrap();
    tx.commit().await.unwrap();
}

/// What the job does: everything that is to be sent, page by page.
async fn send(matter: &Matter) -> u64 {
    let (mut after, mut documents) = (DocumentId(uuid::Uuid::nil()), 0);
    loop {
        let mut tx = matter.begin().await;
        let sent = documents::retry_protected(&mut tx, matter.case, after, 2).await.unwrap();
        tx.commit().await.unwrap();
        documents += sent.documents;
        if sent.last == after {
            return documents;
        }
        after = sent.last;
    }
}

async fn state(matter: &Matter, id: DocumentId) -> (DocumentState, Option<Category>) {
    let document = matter.load(id).await;
    (document.state, document.category)
}

const LOCKED: (DocumentState, Option<Category>) = (DocumentState::Exception, Some(Category::Encrypted));

async fn a_password_is_kept_once_and_sealed(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let kept = add(&matter, &["wombat-7741", "second", "wombat-7741"]).await;
    assert_eq!([kept[0].fresh, kept[1].fresh, kept[2].fresh], [true, true, false]);
    assert_eq!(kept[0].id, kept[2].id);
    let again = add(&matter, &["second"]).await;
    assert_eq!(again, [Kept { id: kept[1].id, fresh: false }]);
    assert_eq!(bank(&matter, 10).await, (1, vec!["second".into(), "wombat-7741".into()]), "knowing it is no edition");
    let number = async |sql: &str| test.number(sql).await;
    assert_eq!(number("select count(*) from passwords").await, 2);
    assert_eq!(number("select count(*) from jobs where kind = 'retry_protected'").await, 1);
    assert_eq!(number("select count(*) from audit_events where action = 'password.added'").await, 2);
    assert!(!test.said(matter.case).await.contains("wombat"));

    let mut tx = matter.begin().await;
    let case = Case::find(&mut tx, matter.case, Action::ManagePasswords).await.unwrap();
    let first = case.passwords(&mut tx, &PageQuery { cursor: None, limit: Some(1) }).await.unwrap();
    let second = PageQuery { cursor: first.next_cursor, limit: Some(1) };
    let second = case.passwords(&mut tx, &second).await.unwrap();
    assert_eq!((second.items.len(), second.next_cursor), (1, None));
    let listed = [&first.items[0], &second.items[0]];
    assert_eq!(listed.map(|password| password.id), [kept[0].id, kept[1].id]);
    assert!(listed.iter().all(|password| password.note == "from their letter" && password.uses == 0));
    assert!(listed.iter().all(|password| password.added_by == tx.actor().user()));
    // Equal passwords of two cases cannot be told to be equal.
    let (ours, theirs) =
        (tx.case_key(matter.case).await.unwrap(), tx.storage().vault.new_case_key(matter.case).unwrap());
    let secret = Secret::new("wombat-7741".to_owned());
    assert_ne!(secret.lookup(&ours), secret.lookup(&theirs.0));
    assert_eq!(format!("{secret:?}"), "Secret");

    case.remove_password(&mut tx, kept[0].id).await.unwrap();
    assert!(matches!(case.remove_password(&mut tx, kept[0].id).await, Err(Error::NotFound)));
    tx.commit().await.unwrap();
    // An edition is never used twice, whatever was removed.
    add(&matter, &["third"]).await;
    assert_eq!(bank(&matter, 10).await, (2, vec!["third".into(), "second".into()]));
    assert_eq!(number("select count(*) from audit_events where action = 'password.removed'").await, 1);
}

async fn what_is_no_password(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut tx = matter.begin().await;
    let case = Case::find(&mut tx, matter.case, Action::ManagePasswords).await.unwrap();
    let most = vec![Secret::new("x".into()); MOST_AT_ONCE + 1];
    for (passwords, note) in [
        (vec![], String::new()),
        (secrets(&[""]), String::new()),
        (secrets(&["fine", &"é".repeat(513)]), String::new()),
        (most, String::new()),
        (secrets(&["fine"]), "n".repeat(2_001)),
    ] {
        let refused = case.add_passwords(&mut tx, &passwords, &note).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    case.add_passwords(&mut tx, &secrets(&[&"é".repeat(512)]), &"n".repeat(2_000)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn the_bank_is_the_cases_own(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let kept = add(&matter, &["ours"]).await;
    let (stranger, reviewer) = (test.member().await, test.member().await);
    matter.admit(&reviewer, CaseRole::Reviewer).await;
    let mut tx = matter.storage.begin(&stranger).await.unwrap();
    assert!(matches!(Case::find(&mut tx, matter.case, Action::ManagePasswords).await, Err(Error::NotFound)));
    drop(tx);
    let mut tx = matter.storage.begin(&reviewer).await.unwrap();
    assert!(matches!(Case::find(&mut tx, matter.case, Action::ManagePasswords).await, Err(Error::Forbidden)));
    let seen = Case::find(&mut tx, matter.case, Action::SeeCase).await.unwrap();
    assert!(matches!(seen.add_passwords(&mut tx, &secrets(&["x"]), "").await, Err(Error::Forbidden)));
    assert!(matches!(seen.passwords(&mut tx, &PageQuery::default()).await, Err(Error::Forbidden)));
    assert!(matches!(seen.remove_password(&mut tx, kept[0].id).await, Err(Error::Forbidden)));
    drop(tx);
    // The password of one case is not found under another.
    let other = Matter::open(&test).await;
    let mut tx = other.begin().await;
    let case = Case::find(&mut tx, other.case, Action::ManagePasswords).await.unwrap();
    assert!(matches!(case.remove_password(&mut tx, kept[0].id).await, Err(Error::NotFound)));
    assert!(passwords::bank(&mut tx, other.case, 10).await.unwrap().passwords.is_empty());
}

async fn the_newest_and_the_most_used_are_tried_first(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut ids: Vec<PasswordId> = Vec::new();
    for word in ["a", "b", "c", "d", "e", "f"] {
        ids.push(add(&matter, &[word]).await[0].id);
    }
    let batch = matter.batch().await;
    let document = matter.document(batch, "a.pdf", b"a").await;
    let mut tx = matter.begin().await;
    for used in [&ids[1..2], &ids[1..2], &ids[0..1]] {
        passwords::used(&mut tx, matter.case, document, used).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(test.number("select count(*) from audit_events where action = 'password.used'").await, 3);
    assert_eq!(bank(&matter, 4).await.1, ["f", "e", "b", "a"], "half for the newest, then what opened the most");
    assert_eq!(bank(&matter, 3).await.1, ["f", "e", "b"]);
    assert_eq!(bank(&matter, 1).await.1, ["f"]);
    assert_eq!(bank(&matter, 0).await.1, Vec::<String>::new());
    assert_eq!(bank(&matter, 99).await.1, ["f", "e", "d", "c", "b", "a"]);
}

async fn what_was_not_tried_is_sent_once(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let mut ids = Vec::new();
    for name in ["a.pdf", "b.pdf", "c.pdf", "d.pdf", "e.pdf"] {
        ids.push(protected(&matter, batch, name, 0).await);
    }
    let broken = matter.document(batch, "broken.pdf", b"x").await;
    let document = matter.load(broken).await;
    let mut tx = matter.begin().await;
    document.set_exception(&mut tx, &Exception::new(Category::Corrupt, "it is broken"), None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(send(&matter).await, 0, "there is nothing to try");
    add(&matter, &["one"]).await;
    assert_eq!(send(&matter).await, 5);
    assert_eq!(state(&matter, ids[0]).await, (DocumentState::Received, None));
    assert_eq!(state(&matter, broken).await.0, DocumentState::Exception);
    assert_eq!(send(&matter).await, 0, "they are on their way");
    for id in &ids {
        lock(&matter, *id, 1).await;
    }
    assert_eq!(send(&matter).await, 0, "they were tried with this bank");
    add(&matter, &["two"]).await;
    assert_eq!(send(&matter).await, 5);
    let retried = "select count(*) from audit_events where action = 'document.protected_retried'";
    assert_eq!(test.number(retried).await, 6, "two a page");
}

async fn what_was_set_aside_is_left_alone(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let (batch, cancelled) = (matter.batch().await, matter.batch().await);
    let ignored = protected(&matter, batch, "ignored.pdf", 0).await;
    let deleted = protected(&matter, batch, "deleted.pdf", 0).await;
    let left = protected(&matter, cancelled, "left.pdf", 0).await;
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    let selection = Selection { document: Some(ignored), ..Selection::default() };
    documents::ignore_exceptions(&mut tx, &database, &selection, "nobody knows it").await.unwrap();
    Batch::find(&mut tx, &database, cancelled).await.unwrap().cancel(&mut tx).await.unwrap();
    let document = Document::find(&mut tx, deleted, Action::DeleteDocuments).await.unwrap();
    document.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    add(&matter, &["one"]).await;
    assert_eq!(send(&matter).await, 0);
    assert_eq!(matter.load(ignored).await.exclusion, Some(Exclusion::Ignored));
    assert_eq!(state(&matter, left).await, LOCKED);
    // Named by a person, it is tried.
    let mut tx = matter.begin().await;
    let document = Document::find(&mut tx, ignored, Action::ManagePasswords).await.unwrap();
    document.supply_password(&mut tx, &Secret::new("two".into()), "").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(state(&matter, ignored).await, (DocumentState::Received, None));
}

async fn a_password_that_came_meanwhile_is_not_missed(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = matter.document(batch, "a.pdf", b"a").await;
    let (edition, _) = bank(&matter, 10).await;
    // Somebody adds one while the document is read: the reader must look again before it gives up.
    add(&matter, &["one"]).await;
    let mut tx = matter.begin().await;
    assert!(!passwords::unchanged(&mut tx, matter.case, edition).await.unwrap());
    assert!(passwords::unchanged(&mut tx, matter.case, edition + 1).await.unwrap());
    // And whoever adds one now waits until the reader has written down that nothing fits.
    let document = Document::load(&mut tx, matter.case, id).await.unwrap();
    let adding = {
        let (storage, actor, case) = (matter.storage.clone(), matter.owner.clone(), matter.case);
        tokio::spawn(async move {
            let mut tx = storage.begin(&actor).await.unwrap();
            let case = Case::find(&mut tx, case, Action::ManagePasswords).await.unwrap();
            case.add_passwords(&mut tx, &secrets(&["two"]), "").await.unwrap();
            tx.commit().await.unwrap();
        })
    };
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!adding.is_finished());
    document.record_failure(&mut tx, Category::Encrypted, &Provenance::default()).await.unwrap();
    document.set_exception(&mut tx, &Exception::new(Category::Encrypted, "it is protected"), None).await.unwrap();
    document.note_tried(&mut tx, edition + 1).await.unwrap();
    tx.commit().await.unwrap();
    adding.await.unwrap();
    assert_eq!(send(&matter).await, 1);
}

/// A container with three members: the first is open, the others were not given up.
async fn container(matter: &Matter, batch: BatchId) -> (DocumentId, Vec<DocumentId>) {
    let id = matter.document(batch, "box.zip", b"a box").await;
    let document = matter.load(id).await;
    let mut members = vec![member(matter, "open.txt", 0, b"open").await];
    for (ordinal, name) in [(1, "one.txt"), (2, "two.txt")] {
        let exception = Some(Exception::new(Category::Encrypted, "the member is protected"));
        members.push(NewMember { exception, ..member(matter, name, ordinal, b"").await });
    }
    let mut tx = matter.begin().await;
    let added = document.add_members(&mut tx, &members, false).await.unwrap();
    document.note_tried(&mut tx, 0).await.unwrap();
    document.set_ingested(&mut tx, "zip", "application/zip", &document.details).await.unwrap();
    tx.audit(Audit::DocumentIngested { case: matter.case, document: id, members: added.clone() }).await.unwrap();
    tx.commit().await.unwrap();
    (id, added.into_iter().map(|(id, _)| id).collect())
}

async fn member(matter: &Matter, name: &str, ordinal: u32, bytes: &[u8]) -> NewMember {
    let details = Details { name: name.into(), path: format!("box.zip/{name}"), ..Details::default() };
    NewMember { ordinal, details, stored: matter.store(bytes).await, exception: None }
}

async fn members_get_their_bytes_once(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let (id, members) = container(&matter, batch).await;
    let found = async || {
        let mut tx = matter.begin().await;
        let nobody = DocumentId(uuid::Uuid::nil());
        documents::protected_container(&mut tx, matter.case, nobody).await.unwrap().map(|document| document.id)
    };
    assert_eq!(found().await, None, "there is nothing to try");
    add(&matter, &["one"]).await;
    assert_eq!(send(&matter).await, 0, "a member without bytes is no document to be read");
    assert_eq!(found().await, Some(id));
    let document = matter.load(id).await;
    let former = matter.load(members[1]).await.original;
    let given = [
        member(&matter, "open.txt", 0, b"open").await,
        member(&matter, "one.txt", 1, b"the first").await,
        member(&matter, "another name.txt", 2, b"the second").await,
    ];
    let mut tx = matter.begin().await;
    assert_eq!(document.protected_members(&mut tx).await.unwrap(), [1, 2]);
    let opened = document.open_members(&mut tx, &given, 1).await.unwrap().unwrap();
    assert_eq!(opened.iter().map(|one| (one.document, one.former)).collect::<Vec<_>>(), [(members[1], former)]);
    assert_eq!(document.open_members(&mut tx, &given, 1).await.unwrap(), None, "once");
    tx.commit().await.unwrap();
    let audited = "select count(*) from audit_events where action = 'document.members_opened'";
    assert_eq!(test.number(audited).await, 1);
    let one = matter.load(members[1]).await;
    assert_eq!((one.state, one.category, one.size), (DocumentState::Received, None, 9));
    assert_eq!((one.original, one.details.exception), (given[1].stored.blob, None));
    assert_eq!(state(&matter, members[0]).await.0, DocumentState::Received, "its sibling is left alone");
    assert_eq!(state(&matter, members[2]).await, LOCKED, "another path is another member");
    let jobs = "select count(*) from jobs where kind = 'ingest_document'";
    assert_eq!(test.number(jobs).await, 3, "the container, its open member, and the one it gave up now");
    assert_eq!(test.number("select count(*) from blobs").await, 4, "a container and three members");
    assert_eq!(found().await, None, "the other was tried");
}

async fn a_retry_does_not_make_empty_files_of_members(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let (_, members) = container(&matter, batch).await;
    add(&matter, &["one"]).await;
    let retry = async |selection: Selection| {
        let mut tx = matter.begin().await;
        let database = matter.database(&mut tx, Action::Upload).await;
        let retried = documents::retry_exceptions(&mut tx, &database, &selection).await.unwrap();
        tx.commit().await.unwrap();
        retried
    };
    assert_eq!(retry(Selection { category: Some(Category::Encrypted), ..Selection::default() }).await, 2);
    assert_eq!(state(&matter, members[1]).await, LOCKED);
    let corrupt = Selection { category: Some(Category::Corrupt), ..Selection::default() };
    assert_eq!(retry(corrupt).await, 0);
    // Set aside, and then named.
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    let named = Selection { document: Some(members[1]), ..Selection::default() };
    documents::ignore_exceptions(&mut tx, &database, &named, "not wanted").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(retry(Selection::default()).await, 1, "the ignored one is left alone");
    assert_eq!(retry(named).await, 1);
    assert_eq!(state(&matter, members[1]).await, LOCKED);
}

async fn a_password_for_one_document(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    let id = protected(&matter, batch, "a.pdf", 0).await;
    let plain = matter.document(batch, "plain.txt", b"plain").await;
    let (container, members) = container(&matter, batch).await;
    add(&matter, &["old", "older"]).await;
    let supply = async |document: DocumentId, word: &str| {
        let mut tx = matter.begin().await;
        let document = Document::find(&mut tx, document, Action::ManagePasswords).await.unwrap();
        let kept = document.supply_password(&mut tx, &Secret::new(word.into()), "for one").await?;
        tx.commit().await.unwrap();
        Ok::<_, Error>(kept.fresh)
    };
    assert!(matches!(supply(plain, "fresh").await, Err(Error::Conflict(_))));
    assert_eq!(bank(&matter, 9).await.1.len(), 2, "what is of no use is not kept");
    assert!(!supply(id, "old").await.unwrap());
    assert_eq!(state(&matter, id).await, (DocumentState::Received, None));
    assert_eq!(bank(&matter, 2).await, (2, vec!["old".into(), "older".into()]), "it counts as the newest");
    assert!(matches!(supply(id, "other").await, Err(Error::Conflict(_))), "it is on its way");
    // A container is named, or a member of it: then it is opened again.
    assert!(supply(container, "two").await.unwrap());
    assert!(supply(members[2], "three").await.unwrap());
    assert_eq!(state(&matter, members[2]).await, LOCKED);
    let supplied = "select count(*) from audit_events where action = 'password.supplied'";
    assert_eq!(test.number(supplied).await, 3);
}
