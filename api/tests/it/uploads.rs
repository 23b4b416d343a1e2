//! Uploads: what is answered is kept, what broke off is not, and whatever a client sends is bounded.

use std::fs;

use api::{ApiConfig, State};
use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::TestStorage;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use crate::{
    door::{Door, cache},
    papers::{BOUNDARY, Form, Papers, multipart},
};

testkit::in_each_mode!(
    a_file_is_kept_as_it_was_sent,
    a_file_too_large_spares_its_neighbours,
    bodies_that_are_no_upload,
    one_key_one_delivery,
    an_interrupted_upload_is_taken_up_again,
    a_case_finds_its_database,
    thousands_of_files_in_one_request,
);

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn a_file_is_kept_as_it_was_sent(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let big: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let form = Form::new()
        .field("custodian", "Lee, Ann")
        .field("labels", "hot")
        .field("labels", "privileged")
        .field("name", "Box 7")
        .field("modified_at", "2024-02-03T04:05:06Z")
        .file("../../etc/passwd", b"root")
        .file("empty.txt", b"")
        .file("a/b/na\u{ef}ve \u{2603}.bin", &big)
        .file("lines.txt", b"\r\n--not-the-boundary\r\n")
        .field("path", "deep/er/named.txt")
        .file("ignored.txt", b"named")
        .file("C:\\papers\\win.txt", b"win");
    let answer = papers.upload("k", form).await.expect(201).json();
    assert_eq!(answer["rejected"], json!([]));
    let want: [(&str, &str, &[u8]); 6] = [
        ("passwd", "../../etc/passwd", b"root"),
        ("empty.txt", "empty.txt", b""),
        ("na\u{ef}ve \u{2603}.bin", "a/b/na\u{ef}ve \u{2603}.bin", &big),
        ("lines.txt", "lines.txt", b"\r\n--not-the-boundary\r\n"),
        ("named.txt", "deep/er/named.txt", b"named"),
        ("win.txt", "C:\\papers\\win.txt", b"win"),
    ];
    for (n, (name, path, bytes)) in want.into_iter().enumerate() {
        let file = &answer["files"][n];
        assert_eq!((&file["name"], &file["path"], &file["fresh"]), (&json!(name), &json!(path), &json!(true)));
        assert_eq!((&file["size"], &file["sha256"]), (&json!(bytes.len()), &json!(sha256(bytes))), "{name}");
        let document = format!("/api/v1/documents/{}", file["document_id"].as_str().unwrap());
        assert_eq!(papers.get(&format!("{document}/original")).await.expect(200).raw, bytes, "{name}");
        let detail = papers.get(&document).await.expect(200).json();
        assert_eq!((&detail["path"], &detail["sha256"]), (&json!(path), &json!(sha256(bytes))));
        assert_eq!((&detail["custodian"], &detail["labels"]), (&json!("Lee, Ann"), &json!(["hot", "privileged"])));
        let modified = if n == 0 { json!("2024-02-03T04:05:06Z") } else { Value::Null };
        assert_eq!(detail["file_modified_at"], modified);
    }
    let batch =
        papers.get(&papers.path(&format!("/batches/{}", answer["batch_id"].as_str().unwrap()))).await.expect(200);
    assert_eq!((batch.text("/state"), batch.text("/name")), ("sealed".to_owned(), "Box 7".to_owned()));
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'ingest_document'").await, 6);
    assert_eq!(door.test.objects().await, (6, 0));
    assert!(papers.trail().await.contains(&"document.received".to_owned()));
}

