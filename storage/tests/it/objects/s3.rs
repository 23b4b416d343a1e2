//! What holds of a bucket alone: what its server is told to be able to do, what is told at start, uploads in parts, lost
//! answers, servers that go away, and the cache.

use std::{
    fs,
    io::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    primitives::ByteStream,
};
use domain::{
    clock::{Clock, Timestamp},
    files::ReadAt,
    ids::BlobId,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use storage::objects::{BlobKind, Checksum, Listed, ObjectError, Objects, S3Settings};
use tempfile::TempDir;
use testkit::{Fault, FaultyHttp};

use super::{ALL, Fixture, KIND, plain};

const MINUTE: Duration = Duration::from_mins(1);
const FOR_EVER: usize = usize::MAX;

/// The bucket as anybody with the credentials sees it.
pub(super) struct Bucket {
    client: Client,
    name: String,
    prefix: String,
}

impl Bucket {
    pub(super) fn new(settings: &S3Settings) -> Self {
        let credentials = Credentials::new(&settings.access_key_id, &settings.secret_access_key, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(credentials)
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", testkit::s3::ADDRESS))
            .force_path_style(true)
            .build();
        Self { client: Client::from_conf(config), name: settings.bucket.clone(), prefix: settings.prefix.clone() }
    }

    fn key(&self, blob: BlobId) -> String {
        let hex = blob.uuid().simple().to_string();
        format!("{}blobs/{}/{blob}", self.prefix, &hex[30..])
    }

    pub(super) async fn get(&self, blob: BlobId) -> Vec<u8> {
        let object = self.client.get_object().bucket(&self.name).key(self.key(blob)).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    pub(super) async fn put(&self, blob: BlobId, bytes: Vec<u8>) {
        self.put_at(&self.key(blob), bytes).await;
    }

    async fn put_at(&self, key: &str, bytes: Vec<u8>) {
        self.client.put_object().bucket(&self.name).key(key).body(ByteStream::from(bytes)).send().await.unwrap();
    }

    /// Uploads in parts that are neither completed nor aborted.
    pub(super) async fn uploads(&self) -> usize {
        let list = self.client.list_multipart_uploads().bucket(&self.name).prefix(&self.prefix);
        list.send().await.unwrap().uploads().len()
    }

    /// Every key under the prefix, the probe's included.
    async fn keys(&self) -> Vec<String> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(&self.prefix).send().await.unwrap();
        list.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
    }
}

/// Settings that are soon tired.
fn impatient(proxy: &FaultyHttp) -> S3Settings {
    S3Settings {
        endpoint: proxy.url(),
        part_megabytes: 5,
        parts_at_once: 2,
        request_timeout_seconds: 2,
        total_timeout_seconds: 8,
        retries: 3,
        ..testkit::s3::settings()
    }
}

async fn behind_a_proxy() -> (FaultyHttp, Fixture) {
    let proxy = FaultyHttp::before(testkit::s3::ADDRESS);
    testkit::s3::settings();
    let f = Fixture::s3_with(impatient(&proxy)).await;
    proxy.take_lines();
    (proxy, f)
}

fn requests(f: &Fixture) -> u64 {
    match &f.objects {
        Objects::S3(s3) => s3.requests(),
        Objects::Disk(_) => panic!("not in a bucket"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_can_do_is_found_out_and_nothing_stays_of_it() {
    let f = Fixture::s3().await;
    let Objects::S3(s3) = &f.objects else { panic!("not in a bucket") };
    let can = s3.capabilities();
    assert_eq!((can.versioning, can.object_lock), (Some(false), Some(false)));
    let bucket = f.bucket.as_ref().unwrap();
    assert!(bucket.keys().await.is_empty(), "the probe stays");
    assert_eq!(bucket.uploads().await, 0);
    assert_eq!(can.checksum, Checksum::Md5);
    assert_eq!(
        can.to_string(),
        "versioning off, object lock off, conditional put yes, conditional end of multipart no, checksum MD5"
    );

    bucket.put_at(&format!("{}probe/{}", bucket.prefix, domain::ids::fresh()), vec![1]).await;
    f.objects.clean_temporary(Timestamp(0)).unwrap();
    assert_eq!(bucket.keys().await.len(), 1, "it may be another process's");
    f.objects.clean_temporary(ALL).unwrap();
    assert!(bucket.keys().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_told_at_start_with_what_to_do() {
    let right = testkit::s3::settings();
    let impatient = S3Settings { request_timeout_seconds: 2, total_timeout_seconds: 2, retries: 1, ..right.clone() };
    for (settings, said) in [
        (S3Settings { secret_access_key: "wrong-canary".into(), ..right.clone() }, "SignatureDoesNotMatch"),
        (S3Settings { access_key_id: "nobody".into(), ..right.clone() }, "InvalidAccessKeyId"),
        (S3Settings { bucket: "not-there".into(), ..right.clone() }, "there is no bucket not-there; create it"),
        (S3Settings { endpoint: "http://127.0.0.1:9".into(), ..impatient }, "S3 cannot be reached"),
    ] {
        let dir = TempDir::new().unwrap();
        let error = Objects::s3(&settings, dir.path()).await.unwrap_err();
        assert!(matches!(error, ObjectError::Unusable(_)), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_go_in_parts_and_small_ones_in_one_request() {
    let (proxy, f) = behind_a_proxy().await;
    f.store(&plain(100_000));
    let small = proxy.take_lines();
    assert_eq!(small.iter().filter(|line| line.starts_with("PUT")).count(), 1, "{small:?}");
    assert!(small.len() <= 2, "{small:?}");

    let content = plain(23_000_000);
    let blob = f.store(&content).blob;
    let lines = proxy.take_lines();
    let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert_eq!((count("?uploads"), count("partNumber="), count("POST")), (1, 5, 2), "{lines:?}");
    assert!(f.load(blob) == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_takes_few_requests() {
    let f = Fixture::s3().await;
    let letter = f.store(&plain(200_000)).blob;
    let book = f.store(&plain(30_000_000)).blob;
    let cost = |work: &dyn Fn()| {
        let before = requests(&f);
        work();
        requests(&f) - before
    };
    assert_eq!(cost(&|| drop(f.load(letter))), 1, "a letter");
    let whole = cost(&|| drop(f.load(book)));
    assert!(whole <= 8, "30 MB from start to end: {whole} requests");

    let text = f.store_as(BlobKind::Text, &plain(3_000_000)).blob;
    let file = f.store_as(BlobKind::Index, &plain(20_000_000)).blob;
    let fresh = TempDir::new().unwrap();
    let settings = S3Settings { prefix: f.bucket.as_ref().unwrap().prefix.clone(), ..testkit::s3::settings() };
    let elsewhere = Objects::s3(&settings, fresh.path()).await.unwrap();
    let Objects::S3(s3) = &elsewhere else { panic!("not in a bucket") };
    let read = |blob, kind, pieces: Vec<std::ops::Range<u64>>| {
        let before = s3.requests();
        let open = elsewhere.open(&f.key, f.case, blob, kind).unwrap();
        for piece in pieces {
            open.read_at(piece).unwrap();
        }
        s3.requests() - before
    };
    let steps = || (0..60).map(|step| step * 16_384..(step + 1) * 16_384).collect();
    assert_eq!(read(file, BlobKind::Index, steps()), 2, "60 blocks of an index file");
    assert_eq!(read(file, BlobKind::Index, steps()), 0, "the same again");
    assert_eq!(read(text, BlobKind::Text, std::iter::once(0..3_000_000).collect()), 3, "a text");
    assert_eq!(read(text, BlobKind::Text, std::iter::once(0..3_000_000).collect()), 0, "the same again");
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_are_ridden_out() {
    let (proxy, f) = behind_a_proxy().await;
    let content = plain(12_000_000);
    for (words, fault) in [
        (vec!["PUT", "partNumber=2"], Fault::Busy),
        (vec!["PUT", "partNumber=1"], Fault::Refuse),
        (vec!["PUT", "partNumber=3"], Fault::LoseAnswer),
        (vec!["PUT", "partNumber=2"], Fault::Silence),
        (vec!["POST", "uploads"], Fault::LoseAnswer),
        (vec!["POST", "uploadId="], Fault::LoseAnswer),
        (vec!["POST", "uploadId="], Fault::Busy),
        (vec!["GET", "blobs/"], Fault::CutAnswer(100_000)),
        (vec!["GET", "blobs/"], Fault::CutAnswer(10)),
        (vec!["GET", "blobs/"], Fault::Busy),
    ] {
        proxy.plan(&words, 1, fault);
        let blob = f.store(&content).blob;
        assert!(f.load(blob) == content, "{words:?} {fault:?}");
        proxy.heal();
    }
    for fault in [Fault::LoseAnswer, Fault::Refuse, Fault::Busy] {
        proxy.plan(&["PUT", "blobs/"], 2, fault);
        let blob = f.store(b"small").blob;
        assert_eq!(f.load(blob), b"small", "{fault:?}");
        proxy.heal();
    }
    proxy.plan(&["DELETE"], 1, Fault::LoseAnswer);
    let gone = f.store(b"gone").blob;
    f.objects.delete(gone).await.unwrap();
    assert_eq!(f.list(ALL).await.len(), 13);
    // The upload whose beginning got lost was never heard of again.
    assert!(f.objects.clean_temporary(ALL).unwrap() <= 1);
    assert_eq!(f.unfinished().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_in_the_middle_is_told_and_leaves_nothing() {
    let (proxy, f) = behind_a_proxy().await;
    for fault in [Fault::Refuse, Fault::Busy] {
        let mut writer = f.objects.writer_blocking(&f.key, f.case, BlobId::new(), KIND).unwrap();
        writer.write_all(&plain(11_000_000)).unwrap();
        assert_eq!(f.unfinished().await, 1);
        proxy.plan(&["/"], FOR_EVER, fault);
        let began = Instant::now();
        let failed = writer.write_all(&plain(30_000_000)).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut, "{failed}");
        assert!(failed.to_string().contains("S3"), "{failed}");
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(
            matches!(writer.finish(), Err(ObjectError::Io { .. } | ObjectError::Interrupted)),
            "what failed is lost"
        );
        let small = f.objects.writer_blocking(&f.key, f.case, BlobId::new(), KIND).unwrap().finish().unwrap_err();
        assert!(matches!(small, ObjectError::Io { .. }), "{small:?}");
        assert!(f.objects.check().await.is_err());
        assert!(matches!(f.objects.list(ALL).try_concat().await, Err::<Vec<Listed>, _>(ObjectError::Io { .. })));
        proxy.heal();
        f.objects.check().await.unwrap();
        // The attempt to abort may have been in vain too.
        let began = Instant::now();
        while f.unfinished().await > 0 {
            assert!(began.elapsed() < Duration::from_secs(30));
            f.objects.clean_temporary(ALL).unwrap();
        }
        assert!(f.list(ALL).await.is_empty());
    }
    let blob = f.store(b"and goes on").blob;
    assert_eq!(f.load(blob), b"and goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_was_uploading_is_aborted_once_it_is_old() {
    let f = Fixture::s3().await;
    let mut writer = f.objects.writer_blocking(&f.key, f.case, BlobId::new(), KIND).unwrap();
    writer.write_all(&plain(12_000_000)).unwrap();
    // A killed process tells the server nothing either.
    std::mem::forget(writer);
    let now = Clock::System.now();
    assert_eq!((f.objects.clean_temporary(now.minus(MINUTE)).unwrap(), f.unfinished().await), (0, 1));
    assert_eq!((f.objects.clean_temporary(now.plus(MINUTE)).unwrap(), f.unfinished().await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_many_pages_are_whole() {
    let f = Fixture::s3().await;
    let bucket = f.bucket.as_ref().unwrap();
    let mut expected: Vec<BlobId> = (0..1_100).map(|_| BlobId::new()).collect();
    stream::iter(&expected).for_each_concurrent(16, |blob| bucket.put(*blob, vec![1])).await;
    bucket.put_at(&format!("{}blobs/00/stray", bucket.prefix), vec![1]).await;
    let batches: Vec<Vec<Listed>> = f.objects.list(ALL).try_collect().await.unwrap();
    assert!(batches.len() > 1 && batches.iter().all(|batch| !batch.is_empty() && batch.len() <= 1_000));
    let mut found: Vec<BlobId> = batches.concat().iter().map(|listed| listed.blob).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_kept_over_a_restart_and_never_believed() {
    let f = Fixture::s3().await;
    let content = plain(3_000_000);
    let blob = f.store_as(BlobKind::Index, &content).blob;
    let settings = S3Settings { prefix: f.bucket.as_ref().unwrap().prefix.clone(), ..testkit::s3::settings() };
    let cache = TempDir::new().unwrap();
    let read = |objects: &Objects| {
        let open: Arc<dyn ReadAt> = objects.open(&f.key, f.case, blob, BlobKind::Index).unwrap();
        assert!(open.read_at(0..open.len()).unwrap() == content);
        open
    };
    drop(read(&Objects::s3(&settings, cache.path()).await.unwrap()));

    let again = Objects::s3(&settings, cache.path()).await.unwrap();
    let Objects::S3(s3) = &again else { panic!("not in a bucket") };
    let before = s3.requests();
    let held = read(&again);
    assert_eq!(s3.requests(), before, "all of it was kept");
    for (at, number) in [(20, 0), (8, 1), (3, 2), (5_000, 2)] {
        let file = cache.path().join(format!("0/{blob}-{number:06}"));
        let mut kept = fs::read(&file).unwrap();
        kept[at] ^= 1;
        fs::write(&file, kept).unwrap();
        assert!(held.read_at(0..held.len()).unwrap() == content, "byte {at} of block {number}, open");
        let mut kept = fs::read(&file).unwrap();
        kept[at] ^= 1;
        fs::write(&file, kept).unwrap();
        read(&again);
    }
    assert!(s3.requests() > before);
    again.delete(blob).await.unwrap();
    assert_eq!(fs::read_dir(cache.path().join("0")).unwrap().count(), 1, "only the lock");
    assert!(matches!(again.open(&f.key, f.case, blob, BlobKind::Index), Err(ObjectError::Missing(_))));
}
