//! Databases, batches and exceptions through the door.

use domain::{
    access::CaseRole,
    ids::{BatchId, DatabaseId, DocumentId},
    outcome::Category,
};
use serde_json::json;
use testkit::TestStorage;

use crate::{
    door::{Door, Person},
    papers::{Form, Papers},
};

testkit::in_each_mode!(
    the_life_of_a_database,
    batches_open_count_close_and_cancel,
    exceptions_are_listed_exported_and_tried_again,
    exceptions_are_set_aside_with_a_note,
    a_foreign_database_is_a_missing_one,
    roles_decide,
);

async fn the_life_of_a_database(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let body = papers.get(&papers.path("")).await.expect(200).json();
    assert_eq!(
        (&body["name"], &body["status"], &body["file_count"]),
        (&json!("Production 1"), &json!("empty"), &json!(0))
    );

    let renamed = json!({ "name": "Production 2", "description": "from Pell" });
    let body = door.put(&papers.path(""), &renamed).by(&ann).send().await.expect(200).json();
    assert_eq!((&body["name"], &body["description"]), (&json!("Production 2"), &json!("from Pell")));
    door.put(&papers.path(""), &json!({ "name": " " })).by(&ann).send().await.refused(422, "invalid");
    door.put(&papers.path(""), &json!({ "name": "x", "case_id": papers.case }))
        .by(&ann)
        .send()
        .await
        .refused(400, "malformed_json");

    papers.deliver("a.txt", b"some words").await;
    let status = papers.get(&papers.path("/status")).await.expect(200).json();
    assert_eq!(
        (&status["status"], &status["received"], &status["in_flight"]),
        (&json!("processing"), &json!(1), &json!(1))
    );
    assert_eq!(papers.get(&papers.path("")).await.json()["status"], "processing");
    assert_eq!(status["batches"].as_array().unwrap().len(), 1);

    door.post(&papers.path("/reindex"), &json!({})).by(&ann).send().await.expect(202);
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'reindex_database'").await, 1);

    for n in 0..4 {
        let fields = json!({ "case_id": papers.case, "name": format!("More {n}") });
        door.post("/api/v1/databases", &fields).by(&ann).key(&format!("k{n}")).send().await.expect(201);
        door.post("/api/v1/databases", &fields).by(&ann).key(&format!("k{n}")).send().await.expect(201);
    }
    let other = Papers::open(&door, &ann).await;
    let of_case = papers.get(&format!("/api/v1/databases?case_id={}&limit=3", papers.case)).await.expect(200).json();
    let names: Vec<&str> = of_case["items"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["More 3", "More 2", "More 1"]);
    let next = of_case["next_cursor"].as_str().unwrap();
    let rest = papers
        .get(&format!("/api/v1/databases?case_id={}&limit=3&cursor={next}", papers.case))
        .await
        .expect(200)
        .json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    assert_eq!(papers.get("/api/v1/databases").await.json()["items"].as_array().unwrap().len(), 6);
    assert_ne!(other.case, papers.case);
    papers.get("/api/v1/databases?cursor=zz").await.refused(400, "bad_cursor");
    papers.get("/api/v1/databases?kase_id=1").await.refused(400, "bad_request");
}

