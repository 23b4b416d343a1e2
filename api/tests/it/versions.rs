//! Replacing a document's file through the door: one effect per key, the former file kept and handed out, a trace of each.

use api::ApiConfig;
use domain::{ids::DocumentId, outcome::Category};
use serde_json::json;
use testkit::TestStorage;

use crate::{
    door::Door,
    papers::{Form, Papers},
};

testkit::in_each_mode!(
    a_file_is_replaced_and_its_versions_are_kept,
    what_is_no_replacement,
    a_reading_says_where_its_text_comes_from
);

fn path(id: DocumentId, tail: &str) -> String {
    format!("/api/v1/documents/{id}{tail}")
}

async fn a_file_is_replaced_and_its_versions_are_kept(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let id = papers.deliver("box 7/letter.docx", b"cut of").await;
    papers.fail(id, Category::Corrupt, "cut off").await;
    let form = || Form::new().field("note", "a whole copy").file("letter, whole.docx", b"the whole letter").end();
    let replaced = papers.send(&path(id, "/replacement"), "k1", form()).await.expect(201);
    assert_eq!((&replaced.json()["version"], &replaced.json()["size"]), (&json!(2), &json!(16)));
    // The same request again is the same answer; the key with another file is refused.
    let again = papers.send(&path(id, "/replacement"), "k1", form()).await.expect(201);
    assert_eq!(again.json(), replaced.json());
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = Form::new().file("other.docx", b"another letter").end();
    papers.send(&path(id, "/replacement"), "k1", other).await.refused(409, "idempotency_mismatch");
    assert_eq!(door.test.number("select count(*) from blobs").await, 2, "what was not wanted is not kept");

    let shown = papers.get(&path(id, "")).await.expect(200).json();
    assert_eq!(
        (&shown["state"], &shown["version"], &shown["exception"]),
        (&json!("received"), &json!(2), &json!(null))
    );
    assert_eq!((&shown["name"], &shown["path"]), (&json!("letter, whole.docx"), &json!("box 7/letter.docx")));
    let versions = papers.get(&path(id, "/versions")).await.expect(200).json();
    let (first, second) = (&versions["items"][0], &versions["items"][1]);
    assert_eq!(
        (&first["number"], &first["current"], &first["exception"]),
        (&json!(1), &json!(false), &json!("corrupt"))
    );
    assert_eq!((&first["name"], &first["size"], &first["by"]), (&json!("letter.docx"), &json!(6), &json!(ann.id)));
    assert_eq!(
        (&second["number"], &second["note"], &second["by"]),
        (&json!(2), &json!("a whole copy"), &json!(ann.id))
    );

    let original = |n: u32| path(id, &format!("/versions/{n}/original"));
    assert_eq!(papers.get(&original(1)).await.expect(200).raw, b"cut of");
    assert_eq!(papers.get(&original(2)).await.expect(200).raw, b"the whole letter");
    assert_eq!(papers.get(&path(id, "/original")).await.expect(200).raw, b"the whole letter");
    let part = door.get(&original(1)).by(&ann).header("range", "bytes=4-").send().await.expect(206);
    assert_eq!(part.raw, b"of");
    papers.get(&original(0)).await.refused(404, "not_found");
    papers.get(&original(3)).await.refused(404, "not_found");
    papers.get(&path(id, "/versions/x/original")).await.refused(404, "not_found");
    let trail = papers.trail().await;
    let count = |action: &str| trail.iter().filter(|entry| *entry == action).count();
    assert_eq!((count("document.replaced"), count("document.version_downloaded")), (1, 3));
}

async fn what_is_no_replacement(test: TestStorage) {
    let door = Door::with(test, ApiConfig { max_upload_bytes: 1_000, ..ApiConfig::default() });
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let id = papers.deliver("a.txt", b"a").await;
    let to = path(id, "/replacement");
    for (form, status, code) in [
        (Form::new().end(), 422, "invalid"),
        (Form::new().field("note", "x").end(), 422, "invalid"),
        (Form::new().field("custodian", "x").file("a", b"a").end(), 422, "invalid"),
        (Form::new().file("a", b"a").file("b", b"b").end(), 422, "invalid"),
        (Form::new().file("", b"a").end(), 422, "invalid"),
        (Form::new().field("note", &"x".repeat(2_001)).file("a", b"a").end(), 422, "invalid"),
        (Form::new().file("a", &[b'x'; 1_001]).end(), 413, "too_large"),
        (Form::new().file("a", b"a").unfinished(), 400, "bad_request"),
    ] {
        papers.send(&to, &domain::ids::fresh().to_string(), form).await.refused(status, code);
    }
    papers.send(&to, "", Form::new().file("a", b"b").end()).await.refused(400, "missing_idempotency_key");
    papers
        .send(&path(DocumentId::new(), "/replacement"), "k", Form::new().file("a", b"b").end())
        .await
        .refused(404, "not_found");
    assert_eq!(papers.load(id).await.version, 1);
    assert_eq!(door.test.number("select count(*) from blobs").await, 1);
    // An infected version is not handed out under its number either.
    papers.fail(id, Category::Virus, "found").await;
    papers.send(&to, "k", Form::new().file("clean.txt", b"clean").end()).await.expect(201);
    papers.get(&path(id, "/versions/1/original")).await.refused(409, "infected");
    papers.get(&path(id, "/versions/2/original")).await.expect(200);
}

async fn a_reading_says_where_its_text_comes_from(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let id = papers.paper("a.txt", &["words"]).await;
    papers.publish().await;
    let shown = papers.get(&path(id, "")).await.expect(200).json();
    let reading = &shown["reading"];
    assert_eq!((&reading["tool"], &reading["tool_version"]), (&json!("test"), &json!("1")));
    assert_eq!(reading["input_sha256"], shown["sha256"]);
    assert_eq!(reading["text_sha256"].as_str().unwrap().len(), 64);
    let versions = papers.get(&path(id, "/versions")).await.expect(200).json();
    assert_eq!(versions["items"][0]["readings"], json!([reading]));

    let batch = papers.load(id).await.batch;
    let reprocess = papers.path(&format!("/batches/{batch}/reprocess"));
    door.post(&reprocess, &json!({})).by(&ann).send().await.expect(202);
    door.post(&reprocess, &json!({ "all": false })).by(&ann).send().await.expect(202);
    door.post(&reprocess, &json!({ "everything": true })).by(&ann).send().await.refused(400, "malformed_json");
    let jobs = "select count(*) from jobs where kind = 'reprocess_batch'";
    assert_eq!(door.test.number(jobs).await, 1, "one job a batch");
    assert!(papers.trail().await.contains(&"batch.reprocess_requested".to_owned()));
}
