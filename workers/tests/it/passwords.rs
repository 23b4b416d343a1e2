//! Protected documents and the passwords of their case: tried when a document turns out to be protected, tried again when
//! one is added, on whole documents and on members that their container did not give up.

use domain::{
    access::Action,
    outcome::{Category, DocumentState},
};
use storage::{
    cases::Case,
    documents::Document,
    passwords::{Kept, Secret},
};
use testkit::TestStorage;
use workers::{Context, WorkersConfig};

use crate::{
    both,
    matter::{Matter, context, sample},
};

both!(
    a_document_opens_when_its_password_comes,
    what_is_in_the_bank_opens_what_comes_later,
    members_of_an_open_archive_are_opened_for_themselves,
    what_lies_in_a_locked_document_comes_out,
    ordinary_documents_never_ask_for_the_bank,
    no_more_are_tried_than_configured,
    a_copy_follows_its_original,
);

pub(crate) async fn add(matter: &Matter, words: &[&str]) -> Vec<Kept> {
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::ManagePasswords).await.unwrap();
    let secrets: Vec<Secret> = words.iter().map(|word| Secret::new((*word).to_owned())).collect();
    let kept = case.add_passwords(&mut tx, &secrets, "").await.unwrap();
    tx.commit().await.unwrap();
    kept
}

async fn uses(matter: &Matter) -> i64 {
    let uses = matter.test.number("select coalesce(cast(sum(uses) as bigint), 0) from passwords").await;
    let audited = matter.test.number("select count(*) from audit_events where action = 'password.used'").await;
    assert_eq!(uses, audited, "every use is on record");
    uses
}

/// Waits for the end of all work; the equation holds at every moment on the way.
async fn settled(matter: &Matter) {
    crate::until("the work is done", async || {
        let counts = matter.counts().await;
        assert!(counts.balances(), "{counts:?}");
        counts.in_flight == 0
            && matter.test.number("select count(*) from jobs where state in ('ready', 'running')").await == 0
    })
    .await;
    matter.settled().await;
}

async fn a_document_opens_when_its_password_comes(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("locked.pdf", sample("locked.pdf")), ("note.txt", b"a note".to_vec())]).await;
    let office = matter.work(context());
    settled(&matter).await;
    assert_eq!(matter.document("locked.pdf").await.category, Some(Category::Encrypted));
    let failures = "select count(*) from readings where exception = 'encrypted'";
    assert_eq!(matter.test.number(failures).await, 1);
    add(&matter, &["wrong", "Secret"]).await;
    settled(&matter).await;
    assert_eq!(matter.document("locked.pdf").await.category, Some(Category::Encrypted));
    assert_eq!((matter.test.number(failures).await, uses(&matter).await), (2, 0), "it was tried once more");
    add(&matter, &["secret"]).await;
    settled(&matter).await;
    let locked = matter.document("locked.pdf").await;
    assert_eq!((locked.state, locked.category, &locked.details.exception), (DocumentState::Indexed, None, &None));
    assert_eq!(matter.found("confidential").await, [locked.id]);
    assert!(uses(&matter).await >= 1);
    let used = uses(&matter).await;
    // Another password has nothing to do, and nothing is read again for it.
    add(&matter, &["later"]).await;
    settled(&matter).await;
    office.close().await;
    assert_eq!((matter.document("locked.pdf").await, uses(&matter).await), (locked, used));
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
    let told = "select count(*) from jobs where cast(payload as text) like '%ecret%' or error like '%ecret%'";
    assert_eq!(matter.test.number(told).await, 0);
}

async fn what_is_in_the_bank_opens_what_comes_later(test: TestStorage) {
    let matter = Matter::open(test).await;
    add(&matter, &["wrong", "secret", "other", "tika"]).await;
    matter
        .deliver(&[
            ("locked.pdf", sample("locked.pdf")),
            ("box.zip", sample("zipcrypto.zip")),
            ("slides.pptx", sample("testPPT_protected_passtika.pptx")),
        ])
        .await;
    let office = matter.work(context());
    settled(&matter).await;
    office.close().await;
    let counts = matter.counts().await;
    assert_eq!((counts.received, counts.unpacked, counts.indexed, counts.exception), (3, 3, 6, 0), "{counts:?}");
    assert_eq!(matter.found("confidential OR \"words of the member\"").await.len(), 4);
    assert!(uses(&matter).await >= 4, "a document, slides, and an archive with two");
}

