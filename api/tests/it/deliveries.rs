//! Deliveries of e-discovery platforms through the door: a load file, then the files in pieces.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::ids::UploadId;
use serde_json::{Value, json};
use sha1::Digest as _;
use storage::{
    items::{self, Expected, ItemDetails, NewItem},
    load_files::LoadFile,
};
use testkit::TestStorage;

use crate::{
    door::{Answer, Door, Knock},
    papers::{Form, Papers},
};

testkit::in_each_mode!(
    a_batch_begins_with_a_load_file,
    errors_come_as_a_load_file,
    an_upload_goes_on_where_it_stopped,
    what_is_not_tus_is_refused,
    a_checksum_decides,
    uploads_are_put_together,
);

impl Papers<'_> {
    fn raw(&self, path: &str, kind: &str, key: &str, body: &str) -> Knock<'_> {
        let knock = self.door.knock("POST", &self.path(path)).by(self.person).header("content-type", kind);
        knock.key(key).body(body.to_owned())
    }

    async fn batch(&self) -> String {
        let key = domain::ids::fresh().to_string();
        self.door
            .post(&self.path("/batches"), &json!({}))
            .by(self.person)
            .key(&key)
            .send()
            .await
            .expect(201)
            .text("/id")
    }

    /// What the job would note.
    async fn read(&self, file: &str, lines: &[(&str, bool)]) {
        let actor = &self.person.actor;
        let mut tx = self.door.test.storage.begin(actor).await.unwrap();
        let file = LoadFile::load(&mut tx, self.case, file.parse().unwrap()).await.unwrap();
        let item = |(line, (path, refused)): (u64, &(&str, bool))| NewItem {
            line,
            details: ItemDetails {
                path: (*path).to_owned(),
                control_number: Some(format!("A{line}")),
                fields: [("Privilege".to_owned(), "none, \"so far\"".to_owned())].into(),
                message: refused.then(|| "the record is broken".to_owned()),
                ..ItemDetails::default()
            },
            expected: if *refused { Expected::Nothing } else { Expected::File },
        };
        let all: Vec<NewItem> = (2..).zip(lines).map(item).collect();
        items::announce(&mut tx, &file, &all).await.unwrap();
        let mut details = file.details.clone();
        details.columns = ["path", "Privilege"].map(str::to_owned).into();
        file.finish(&mut tx, &details).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn tus<'a>(&'a self, method: &str, path: &str) -> Knock<'a> {
        self.door.knock(method, path).by(self.person).header("tus-resumable", "1.0.0")
    }

    async fn create(&self, batch: &str, headers: &[(&'static str, &str)]) -> Answer {
        let knock = self.tus("POST", &self.path(&format!("/batches/{batch}/uploads")));
        headers.iter().fold(knock, |knock, (name, value)| knock.header(name, value)).send().await
    }

    async fn add(&self, place: &str, offset: usize, bytes: &[u8]) -> Answer {
        let knock = self.tus("PATCH", place).header("upload-offset", &offset.to_string());
        knock.header("content-type", "application/offset+octet-stream").body(bytes.to_vec()).send().await
    }
}

fn named(path: &str) -> String {
    format!("filename {},path {}", BASE64_STANDARD.encode("x"), BASE64_STANDARD.encode(path))
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers.get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

async fn a_batch_begins_with_a_load_file(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let csv = "path\na/1.txt\na/2.txt\n";
    let open = || papers.raw("/batches?name=Volume%201&custodian=Lee", "text/csv", "k", csv);
    let opened = open().send().await.expect(201);
    assert_eq!(open().send().await.expect(201).raw, opened.raw);
    assert_eq!(door.test.number("select count(*) from load_files").await, 1);
    assert_eq!(door.test.number("select count(*) from blobs").await, 1, "the repetition left nothing");
    papers
        .raw("/batches?name=Volume%201&custodian=Lee", "text/csv", "k", "other")
        .send()
        .await
        .refused(409, "idempotency_mismatch");
    let (batch, file) = (opened.text("/id"), opened.text("/load_file/id"));
    let body = opened.json();
    assert_eq!(
        (&body["name"], &body["custodian"], &body["load_file"]["state"]),
        (&json!("Volume 1"), &json!("Lee"), &json!("waiting"))
    );
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'read_load_file'").await, 1);

    // While it waits nothing is taken: what it says would be lost.
    let form = || Form::new().field("batch_id", &batch).file("box/A/1.TXT", b"one");
    papers.upload("", form()).await.refused(409, "conflict");
    papers
        .create(&batch, &[("upload-length", "3"), ("upload-metadata", &named("a/2.txt"))])
        .await
        .refused(409, "conflict");
    papers.read(&file, &[("a/1.txt", false), ("a/2.txt", false)]).await;
    let document = papers.upload("", form()).await.expect(201).text("/files/0/document_id");
    let base = papers.path(&format!("/batches/{batch}"));
    let report = papers.get(&base).await.expect(200).json();
    assert_eq!(report["items"], json!({ "awaited": 1, "fetching": 0, "delivered": 1, "failed": 0 }));
    assert_eq!(report["uploads"], json!({ "coming": 0, "complete": 0 }));
    let shown = papers.get(&format!("/api/v1/documents/{document}")).await.expect(200).json();
    assert_eq!(
        (&shown["load_file"]["control_number"], &shown["load_file"]["fields"]["Privilege"]),
        (&json!("A2"), &json!("none, \"so far\""))
    );
    let awaited = papers.get(&format!("{base}/items?state=awaited")).await.expect(200).json();
    assert_eq!((awaited["items"].as_array().unwrap().len(), &awaited["items"][0]["path"]), (1, &json!("a/2.txt")));
    let page = papers.get(&format!("{base}/items?limit=1")).await.expect(200).json();
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        papers.get(&format!("{base}/items?limit=1&cursor={next}")).await.expect(200).json()["items"][0]["line"],
        3
    );
    papers.get(&format!("{base}/items?state=lost")).await.refused(400, "bad_request");
    assert_eq!(papers.get(&format!("{base}/load-files/{file}")).await.expect(200).json()["items"], 2);

    // Another one for the same batch; an empty one and one in a form are refused.
    let second =
        papers.raw(&format!("/batches/{batch}/load-files?name=images.opt"), "text/plain", "k2", "A1,V,1.tif,Y,,,1");
    assert_eq!(second.send().await.expect(201).text("/name"), "images.opt");
    assert_eq!(
        papers.get(&format!("{base}/load-files")).await.expect(200).json()["items"].as_array().unwrap().len(),
        2
    );
    papers.raw("/batches", "text/csv", "k3", "").send().await.refused(422, "invalid");
    papers
        .raw("/batches", "multipart/form-data; boundary=x", "k4", "x")
        .send()
        .await
        .refused(415, "unsupported_media_type");
    assert_eq!(door.test.number("select count(*) from blobs").await, 3);
    let foreign = Papers { person: &eve, ..papers };
    foreign.get(&format!("{base}/load-files/{file}")).await.refused(404, "not_found");
    foreign.raw("/batches", "text/csv", "k5", csv).send().await.refused(404, "not_found");
}

async fn errors_come_as_a_load_file(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let opened = papers.raw("/batches", "text/csv", "k", "path\n").send().await.expect(201);
    let (batch, file) = (opened.text("/id"), opened.text("/load_file/id"));
    papers.read(&file, &[("a/1.txt", false), ("=1+1", true), ("a/3.txt", false)]).await;
    papers.upload("", Form::new().field("batch_id", &batch).file("a/1.txt", b"one")).await.expect(201);
    let base = papers.path(&format!("/batches/{batch}"));
    let errors = async || {
        let all = papers.get(&format!("{base}/errors")).await.expect(200).json();
        let all: Vec<Value> = all["items"].as_array().unwrap().iter().map(|one| one["error"].clone()).collect();
        json!(all)
    };
    assert_eq!(errors().await, json!(["refused"]));
    door.post(&format!("{base}/seal"), &json!({})).by(&ann).send().await.expect(204);
    assert_eq!(errors().await, json!(["refused", "missing"]));
    let csv = papers.get(&format!("{base}/errors?format=csv")).await.expect(200);
    let text = String::from_utf8(csv.raw).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines[0], "\"control_number\",\"path\",\"error\",\"message\",\"line\",\"document_id\",\"Privilege\"");
    assert!(
        lines[1]
            .starts_with("\"A3\",\"'=1+1\",\"refused\",\"the record is broken\",\"3\",\"\",\"none, \"\"so far\"\"\""),
        "{text}"
    );
    assert_eq!(lines.len(), 4);
    let dat = papers.get(&format!("{base}/errors?format=dat")).await.expect(200);
    let text = String::from_utf8(dat.raw).unwrap();
    assert!(
        text.starts_with("\u{feff}þcontrol_numberþ\u{14}þpathþ\u{14}") && text.contains("\u{14}þnone, \"so far\"þ\r\n"),
        "{text}"
    );
    papers.get(&format!("{base}/errors?format=xml")).await.refused(400, "bad_request");
}

