//! Objects in a bucket: what one machine has indexed, every other serves from the published generation, with few requests
//! the first time and none the next.

use std::time::{Duration, Instant};

use storage::{Storage, objects::Objects};
use testkit::TestStorage;

use crate::{
    both,
    matter::{Matter, context},
    until,
};

both!(any_machine_serves_what_another_has_indexed);

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
