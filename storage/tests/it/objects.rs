//! The object store through its public face: what is stored comes back, what is unfinished leaves nothing, what is
//! altered is refused, and a full disk or a killed process loses nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use domain::{
    clock::Timestamp,
    files::SealedFiles as _,
    ids::{BlobId, CaseId},
};
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use storage::{
    objects::{BlobKind, IndexFiles, Listed, ObjectError, Objects, Stored},
    vault::{CaseKey, Vault},
};
use tempfile::TempDir;

const KIND: BlobKind = BlobKind::Original;
/// Set in a child process to the directory it works in.
const CHILD: &str = "DIA_TEST_CHILD_DIR";

struct Fixture {
    dir: TempDir,
    objects: Objects,
    key: CaseKey,
    case: CaseId,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let case = CaseId::new();
        let (key, _) = Vault::open(dir.path()).unwrap().new_case_key(case).unwrap();
        Self { objects: Objects::disk(dir.path()).unwrap(), dir, key, case }
    }

    fn store(&self, plain: &[u8]) -> Stored {
        let mut writer = self.objects.writer_blocking(&self.key, self.case, BlobId::new(), KIND).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn load(&self, blob: BlobId) -> Vec<u8> {
        let mut plain = Vec::new();
        self.objects.reader(&self.key, self.case, blob, KIND).unwrap().read_to_end(&mut plain).unwrap();
        plain
    }

    fn path(&self, blob: BlobId) -> PathBuf {
        path(self.dir.path(), blob)
    }

    fn unfinished(&self) -> usize {
        fs::read_dir(self.dir.path().join("temporary")).unwrap().count()
    }

    async fn list(&self, older_than: Timestamp) -> Vec<Listed> {
        self.objects.list(older_than).try_concat().await.unwrap()
    }
}

fn path(dir: &Path, blob: BlobId) -> PathBuf {
    let hex = blob.uuid().simple().to_string();
    dir.join("blobs").join(&hex[30..]).join(blob.to_string())
}

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

const ALL: Timestamp = Timestamp(i64::MAX);

#[tokio::test]
async fn what_is_stored_comes_back_however_it_was_written() {
    let f = Fixture::new();
    for len in [0, 1, 16_383, 16_384, 16_385, 1024 * 1024, 5 * 1024 * 1024 + 3] {
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
            assert_eq!(fs::metadata(f.path(stored.blob)).unwrap().len(), stored.stored_bytes);
            assert_eq!(fs::metadata(f.path(stored.blob)).unwrap().mode() & 0o777, 0o600);
            assert!(f.load(stored.blob) == plain, "{len}");
        }
    }
    assert_eq!(f.unfinished(), 0);
}

