//! What documents have to do with each other: conversations across databases, inclusive messages, near-duplicates; found when all
//! work is done, and still right after documents came, went and changed.

use std::collections::{BTreeMap, BTreeSet};

use domain::{access::Action, ids::DocumentId, page::PageQuery};
use storage::{
    batches::{Batch, BatchDetails},
    cases::Case,
    databases::{Database, Deduplication},
    documents::{Document, DocumentFilter, reprocess, retry_exceptions},
};
use testkit::TestStorage;
use workers::{Context, WorkersConfig};

use crate::{
    both,
    matter::{Matter, context, reading_scans, sample},
    until,
};

both!(
    messages_find_their_thread_across_databases,
    what_a_later_message_holds_is_not_inclusive_unless_it_brings_more,
    threads_follow_what_comes_and_goes,
    near_duplicates_form_groups_whatever_came_first,
    groups_follow_what_comes_and_goes,
    relations_survive_a_second_reading,
    a_case_that_never_rests_is_related_nevertheless,
);

struct Mail<'a> {
    id: &'a str,
    answers: &'a str,
    minute: u32,
    body: &'a str,
    attachment: Option<&'a str>,
}

fn mail(Mail { id, answers, minute, body, attachment }: &Mail<'_>) -> Vec<u8> {
    let answered = if answers.is_empty() { String::new() } else { format!("In-Reply-To: <{answers}@x>\r\n") };
    let attached = attachment.map_or(String::new(), |content| {
        format!(
            "--cut\r\nContent-Type: text/plain; name=\"a.txt\"\r\n\
             Content-Disposition: attachment; filename=\"a.txt\"\r\n\r\n{content}\r\n"
        )
    });
    format!(
        "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: The {id} lease\r\nMessage-ID: <{id}@x>\r\n{answered}\
         Date: Tue, 03 Feb 2026 10:{minute:02}:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"cut\"\r\n\r\n--cut\r\nContent-Type: text/plain\r\n\r\n{body}\r\n{attached}--cut--\r\n"
    )
    .into_bytes()
}

/// A mail without an attachment.
fn plain(id: &str, answers: &str, minute: u32, body: &str) -> Vec<u8> {
    mail(&Mail { id, answers, minute, body, attachment: None })
}

async fn settle(matter: &Matter) {
    settle_with(matter, context()).await;
}

async fn settle_with(matter: &Matter, context: Context) {
    let office = matter.work(context);
    matter.settled().await;
    office.close().await;
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
}

/// Names of the messages of the thread that `name` is of, in order, each with the name it answers and whether it is inclusive.
async fn thread(matter: &Matter, name: &str) -> Vec<(String, Option<String>, bool)> {
    let document = matter.document(name).await;
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let document = Document::find(&mut tx, document.id, Action::ReadDocuments).await.unwrap();
    // A page of one each, so that the order is that of the cursor.
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = document.conversation(&mut tx, &PageQuery { cursor, limit: Some(1) }).await.unwrap();
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let names: BTreeMap<DocumentId, String> = found.iter().map(|one| (one.id, one.details.name.clone())).collect();
    let shown = |one: &Document| {
        let answered = one.relation.answers.map(|id| names[&id].clone());
        (one.details.name.clone(), answered, one.relation.inclusive.unwrap())
    };
    found.iter().map(shown).collect()
}

fn row(name: &str, answers: &str, inclusive: bool) -> (String, Option<String>, bool) {
    (name.to_owned(), (!answers.is_empty()).then(|| answers.to_owned()), inclusive)
}