async fn batches_open_count_close_and_cancel(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let fields = json!({ "name": "Box 7", "custodian": "Lee, Ann", "labels": ["hot"], "source": "import" });
    let opened = door.post(&papers.path("/batches"), &fields).by(&ann).key("b").send().await.expect(201);
    let again = door.post(&papers.path("/batches"), &fields).by(&ann).key("b").send().await.expect(201);
    assert_eq!(opened.raw, again.raw);
    let batch = opened.text("/id");
    assert_eq!((opened.text("/state"), opened.text("/source")), ("open".to_owned(), "import".to_owned()));

    let form = || Form::new().field("batch_id", &batch).file("box/1.txt", b"one").file("box/2.txt", b"two");
    let first = papers.upload("", form()).await.expect(201).json();
    // The same files again, in another request: the same documents, and nothing more.
    let again = papers.upload("", form()).await.expect(201).json();
    for n in 0..2 {
        assert_eq!(first["files"][n]["document_id"], again["files"][n]["document_id"]);
        assert_eq!((&first["files"][n]["fresh"], &again["files"][n]["fresh"]), (&json!(true), &json!(false)));
    }
    let report = papers.get(&papers.path(&format!("/batches/{batch}"))).await.expect(200).json();
    assert_eq!(
        (&report["counts"]["received"], &report["state"], &report["name"]),
        (&json!(2), &json!("open"), &json!("Box 7"))
    );
    let files = papers.get(&papers.path(&format!("/files?batch={batch}"))).await.expect(200).json();
    assert_eq!(files["items"][0]["custodian"], "Lee, Ann");
    assert_eq!(files["items"][1]["labels"], json!(["hot"]));

    let close = papers.path(&format!("/batches/{batch}/seal"));
    door.post(&close, &json!({})).by(&ann).send().await.expect(204);
    door.post(&close, &json!({})).by(&ann).send().await.expect(204);
    // What it holds is still answered; new files are refused.
    papers.upload("", form()).await.expect(201);
    let more = Form::new().field("batch_id", &batch).file("box/3.txt", b"three");
    papers.upload("", more).await.refused(409, "conflict");

    let second = door.post(&papers.path("/batches"), &json!({})).by(&ann).key("c").send().await.expect(201).text("/id");
    papers.upload("", Form::new().field("batch_id", &second).file("x.txt", b"x")).await.expect(201);
    let cancel = papers.path(&format!("/batches/{second}/cancel"));
    assert_eq!(door.post(&cancel, &json!({})).by(&ann).send().await.expect(200).json(), json!({ "excluded": 1 }));
    door.post(&papers.path(&format!("/batches/{second}/seal")), &json!({}))
        .by(&ann)
        .send()
        .await
        .refused(409, "conflict");
    let list = papers.get(&papers.path("/batches")).await.expect(200).json();
    let states: Vec<&str> = list["items"].as_array().unwrap().iter().map(|b| b["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["cancelled", "sealed"]);

    papers.get(&papers.path(&format!("/batches/{}", BatchId::new()))).await.refused(404, "not_found");
    let missing = Form::new().field("batch_id", &BatchId::new().to_string()).file("x", b"x");
    papers.upload("", missing).await.refused(404, "not_found");
}

async fn exceptions_are_listed_exported_and_tried_again(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let locked = papers.deliver("vault/=locked, \"final\".pdf", b"%PDF locked").await;
    let broken = papers.deliver("broken.docx", b"PK broken").await;
    papers.deliver("fine.txt", b"fine").await;
    papers.fail(locked, Category::Encrypted, "a password is needed").await;
    papers.fail(broken, Category::Corrupt, "cut off").await;

    let list = papers.get(&papers.path("/exceptions")).await.expect(200).json();
    assert_eq!(list["counts"], json!({ "encrypted": 1, "corrupt": 1 }));
    let row = &list["items"][0];
    assert_eq!((&row["document_id"], &row["category"]), (&json!(locked), &json!("encrypted")));
    assert_eq!((&row["detail"], &row["name"]), (&json!("a password is needed"), &json!("=locked, \"final\".pdf")));
    assert!(row["advice"].as_str().unwrap().contains("password"));
    let corrupt = papers.get(&papers.path("/exceptions?category=corrupt")).await.expect(200).json();
    assert_eq!(corrupt["items"].as_array().unwrap().len(), 1);
    papers.get(&papers.path("/exceptions?category=tired")).await.refused(400, "bad_request");
    papers.get(&papers.path("/exceptions?format=xml")).await.refused(400, "bad_request");

    let csv = papers.get(&papers.path("/exceptions?format=csv")).await.expect(200);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let text = String::from_utf8(csv.raw).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].contains("\"vault/=locked, \"\"final\"\".pdf\",\"'=locked, \"\"final\"\".pdf\""), "{}", lines[1]);

    let retry = papers.path("/exceptions/retry");
    let one = json!({ "category": "encrypted", "document_id": broken });
    assert_eq!(door.post(&retry, &one).by(&ann).send().await.expect(202).json(), json!({ "retried": 0 }));
    let one = json!({ "document_id": broken });
    assert_eq!(door.post(&retry, &one).by(&ann).send().await.expect(202).json(), json!({ "retried": 1 }));
    assert_eq!(door.post(&retry, &json!({})).by(&ann).send().await.expect(202).json(), json!({ "retried": 1 }));
    assert_eq!(papers.get(&papers.path("/exceptions")).await.json()["items"], json!([]));
    door.post(&retry, &json!({ "category": "tired" })).by(&ann).send().await.refused(400, "bad_request");
}

