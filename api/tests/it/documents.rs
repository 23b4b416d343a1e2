//! Documents through the door: what is known of them, their text by page, their bytes by range, their end.

use domain::{ids::DocumentId, outcome::Category};
use serde_json::json;
use storage::documents::{Document, NewMember};
use testkit::TestStorage;

use crate::{
    door::Door,
    papers::{Papers, text},
};

testkit::in_each_mode!(
    text_by_page,
    bytes_by_range,
    a_family_is_shown_and_goes_together,
    what_has_no_text_says_why,
    lists_are_filtered,
    reading_leaves_a_trace,
    infected_bytes_are_not_handed_out,
);

fn path(id: DocumentId, tail: &str) -> String {
    format!("/api/v1/documents/{id}{tail}")
}

async fn text_by_page(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let id = papers.paper("two pages.txt", &["The na\u{ef}ve \u{2603} first page", "", "The third"]).await;
    let whole = papers.get(&path(id, "/text")).await.expect(200).json();
    assert_eq!(
        (&whole["page_count"], &whole["text"]),
        (&json!(3), &json!("The na\u{ef}ve \u{2603} first page\n\nThe third"))
    );
    assert_eq!(whole["characters"], 33);
    for (number, start, end, shown) in
        [(1, 0, 22, "The na\u{ef}ve \u{2603} first page"), (2, 23, 23, ""), (3, 24, 33, "The third")]
    {
        let page = papers.get(&path(id, &format!("/text?page={number}"))).await.expect(200).json();
        assert_eq!(page["text"], shown);
        assert_eq!(page["pages"].as_array().unwrap().len(), 1);
        let span = &page["pages"][0];
        assert_eq!((&span["number"], &span["start"], &span["end"]), (&json!(number), &json!(start), &json!(end)));
        assert_eq!((&span["source"], &span["width"], span.get("words")), (&json!("native"), &json!(612.0), None));
        assert_eq!(whole["pages"][number - 1], *span);
    }
    let boxes = papers.get(&path(id, "/text?page=3&boxes=true")).await.expect(200).json();
    assert_eq!(
        boxes["pages"][0]["words"],
        json!([{ "start": 24, "end": 33, "bbox": [1.0, 2.0, 3.0, 4.0], "confidence": 91 }])
    );
    papers.get(&path(id, "/text?page=0")).await.refused(404, "not_found");
    papers.get(&path(id, "/text?page=4")).await.refused(404, "not_found");
    papers.get(&path(id, "/text?page=-1")).await.refused(400, "bad_request");
    papers.get(&path(id, "/text?boxes=true")).await.refused(400, "bad_request");
    papers.get(&path(DocumentId::new(), "/text")).await.refused(404, "not_found");
    papers.get("/api/v1/documents/none/text").await.refused(404, "not_found");
}

async fn bytes_by_range(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let bytes: Vec<u8> = (0..=252).cycle().take(100_000).collect();
    let id = papers.deliver("..\\evil\u{202e}\"; filename=x.exe.pdf", &bytes).await;
    let path = path(id, "/original");
    let all = papers.get(&path).await.expect(200);
    assert_eq!(all.raw, bytes);
    assert_eq!(all.headers["content-type"], "application/octet-stream");
    assert_eq!(all.headers["x-content-type-options"], "nosniff");
    assert_eq!(all.headers["accept-ranges"], "bytes");
    assert_eq!(all.headers["content-length"], "100000");
    let disposition = all.headers["content-disposition"].to_str().unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\"") && disposition.contains("filename*=UTF-8''"),
        "{disposition}"
    );
    assert!(!disposition.contains("\"; filename=x.exe"), "{disposition}");
    let etag = all.headers["etag"].to_str().unwrap().to_owned();

    for (asked, range) in [
        ("bytes=0-0", 0..1),
        ("bytes=16380-16400", 16_380..16_401),
        ("bytes=99999-", 99_999..100_000),
        ("bytes=-5", 99_995..100_000),
        ("bytes=5-999999", 5..100_000),
    ] {
        let part = door.get(&path).by(&ann).header("range", asked).send().await.expect(206);
        assert_eq!(part.raw, &bytes[range.clone()], "{asked}");
        let content_range = format!("bytes {}-{}/100000", range.start, range.end - 1);
        assert_eq!(part.headers["content-range"], content_range.as_str());
    }
    for asked in ["bytes=100000-", "bytes=-0", "bytes=99999999999999999999-"] {
        let refused = door.get(&path).by(&ann).header("range", asked).send().await;
        refused.refused(416, "range_not_satisfiable");
        assert_eq!(refused.headers["content-range"], "bytes */100000");
    }
    for asked in ["bytes=5-2", "bytes=0-1,5-6", "words=1-2", "bytes=x-y"] {
        let all = door.get(&path).by(&ann).header("range", asked).send().await.expect(200);
        assert_eq!(all.raw.len(), 100_000, "{asked}");
    }
    let same = door.get(&path).by(&ann).header("range", "bytes=0-0").header("if-range", &etag).send().await;
    assert_eq!(same.expect(206).raw.len(), 1);
    let other = door.get(&path).by(&ann).header("range", "bytes=0-0").header("if-range", "\"x\"").send().await;
    assert_eq!(other.expect(200).raw.len(), 100_000);
    let head = door.knock("HEAD", &path).by(&ann).send().await.expect(200);
    assert_eq!((head.raw.len(), &head.headers["content-length"]), (0, &all.headers["content-length"]));

    let empty = papers.deliver("empty", b"").await;
    assert_eq!(papers.get(&self::path(empty, "/original")).await.expect(200).raw, b"");
    let range = door.get(&self::path(empty, "/original")).by(&ann).header("range", "bytes=0-").send().await;
    range.refused(416, "range_not_satisfiable");
}

