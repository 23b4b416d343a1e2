//! The object store through its public face, in a directory and in a bucket: what is stored comes back, what is unfinished
//! leaves nothing, what is altered is refused, and faults lose nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod disk;
mod s3;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::{
    clock::Timestamp,
    files::SealedFiles as _,
    ids::{BlobId, CaseId},
};
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use storage::{
    objects::{BlobKind, IndexFiles, Listed, ObjectError, Objects, S3Settings, Stored},
    vault::{CaseKey, Vault},
};
use tempfile::TempDir;

const KIND: BlobKind = BlobKind::Original;

/// A store of its own.
struct Fixture {
    /// The store itself, or for a bucket its cache.
    dir: TempDir,
    objects: Objects,
    /// The bucket as anybody sees it.
    bucket: Option<s3::Bucket>,
    key: CaseKey,
    case: CaseId,
}

impl Fixture {
    fn disk() -> Self {
        let dir = TempDir::new().unwrap();
        let objects = Objects::disk(dir.path()).unwrap();
        Self::with(dir, objects, None)
    }

    async fn s3() -> Self {
        // The smallest parts there are, so that several come of a few megabytes.
        Self::s3_with(S3Settings { part_megabytes: 5, ..testkit::s3::settings() }).await
    }

    async fn s3_with(settings: S3Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let objects = Objects::s3(&settings, dir.path()).await.unwrap();
        Self::with(dir, objects, Some(s3::Bucket::new(&settings)))
    }

    fn with(dir: TempDir, objects: Objects, bucket: Option<s3::Bucket>) -> Self {
        let case = CaseId::new();
        let keys = TempDir::new().unwrap();
        let (key, _) = Vault::open(keys.path()).unwrap().new_case_key(case).unwrap();
        Self { dir, objects, bucket, key, case }
    }

    fn store(&self, plain: &[u8]) -> Stored {
        self.store_as(KIND, plain)
    }

    fn store_as(&self, kind: BlobKind, plain: &[u8]) -> Stored {
        let mut writer = self.objects.writer_blocking(&self.key, self.case, BlobId::new(), kind).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn load(&self, blob: BlobId) -> Vec<u8> {
        let mut plain = Vec::new();
        self.objects.reader(&self.key, self.case, blob, KIND).unwrap().read_to_end(&mut plain).unwrap();
        plain
    }

    /// The sealed bytes as they lie in the store.
    async fn sealed(&self, blob: BlobId) -> Vec<u8> {
        match &self.bucket {
            Some(bucket) => bucket.get(blob).await,
            None => fs::read(path(self.dir.path(), blob)).unwrap(),
        }
    }

    /// Puts sealed bytes where an object lies or would lie.
    async fn tamper(&self, blob: BlobId, sealed: Vec<u8>) {
        match &self.bucket {
            Some(bucket) => bucket.put(blob, sealed).await,
            None => fs::write(path(self.dir.path(), blob), sealed).unwrap(),
        }
    }

    /// Objects that were begun and are neither finished nor gone.
    async fn unfinished(&self) -> usize {
        match &self.bucket {
            Some(bucket) => bucket.uploads().await,
            None => fs::read_dir(self.dir.path().join("temporary")).unwrap().count(),
        }
    }

    /// Waits until nothing is unfinished: a bucket is told in the background.
    async fn nothing_unfinished(&self) {
        let began = Instant::now();
        while self.unfinished().await > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "unfinished objects stay");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn list(&self, older_than: Timestamp) -> Vec<Listed> {
        self.objects.list(older_than).try_concat().await.unwrap()
    }
}

/// Makes of each `async fn name(f: Fixture)` a test on a directory and one on a bucket.
macro_rules! on_each_store {
    ($($test:ident),+ $(,)?) => {
        mod in_a_directory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Fixture::disk()).await;
            })+
        }
        mod in_a_bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Fixture::s3().await).await;
            })+
        }
    };
}