async fn members_of_an_open_archive_are_opened_for_themselves(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("box.zip", sample("zipcrypto.zip"))]).await;
    let office = matter.work(context());
    settled(&matter).await;
    let (container, open) = (matter.document("box.zip").await, matter.document("note.txt").await);
    assert_eq!((container.state, open.state), (DocumentState::Indexed, DocumentState::Indexed));
    let letter = matter.document("letter.txt").await;
    assert_eq!((letter.state, letter.category), (DocumentState::Exception, Some(Category::Encrypted)));

    add(&matter, &["wrong"]).await;
    settled(&matter).await;
    assert_eq!(matter.document("letter.txt").await.category, Some(Category::Encrypted));
    add(&matter, &["secret"]).await;
    settled(&matter).await;
    let letter = matter.document("letter.txt").await;
    assert_eq!((letter.state, letter.size), (DocumentState::Indexed, 1_280));
    assert_eq!(matter.found("\"words of the member letter\"").await, [letter.id]);
    let memo = matter.document("memo.txt").await;
    assert_eq!(memo.category, Some(Category::Encrypted));
    // A person names the other; the siblings are never touched.
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let memo = Document::find(&mut tx, memo.id, Action::ManagePasswords).await.unwrap();
    memo.supply_password(&mut tx, &Secret::new("other".into()), "").await.unwrap();
    tx.commit().await.unwrap();
    settled(&matter).await;
    office.close().await;
    assert_eq!(matter.found("\"words of the member\"").await.len(), 3);
    assert_eq!((matter.document("box.zip").await, matter.document("note.txt").await), (container, open));
    let counts = matter.counts().await;
    assert_eq!((counts.unpacked, counts.indexed, counts.exception), (3, 4, 0), "{counts:?}");
    let opened = "select count(*) from audit_events where action = 'document.members_opened'";
    // The last opening opened the letter, too, on its way to the memo.
    assert_eq!((matter.test.number(opened).await, uses(&matter).await), (3, 3), "one try gave nothing");
    let registered = matter.test.number("select count(*) from blobs where kind = 'original'").await;
    assert_eq!(registered, 4, "the empty objects are gone");
}

async fn what_lies_in_a_locked_document_comes_out(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("letter.pdf", sample("locked_attached.pdf"))]).await;
    let office = matter.work(context());
    settled(&matter).await;
    assert_eq!(matter.counts().await.unpacked, 0);
    add(&matter, &["wrong", "secret"]).await;
    settled(&matter).await;
    let (letter, annex) = (matter.document("letter.pdf").await, matter.document("annex.txt").await);
    assert_eq!((annex.parent, annex.family, annex.depth), (Some(letter.id), letter.id, 1));
    assert_eq!((matter.found("annex").await.len(), matter.found("puffin").await), (2, vec![annex.id]));
    let counts = matter.counts().await;
    assert_eq!((counts.received, counts.unpacked, counts.indexed), (1, 1, 2), "{counts:?}");
    assert_eq!(uses(&matter).await, 1);
    office.close().await;
    let registered = matter.test.number("select count(*) from blobs where kind = 'original'").await;
    assert_eq!(registered, 2);
}

async fn ordinary_documents_never_ask_for_the_bank(test: TestStorage) {
    let matter = Matter::open(test).await;
    add(&matter, &["secret"]).await;
    // Whoever opens the bank now fails.
    let broken = if matter.test.is_postgres() { "'\\x00'" } else { "x'00'" };
    let spoil = format!("update passwords set sealed_password = {broken} returning cast(1 as bigint)");
    assert_eq!(matter.test.number(&spoil).await, 1);
    let zip = crate::matter::zip(&[("in.txt", b"A page about the heron.")]);
    matter.deliver(&[("memo.pdf", sample("fake_memo.pdf")), ("box.zip", zip), ("note.txt", b"a note".to_vec())]).await;
    let office = matter.work(context());
    settled(&matter).await;
    office.close().await;
    let counts = matter.counts().await;
    assert_eq!((counts.indexed, counts.exception), (4, 0), "{counts:?}");
    assert_eq!(matter.test.number("select count(*) from jobs where attempts > 1").await, 0);
}

async fn no_more_are_tried_than_configured(test: TestStorage) {
    let matter = Matter::open(test).await;
    add(&matter, &["secret"]).await;
    for wrong in ["one", "two", "three"] {
        add(&matter, &[wrong]).await;
    }
    matter.deliver(&[("locked.pdf", sample("locked.pdf"))]).await;
    let limited = |max_passwords_tried| {
        let config = WorkersConfig { max_passwords_tried, ..context().config };
        Context { config, ..context() }
    };
    let office = matter.work(limited(3));
    settled(&matter).await;
    office.close().await;
    assert_eq!(matter.document("locked.pdf").await.category, Some(Category::Encrypted));
    // Supplied for the document it is the newest.
    let id = matter.document("locked.pdf").await.id;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let document = Document::find(&mut tx, id, Action::ManagePasswords).await.unwrap();
    assert!(!document.supply_password(&mut tx, &Secret::new("secret".into()), "").await.unwrap().fresh);
    tx.commit().await.unwrap();
    let office = matter.work(limited(1));
    settled(&matter).await;
    office.close().await;
    assert_eq!(matter.document("locked.pdf").await.state, DocumentState::Indexed);
}

async fn a_copy_follows_its_original(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("a/locked.pdf", sample("locked.pdf")), ("b/locked.pdf", sample("locked.pdf"))]).await;
    let office = matter.work(context());
    settled(&matter).await;
    let before = matter.counts().await;
    assert_eq!((before.duplicate, before.exception), (1, 1), "{before:?}");
    add(&matter, &["secret"]).await;
    settled(&matter).await;
    office.close().await;
    let counts = matter.counts().await;
    assert_eq!((counts.indexed, counts.duplicate, counts.exception), (1, 1, 0), "{counts:?}");
}
