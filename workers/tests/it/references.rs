//! Files by reference: fetched from a folder, a host and a bucket, and what is said of those that are not.

use std::{os::unix::fs::symlink, process::Command, time::Duration};

use domain::outcome::DocumentState;
use sha2::{Digest as _, Sha256};
use storage::{
    batches::Batch,
    items::{self, Item, ItemCounts, ItemError, ItemState},
};
use tempfile::TempDir;
use testkit::TestStorage;
use workers::{Context, References, ReferencesConfig};

use crate::{
    both,
    host::{Answer, Authority, Host},
    intake::{announce, listed, seal},
    matter::{Matter, context},
    until,
};

both!(
    files_are_fetched_from_where_they_lie,
    what_cannot_be_fetched_says_why,
    a_host_that_fails_is_asked_again,
    a_file_that_comes_is_not_fetched,
    a_cancelled_batch_fetches_nothing,
    a_sealed_batch_still_gets_what_it_refers_to,
);

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn allowing(config: &ReferencesConfig) -> Context {
    Context { references: References::new(config).unwrap(), ..context() }
}

/// A host on this machine may be asked without TLS.
fn plainly(host: &Host) -> ReferencesConfig {
    ReferencesConfig {
        plain_hosts: vec![host.name()],
        networks: strings(&["127.0.0.0/8", "::1/128"]),
        read_timeout_seconds: 2,
        ..ReferencesConfig::default()
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Puts an object into the bucket of the tests.
fn put(settings: &storage::objects::S3Settings, key: &str, bytes: &str) {
    let user = format!("{}:{}", settings.access_key_id, settings.secret_access_key);
    let url = format!("{}/{}/{key}", settings.endpoint, settings.bucket);
    let signed = format!("x-amz-content-sha256: {}", sha256(bytes.as_bytes()));
    let arguments = ["--silent", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, "-X", "PUT"];
    let headers = ["--header", "content-type: text/plain", "--header", &signed];
    let put = Command::new("curl").args(arguments).args(headers).args(["--data-binary", bytes, &url]).status().unwrap();
    assert!(put.success());
}

async fn told(matter: &Matter) -> Vec<(String, ItemState, Option<&'static str>)> {
    let all = listed(matter).await;
    all.into_iter().map(|item| (item.details.path, item.state, item.error.map(ItemError::name))).collect()
}

async fn problems(matter: &Matter, batch: &Batch) -> Vec<(String, &'static str)> {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let page = domain::page::PageQuery { cursor: None, limit: Some(500) };
    let all = items::problems(&mut tx, batch, &page).await.unwrap().items;
    all.into_iter().map(|problem| (problem.path, problem.error.name())).collect()
}

async fn files_are_fetched_from_where_they_lie(test: TestStorage) {
    let matter = Matter::open(test).await;
    let case = matter.case.id.to_string();
    let mounted = TempDir::new().unwrap();
    let own = mounted.path().join(&case);
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("a b.txt"), "zonkopalm lies in a folder").unwrap();
    std::fs::write(own.join("c.txt"), "quintembre lies there too").unwrap();
    let authority = Authority::new();
    let host = Host::start(Some(&authority), |asked, _| match asked.line.as_str() {
        "GET /x/d.txt?sig=secret HTTP/1.1" => Answer::Whole(200, b"axolotl lies on a host".to_vec()),
        _ => Answer::Whole(404, Vec::new()),
    })
    .await;
    let s3 = testkit::s3::settings();
    put(&s3, &format!("{}{case}/e.txt", s3.prefix), "pangolin lies in a bucket");

    let config = ReferencesConfig {
        folders: vec![format!("{}/{{case}}", mounted.path().display())],
        hosts: vec![host.name()],
        networks: strings(&["127.0.0.0/8", "::1/128"]),
        certificates: authority.certificate(),
        buckets: vec![format!("{}/{}{{case}}/", s3.bucket, s3.prefix)],
        endpoint: s3.endpoint.clone(),
        path_style: true,
        access_key_id: s3.access_key_id.clone(),
        secret_access_key: s3.secret_access_key.clone(),
        ..ReferencesConfig::default()
    };
    let office = matter.work(allowing(&config));
    let (right, wrong) = (sha256(b"zonkopalm lies in a folder"), "0".repeat(64));
    let (folder, port) = (own.display().to_string().replace(' ', "%20"), host.port);
    let csv = format!(
        "id,path,source,custodian,sha256\n\
         A1,VOL/a.txt,file://{folder}/a%20b.txt,Ann,{right}\n\
         A2,VOL/c.txt,c.txt,,\n\
         A3,VOL\\d.txt,https://localhost:{port}/x/d.txt?sig=secret,,{wrong}\n\
         A4,VOL/e.txt,s3://{}/{}{case}/e.txt,,\n",
        s3.bucket, s3.prefix
    );
    announce(&matter, csv.as_bytes()).await;
    matter.settled().await;

    assert_eq!(
        told(&matter).await,
        [
            ("VOL/a.txt".to_owned(), ItemState::Delivered, None),
            ("VOL/c.txt".to_owned(), ItemState::Delivered, None),
            ("VOL\\d.txt".to_owned(), ItemState::Failed, Some("hash_mismatch")),
            ("VOL/e.txt".to_owned(), ItemState::Delivered, None),
        ]
    );
    let first = matter.document("a.txt").await;
    assert_eq!((first.state, first.details.path.as_str()), (DocumentState::Indexed, "VOL/a.txt"));
    assert_eq!(first.details.custodian.as_deref(), Some("Ann"));
    assert_eq!(first.details.listed.unwrap().control_number.as_deref(), Some("A1"));
    assert!(first.details.file_modified_at.is_some());
    for word in ["zonkopalm", "quintembre", "axolotl", "pangolin"] {
        assert_eq!(matter.found(word).await.len(), 1, "{word}");
    }
    assert_eq!(matter.found("custodian:ann").await, [first.id]);
    let trail = matter.test.trail(matter.case.id).await;
    for (from, times) in [("folder", 2), ("host", 1), ("bucket", 1)] {
        let said = format!("\"{from}\"");
        let fetched = trail.iter().filter(|e| e.action == "item.fetched" && e.details.to_string().contains(&said));
        assert_eq!(fetched.count(), times, "{from}");
    }
    // A secret of a reference stands nowhere in the clear.
    assert_eq!(matter.test.number("select count(*) from jobs where cast(payload as text) like '%sig=%'").await, 0);
    assert!(!trail.iter().any(|entry| entry.details.to_string().contains("sig=")));
    office.close().await;
}

async fn what_cannot_be_fetched_says_why(test: TestStorage) {
    let matter = Matter::open(test).await;
    let mounted = TempDir::new().unwrap();
    let folder = mounted.path().join("in");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(mounted.path().join("secret.txt"), "secret").unwrap();
    symlink("../secret.txt", folder.join("link.txt")).unwrap();
    std::fs::write(folder.join("large.txt"), "x".repeat(2_001)).unwrap();
    let host = Host::start(None, |asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/gone.txt" => Answer::Whole(410, Vec::new()),
        "/private.txt" => Answer::Whole(403, Vec::new()),
        "/moved.txt" => Answer::Elsewhere("/other.txt".to_owned()),
        "/large.txt" => Answer::Whole(200, vec![b'x'; 2_001]),
        "/endless.txt" => Answer::Unsized(vec![b'x'; 200_000]),
        _ => Answer::Whole(404, Vec::new()),
    })
    .await;
    let folders = vec![folder.display().to_string()];
    let office = matter.work(allowing(&ReferencesConfig { folders, max_bytes: 2_000, ..plainly(&host) }));
    let (inside, name) = (folder.display(), host.name());
    let lines = [
        (format!("file://{inside}/none.txt"), "reference_missing"),
        ("none.txt".to_owned(), "reference_missing"),
        (format!("file://{inside}/link.txt"), "reference_refused"),
        ("../secret.txt".to_owned(), "reference_refused"),
        (format!("{}/secret.txt", mounted.path().display()), "reference_refused"),
        ("file:///etc/passwd".to_owned(), "reference_refused"),
        (".".to_owned(), "reference_failed"),
        ("large.txt".to_owned(), "reference_too_large"),
        (format!("http://{name}/none.txt"), "reference_missing"),
        (format!("http://{name}/gone.txt"), "reference_missing"),
        (format!("http://{name}/private.txt"), "reference_refused"),
        (format!("http://{name}/moved.txt"), "reference_failed"),
        (format!("http://{name}/large.txt"), "reference_too_large"),
        (format!("http://{name}/endless.txt"), "reference_too_large"),
        ("https://elsewhere.example/a.txt".to_owned(), "reference_refused"),
        ("http://169.254.169.254/latest".to_owned(), "reference_refused"),
        ("s3://bucket/a.txt".to_owned(), "reference_refused"),
    ];
    let csv: String = lines.iter().enumerate().map(|(n, (source, _))| format!("f{n:02}.txt,{source}\n")).collect();
    announce(&matter, format!("path,source\n{csv}").as_bytes()).await;
    matter.settled().await;

    let expected: Vec<(String, &str)> =
        lines.iter().enumerate().map(|(n, (_, error))| (format!("f{n:02}.txt"), *error)).collect();
    assert_eq!(problems(&matter, &matter.batch).await, expected);
    let paths: Vec<String> = host.asked().iter().map(|asked| asked.line.clone()).collect();
    assert!(!paths.iter().any(|line| line.contains("other.txt")), "{paths:?}");
    assert!(matter.documents().await.is_empty());
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let counts = items::counts(&mut tx, &matter.batch).await.unwrap();
    assert_eq!(counts, ItemCounts { failed: 17, ..ItemCounts::default() });
    let message = |items: &[Item], n: usize| items[n].details.message.clone().unwrap();
    let all = listed(&matter).await;
    assert!(message(&all, 5).contains("references.folders"), "{}", message(&all, 5));
    assert!(message(&all, 14).contains("references.hosts"), "{}", message(&all, 14));
    drop(tx);
    // A file that is delivered mends what a reference could not.
    matter.deliver(&[("VOL/f05.txt", b"here it is".to_vec())]).await;
    matter.settled().await;
    assert_eq!(listed(&matter).await[5].state, ItemState::Delivered);
    assert_eq!(problems(&matter, &matter.batch).await.len(), 16);
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
    office.close().await;
}