async fn an_upload_goes_on_where_it_stopped(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let batch = papers.batch().await;
    let uploads = papers.path(&format!("/batches/{batch}/uploads"));
    let options = door.knock("OPTIONS", &uploads).by(&ann).send().await.expect(204);
    assert_eq!(
        (header(&options, "tus-version").as_str(), header(&options, "tus-max-size").as_str()),
        ("1.0.0", "4294967296")
    );
    assert!(header(&options, "tus-extension").contains("concatenation"));

    let created = papers
        .create(&batch, &[("upload-length", "11"), ("upload-metadata", &named("box/long.txt"))])
        .await
        .expect(201);
    assert_eq!(header(&created, "tus-resumable"), "1.0.0");
    let place = header(&created, "location");
    assert!(header(&created, "upload-expires").ends_with(" GMT"));
    let first = papers.add(&place, 0, b"hello ").await.expect(204);
    assert_eq!(header(&first, "upload-offset"), "6");
    // From another offset than where it stands.
    for offset in [0, 5, 7] {
        papers.add(&place, offset, b"x").await.refused(409, "conflict");
    }
    papers.add(&place, 6, b"far too long").await.refused(413, "too_large");
    let head = papers.tus("HEAD", &place).send().await.expect(200);
    assert_eq!((header(&head, "upload-offset").as_str(), header(&head, "upload-length").as_str()), ("6", "11"));
    assert_eq!(
        (header(&head, "cache-control").as_str(), header(&head, "upload-metadata")),
        ("no-store", named("box/long.txt"))
    );
    assert_eq!(
        papers.get(&papers.path(&format!("/batches/{batch}"))).await.json()["uploads"],
        json!({ "coming": 1, "complete": 0 })
    );
    papers.add(&place, 6, b"world").await.expect(204);
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'assemble_upload'").await, 1);
    assert_eq!(
        papers.get(&papers.path(&format!("/batches/{batch}"))).await.json()["uploads"],
        json!({ "coming": 0, "complete": 1 })
    );
    papers.tus("DELETE", &place).send().await.refused(409, "conflict");

    // The length may come later, the first bytes with the creation.
    let created = papers
        .tus("POST", &uploads)
        .header("upload-defer-length", "1")
        .header("upload-metadata", &named("b.txt"))
        .header("content-type", "application/offset+octet-stream")
        .body("four")
        .send()
        .await
        .expect(201);
    assert_eq!(
        (header(&created, "upload-offset").as_str(), header(&created, "upload-defer-length").as_str()),
        ("4", "1")
    );
    let place = header(&created, "location");
    let last = papers.tus("PATCH", &place).header("upload-offset", "4").header("upload-length", "6");
    last.header("content-type", "application/offset+octet-stream").body("ty").send().await.expect(204);
    assert_eq!(door.test.number("select count(*) from uploads where state = 'complete'").await, 2);

    let doomed = header(
        &papers.create(&batch, &[("upload-length", "5"), ("upload-metadata", &named("c"))]).await.expect(201),
        "location",
    );
    papers.add(&doomed, 0, b"abc").await.expect(204);
    let before = door.test.number("select count(*) from blobs").await;
    papers.tus("DELETE", &doomed).send().await.expect(204);
    papers.tus("HEAD", &doomed).send().await.expect(404);
    assert_eq!(door.test.number("select count(*) from blobs").await, before - 1);

    let foreign = Papers { person: &eve, ..papers };
    foreign.tus("HEAD", &place).send().await.expect(404);
    foreign.add(&place, 0, b"x").await.refused(404, "not_found");
    foreign.create(&batch, &[("upload-length", "5"), ("upload-metadata", &named("c"))]).await.refused(404, "not_found");
}