async fn a_file_too_large_spares_its_neighbours(test: TestStorage) {
    let door = Door::with(test, ApiConfig { max_upload_bytes: 1_000, max_body_bytes: 10, ..ApiConfig::default() });
    let ann = door.member().await;
    // JSON bodies are bounded apart from uploads, so the case is made with storage.
    let matter = testkit::Matter::open(&door.test).await;
    matter.admit(&ann.actor, domain::access::CaseRole::Lawyer).await;
    let papers = Papers { door: &door, person: &ann, case: matter.case, database: matter.database };
    let large = vec![7; 1_001];
    let form = Form::new()
        .file("a.txt", b"a")
        .file("large.bin", &large)
        .file("exact.bin", &large[1..])
        .file(&"x".repeat(4_097), b"x");
    let answer = papers.upload("k", form).await.expect(201).json();
    assert_eq!(answer["files"].as_array().unwrap().len(), 2);
    assert_eq!(answer["rejected"][0]["code"], "too_large");
    assert_eq!(
        (&answer["rejected"][0]["name"], &answer["rejected"][1]["code"]),
        (&json!("large.bin"), &json!("invalid"))
    );

    papers.upload("l", Form::new().file("large.bin", &large)).await.refused(413, "too_large");
    papers.upload("m", Form::new().file("endless.bin", &vec![7; 100_000])).await.refused(413, "too_large");
    papers.upload("n", Form::new().file("", b"x")).await.refused(422, "invalid");
    let batch = matter.batch().await.to_string();
    let answer =
        papers.upload("", Form::new().field("batch_id", &batch).file("large.bin", &large)).await.expect(200).json();
    assert_eq!((&answer["files"], &answer["rejected"][0]["code"]), (&json!([]), &json!("too_large")));
    assert_eq!(door.test.objects().await, (2, 0));
    assert_eq!(door.test.number("select count(*) from batches").await, 2);
}

async fn bodies_that_are_no_upload(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let path = papers.path("/files");
    let post = |kind: &str, body: Vec<u8>| {
        door.knock("POST", &path).by(&ann).key("k").header("content-type", kind).body(body).send()
    };
    post("application/json", b"{}".to_vec()).await.refused(415, "unsupported_media_type");
    post("multipart/form-data", Form::new().file("a", b"a").end()).await.refused(400, "bad_request");
    for body in [
        Vec::new(),
        b"nothing of the kind".to_vec(),
        Form::new().file("a.txt", b"whole").unfinished(),
        Form::new().file("a.txt", b"whole").file("b.txt", b"cut").unfinished()[..250].to_vec(),
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n").into_bytes(),
        format!("--{BOUNDARY}\r\nNo colon here\r\n\r\nx\r\n--{BOUNDARY}--\r\n").into_bytes(),
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\0b\"\r\n\r\nx\r\n--{BOUNDARY}--\r\n").into_bytes(),
        Form::new().field("name", "x").end().into_iter().map(|b| if b == b'x' { 0xff } else { b }).collect(),
    ] {
        let answer = post(&multipart(), body.clone()).await;
        answer.refused(400, "bad_request");
    }
    for form in [
        Form::new(),
        Form::new().field("name", "no files"),
        Form::new().field("colour", "red").file("a", b"a"),
        Form::new().file("a", b"a").field("custodian", "late"),
        Form::new().field("modified_at", "yesterday").file("a", b"a"),
        Form::new().field("batch_id", "one").file("a", b"a"),
        Form::new().field("name", &"n".repeat(301)).file("a", b"a"),
        Form::new().field("database_id", &domain::ids::DatabaseId::new().to_string()).file("a", b"a"),
    ] {
        let answer = papers.upload("k", form).await;
        answer.refused(422, "invalid");
    }
    papers
        .upload("k", Form::new().field("custodian", &"c".repeat(70_000)).file("a", b"a"))
        .await
        .refused(413, "too_large");
    papers.upload("", Form::new().file("a", b"a")).await.refused(400, "missing_idempotency_key");
    // A NUL that the header could not carry.
    let head = "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''a%00b";
    let body = format!("--{BOUNDARY}\r\n{head}\r\n\r\nx\r\n--{BOUNDARY}--\r\n").into_bytes();
    post(&multipart(), body).await.refused(422, "invalid");
    // The head of a part that never ends, piece by piece: cut after a bounded number of them.
    let pieces = stream::iter(0..100_000).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 16_384])));
    let endless = door.knock("POST", &path).by(&ann).key("k").header("content-type", &multipart());
    endless.body(Body::from_stream(pieces)).send().await.refused(400, "bad_request");

    assert_eq!(door.test.number("select count(*) from documents").await, 0);
    assert_eq!(door.test.number("select count(*) from batches").await, 0);
    assert_eq!(door.test.objects().await, (0, 0));
}

