//! Load files and uploads in pieces, from their first byte to documents.

use std::{path::Path, time::Duration};

use domain::{
    access::Action,
    ids::{BlobId, ItemId, LoadFileId, UploadId},
    outcome::DocumentState,
    page::PageQuery,
};
use storage::{
    Error,
    batches::Batch,
    databases::Database,
    items::{self, Expected, Item, ItemCounts, ItemDetails, ItemError, ItemState, NewItem},
    load_files::LoadFile,
    objects::{BlobKind, Stored},
    uploads::{self, Upload, UploadDetails, UploadKind},
};
use testkit::TestStorage;
use workers::{Context, WorkersConfig};

use crate::{
    both,
    matter::{LONG, Matter, context},
    until,
};

both!(
    files_carry_what_their_load_file_says,
    a_load_file_read_in_part_is_read_on,
    a_load_file_that_cannot_be_read_says_why,
    pieces_become_one_document,
    pieces_that_nobody_goes_on_with_are_forgotten,
    an_upload_complete_before_the_seal_is_received,
    what_is_announced_stays_with_a_replaced_file_and_goes_with_a_deleted_one,
);

const DAY: Duration = Duration::from_hours(24);

pub(crate) async fn store(matter: &Matter, bytes: &[u8]) -> Stored {
    let storage = &matter.test.storage;
    let mut tx = storage.read(&matter.actor).await.unwrap();
    let key = tx.case_key(matter.case.id).await.unwrap();
    drop(tx);
    let mut writer = storage.objects.writer(&key, matter.case.id, BlobId::new(), BlobKind::Original).await.unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    writer.finish().await.unwrap()
}

/// Delivers a load file; the workers read it.
pub(crate) async fn announce(matter: &Matter, bytes: &[u8]) -> LoadFileId {
    let stored = store(matter, bytes).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    let file = LoadFile::receive(&mut tx, &database, &matter.batch, "production.dat", &stored).await.unwrap();
    tx.commit().await.unwrap();
    file.id
}

/// Announces a file in `folder` by reference, in a load file that was read already.
pub(crate) async fn refer(matter: &Matter, file: LoadFileId, folder: &Path) -> ItemId {
    std::fs::write(folder.join("referred.txt"), "referred to").unwrap();
    let file = load_file(matter, file).await;
    let source = Some(format!("file://{}/referred.txt", folder.display()));
    let details = ItemDetails { path: "referred.txt".into(), source, ..ItemDetails::default() };
    let item = NewItem { line: 1_000, details, expected: Expected::Reference };
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    items::announce(&mut tx, &file, &[item]).await.unwrap();
    tx.commit().await.unwrap();
    listed(matter).await.into_iter().find(|item| item.line == 1_000).unwrap().id
}

async fn load_file(matter: &Matter, id: LoadFileId) -> LoadFile {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    LoadFile::find(&mut tx, &matter.batch, id).await.unwrap()
}

pub(crate) async fn listed(matter: &Matter) -> Vec<Item> {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    items::list(&mut tx, &matter.batch, None, &PageQuery::default()).await.unwrap().items
}