async fn exceptions_are_set_aside_with_a_note(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let (locked, broken) = (papers.deliver("a.pdf", b"a").await, papers.deliver("b.pdf", b"b").await);
    papers.fail(locked, Category::Encrypted, "a password is needed").await;
    papers.fail(broken, Category::Corrupt, "cut off").await;
    let ignore = papers.path("/exceptions/ignore");
    for (wrong, status, code) in [
        (json!({ "document_id": locked }), 400, "malformed_json"),
        (json!({ "document_id": locked, "note": " " }), 422, "invalid"),
        (json!({ "document_id": locked, "note": "x".repeat(2_001) }), 422, "invalid"),
        (json!({ "category": "tired", "note": "x" }), 400, "bad_request"),
        (json!({ "note": "x", "custodian": "Ann" }), 400, "malformed_json"),
    ] {
        door.post(&ignore, &wrong).by(&ann).send().await.refused(status, code);
    }
    let one = json!({ "document_id": locked, "note": "privileged; see the log" });
    assert_eq!(door.post(&ignore, &one).by(&ann).send().await.expect(200).json(), json!({ "ignored": 1 }));
    assert_eq!(door.post(&ignore, &one).by(&ann).send().await.expect(200).json(), json!({ "ignored": 0 }));
    let status = papers.get(&papers.path("/status")).await.expect(200).json();
    assert_eq!((&status["excluded"], &status["exception"]), (&json!(1), &json!(1)));
    assert_eq!(status["exceptions"], json!({ "corrupt": 1 }));

    let shown = papers.get(&format!("/api/v1/documents/{locked}")).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["exclusion"]), (&json!("excluded"), &json!("ignored")));
    assert_eq!(shown["exception"], json!(null));
    let ignored = &shown["ignored"];
    assert_eq!((&ignored["note"], &ignored["by"]), (&json!("privileged; see the log"), &json!(ann.id)));
    assert_eq!(ignored["exception"]["detail"], "a password is needed");
    for (filter, found) in
        [("exclusion=ignored", 1), ("exclusion=cancelled", 0), ("state=excluded&category=encrypted", 1)]
    {
        let list = papers.get(&papers.path(&format!("/files?{filter}"))).await.expect(200).json();
        assert_eq!(list["items"].as_array().unwrap().len(), found, "{filter}");
    }
    papers.get(&papers.path("/files?exclusion=tired")).await.refused(400, "bad_request");
    assert!(papers.trail().await.contains(&"document.ignored".to_owned()));

    let retry = papers.path("/exceptions/retry");
    let one = json!({ "document_id": locked });
    assert_eq!(door.post(&retry, &one).by(&ann).send().await.expect(202).json(), json!({ "retried": 1 }));
    let shown = papers.get(&format!("/api/v1/documents/{locked}")).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["ignored"]), (&json!("received"), &json!(null)));
}