async fn one_key_one_delivery(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    // Twice the same file in one delivery is two documents; the delivery sent again is the same two.
    let form = || Form::new().file("a.txt", b"same").file("a.txt", b"same");
    let first = papers.upload("k", form()).await.expect(201).json();
    let again = papers.upload("k", form()).await.expect(201).json();
    assert_ne!(first["files"][0]["document_id"], first["files"][1]["document_id"]);
    for n in 0..2 {
        assert_eq!(first["files"][n]["document_id"], again["files"][n]["document_id"]);
        assert_eq!(again["files"][n]["fresh"], json!(false));
    }
    assert_eq!(first["batch_id"], again["batch_id"]);
    assert_eq!(door.test.objects().await, (2, 0));
    // The key with something else.
    papers.upload("k", Form::new().file("a.txt", b"other")).await.refused(409, "idempotency_mismatch");
    papers
        .upload("k", Form::new().field("name", "x").file("a.txt", b"same"))
        .await
        .refused(409, "idempotency_mismatch");
    // A delivery under another key is another delivery, even of the same bytes.
    papers.upload("l", form()).await.expect(201);
    assert_eq!(door.test.number("select count(*) from documents").await, 4);
    // Many at once with one key.
    let knocks = (0..6).map(|_| papers.upload("m", form()));
    let answers = futures::future::join_all(knocks).await;
    let ids: std::collections::BTreeSet<String> =
        answers.into_iter().map(|answer| answer.expect(201).text("/files/0/document_id")).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(door.test.number("select count(*) from documents").await, 6);
    assert_eq!(door.test.objects().await, (6, 0));
}

async fn an_interrupted_upload_is_taken_up_again(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let all = |count: usize| {
        (0..count).fold(Form::new(), |form, n| form.file(&format!("{n}.txt"), format!("file {n}").as_bytes()))
    };
    let path = papers.path("/files");
    papers.send(&path, "k", all(150).unfinished()).await.refused(400, "bad_request");
    // What was committed before the break stays; of the rest nothing does.
    assert_eq!(door.test.number("select count(*) from documents").await, 100);
    assert_eq!(door.test.objects().await, (100, 0));
    let answer = papers.upload("k", all(150)).await.expect(201).json();
    let files = answer["files"].as_array().unwrap();
    assert_eq!(files.iter().filter(|file| file["fresh"] == true).count(), 50);
    assert_eq!(door.test.number("select count(*) from documents").await, 150);
    assert_eq!(door.test.number("select count(*) from batches where state = 'sealed'").await, 1);
    assert_eq!(door.test.objects().await, (150, 0));
}

async fn a_case_finds_its_database(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let case =
        door.post("/api/v1/cases", &json!({ "title": "New" })).by(&ann).key("c").send().await.expect(201).text("/id");
    let path = format!("/api/v1/cases/{case}/files");
    let send = |key: String, form: Form| {
        let knock = door.knock("POST", &path).by(&ann).key(&key).header("content-type", &multipart());
        knock.body(form.end()).send()
    };
    // Eight at once into a case without a database make one.
    let uploads = (0..8).map(|n| send(format!("k{n}"), Form::new().file(&format!("{n}.txt"), b"x")));
    let databases: std::collections::BTreeSet<String> = futures::future::join_all(uploads)
        .await
        .into_iter()
        .map(|answer| answer.expect(201).text("/database_id"))
        .collect();
    assert_eq!(databases.len(), 1);
    let made = door.get(&format!("/api/v1/databases?case_id={case}")).by(&ann).send().await.expect(200).json();
    assert_eq!((&made["items"][0]["name"], made["items"].as_array().unwrap().len()), (&json!("Documents"), 1));
    assert_eq!(made["items"][0]["file_count"], 8);

    let second = json!({ "case_id": case, "name": "Second" });
    let second = door.post("/api/v1/databases", &second).by(&ann).key("d").send().await.expect(201).text("/id");
    let which = send("l".to_owned(), Form::new().file("x.txt", b"x")).await;
    which.refused(422, "invalid");
    assert!(which.text("/message").contains("database_id"));
    let named = Form::new().field("database_id", &second).file("x.txt", b"x");
    assert_eq!(send("m".to_owned(), named).await.expect(201).text("/database_id"), second);
    let all = door.get(&path).by(&ann).send().await.expect(200).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 9);
}