on_each_store!(
    what_is_stored_comes_back_however_it_was_written,
    ranges_stream_exactly,
    a_reader_seeks,
    bytes_open_only_under_their_key_case_name_and_kind,
    altered_bytes_are_refused,
    an_object_is_never_overwritten,
    an_unfinished_writer_leaves_nothing,
    no_plaintext_reaches_the_store,
    deletion_is_idempotent_and_spares_open_readers,
    only_what_is_old_enough_is_listed,
    a_generation_is_built_upon_the_one_before_without_touching_it,
    names_are_taken_once_and_only_by_writers,
);

fn path(dir: &Path, blob: BlobId) -> PathBuf {
    let hex = blob.uuid().simple().to_string();
    dir.join("blobs").join(&hex[30..]).join(blob.to_string())
}

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

const ALL: Timestamp = Timestamp(i64::MAX);

async fn what_is_stored_comes_back_however_it_was_written(f: Fixture) {
    for len in [0, 1, 16_383, 16_384, 16_385, 1024 * 1024, 5 * 1024 * 1024 + 3, 12_000_000] {
        let plain = plain(len);
        let sha256: [u8; 32] = Sha256::digest(&plain).into();
        let blocking = f.store(&plain);

        let mut writer = f.objects.writer(&f.key, f.case, BlobId::new(), KIND).await.unwrap();
        for piece in plain.chunks(100_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let streamed = writer.finish().await.unwrap();

        for stored in [blocking, streamed] {
            assert_eq!((stored.size, stored.sha256), (len as u64, sha256));
            assert_eq!(f.sealed(stored.blob).await.len() as u64, stored.stored_bytes);
            assert!(f.load(stored.blob) == plain, "{len}");
        }
    }
    assert_eq!(f.unfinished().await, 0);
}

async fn ranges_stream_exactly(f: Fixture) {
    let plain = plain(3 * 1024 * 1024 + 5);
    let blob = f.store(&plain).blob;
    let len = plain.len() as u64;
    for range in [0..0, 0..1, 0..len, 16_383..16_385, 1_048_575..2_097_153, len - 1..len, len..len] {
        let stream = f.objects.stream(&f.key, f.case, blob, KIND, Some(range.clone())).await.unwrap();
        let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
        let [start, end] = [range.start, range.end].map(|offset| usize::try_from(offset).unwrap());
        assert!(pieces.concat() == plain[start..end], "{range:?}");
    }
    let whole: Vec<Bytes> =
        f.objects.stream(&f.key, f.case, blob, KIND, None).await.unwrap().try_collect().await.unwrap();
    assert!(whole.concat() == plain);
    assert!(whole.iter().all(|piece| piece.len() <= 1024 * 1024));
    assert!(f.objects.stream(&f.key, f.case, blob, KIND, Some(0..len + 1)).await.is_err());
}

async fn a_reader_seeks(f: Fixture) {
    let plain = plain(2_500_000);
    let mut reader = f.objects.reader(&f.key, f.case, f.store(&plain).blob, KIND).unwrap();
    let mut ten = [0; 10];
    for (to, at) in [
        (SeekFrom::End(-10), 2_499_990),
        (SeekFrom::Start(5), 5),
        (SeekFrom::Current(1_048_560), 1_048_575),
        (SeekFrom::Current(-20), 1_048_565),
    ] {
        assert_eq!(reader.seek(to).unwrap(), at as u64);
        reader.read_exact(&mut ten).unwrap();
        assert_eq!(ten, plain[at..at + 10]);
    }
    assert!(reader.seek(SeekFrom::Current(-9_000_000)).is_err());
    reader.seek(SeekFrom::Start(9_000_000)).unwrap();
    assert_eq!(reader.read(&mut ten).unwrap(), 0);
}

async fn bytes_open_only_under_their_key_case_name_and_kind(f: Fixture) {
    let stored = f.store(b"privileged");
    let keys = TempDir::new().unwrap();
    let (other_key, _) = Vault::open(keys.path()).unwrap().new_case_key(f.case).unwrap();
    let damaged =
        |key, case, blob, kind| matches!(f.objects.open(key, case, blob, kind), Err(ObjectError::Damaged { .. }));
    assert!(damaged(&other_key, f.case, stored.blob, KIND), "another key");
    assert!(damaged(&f.key, CaseId::new(), stored.blob, KIND), "another case");
    assert!(damaged(&f.key, f.case, stored.blob, BlobKind::Text), "another kind");
    let moved = BlobId::new();
    f.tamper(moved, f.sealed(stored.blob).await).await;
    assert!(damaged(&f.key, f.case, moved, KIND), "another name");
    f.tamper(stored.blob, Vec::new()).await;
    assert!(damaged(&f.key, f.case, stored.blob, KIND), "emptied");
    assert!(matches!(f.objects.open(&f.key, f.case, BlobId::new(), KIND), Err(ObjectError::Missing(_))));
}

async fn altered_bytes_are_refused(f: Fixture) {
    let plain = plain(3_000_000);
    let blob = f.store(&plain).blob;
    let sealed = f.sealed(blob).await;
    let held = f.objects.open(&f.key, f.case, blob, KIND).unwrap();
    for at in [0, 30, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        f.tamper(blob, altered).await;
        let opened = f.objects.open(&f.key, f.case, blob, KIND);
        assert!(matches!(opened, Err(ObjectError::Damaged { .. })), "byte {at}");
    }
    let mut altered = sealed.clone();
    altered[2_000_000] ^= 1;
    f.tamper(blob, altered).await;
    let open = f.objects.open(&f.key, f.case, blob, KIND).unwrap();
    assert_eq!(open.read_at(1_990_000..2_010_000).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(held.read_at(1_990_000..2_010_000).unwrap_err().kind(), io::ErrorKind::InvalidData);
    for cut in [56, 100_000, sealed.len() - 1] {
        f.tamper(blob, sealed[..cut].to_vec()).await;
        let opened = f.objects.open(&f.key, f.case, blob, KIND);
        assert!(matches!(opened, Err(ObjectError::Damaged { .. })), "cut at {cut}");
    }
    f.tamper(blob, sealed).await;
    assert!(f.load(blob) == plain);
}

async fn an_object_is_never_overwritten(f: Fixture) {
    let blob = f.store(b"first").blob;
    for second in [plain(6), plain(12_000_000)] {
        let mut writer = f.objects.writer_blocking(&f.key, f.case, blob, KIND).unwrap();
        writer.write_all(&second).unwrap();
        let stored = writer.finish();
        assert!(matches!(stored, Err(ObjectError::Exists(id)) if id == blob), "{stored:?}");
        f.nothing_unfinished().await;
        assert_eq!(f.load(blob), b"first");
    }
}

async fn an_unfinished_writer_leaves_nothing(f: Fixture) {
    let mut writer = f.objects.writer(&f.key, f.case, BlobId::new(), KIND).await.unwrap();
    writer.write(Bytes::from(plain(12_000_000))).await.unwrap();
    assert_eq!(f.unfinished().await, 1);
    assert!(f.list(ALL).await.is_empty(), "an unfinished object is not visible");
    assert_eq!(f.objects.clean_temporary(Timestamp(0)).unwrap(), 0, "its writer lives");
    drop(writer);
    f.nothing_unfinished().await;
    drop(f.objects.writer_blocking(&f.key, f.case, BlobId::new(), KIND).unwrap());
    f.nothing_unfinished().await;
    assert!(f.list(ALL).await.is_empty());
    f.objects.check().await.unwrap();
    assert_eq!(f.unfinished().await, 0);
}

async fn no_plaintext_reaches_the_store(f: Fixture) {
    let canary = b"attorney-client-canary-7319";
    let text = canary.repeat(300_000);
    for kind in [BlobKind::Original, BlobKind::Text, BlobKind::Index] {
        let blob = f.store_as(kind, &text).blob;
        let read = f.objects.open(&f.key, f.case, blob, kind).unwrap();
        assert!(read.read_at(0..read.len()).unwrap() == text);
        let sealed = f.sealed(blob).await;
        assert!(sealed.len() > text.len() && !sealed.windows(10).any(|window| window == &canary[..10]));
    }
    for file in fs::read_dir(f.dir.path().join("0")).into_iter().flatten() {
        let kept = fs::read(file.unwrap().path()).unwrap();
        assert!(!kept.windows(10).any(|window| window == &canary[..10]), "in the cache");
    }
}

async fn deletion_is_idempotent_and_spares_open_readers(f: Fixture) {
    let blob = f.store(b"going").blob;
    let held = f.objects.open(&f.key, f.case, blob, KIND).unwrap();
    for _ in 0..2 {
        f.objects.delete(blob).await.unwrap();
    }
    assert_eq!(held.read_at(0..5).unwrap(), b"going");
    assert!(matches!(f.objects.open(&f.key, f.case, blob, KIND), Err(ObjectError::Missing(_))));
}

async fn only_what_is_old_enough_is_listed(f: Fixture) {
    let blob = f.store(b"young").blob;
    let now = domain::clock::Clock::System.now();
    assert!(f.list(now.minus(Duration::from_mins(1))).await.is_empty());
    let found = f.list(now.plus(Duration::from_mins(1))).await;
    assert_eq!(found.iter().map(|listed| listed.blob).collect::<Vec<_>>(), [blob]);
    assert_eq!(found[0].stored_bytes, f.sealed(blob).await.len() as u64);
    let age = found[0].written_at.since(now.minus(Duration::from_mins(1)));
    assert!(age > Duration::ZERO && age < Duration::from_mins(2), "{age:?}");
}

// The files of an index.

fn create(files: &IndexFiles, name: &str, content: &[u8]) {
    let mut file = files.create(name).unwrap();
    file.write_all(content).unwrap();
    file.finish().unwrap();
}

fn content(files: &IndexFiles, name: &str) -> Vec<u8> {
    let file = files.open(name).unwrap();
    file.read_at(0..file.len()).unwrap()
}

async fn a_generation_is_built_upon_the_one_before_without_touching_it(f: Fixture) {
    let writer = IndexFiles::writable(f.objects.clone(), f.key.clone(), f.case, BTreeMap::new());
    create(&writer, "a", b"one");
    create(&writer, "b", b"two");
    create(&writer, "gone", b"x");
    writer.remove("gone").unwrap();
    let added: Vec<_> = writer.added().iter().map(|added| (added.name.clone(), added.stored.size)).collect();
    assert_eq!(added, [("a".to_owned(), 3), ("b".to_owned(), 3)]);
    assert_eq!((writer.take_discarded().len(), writer.take_discarded().len()), (1, 0));
    let first = writer.files();
    writer.mark_published();
    assert!(writer.added().is_empty());

    writer.remove("a").unwrap();
    create(&writer, "a", b"three");
    writer.remove("b").unwrap();
    assert_eq!(writer.removed(), ["a", "b"]);
    assert!(writer.take_discarded().is_empty(), "published blobs are never discarded");
    assert_eq!(writer.files().keys().collect::<Vec<_>>(), ["a"]);

    let before = IndexFiles::read_only(f.objects.clone(), f.key.clone(), f.case, first);
    let after = IndexFiles::read_only(f.objects.clone(), f.key.clone(), f.case, writer.files());
    assert_eq!((content(&before, "a"), content(&before, "b")), (b"one".to_vec(), b"two".to_vec()));
    assert_eq!((content(&after, "a"), after.exists("b")), (b"three".to_vec(), false));
}

async fn names_are_taken_once_and_only_by_writers(f: Fixture) {
    let kind = |error: io::Error| error.kind();
    let files = IndexFiles::writable(f.objects.clone(), f.key.clone(), f.case, BTreeMap::new());
    let open = files.create("a").unwrap();
    assert_eq!(files.create("a").err().map(kind), Some(io::ErrorKind::AlreadyExists), "being written");
    assert!(!files.exists("a"));
    assert_eq!(files.open("a").err().map(kind), Some(io::ErrorKind::NotFound));
    drop(open);
    create(&files, "a", b"");
    assert_eq!(files.create("a").err().map(kind), Some(io::ErrorKind::AlreadyExists), "finished");
    assert_eq!(files.remove("b").err().map(kind), Some(io::ErrorKind::NotFound));

    let reader = IndexFiles::read_only(f.objects.clone(), f.key.clone(), f.case, files.files());
    assert_eq!(reader.create("b").err().map(kind), Some(io::ErrorKind::PermissionDenied));
    assert_eq!(reader.remove("a").err().map(kind), Some(io::ErrorKind::PermissionDenied));
    assert!(reader.exists("a"));
}