async fn a_family_is_shown_and_goes_together(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let zip = papers.deliver("box.zip", b"PK").await;
    let parent = papers.load(zip).await;
    let matter = testkit::Matter {
        storage: door.test.storage.clone(),
        owner: ann.actor.clone(),
        case: papers.case,
        database: papers.database,
    };
    let mut members = Vec::new();
    for n in 0..3 {
        let name = format!("letter {n}.txt");
        let details = storage::documents::Details { path: format!("box.zip/{name}"), name, ..parent.details.clone() };
        let stored = matter.store(name_bytes(n)).await;
        members.push(NewMember { ordinal: n, details, stored, exception: None });
    }
    let mut tx = matter.begin().await;
    let added = parent.add_members(&mut tx, &members, false).await.unwrap();
    let audit = storage::audit::Audit::DocumentIngested { case: papers.case, document: zip, members: added };
    tx.audit(audit).await.unwrap();
    tx.commit().await.unwrap();

    let shown = papers.get(&path(zip, "")).await.expect(200).json();
    let children = shown["children"].as_array().unwrap();
    assert_eq!(children.len(), 3);
    for (n, child) in children.iter().enumerate() {
        assert_eq!(
            (&child["parent_id"], &child["family_id"], &child["ordinal"]),
            (&json!(zip), &json!(zip), &json!(n))
        );
        assert_eq!(child["path"], format!("box.zip/letter {n}.txt"));
    }
    let family = papers.get(&papers.path(&format!("/files?family={zip}"))).await.expect(200).json();
    assert_eq!(family["items"].as_array().unwrap().len(), 4);

    door.delete(&path(zip, "")).by(&ann).send().await.expect(204);
    door.delete(&path(zip, "")).by(&ann).send().await.refused(404, "not_found");
    for child in children {
        papers.get(&path(child["id"].as_str().unwrap().parse().unwrap(), "")).await.refused(404, "not_found");
    }
    assert_eq!(papers.get(&papers.path("/files")).await.json()["items"], json!([]));
    let status = papers.get(&papers.path("/status")).await.expect(200).json();
    assert_eq!((&status["status"], &status["received"], &status["unpacked"]), (&json!("empty"), &json!(0), &json!(0)));
}

fn name_bytes(n: u32) -> &'static [u8] {
    [&b"zero"[..], b"one", b"two"][n as usize]
}