pub(crate) async fn seal(matter: &Matter) -> Batch {
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    Batch::find(&mut tx, &database, matter.batch.id).await.unwrap().seal(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    Batch::find(&mut tx, &database, matter.batch.id).await.unwrap()
}

async fn files_carry_what_their_load_file_says(test: TestStorage) {
    let matter = Matter::open(test).await;
    let wrong = "0".repeat(64);
    let csv = format!(
        "BegBates,BegAttach,Custodian,NativeFile,Privilege,SHA256\r\n\
         A1,A1,\"Doe, Jane\",.\\NATIVES\\A1.TXT,zonkopalm,\r\n\
         A2,A1,,.\\NATIVES\\a2.txt,,{wrong}\r\n\
         A3,,,.\\NATIVES\\A3.TXT,,\r\n\
         A4,,,,,\r\n"
    );
    let file = announce(&matter, csv.as_bytes()).await;
    let files =
        [("x/natives/a1.txt", b"one".to_vec()), ("NATIVES/A2.txt", b"two".to_vec()), ("extra.txt", b"more".to_vec())];
    // While it waits, files would come before what is known of them.
    let early = store(&matter, b"early").await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let details = storage::documents::Details { path: "early".into(), ..storage::documents::Details::default() };
    let refused = storage::documents::receive(&mut tx, &matter.batch, &[("early", details, early)]).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    drop(tx);

    let office = matter.work(context());
    matter.settled().await;
    let read = load_file(&matter, file).await;
    assert_eq!((read.state.as_str(), read.items, read.refused), ("read", 4, 1));
    assert_eq!((read.details.kind.as_deref(), read.details.columns.len()), (Some("csv"), 6));
    matter.deliver(&files).await;
    matter.settled().await;

    let first = matter.document("x/natives/a1.txt").await;
    let carried = first.details.listed.clone().unwrap();
    assert_eq!((carried.control_number.as_deref(), carried.parent.as_deref()), (Some("A1"), None));
    assert_eq!(
        (carried.fields["Privilege"].as_str(), first.details.custodian.as_deref()),
        ("zonkopalm", Some("Doe, Jane"))
    );
    assert_eq!(matter.found("zonkopalm").await, [first.id]);
    assert_eq!(matter.found("name:A1").await, [first.id]);
    let second = matter.document("NATIVES/A2.txt").await;
    assert_eq!(second.details.listed.unwrap().parent.as_deref(), Some("A1"));
    assert_eq!(matter.document("extra.txt").await.details.listed, None);

    let told: Vec<_> = listed(&matter).await.iter().map(|i| (i.line, i.state, i.error.map(ItemError::name))).collect();
    let expected = [
        (2, ItemState::Delivered, None),
        (3, ItemState::Failed, Some("hash_mismatch")),
        (4, ItemState::Awaited, None),
        (5, ItemState::Failed, Some("refused")),
    ];
    assert_eq!(told, expected);
    let problems = async |batch: &Batch| {
        let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
        let all = items::problems(&mut tx, batch, &PageQuery::default()).await.unwrap().items;
        all.iter().map(|problem| problem.error.name()).collect::<Vec<_>>()
    };
    assert_eq!(problems(&matter.batch).await, ["hash_mismatch", "refused"]);
    let batch = seal(&matter).await;
    assert_eq!(problems(&batch).await, ["hash_mismatch", "missing", "refused"]);
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let counts = items::counts(&mut tx, &batch).await.unwrap();
    assert_eq!(counts, ItemCounts { awaited: 1, fetching: 0, delivered: 1, failed: 2 });
    office.close().await;
}

async fn a_load_file_read_in_part_is_read_on(test: TestStorage) {
    let matter = Matter::open(test).await;
    let lines: String = (1..=1_200).map(|n| format!("A{n},f{n}.txt\n")).collect();
    let file = announce(&matter, format!("id,path\n{lines}").as_bytes()).await;
    // As a process that died behind its first page left it.
    let part: Vec<NewItem> = (1..=700)
        .map(|n| NewItem {
            line: n + 1,
            details: ItemDetails { path: format!("f{n}.txt"), ..ItemDetails::default() },
            expected: Expected::File,
        })
        .collect();
    let waiting = load_file(&matter, file).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    items::announce(&mut tx, &waiting, &part).await.unwrap();
    tx.commit().await.unwrap();
    let office = matter.work(context());
    matter.settled().await;
    office.close().await;
    let read = load_file(&matter, file).await;
    assert_eq!((read.state.as_str(), read.items, read.refused), ("read", 1_200, 0));
    let lines = "select count(distinct line) from items where state = 'awaited'";
    assert_eq!(matter.test.number(lines).await, 1_200);
}

async fn a_load_file_that_cannot_be_read_says_why(test: TestStorage) {
    let matter = Matter::open(test).await;
    let config = WorkersConfig { max_items: 2, ..context().config };
    let office = matter.work(Context { config, ..context() });
    for (bytes, says, items) in [
        (&b"just,some,words\n1,2,3\n"[..], "line 1: no column says where the files lie", 0),
        (b"path\na\nb\nc\nd\n", "more than 2 items", 2),
    ] {
        let file = announce(&matter, bytes).await;
        matter.settled().await;
        let failed = load_file(&matter, file).await;
        assert_eq!((failed.state.as_str(), failed.items), ("failed", items));
        assert!(failed.details.error.as_ref().unwrap().contains(says), "{:?}", failed.details.error);
    }
    // A batch whose load file failed takes files all the same.
    matter.deliver(&[("a", b"words".to_vec())]).await;
    matter.settled().await;
    assert!(matter.document("a").await.details.listed.is_some(), "what was noted before the failure stays");
    office.close().await;
}

/// Begins an upload of `length` bytes.
pub(crate) async fn begin(matter: &Matter, path: &str, kind: UploadKind, length: Option<u64>) -> Upload {
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    let details = UploadDetails { name: path.into(), path: path.into(), ..UploadDetails::default() };
    let upload = Upload::create(&mut tx, &database, &matter.batch, kind, length, &details, DAY).await.unwrap();
    tx.commit().await.unwrap();
    upload
}

pub(crate) async fn add(matter: &Matter, mut upload: Upload, pieces: &[&[u8]]) -> Upload {
    for piece in pieces {
        let stored = store(matter, piece).await;
        let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
        upload.add(&mut tx, &matter.batch, &[stored], DAY).await.unwrap();
        tx.commit().await.unwrap();
    }
    upload
}

async fn reload(matter: &Matter, id: UploadId) -> Upload {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    Upload::find(&mut tx, &matter.batch, id).await.unwrap()
}

/// Objects go after the commit that strikes them out.
async fn registered_are_stored(matter: &Matter) {
    until("one object a row", async || {
        let registered = matter.test.number("select count(*) from blobs").await;
        i64::try_from(crate::deliveries::objects(matter).await.len()) == Ok(registered)
    })
    .await;
}

async fn pieces_become_one_document(test: TestStorage) {
    let matter = Matter::open(test).await;
    let office = matter.work(context());
    let whole = begin(&matter, "box/whole.txt", UploadKind::Whole, Some(9)).await;
    let several = begin(&matter, "box/several.txt", UploadKind::Whole, Some(15)).await;
    let nothing = begin(&matter, "box/empty.txt", UploadKind::Whole, Some(0)).await;
    add(&matter, whole.clone(), &[b"quintuple"]).await;
    add(&matter, several.clone(), &[b"alpha ", b"beta ", b"gamm"]).await;
    let (one, other) = (
        begin(&matter, "", UploadKind::Partial, Some(6)).await,
        begin(&matter, "", UploadKind::Partial, Some(5)).await,
    );
    let parts = [add(&matter, one, &[b"delta "]).await, add(&matter, other, &[b"epsil"]).await];
    let mut joined = begin(&matter, "box/joined.txt", UploadKind::Final, None).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    joined.join(&mut tx, &parts).await.unwrap();
    assert!(matches!(joined.join(&mut tx, &parts).await, Err(Error::Conflict(_))), "once");
    drop(tx);
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let mut joined = Upload::find(&mut tx, &matter.batch, joined.id).await.unwrap();
    joined.join(&mut tx, &parts).await.unwrap();
    tx.commit().await.unwrap();
    matter.settled().await;
    let texts = [("box/whole.txt", &whole, 9), ("box/several.txt", &several, 15), ("box/joined.txt", &joined, 11)];
    for (path, upload, size) in texts {
        let document = reload(&matter, upload.id).await.document.unwrap();
        let found = matter.documents().await.into_iter().find(|one| one.id == document).unwrap();
        assert_eq!((found.details.path.as_str(), found.size, found.state), (path, size, DocumentState::Indexed));
    }
    assert_eq!(matter.found("\"alpha beta gamm\"").await.len(), 1);
    assert_eq!(matter.found("\"delta epsil\"").await.len(), 1);
    assert!(reload(&matter, nothing.id).await.document.is_some());
    // The same file from the same place again is the same document.
    let again = begin(&matter, "box/whole.txt", UploadKind::Whole, Some(9)).await;
    add(&matter, again.clone(), &[b"quintuple"]).await;
    matter.settled().await;
    assert_eq!(reload(&matter, again.id).await.document, reload(&matter, whole.id).await.document);
    registered_are_stored(&matter).await;
    office.close().await;
}

async fn pieces_that_nobody_goes_on_with_are_forgotten(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let open = add(&matter, begin(&matter, "a.txt", UploadKind::Whole, Some(9)).await, &[b"half"]).await;
    let mut stale = open.clone();
    let open = add(&matter, open, &[b"mor"]).await;
    // Whoever has not heard of it is refused, and may not send too much either.
    let piece = store(&matter, b"x").await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    assert!(matches!(stale.add(&mut tx, &matter.batch, &[piece], DAY).await, Err(Error::Conflict(_))));
    let long = Stored { size: 100, ..piece };
    assert!(matches!(open.clone().add(&mut tx, &matter.batch, &[long], DAY).await, Err(Error::Invalid(_))));
    drop(tx);
    let cancelled = begin(&matter, "b.txt", UploadKind::Whole, Some(1)).await;
    add(&matter, cancelled.clone(), &[b"b"]).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    Batch::find(&mut tx, &database, matter.batch.id).await.unwrap().cancel(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let config = WorkersConfig { collect_seconds: 1, ..context().config };
    let office = matter.work(Context { config, ..context() });
    let left = "select count(*) from uploads";
    until("the batch of the complete one was cancelled", async || matter.test.number(left).await == 1).await;
    matter.test.advance(LONG);
    until("the other has expired", async || {
        matter.test.advance(Duration::from_millis(20));
        matter.test.number(left).await == 0
    })
    .await;
    assert_eq!(matter.documents().await.len(), 0);
    registered_are_stored(&matter).await;
    office.close().await;
}

async fn an_upload_complete_before_the_seal_is_received(test: TestStorage) {
    let matter = Matter::open(test).await;
    let whole = begin(&matter, "late.txt", UploadKind::Whole, Some(4)).await;
    let open = begin(&matter, "never.txt", UploadKind::Whole, Some(4)).await;
    add(&matter, whole, &[b"late"]).await;
    let batch = seal(&matter).await;
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    assert_eq!(uploads::pending(&mut tx, &batch).await.unwrap(), (1, 1));
    drop(tx);
    let piece = store(&matter, b"more").await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    assert!(matches!(open.clone().add(&mut tx, &batch, &[piece], DAY).await, Err(Error::Conflict(_))));
    drop(tx);
    let office = matter.work(context());
    matter.settled().await;
    assert_eq!(matter.document("late.txt").await.state, DocumentState::Indexed);
    office.close().await;
}

async fn what_is_announced_stays_with_a_replaced_file_and_goes_with_a_deleted_one(test: TestStorage) {
    let matter = Matter::open(test).await;
    let office = matter.work(context());
    announce(&matter, b"id,path\nA1,kept.txt\nA2,gone.txt\n").await;
    matter.settled().await;
    matter.deliver(&[("kept.txt", b"the first words".to_vec())]).await;
    add(&matter, begin(&matter, "gone.txt", UploadKind::Whole, Some(5)).await, &[b"words"]).await;
    matter.settled().await;
    let told = matter.document("kept.txt").await.details.listed;
    assert_eq!(told.as_ref().unwrap().control_number.as_deref(), Some("A1"));
    crate::relations::replace(&matter, "kept.txt", b"other words").await;
    crate::relations::delete(&matter, "gone.txt").await;
    matter.settled().await;
    assert_eq!(matter.document("kept.txt").await.details.listed, told);
    let references = "select count(*) from items where document_id is not null";
    assert_eq!(matter.test.number(references).await, 1);
    assert_eq!(matter.test.number("select count(*) from uploads").await, 0);
    assert!(listed(&matter).await.iter().all(|item| item.state == ItemState::Delivered));
    office.close().await;
}