async fn what_is_not_tus_is_refused(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let batch = papers.batch().await;
    let uploads = papers.path(&format!("/batches/{batch}/uploads"));
    let plain = door.knock("POST", &uploads).by(&ann).header("upload-length", "1").send().await;
    assert_eq!(header(&plain, "tus-resumable"), "1.0.0");
    plain.refused(412, "unsupported_protocol");
    let good = named("a.txt");
    for (headers, status, code) in [
        (&[("upload-metadata", good.as_str())][..], 400, "bad_request"),
        (&[("upload-length", "-1"), ("upload-metadata", &good)], 400, "bad_request"),
        (&[("upload-length", "1"), ("upload-defer-length", "1"), ("upload-metadata", &good)], 400, "bad_request"),
        (&[("upload-length", "99999999999"), ("upload-metadata", &good)], 413, "too_large"),
        (&[("upload-length", "1")], 422, "invalid"),
        (&[("upload-length", "1"), ("upload-metadata", "filename !")], 400, "bad_request"),
        (&[("upload-concat", "final;/nowhere")], 400, "bad_request"),
        (&[("upload-length", "1"), ("upload-concat", "sometimes")], 400, "bad_request"),
    ] {
        papers.create(&batch, headers).await.refused(status, code);
    }
    let created = papers.create(&batch, &[("upload-length", "3"), ("upload-metadata", &good)]).await.expect(201);
    let place = header(&created, "location");
    papers
        .tus("PATCH", &place)
        .header("upload-offset", "0")
        .body("abc")
        .send()
        .await
        .refused(415, "unsupported_media_type");
    let no_offset = papers.tus("PATCH", &place).header("content-type", "application/offset+octet-stream");
    no_offset.body("abc").send().await.refused(400, "bad_request");
    let missing = papers.path(&format!("/batches/{batch}/uploads/{}", UploadId::new()));
    papers.add(&missing, 0, b"abc").await.refused(404, "not_found");
    door.post(&papers.path(&format!("/batches/{batch}/seal")), &json!({})).by(&ann).send().await.expect(204);
    papers.add(&place, 0, b"abc").await.refused(409, "conflict");
    papers.create(&batch, &[("upload-length", "3"), ("upload-metadata", &good)]).await.refused(409, "conflict");
    assert_eq!(door.test.number("select count(*) from upload_parts").await, 0);
}

