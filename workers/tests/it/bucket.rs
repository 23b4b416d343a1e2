//! Objects in a bucket: what one machine has indexed, every other serves from the published generation, with few requests
//! the first time and none the next.

use std::time::{Duration, Instant};

use domain::outcome::DocumentState;
use storage::{
    Storage,
    objects::{Objects, S3Settings},
};
use testkit::{Proxy, TestStorage, s3};

use crate::{
    both,
    matter::{Matter, context},
    until,
};

both!(any_machine_serves_what_another_has_indexed, a_bucket_that_is_away_is_waited_for);

fn requests(storage: &Storage) -> u64 {
    match &storage.objects {
        Objects::S3(s3) => s3.requests(),
        Objects::Disk(_) => panic!("not in a bucket"),
    }
}

fn letter(number: usize) -> Vec<u8> {
    let words: Vec<String> = (0..200).map(|word| format!("word{}", (number * 7 + word * word) % 5_000)).collect();
    format!("Dear Ms Roe,\n\nthe lease of quetzal{number} ends. {}\n\nYours, Jim Doe", words.join(" ")).into_bytes()
}

async fn any_machine_serves_what_another_has_indexed(test: TestStorage) {
    let matter = Matter::open(test.in_a_bucket().await).await;
    let office = matter.work(context());
    let names: Vec<String> = (0..40).map(|number| format!("letter-{number}.txt")).collect();
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(String::as_str).zip((0..40).map(letter)).collect();
    matter.deliver(&files).await;
    matter.settled().await;

    let elsewhere = matter.test.elsewhere().await;
    let before = requests(&elsewhere);
    assert_eq!(matter.found_from(&elsewhere, "lease").await.len(), 40);
    let cold = requests(&elsewhere) - before;
    // Seven files for each segment, each opened with one request.
    assert!((1..=40).contains(&cold), "the first question took {cold} requests");
    let before = requests(&elsewhere);
    assert_eq!(matter.found_from(&elsewhere, "quetzal17").await.len(), 1);
    assert_eq!(requests(&elsewhere), before, "what was fetched is kept");

    matter.deliver(&[("late.txt", b"a late letter about axolotls".to_vec())]).await;
    let began = Instant::now();
    until("the late letter is found elsewhere", async || matter.found_from(&elsewhere, "axolotls").await.len() == 1)
        .await;
    assert!(began.elapsed() < Duration::from_mins(1), "it took {:?}", began.elapsed());
    assert_eq!(matter.found_from(&elsewhere, "lease").await.len(), 40);
    matter.settled().await;
    office.close().await;
}

/// More failures than a job has attempts, and none of them costs one.
async fn a_bucket_that_is_away_is_waited_for(mut test: TestStorage) {
    let proxy = Proxy::before(s3::ADDRESS).await.unwrap();
    let endpoint = format!("http://{}", proxy.address);
    let settings = S3Settings { endpoint, retries: 0, total_timeout_seconds: 1, ..s3::settings() };
    let cache = test.directory().join("cache");
    test.storage.objects = Objects::s3(&settings, &cache).await.unwrap();
    let matter = Matter::open(test.with_manual_clock()).await;
    matter.deliver(&[("letter.txt", letter(1))]).await;
    proxy.cut();
    let office = matter.work(context());
    let failed = "select count(*) from jobs where kind = 'ingest_document' and state = 'ready' and error is not null";
    for _ in 0..5 {
        until("the bucket was missed", async || matter.test.number(failed).await == 1).await;
        // What failed is due again.
        matter.test.advance(Duration::from_mins(10));
        until("it is tried again", async || matter.test.number(failed).await == 0).await;
    }
    proxy.restore();
    until("the letter is indexed", async || {
        matter.test.advance(Duration::from_mins(1));
        matter.counts().await.indexed == 1
    })
    .await;
    assert_eq!(matter.document("letter.txt").await.state, DocumentState::Indexed);
    office.close().await;
}