#[tokio::test]
async fn ranges_stream_exactly() {
    let f = Fixture::new();
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

#[test]
fn a_reader_seeks() {
    let f = Fixture::new();
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

#[test]
fn bytes_open_only_under_their_key_case_name_and_kind() {
    let f = Fixture::new();
    let stored = f.store(b"privileged");
    let (other_key, _) = Vault::open(f.dir.path()).unwrap().new_case_key(f.case).unwrap();
    let damaged =
        |key, case, blob, kind| matches!(f.objects.open(key, case, blob, kind), Err(ObjectError::Damaged { .. }));
    assert!(damaged(&other_key, f.case, stored.blob, KIND), "another key");
    assert!(damaged(&f.key, CaseId::new(), stored.blob, KIND), "another case");
    assert!(damaged(&f.key, f.case, stored.blob, BlobKind::Text), "another kind");
    let moved = BlobId::new();
    fs::copy(f.path(stored.blob), f.path(moved)).unwrap();
    assert!(damaged(&f.key, f.case, moved, KIND), "another name");
    fs::write(f.path(stored.blob), b"").unwrap();
    assert!(damaged(&f.key, f.case, stored.blob, KIND), "emptied");
    assert!(matches!(f.objects.open(&f.key, f.case, BlobId::new(), KIND), Err(ObjectError::Missing(_))));
}

#[test]
fn an_object_is_never_overwritten() {
    let f = Fixture::new();
    let blob = f.store(b"first").blob;
    let mut writer = f.objects.writer_blocking(&f.key, f.case, blob, KIND).unwrap();
    writer.write_all(b"second").unwrap();
    assert!(matches!(writer.finish(), Err(ObjectError::Exists(id)) if id == blob));
    assert_eq!((f.load(blob), f.unfinished()), (b"first".to_vec(), 0));
}

#[tokio::test]
async fn an_unfinished_writer_leaves_nothing() {
    let f = Fixture::new();
    let mut writer = f.objects.writer(&f.key, f.case, BlobId::new(), KIND).await.unwrap();
    writer.write(Bytes::from(plain(3_000_000))).await.unwrap();
    assert_eq!(f.unfinished(), 1);
    assert!(f.list(ALL).await.is_empty(), "an unfinished object is not visible");
    assert_eq!(f.objects.clean_temporary().unwrap(), 0, "its writer lives");
    drop(writer);
    assert_eq!(f.unfinished(), 0);
    drop(f.objects.writer_blocking(&f.key, f.case, BlobId::new(), KIND).unwrap());
    assert_eq!(f.unfinished(), 0);
    assert!(f.list(ALL).await.is_empty());
}

#[tokio::test]
async fn no_plaintext_reaches_the_disk() {
    let canary = b"attorney-client-canary-7319";
    let f = Fixture::new();
    let mut writer = f.objects.writer(&f.key, f.case, BlobId::new(), KIND).await.unwrap();
    for _ in 0..100_000 {
        writer.write(Bytes::from_static(canary)).await.unwrap();
    }
    let unfinished = fs::read_dir(f.dir.path().join("temporary")).unwrap().next().unwrap().unwrap().path();
    let unfinished = fs::read(unfinished).unwrap();
    assert!(unfinished.len() > 1_000_000, "the test looks at something");
    let blob = writer.finish().await.unwrap().blob;
    for bytes in [unfinished, fs::read(f.path(blob)).unwrap()] {
        assert!(!bytes.windows(10).any(|window| window == &canary[..10]));
    }
}

#[tokio::test]
async fn deletion_is_idempotent_and_spares_open_readers() {
    let f = Fixture::new();
    let blob = f.store(b"going").blob;
    let held = f.objects.open(&f.key, f.case, blob, KIND).unwrap();
    for _ in 0..2 {
        f.objects.delete(blob).await.unwrap();
    }
    assert_eq!(held.read_at(0..5).unwrap(), b"going");
    assert!(matches!(f.objects.open(&f.key, f.case, blob, KIND), Err(ObjectError::Missing(_))));
}

#[tokio::test]
async fn listing_finds_every_object_that_is_old_enough() {
    let f = Fixture::new();
    let mut expected = BTreeMap::new();
    for n in 0..1_200_u64 {
        let blob = BlobId::new();
        let file = fs::File::create(f.path(blob)).unwrap();
        file.set_len(n).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(n)).unwrap();
        expected.insert(blob, n);
    }
    fs::write(f.dir.path().join("blobs/00/stray"), b"").unwrap();
    let young = Timestamp(1_100_000_000);
    let batches: Vec<Vec<Listed>> = f.objects.list(young).try_collect().await.unwrap();
    assert!(batches.len() > 1 && batches.iter().all(|batch| !batch.is_empty() && batch.len() <= 1_000));
    let found: BTreeMap<BlobId, u64> =
        batches.concat().iter().map(|listed| (listed.blob, listed.stored_bytes)).collect();
    expected.retain(|_, n| *n < 1_100);
    assert_eq!(found, expected);
}

// Faults. These run part of themselves in a child process: this same test binary, told to run one test.

fn child(test: &str, program: &[&str], dir: &Path) -> Command {
    let binary = env::current_exe().unwrap();
    let mut words = program.iter().map(AsRef::as_ref).chain([binary.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, dir);
    command
}

#[test]
fn a_killed_writer_leaves_nothing_after_the_next_start() {
    if let Some(dir) = env::var_os(CHILD) {
        let objects = Objects::disk(Path::new(&dir)).unwrap();
        let (key, _) = Vault::open(Path::new(&dir)).unwrap().new_case_key(CaseId::new()).unwrap();
        let mut writer = objects.writer_blocking(&key, CaseId::new(), BlobId::new(), KIND).unwrap();
        writer.write_all(&plain(200_000)).unwrap();
        io::stderr().write_all(b"half way\n").unwrap();
        io::stdin().read_exact(&mut [0]).unwrap();
        panic!("the parent should have killed this process");
    }
    let f = Fixture::new();
    let mut child = child("objects::a_killed_writer_leaves_nothing_after_the_next_start", &[], f.dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "half way\n");
    assert_eq!((f.unfinished(), f.objects.clean_temporary().unwrap()), (1, 0), "the writer of another process lives");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((f.unfinished(), f.objects.clean_temporary().unwrap(), f.unfinished()), (1, 1, 0));
    let visible = fs::read_dir(f.dir.path().join("blobs")).unwrap();
    assert!(visible.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).all(|objects| objects == 0));
}

/// Needs `mount` in a namespace of its own: as root, or where user namespaces are allowed.
#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    if let Some(dir) = env::var_os(CHILD) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(fill_the_disk(Path::new(&dir)));
    }
    let dir = TempDir::new().unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let namespace = if root { ["unshare", "-m"] } else { ["unshare", "-Urm"] };
    let output = child("objects::a_full_disk_is_said_and_loses_nothing", &namespace, dir.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the child worked in its own mount");
}

