//! Copies: what is suppressed, what never is, and what is kept of the suppressed.

use domain::{access::Action, ids::BlobId, outcome::DocumentState};
use storage::{
    databases::Database,
    documents::{self, Details, Document},
    objects::BlobKind,
};
use testkit::TestStorage;

use crate::{
    both,
    matter::{Matter, context, eml},
};

both!(
    attachments_stay_with_every_mail_that_has_them,
    a_message_is_told_by_what_it_says_and_not_by_its_way,
    messages_of_two_mailboxes_are_compared,
    a_document_is_found_by_the_custodians_of_its_copies,
);

async fn settle(matter: &Matter) -> Vec<Document> {
    let office = matter.work(context());
    matter.settled().await;
    office.close().await;
    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    matter.documents().await
}

/// alephdata/aleph#3165: of several e-mails with the same attachment only the last kept it.
async fn attachments_stay_with_every_mail_that_has_them(test: TestStorage) {
    let matter = Matter::open(test).await;
    let shared = ("terms.txt", "The orlop terms are final.");
    let files = [
        ("one.eml", eml("The first letter.", shared)),
        ("two.eml", eml("The second letter.", shared)),
        ("three.eml", eml("The third letter.", shared)),
        ("terms.txt", shared.1.as_bytes().to_vec()),
    ];
    matter.deliver(&files).await;
    let documents = settle(&matter).await;
    assert_eq!(documents.len(), 7);
    assert!(documents.iter().all(|document| document.state == DocumentState::Indexed));
    for name in ["one.eml", "two.eml", "three.eml"] {
        let mail = documents.iter().find(|document| document.details.name == name).unwrap();
        let attached: Vec<_> = documents.iter().filter(|document| document.parent == Some(mail.id)).collect();
        assert_eq!(attached.len(), 1, "{name}");
        assert_eq!((attached[0].family, attached[0].details.path.as_str()), (mail.id, &*format!("{name}/terms.txt")));
    }
    // The mails hold its name only; each attachment and the loose file hold the word.
    assert_eq!(matter.found("orlop").await.len(), 4);
}

fn received(by: &str, message: &[u8]) -> Vec<u8> {
    let way = format!("Received: from relay by {by}.example; Tue, 03 Feb 2026 10:00:02 +0000\r\nMessage-ID: <a@b>\r\n");
    [way.as_bytes(), message].concat()
}

async fn a_message_is_told_by_what_it_says_and_not_by_its_way(test: TestStorage) {
    let matter = Matter::open(test).await;
    let attachment = ("note.txt", "A note.");
    let files = [
        ("ann/sent.eml", received("ann", &eml("The gunwale is painted.", attachment))),
        ("bob/inbox.eml", received("bob", &eml("The gunwale is painted.", attachment))),
        ("eve/altered.eml", received("eve", &eml("The gunwale is not painted.", attachment))),
        ("eve/other.eml", received("eve", &eml("The gunwale is painted.", ("note.txt", "Another note.")))),
    ];
    matter.deliver(&files).await;
    let documents = settle(&matter).await;
    let counts = matter.counts().await;
    assert_eq!((counts.received, counts.unpacked, counts.indexed, counts.duplicate), (4, 3, 6, 1), "{counts:?}");
    let copy = documents.iter().find(|document| document.state == DocumentState::Duplicate).unwrap();
    assert!(["ann/sent.eml", "bob/inbox.eml"].contains(&copy.details.path.as_str()), "{}", copy.details.path);
    let first = documents.iter().find(|document| Some(document.id) == copy.duplicate_of).unwrap();
    assert!(["ann/sent.eml", "bob/inbox.eml"].contains(&first.details.path.as_str()), "{}", first.details.path);
    // No object was left of the copy's attachment.
    let objects = matter.test.number("select count(*) from blobs where kind = 'original'").await;
    assert_eq!(objects, 7);
}