async fn messages_find_their_thread_across_databases(test: TestStorage) {
    let mut matter = Matter::open(test).await;
    matter
        .deliver(&[
            ("c.eml", plain("c", "b", 30, "Then it is signed.")),
            ("a.eml", plain("a", "", 10, "Shall we sign?")),
            ("other.eml", plain("other", "", 11, "Something else.")),
            ("note.txt", b"No message at all.".to_vec()),
        ])
        .await;
    settle(&matter).await;
    // "b" is not here yet: nothing tells that "c" belongs to "a".
    assert_eq!(thread(&matter, "a.eml").await, [row("a.eml", "", true)]);
    assert_eq!(thread(&matter, "note.txt").await, []);
    assert_eq!(matter.document("note.txt").await.relation.thread, None);

    let first = matter.database.clone();
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::ManageDatabase).await.unwrap();
    matter.database =
        Database::create(&mut tx, &case, "Second production", "", Deduplication::default()).await.unwrap();
    matter.batch = Batch::open(&mut tx, &matter.database, "upload", &BatchDetails::default()).await.unwrap();
    tx.commit().await.unwrap();
    for name in ["b.eml", "copy.eml"] {
        matter.deliver(&[(name, plain("b", "a", 20, "Yes."))]).await;
        settle(&matter).await;
    }
    let whole = [row("a.eml", "", true), row("b.eml", "a.eml", true), row("c.eml", "b.eml", true)];
    assert_eq!(thread(&matter, "b.eml").await, whole);
    // A copy that is suppressed is where the one stands that stands for it.
    assert_eq!(thread(&matter, "copy.eml").await, whole);
    matter.database = first;
    assert_eq!(thread(&matter, "c.eml").await, whole);
    let (a, other) = (matter.document("a.eml").await, matter.document("other.eml").await);
    assert_eq!(a.relation.thread, Some(a.id));
    assert_eq!((other.relation.thread, other.relation.inclusive), (Some(other.id), Some(true)));

    // Filters of the list.
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::ReadDocuments).await.unwrap();
    let of_thread = DocumentFilter { thread: Some(a.id), ..DocumentFilter::default() };
    let listed = Document::list_case(&mut tx, &case, &of_thread, &PageQuery::default()).await.unwrap();
    assert_eq!(listed.items.len(), 4, "three messages and the copy");
}

async fn what_a_later_message_holds_is_not_inclusive_unless_it_brings_more(test: TestStorage) {
    let matter = Matter::open(test).await;
    let quoting = "No.\r\n\r\nOn Monday Ann wrote:\r\n> Shall we sign\r\n> the lease?";
    let again = |minute, id, attachment| {
        mail(&Mail { id, answers: "q", minute, body: "Here it is. Shall we sign the lease?", attachment })
    };
    matter
        .deliver(&[
            ("q.eml", plain("q", "", 1, "Shall we sign the lease?")),
            ("r.eml", plain("r", "q", 2, quoting)),
            ("s.eml", again(3, "s", Some("The lease of 1 May."))),
            ("t.eml", again(4, "t", None)),
            ("u.eml", again(5, "u", Some("The lease of 1 May."))),
            ("v.eml", again(6, "v", Some("The lease of 2 May."))),
        ])
        .await;
    settle(&matter).await;
    let expected = [
        row("q.eml", "", false),
        row("r.eml", "q.eml", true),
        row("s.eml", "q.eml", false),
        row("t.eml", "q.eml", false),
        row("u.eml", "q.eml", true),
        row("v.eml", "q.eml", true),
    ];
    assert_eq!(thread(&matter, "r.eml").await, expected);
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::ReadDocuments).await.unwrap();
    let must_read = DocumentFilter { inclusive: Some(true), ..DocumentFilter::default() };
    let listed = Document::list(&mut tx, &database, &must_read, &PageQuery::default()).await.unwrap();
    let names: Vec<_> = listed.items.into_iter().map(|one| one.details.name).collect();
    assert_eq!(names, ["r.eml", "u.eml", "v.eml"]);
}

async fn threads_follow_what_comes_and_goes(test: TestStorage) {
    let matter = Matter::open(test).await;
    let files = [
        ("a.eml", plain("a", "", 1, "Alpha.")),
        ("b.eml", plain("b", "a", 2, "Beta. Alpha.")),
        ("c.eml", plain("c", "b", 3, "Gamma. Beta. Alpha.")),
        ("d.eml", plain("d", "b", 4, "Delta.")),
    ];
    matter.deliver(&files).await;
    settle(&matter).await;
    let whole = [
        row("a.eml", "", false),
        row("b.eml", "a.eml", false),
        row("c.eml", "b.eml", true),
        row("d.eml", "b.eml", true),
    ];
    assert_eq!(thread(&matter, "a.eml").await, whole);

    // The one that held the others goes: they say something again.
    delete(&matter, "c.eml").await;
    assert_eq!(thread(&matter, "a.eml").await.len(), 3, "gone for readers at once");
    settle(&matter).await;
    assert_eq!(
        thread(&matter, "a.eml").await,
        [row("a.eml", "", false), row("b.eml", "a.eml", true), row("d.eml", "b.eml", true)]
    );
    // The one that stood for the thread goes: the next one does, though what it answered is gone.
    delete(&matter, "a.eml").await;
    settle(&matter).await;
    assert_eq!(thread(&matter, "d.eml").await, [row("b.eml", "", true), row("d.eml", "b.eml", true)]);
    assert_eq!(matter.document("d.eml").await.relation.thread, Some(matter.document("b.eml").await.id));
    // A file replaced by something that is no message is in no thread.
    replace(&matter, "b.eml", b"Not a message.").await;
    assert_eq!(matter.document("b.eml").await.relation.thread, None);
    settle(&matter).await;
    assert_eq!(thread(&matter, "d.eml").await, [row("d.eml", "", true)]);
    assert_eq!(thread(&matter, "b.eml").await, []);
    // And one replaced by the message it should have been is where that belongs.
    replace(&matter, "b.eml", &files[1].1).await;
    settle(&matter).await;
    assert_eq!(thread(&matter, "d.eml").await, [row("b.eml", "", true), row("d.eml", "b.eml", true)]);
}