async fn thousands_of_files_in_one_request(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    // Sent piece by piece; by the time the last are asked for, the first are documents already.
    let storage = door.test.storage.clone();
    let (actor, database) = (ann.actor.clone(), papers.database);
    let pieces = stream::iter(0..=2_000).then(move |n| {
        let (storage, actor) = (storage.clone(), actor.clone());
        async move {
            if n == 1_900 {
                let mut tx = storage.read(&actor).await.unwrap();
                let database = storage::databases::Database::find(&mut tx, database, domain::access::Action::SeeCase)
                    .await
                    .unwrap();
                let count = database.holdings(&mut tx).await.unwrap().file_count;
                assert!(count >= 1_700, "{count}");
            }
            let piece = match n {
                2_000 => format!("--{BOUNDARY}--\r\n").into_bytes(),
                n => Form::new().file(&format!("{:02}/{n}.txt", n % 40), format!("file {n}").as_bytes()).unfinished(),
            };
            Ok::<_, std::io::Error>(Bytes::from(piece))
        }
    });
    let knock = door.knock("POST", &papers.path("/files")).by(&ann).key("many").header("content-type", &multipart());
    let answer = knock.body(Body::from_stream(pieces)).send().await.expect(201).json();
    assert_eq!(answer["files"].as_array().unwrap().len(), 2_000);
    assert_eq!(door.test.number("select count(*) from documents").await, 2_000);
    assert_eq!(door.test.number("select count(*) from audit_events where action = 'document.received'").await, 20);
    assert_eq!(door.test.objects().await, (2_000, 0));

    // And the list of them is paged.
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = papers.get(&papers.path(&format!("/files?limit=500{cursor}"))).await.expect(200).json();
        names.extend(page["items"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((names.len(), names[0].as_str(), names[1_999].as_str()), (2_000, "00/0.txt", "39/1999.txt"));
}

/// Megabytes of a large file.
const PIECES: usize = 256;

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_file_is_not_held_in_memory() {
    let door = Door::new(TestStorage::sqlite().await);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let before = resident();
    let mut start = Form::new().file("large.bin", b"").unfinished();
    start.truncate(start.len() - 2);
    let pieces = stream::once(async move { Bytes::from(start) })
        .chain(stream::iter(0..PIECES).map(|_| Bytes::from(vec![7; 1 << 20])))
        .chain(stream::once(async { Bytes::from(format!("\r\n--{BOUNDARY}--\r\n")) }))
        .map(move |piece| {
            assert!(resident() < before + (160 << 20), "the upload is gathered in memory");
            Ok::<_, std::io::Error>(piece)
        });
    let knock = door.knock("POST", &papers.path("/files")).by(&ann).key("k").header("content-type", &multipart());
    let answer = knock.body(Body::from_stream(pieces)).send().await.expect(201).json();
    assert_eq!(answer["files"][0]["size"], PIECES << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let test = TestStorage::sqlite().await;
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let shutdown = CancellationToken::new();
    let state = State::new(door.test.storage.clone(), ApiConfig::default(), cache(), None, shutdown.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = shutdown.clone();
    let server =
        tokio::spawn(async move { api::serve(listener, api::router(state), &ApiConfig::default(), stop).await });

    let head = |length: usize| {
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k\r\nContent-Type: {}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n",
            papers.path("/files"),
            ann.token,
            multipart()
        )
    };
    let body = Form::new().file("first.txt", b"whole").file("second.bin", &vec![1; 3 << 20]).end();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head(body.len()).as_bytes()).await.unwrap();
    stream.write_all(&body[..2 << 20]).await.unwrap();
    // The server has begun to store before the client goes.
    while door.test.objects().await == (0, 0) {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while door.test.objects().await != (0, 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(door.test.number("select count(*) from documents").await, 0);

    // The same request, whole this time.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head(body.len()).as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 201 "), "{said}");
    assert_eq!(door.test.number("select count(*) from documents").await, 2);
    shutdown.cancel();
    server.await.unwrap().unwrap();
}