async fn a_checksum_decides(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let batch = papers.batch().await;
    let created =
        papers.create(&batch, &[("upload-length", "6"), ("upload-metadata", &named("a.txt"))]).await.expect(201);
    let place = header(&created, "location");
    let send = async |offset: &str, sum: &str, bytes: &'static str| {
        let knock = papers.tus("PATCH", &place).header("upload-offset", offset).header("upload-checksum", sum);
        knock.header("content-type", "application/offset+octet-stream").body(bytes).send().await
    };
    let sha1 = format!("sha1 {}", BASE64_STANDARD.encode(sha1::Sha1::digest(b"abc")));
    let sha256 = format!("sha256 {}", BASE64_STANDARD.encode(sha2::Sha256::digest(b"def")));
    send("0", &sha1, "abd").await.refused(460, "checksum_mismatch");
    assert_eq!(header(&papers.tus("HEAD", &place).send().await, "upload-offset"), "0");
    assert_eq!(door.test.number("select count(*) from blobs").await, 0);
    send("0", &sha1, "abc").await.expect(204);
    send("3", "md4 AAAA", "def").await.refused(400, "bad_request");
    send("3", &sha256, "def").await.expect(204);
    assert_eq!(door.test.number("select count(*) from uploads where state = 'complete'").await, 1);
}

async fn uploads_are_put_together(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let batch = papers.batch().await;
    let mut places = Vec::new();
    for bytes in [b"abc", b"def"] {
        let created = papers.create(&batch, &[("upload-length", "3"), ("upload-concat", "partial")]).await.expect(201);
        places.push(header(&created, "location"));
        papers.add(places.last().unwrap(), 0, bytes).await.expect(204);
    }
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'assemble_upload'").await, 0);
    assert_eq!(header(&papers.tus("HEAD", &places[0]).send().await.expect(200), "upload-concat"), "partial");
    let unfinished = papers.create(&batch, &[("upload-length", "3"), ("upload-concat", "partial")]).await.expect(201);
    let early = format!("final;{} {}", places[0], header(&unfinished, "location"));
    papers
        .create(&batch, &[("upload-concat", &early), ("upload-metadata", &named("ab.txt"))])
        .await
        .refused(409, "conflict");
    let both = format!("final;{} https://dia.example{}", places[1], places[0]);
    let joined =
        papers.create(&batch, &[("upload-concat", &both), ("upload-metadata", &named("ab.txt"))]).await.expect(201);
    assert_eq!((header(&joined, "upload-offset").as_str(), header(&joined, "upload-length").as_str()), ("6", "6"));
    let place = header(&joined, "location");
    assert!(header(&papers.tus("HEAD", &place).send().await.expect(200), "upload-concat").starts_with("final;"));
    papers.add(&place, 6, b"x").await.refused(403, "forbidden");
    papers
        .create(&batch, &[("upload-concat", &both), ("upload-metadata", &named("ab.txt"))])
        .await
        .refused(404, "not_found");
    assert_eq!(door.test.number("select count(*) from upload_parts").await, 2);
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'assemble_upload'").await, 1);
}