/// Lets time go on until `condition` holds: repetitions come minutes later. While a job runs it stands, or leases would run out.
async fn in_time(matter: &Matter, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until(what, async || {
        if matter.test.number("select count(*) from jobs where state = 'running'").await == 0 {
            matter.test.advance(Duration::from_secs(10));
        }
        condition().await
    })
    .await;
}

async fn a_host_that_fails_is_asked_again(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = Host::start(None, |asked, before| match (asked.line.contains("never"), before) {
        (true, _) | (false, 0) => Answer::Whole(503, Vec::new()),
        (false, 1) => Answer::Cut(26, b"half of".to_vec()),
        (false, 2) => Answer::Silence,
        _ => Answer::Whole(200, b"the whole of the axolotl's".to_vec()),
    })
    .await;
    let config = ReferencesConfig { read_timeout_seconds: 1, ..plainly(&host) };
    let office = matter.work(allowing(&config));
    announce(&matter, format!("path,source\na.txt,http://{}/a.txt\n", host.name()).as_bytes()).await;
    in_time(&matter, "it is fetched at last", async || {
        listed(&matter).await.first().is_some_and(|item| item.state == ItemState::Delivered)
    })
    .await;
    assert_eq!(host.asked().len(), 4);
    announce(&matter, format!("path,source\nb.txt,http://{}/never.txt\n", host.name()).as_bytes()).await;
    in_time(&matter, "it is given up", async || {
        listed(&matter).await.last().is_some_and(|item| item.error == Some(ItemError::ReferenceFailed))
    })
    .await;
    assert_eq!(host.asked().len(), 14, "ten attempts");
    assert_eq!(matter.documents().await.len(), 1);
    assert_eq!(problems(&matter, &matter.batch).await, [("b.txt".to_owned(), "reference_failed")]);
    office.close().await;
}