async fn messages_of_two_mailboxes_are_compared(test: TestStorage) {
    let matter = Matter::open(test).await;
    let mailbox = |messages: &[Vec<u8>]| {
        messages
            .iter()
            .flat_map(|message| [b"From a@b Tue Feb  3 10:00:00 2026\n", &message[..], b"\n"].concat())
            .collect()
    };
    let (shared, attachment) = (eml("The capstan turns.", ("log.txt", "Day one.")), ("log.txt", "Day two."));
    let files: [(&str, Vec<u8>); 2] = [
        ("ann.mbox", mailbox(&[shared.clone(), eml("Only Ann has this.", attachment)])),
        ("bob.mbox", mailbox(&[shared, eml("Only Bob has this.", attachment)])),
    ];
    matter.deliver(&files).await;
    let documents = settle(&matter).await;
    let messages: Vec<_> = documents.iter().filter(|document| document.depth == 1).collect();
    assert_eq!(messages.len(), 4);
    assert!(messages.iter().all(|message| message.family == message.id), "each begins a family of its own");
    let copies: Vec<_> = messages.iter().filter(|message| message.state == DocumentState::Duplicate).collect();
    assert_eq!(copies.len(), 1);
    let attached: Vec<_> = documents.iter().filter(|document| document.depth == 2).collect();
    assert_eq!(attached.len(), 3, "one with the shared message, one with each of the others");
    assert!(attached.iter().all(|document| Some(document.family) == document.parent));
}

/// Delivers a file of somebody.
async fn deliver_of(matter: &Matter, custodian: &str, bytes: &[u8]) {
    let storage = &matter.test.storage;
    let mut tx = storage.begin(&matter.actor).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    let mut writer = storage.objects.writer(&key, matter.case.id, BlobId::new(), BlobKind::Original).await.unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    let path = format!("{custodian}/note.txt");
    let custodian = Some(custodian.to_owned());
    let details = Details { name: "note.txt".into(), path: path.clone(), custodian, ..Details::default() };
    let stored = writer.finish().await.unwrap();
    documents::receive(&mut tx, &matter.batch, &[(&path, details, stored)]).await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_document_is_found_by_the_custodians_of_its_copies(test: TestStorage) {
    let matter = Matter::open(test).await;
    let bytes = b"The orlop is dry.";
    let found = async |query: &str| matter.found(query).await.len();
    let office = matter.work(context());
    // Before the document is indexed, or after: whenever the copy comes.
    deliver_of(&matter, "Ann", bytes).await;
    deliver_of(&matter, "Bob", bytes).await;
    matter.settled().await;
    for query in ["custodian:ann", "custodian:bob", "orlop AND custodian:bob"] {
        assert_eq!(found(query).await, 1, "{query}");
    }
    assert_eq!(found("custodian:cy").await, 0);
    deliver_of(&matter, "Cy", bytes).await;
    matter.settled().await;
    assert_eq!((found("custodian:cy").await, found("custodian:ann").await, found("orlop").await), (1, 1, 1));
    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    assert_eq!((counts.indexed, counts.duplicate), (1, 2));
    // One more that is nobody's changes nothing.
    let published = "select count(*) from generations";
    let before = matter.test.number(published).await;
    matter.deliver(&[("nobody.txt", bytes.to_vec())]).await;
    matter.settled().await;
    assert_eq!(matter.test.number(published).await, before);
    // Rebuilt from nothing, it is found so too.
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::ManageDatabase).await.unwrap();
    database.reindex(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    matter.settled().await;
    assert_eq!((found("orlop AND custodian:cy").await, found("orlop AND custodian:ann").await), (1, 1));
    // A copy that is deleted has no custodian any more.
    let documents = matter.documents().await;
    let is_copy =
        |one: &&Document| one.state == DocumentState::Duplicate && one.details.custodian.as_deref() == Some("Cy");
    let copy = documents.iter().find(is_copy).unwrap();
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let copy = Document::find(&mut tx, copy.id, Action::DeleteDocuments).await.unwrap();
    copy.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    matter.settled().await;
    assert_eq!((found("orlop AND custodian:cy").await, found("orlop AND custodian:bob").await), (0, 1));
    office.close().await;
}