async fn what_has_no_text_says_why(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let first = papers.deliver("a.txt", b"same bytes").await;
    let waiting = papers.get(&path(first, "/text")).await;
    waiting.refused(409, "conflict");
    assert!(waiting.text("/message").contains("not extracted yet"));

    let failed = papers.deliver("b.pdf", b"%PDF").await;
    papers.fail(failed, Category::Corrupt, "cut off").await;
    let refused = papers.get(&path(failed, "/text")).await;
    refused.refused(409, "conflict");
    assert!(refused.text("/message").contains("exception"));
    let shown = papers.get(&path(failed, "")).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["exception"]["category"]), (&json!("exception"), &json!("corrupt")));
    assert_eq!(shown["exception"]["advice"], Category::Corrupt.advice());

    // A copy has the text of the document it is a copy of.
    papers.extract(first, "text/plain", &text(&["same bytes"])).await;
    let copy = papers.deliver("copy of a.txt", b"same bytes").await;
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    Document::load(&mut tx, papers.case, copy).await.unwrap().set_duplicate(&mut tx, first).await.unwrap();
    tx.commit().await.unwrap();
    let shown = papers.get(&path(copy, "/text")).await.expect(200).json();
    assert_eq!((&shown["text"], &shown["document_id"]), (&json!("same bytes"), &json!(copy)));
    assert_eq!(papers.get(&path(copy, "")).await.json()["duplicate_of"], json!(first));
    let copies = papers.get(&path(first, "/copies")).await.expect(200).json();
    assert_eq!(copies["items"].as_array().unwrap().len(), 1);
    assert_eq!((&copies["items"][0]["id"], &copies["items"][0]["path"]), (&json!(copy), &json!("copy of a.txt")));
    let eve = door.member().await;
    door.get(&path(first, "/copies")).by(&eve).send().await.refused(404, "not_found");
}

async fn lists_are_filtered(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    papers.paper("read.txt", &["words"]).await;
    papers.publish().await;
    let failed = papers.deliver("bad.pdf", b"%PDF").await;
    papers.fail(failed, Category::Corrupt, "cut off").await;
    papers.deliver("waiting.txt", b"w").await;
    let batch = papers.load(failed).await.batch;
    for (query, names) in [
        ("", vec!["read.txt", "bad.pdf", "waiting.txt"]),
        ("?state=indexed", vec!["read.txt"]),
        ("?state=exception", vec!["bad.pdf"]),
        ("?category=corrupt", vec!["bad.pdf"]),
        ("?category=encrypted", vec![]),
        (&format!("?batch={batch}"), vec!["bad.pdf"]),
        (&format!("?family={failed}"), vec!["bad.pdf"]),
        ("?state=received&limit=1", vec!["waiting.txt"]),
    ] {
        for base in [papers.path("/files"), format!("/api/v1/cases/{}/files", papers.case)] {
            let list = papers.get(&format!("{base}{query}")).await.expect(200).json();
            let found: Vec<&str> =
                list["items"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
            assert_eq!(found, names, "{query}");
        }
    }
    for (query, code) in [
        ("?state=lost", "bad_request"),
        ("?category=tired", "bad_request"),
        ("?batch=1", "bad_request"),
        ("?stat=indexed", "bad_request"),
        ("?cursor=zz", "bad_cursor"),
        ("?limit=501", "bad_request"),
    ] {
        papers.get(&papers.path(&format!("/files{query}"))).await.refused(400, code);
    }
}

async fn reading_leaves_a_trace(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let id = papers.paper("a.txt", &["secret words"]).await;
    papers.publish().await;
    let before = papers.trail().await.len();
    papers.get(&path(id, "")).await.expect(200);
    papers.get(&path(id, "/text")).await.expect(200);
    papers.get(&path(id, "/original")).await.expect(200);
    papers.get(&papers.path("/search?q=secret")).await.expect(200);
    papers.get(&format!("/api/v1/cases/{}/search?q=secret", papers.case)).await.expect(200);
    let trail = papers.trail().await;
    assert_eq!(
        trail[before..],
        ["document.viewed", "document.viewed", "document.downloaded", "case.searched", "case.searched"]
    );
    // What is refused was not read, and the trail holds no words.
    papers.get(&path(id, "/text?page=9")).await.refused(404, "not_found");
    assert!(!door.test.said(papers.case).await.contains("secret"));
}

async fn infected_bytes_are_not_handed_out(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let id = papers.deliver("invoice.exe", b"MZ").await;
    papers.fail(id, Category::Virus, "Eicar-Test-Signature was found").await;
    papers.get(&path(id, "/original")).await.refused(409, "infected");
    let ignore = json!({ "document_id": id, "note": "deleted by the custodian" });
    door.post(&papers.path("/exceptions/ignore"), &ignore).by(&ann).send().await.expect(200);
    papers.get(&path(id, "/original")).await.refused(409, "infected");
    let retry = json!({ "document_id": id });
    door.post(&papers.path("/exceptions/retry"), &retry).by(&ann).send().await.expect(202);
    papers.get(&path(id, "/original")).await.refused(409, "infected");
    assert!(!papers.trail().await.contains(&"document.downloaded".to_owned()));
    let shown = papers.get(&path(id, "")).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["exception"]), (&json!("received"), &json!(null)));
}