pub(crate) async fn delete(matter: &Matter, name: &str) {
    let id = matter.document(name).await.id;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let document = Document::find(&mut tx, id, Action::DeleteDocuments).await.unwrap();
    document.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn replace(matter: &Matter, name: &str, bytes: &[u8]) {
    let id = matter.document(name).await.id;
    let storage = &matter.test.storage;
    let mut tx = storage.begin(&matter.actor).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    let (blob, kind) = (domain::ids::BlobId::new(), storage::objects::BlobKind::Original);
    let mut writer = storage.objects.writer(&key, matter.case.id, blob, kind).await.unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    let stored = writer.finish().await.unwrap();
    let document = Document::find(&mut tx, id, Action::Upload).await.unwrap();
    document.replace(&mut tx, name, &stored, "").await.unwrap();
    tx.commit().await.unwrap();
}

/// Words `from..until` of a made-up language.
fn words(from: u32, until: u32) -> Vec<u8> {
    (from..until).map(|at| format!("wo{at} ")).collect::<String>().into_bytes()
}

/// A draft, two later drafts, one whole that holds them, another matter, and a text too short to tell.
fn drafts() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("first.txt", words(0, 960)),
        ("second.txt", words(20, 980)),
        ("whole.txt", words(0, 1_000)),
        ("other.txt", words(5_000, 5_900)),
        ("another.txt", words(5_010, 5_940)),
        ("alone.txt", words(9_000, 9_400)),
        ("short.txt", words(0, 12)),
        ("short too.txt", words(0, 13)),
    ]
}

/// The groups by the names of their pivots, each with its members.
async fn groups(matter: &Matter) -> BTreeMap<String, BTreeSet<String>> {
    let documents = matter.documents().await;
    let names: BTreeMap<DocumentId, String> = documents.iter().map(|one| (one.id, one.details.name.clone())).collect();
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for document in &documents {
        if let Some((pivot, similarity)) = document.relation.group {
            assert!((85..=100).contains(&similarity), "{}", document.details.name);
            groups.entry(names[&pivot].clone()).or_default().insert(document.details.name.clone());
        }
    }
    groups
}

fn group(pivot: &str, members: &[&str]) -> (String, BTreeSet<String>) {
    (pivot.to_owned(), members.iter().map(|name| (*name).to_owned()).collect())
}

async fn near_duplicates_form_groups_whatever_came_first(test: TestStorage) {
    let matter = Matter::open(test).await;
    let expected = BTreeMap::from([
        group("whole.txt", &["first.txt", "second.txt", "whole.txt"]),
        group("another.txt", &["another.txt", "other.txt"]),
    ]);
    // One after the other, so that every text joins what is there.
    let mut files = drafts();
    files.reverse();
    for file in files {
        matter.deliver(&[file]).await;
        settle(&matter).await;
    }
    assert_eq!(groups(&matter).await, expected);
    let second = matter.document("second.txt").await;
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let near = second.near_duplicates(&mut tx, &PageQuery::default()).await.unwrap().items;
    let names: BTreeSet<_> = near.iter().map(|near| near.document.details.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["first.txt", "whole.txt"]));
    assert!(near.iter().all(|near| near.similarity.is_some_and(|percent| (85..=100).contains(&percent))));
    let pivot = matter.document("whole.txt").await.id;
    let of_group = DocumentFilter { group: Some(pivot), ..DocumentFilter::default() };
    let database = Database::find(&mut tx, matter.database.id, Action::ReadDocuments).await.unwrap();
    let listed = Document::list(&mut tx, &database, &of_group, &PageQuery::default()).await.unwrap();
    assert_eq!(listed.items.len(), 3);
    let alone = matter.document("alone.txt").await;
    assert_eq!(alone.near_duplicates(&mut tx, &PageQuery::default()).await.unwrap().items, []);
    drop(tx);

    // The same all at once, in the other order, in a case of its own.
    let other = Matter::open(matter.test).await;
    other.deliver(&drafts()).await;
    settle(&other).await;
    assert_eq!(groups(&other).await, expected);
    // What looks the same in two cases does not look the same in their rows.
    let shared = "select count(*) from relations one join relations other on one.signature = other.signature where one.case_id <> other.case_id";
    assert_eq!(other.test.number(shared).await, 0);
    assert!(other.test.number("select count(*) from relations where signature is not null").await >= 12);
}