/// Every document route as it would be asked about `papers`.
fn knocks(papers: &Papers<'_>, document: DocumentId, batch: &str) -> Vec<(&'static str, String)> {
    let case = format!("/api/v1/cases/{}", papers.case);
    let child = document;
    let document = format!("/api/v1/documents/{document}");
    vec![
        ("GET", papers.path("")),
        ("PUT", papers.path("")),
        ("GET", papers.path("/status")),
        ("POST", papers.path("/reindex")),
        ("GET", papers.path("/files")),
        ("POST", papers.path("/files")),
        ("GET", papers.path("/batches")),
        ("POST", papers.path("/batches")),
        ("GET", papers.path(&format!("/batches/{batch}"))),
        ("POST", papers.path(&format!("/batches/{batch}/seal"))),
        ("POST", papers.path(&format!("/batches/{batch}/cancel"))),
        ("POST", papers.path(&format!("/batches/{batch}/reprocess"))),
        ("GET", papers.path(&format!("/batches/{batch}/load-files"))),
        ("POST", papers.path(&format!("/batches/{batch}/load-files"))),
        ("GET", papers.path(&format!("/batches/{batch}/load-files/{child}"))),
        ("GET", papers.path(&format!("/batches/{batch}/items"))),
        ("GET", papers.path(&format!("/batches/{batch}/errors"))),
        ("POST", papers.path(&format!("/batches/{batch}/uploads"))),
        ("HEAD", papers.path(&format!("/batches/{batch}/uploads/{child}"))),
        ("PATCH", papers.path(&format!("/batches/{batch}/uploads/{child}"))),
        ("DELETE", papers.path(&format!("/batches/{batch}/uploads/{child}"))),
        ("GET", papers.path("/exceptions")),
        ("POST", papers.path("/exceptions/retry")),
        ("POST", papers.path("/exceptions/ignore")),
        ("GET", papers.path("/search?q=words")),
        ("GET", format!("{case}/files")),
        ("POST", format!("{case}/files")),
        ("GET", format!("{case}/search?q=words")),
        ("GET", document.clone()),
        ("GET", format!("{document}/text")),
        ("GET", format!("{document}/original")),
        ("GET", format!("{document}/versions")),
        ("GET", format!("{document}/versions/1/original")),
        ("POST", format!("{document}/replacement")),
        ("DELETE", document),
    ]
}

async fn knock(door: &Door, person: &Person, request: &str, method: &str, path: &str) -> (u16, Vec<u8>, String) {
    let knock = door.knock(method, path).by(person).key("key").header("x-request-id", request);
    let knock = if path.contains("/uploads") {
        let knock = knock.header("tus-resumable", "1.0.0").header("upload-offset", "0").header("upload-length", "1");
        knock.header("upload-metadata", "filename eA==").header("content-type", "application/offset+octet-stream")
    } else {
        knock
    };
    let answer = match (method, path) {
        ("POST", path) if path.ends_with("/files") || path.ends_with("/replacement") => {
            let form = Form::new().file("a.txt", b"words").end();
            knock.header("content-type", &crate::papers::multipart()).body(form).send().await
        }
        ("POST", path) if path.ends_with("/load-files") => {
            knock.header("content-type", "text/csv").body("path\n").send().await
        }
        ("POST" | "PATCH", path) if path.contains("/uploads") => knock.body("x").send().await,
        ("PUT" | "POST", _) => {
            let body = match path {
                path if path.ends_with("/ignore") => json!({ "note": "x" }),
                _ if method == "PUT" => json!({ "name": "x" }),
                _ => json!({}),
            };
            knock.json(&body).send().await
        }
        _ => knock.send().await,
    };
    (answer.status.as_u16(), answer.raw, format!("{:?}", answer.headers))
}