async fn a_file_that_comes_is_not_fetched(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = Host::start(None, |_, _| Answer::Whole(503, Vec::new())).await;
    let office = matter.work(allowing(&plainly(&host)));
    announce(&matter, format!("path,source\na.txt,http://{}/a.txt\n", host.name()).as_bytes()).await;
    until("it is asked for", async || !host.asked().is_empty()).await;
    assert_eq!(told(&matter).await, [("a.txt".to_owned(), ItemState::Fetching, None)]);
    until("the load file is read", async || {
        matter.test.number("select count(*) from load_files where state = 'read'").await == 1
    })
    .await;
    matter.deliver(&[("a.txt", b"the axolotl itself".to_vec())]).await;
    in_time(&matter, "nothing is left to do", async || {
        matter.test.number("select count(*) from jobs where state in ('ready', 'running')").await == 0
    })
    .await;
    assert_eq!(told(&matter).await, [("a.txt".to_owned(), ItemState::Delivered, None)]);
    assert_eq!(matter.documents().await.len(), 1);
    assert_eq!(matter.test.number("select count(*) from audit_events where action like 'item.%'").await, 0);
    office.close().await;
}

async fn a_cancelled_batch_fetches_nothing(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = Host::start(None, |_, before| match before {
        0 => Answer::Whole(503, Vec::new()),
        _ => Answer::Whole(200, b"too late".to_vec()),
    })
    .await;
    let office = matter.work(allowing(&plainly(&host)));
    announce(&matter, format!("path,source\na.txt,http://{}/a.txt\n", host.name()).as_bytes()).await;
    until("it is asked for", async || !host.asked().is_empty()).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    matter.batch.cancel(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    in_time(&matter, "nothing is left to do", async || {
        matter.test.number("select count(*) from jobs where state in ('ready', 'running')").await == 0
    })
    .await;
    let batch = as_it_is(&matter).await;
    assert_eq!(problems(&matter, &batch).await, [("a.txt".to_owned(), "missing")]);
    assert_eq!((host.asked().len(), matter.documents().await.len()), (1, 0));
    office.close().await;
}

async fn a_sealed_batch_still_gets_what_it_refers_to(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = Host::start(None, |_, before| match before {
        0 => Answer::Whole(503, Vec::new()),
        _ => Answer::Whole(200, b"the axolotl".to_vec()),
    })
    .await;
    let office = matter.work(allowing(&plainly(&host)));
    announce(&matter, format!("path,source\na.txt,http://{}/a.txt\nb.txt,\n", host.name()).as_bytes()).await;
    until("it is asked for", async || !host.asked().is_empty()).await;
    let batch = seal(&matter).await;
    assert_eq!(problems(&matter, &batch).await, [("b.txt".to_owned(), "missing")], "what is on its way is not missing");
    in_time(&matter, "it came", async || matter.documents().await.len() == 1).await;
    assert_eq!(told(&matter).await[0].1, ItemState::Delivered);
    office.close().await;
}

async fn as_it_is(matter: &Matter) -> Batch {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    Batch::load(&mut tx, matter.case.id, matter.batch.id).await.unwrap()
}