async fn groups_follow_what_comes_and_goes(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&drafts()).await;
    settle(&matter).await;
    delete(&matter, "whole.txt").await;
    delete(&matter, "other.txt").await;
    settle(&matter).await;
    let rest = BTreeMap::from([group("first.txt", &["first.txt", "second.txt"])]);
    let found = groups(&matter).await;
    // Two of one length: their bytes say which is the pivot.
    let by_members: BTreeSet<_> = found.into_values().collect();
    assert_eq!(by_members, rest.into_values().collect());
    replace(&matter, "second.txt", &words(9_000, 9_410)).await;
    settle(&matter).await;
    assert_eq!(groups(&matter).await, BTreeMap::from([group("second.txt", &["alone.txt", "second.txt"])]));
}

async fn relations_survive_a_second_reading(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter
        .deliver(&[
            ("a.eml", plain("a", "", 1, "Alpha.")),
            ("b.eml", plain("b", "a", 2, "Beta. Alpha.")),
            ("first.txt", words(0, 960)),
            ("whole.txt", words(0, 1_000)),
            ("empty.txt", Vec::new()),
        ])
        .await;
    settle(&matter).await;
    let expected = [row("a.eml", "", false), row("b.eml", "a.eml", true)];
    let near = BTreeMap::from([group("whole.txt", &["first.txt", "whole.txt"])]);
    let picture = async || (thread(&matter, "a.eml").await, groups(&matter).await);
    assert_eq!(picture().await, (expected.to_vec(), near.clone()));
    let related = "select count(*) from audit_events where action = 'case.related'";
    let changes = matter.test.number(related).await;

    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    let all = storage::documents::Selection::default();
    assert_eq!(retry_exceptions(&mut tx, &database, &all).await.unwrap(), 1);
    reprocess(&mut tx, &database, &matter.batch, true).await.unwrap();
    tx.commit().await.unwrap();
    // What stands there stands until something else is found.
    assert_eq!(picture().await, (expected.to_vec(), near.clone()));
    settle(&matter).await;
    assert_eq!(picture().await, (expected.to_vec(), near));
    let judged_anew = matter.test.number(related).await - changes;
    assert!(judged_anew <= 1, "the thread has new texts, everything else is as it was: {judged_anew}");
}

async fn a_case_that_never_rests_is_related_nevertheless(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("a.eml", plain("a", "", 1, "Alpha."))]).await;
    settle(&matter).await;
    // A document that will not move while its queue has no workers.
    let queues = context().config.queues.into_iter().filter(|queue| *queue != domain::jobs::Queue::Ocr).collect();
    let busy = |relate_patience_seconds| {
        let config = WorkersConfig { queues, relate_patience_seconds, ..context().config };
        Context { config, ..reading_scans() }
    };
    matter.deliver(&[("b.eml", plain("b", "a", 2, "Beta.")), ("scan.png", sample("testOCR.png"))]).await;
    let office = matter.work(busy(1));
    let answering = "select count(*) from relations where answers_id is not null";
    until("the thread is found", async || matter.test.number(answering).await == 1).await;
    assert_eq!(matter.counts().await.in_flight, 1);
    office.close().await;
    let put_off = "select count(*) from jobs where kind = 'relate_documents' and state = 'done' and attempts > 1";
    assert_eq!(matter.test.number(put_off).await, 0, "waiting costs no attempts");
}