async fn a_foreign_database_is_a_missing_one(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.administrator().await);
    let papers = Papers::open(&door, &ann).await;
    let document = papers.paper("a.txt", &["words"]).await;
    papers.publish().await;
    let batch = papers.load(document).await.batch.to_string();
    let nowhere = Papers { door: &door, person: &ann, case: domain::ids::CaseId::new(), database: DatabaseId::new() };
    let request = domain::ids::fresh().to_string();
    let foreign = knocks(&papers, document, &batch);
    let missing = knocks(&nowhere, DocumentId::new(), &BatchId::new().to_string());
    for ((method, foreign), (_, missing)) in foreign.iter().zip(&missing) {
        let foreign_answer = knock(&door, &eve, &request, method, foreign).await;
        assert_eq!(foreign_answer.0, 404, "{method} {foreign}");
        assert_eq!(foreign_answer, knock(&door, &eve, &request, method, missing).await, "{method} {foreign}");
    }
    let theirs = json!({ "case_id": papers.case, "name": "Mine now" });
    door.post("/api/v1/databases", &theirs).by(&eve).key("k").send().await.refused(404, "not_found");
    door.get(&format!("/api/v1/databases?case_id={}", papers.case)).by(&eve).send().await.refused(404, "not_found");
    assert_eq!(door.get("/api/v1/databases").by(&eve).send().await.expect(200).json()["items"], json!([]));

    // A child is found under its own parent only.
    let other = Papers::open(&door, &ann).await;
    other.get(&other.path(&format!("/batches/{batch}"))).await.refused(404, "not_found");
    other.get(&other.path(&format!("/exceptions?batch={batch}"))).await.refused(404, "not_found");
    let form = Form::new().field("batch_id", &batch).file("a.txt", b"words");
    other.upload("", form).await.refused(404, "not_found");
    let form = Form::new().field("database_id", &papers.database.to_string()).file("a.txt", b"words").end();
    other.send(&format!("/api/v1/cases/{}/files", other.case), "k", form).await.refused(404, "not_found");
}

async fn roles_decide(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let document = papers.paper("a.txt", &["words"]).await;
    papers.publish().await;
    let batch = papers.load(document).await.batch.to_string();
    let request = domain::ids::fresh().to_string();
    // What each role may not do, by the routes above; the rest answers with something else than a refusal.
    let uploads = |method: &str, path: &str| {
        let ends = [
            "/files",
            "/batches",
            "/seal",
            "/cancel",
            "/retry",
            "/ignore",
            "/reprocess",
            "/replacement",
            "/load-files",
        ];
        path.contains("/uploads") || method == "POST" && ends.iter().any(|end| path.ends_with(end))
    };
    let manages = |method: &str, path: &str| method == "PUT" || path.ends_with("/reindex");
    let reads = |method: &str, path: &str| {
        let parts = ["/files", "/search", "/exceptions", "/documents/", "/load-files", "/items", "/errors"];
        method == "GET" && parts.iter().any(|part| path.contains(part))
    };
    for role in [CaseRole::Auditor, CaseRole::Reviewer, CaseRole::Paralegal, CaseRole::Lawyer] {
        let member = format!("/api/v1/cases/{}/members/{}", papers.case, bob.id);
        door.put(&member, &json!({ "role": role.name() })).by(&ann).send().await.expect(204);
        for (method, path) in knocks(&papers, document, &batch) {
            let plain = path.split('?').next().unwrap();
            let refused = match role {
                CaseRole::Auditor => {
                    uploads(method, plain) || manages(method, plain) || reads(method, plain) || method == "DELETE"
                }
                CaseRole::Reviewer => uploads(method, plain) || manages(method, plain) || method == "DELETE",
                _ => method == "DELETE" && !uploads(method, plain),
            };
            let (status, body, _) = knock(&door, &bob, &request, method, &path).await;
            assert_eq!(status == 403, refused, "{role:?} {method} {path}: {status} {}", String::from_utf8_lossy(&body));
        }
    }
}