async fn fill_the_disk(dir: &Path) {
    let keys = TempDir::new().unwrap();
    let case = CaseId::new();
    let (key, _) = Vault::open(keys.path()).unwrap().new_case_key(case).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(dir).status().unwrap();
    assert!(mount.success(), "cannot mount a small tmpfs; run as root or allow user namespaces");
    let objects = Objects::disk(dir).unwrap();

    let mut writer = objects.writer(&key, case, BlobId::new(), KIND).await.unwrap();
    writer.write(Bytes::from(plain(400_000))).await.unwrap();
    let kept = writer.finish().await.unwrap();

    let mut writer = objects.writer(&key, case, BlobId::new(), KIND).await.unwrap();
    let error = writer.write(Bytes::from(plain(2_000_000))).await.unwrap_err();
    assert!(error.is_full(), "{error:?}");
    assert!(matches!(writer.write(Bytes::from(plain(2_000_000))).await, Err(ObjectError::Interrupted)));
    assert!(writer.finish().await.is_err(), "what failed cannot be finished");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);

    let mut writer = objects.writer(&key, case, BlobId::new(), KIND).await.unwrap();
    writer.write(Bytes::from(plain(900_000))).await.unwrap();
    assert!(writer.finish().await.unwrap_err().is_full(), "full while finishing");

    let index = IndexFiles::writable(objects.clone(), key.clone(), case, BTreeMap::new());
    let mut file = index.create("segment").unwrap();
    assert_eq!(file.write_all(&plain(2_000_000)).unwrap_err().kind(), io::ErrorKind::StorageFull);
    drop(file);
    assert!(!index.exists("segment"));

    assert_eq!(fs::read_dir(dir.join("temporary")).unwrap().count(), 0, "failed writers give their space back");
    let listed: Vec<Listed> = objects.list(ALL).try_concat().await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.blob).collect::<Vec<_>>(), [kept.blob]);
    let pieces: Vec<Bytes> =
        objects.stream(&key, case, kept.blob, KIND, None).await.unwrap().map(Result::unwrap).collect().await;
    assert!(pieces.concat() == plain(400_000), "what was stored before stays readable");

    let mut writer = objects.writer(&key, case, BlobId::new(), KIND).await.unwrap();
    writer.write(Bytes::from(plain(400_000))).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().size, 400_000, "and the space is usable again");
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

#[test]
fn a_generation_is_built_upon_the_one_before_without_touching_it() {
    let f = Fixture::new();
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

#[test]
fn names_are_taken_once_and_only_by_writers() {
    let f = Fixture::new();
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
