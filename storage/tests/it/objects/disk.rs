//! What holds of a directory alone: who may read its files, what a killed writer and a full disk leave.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
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
use storage::{
    objects::{IndexFiles, Listed, ObjectError, Objects},
    vault::Vault,
};
use tempfile::TempDir;

use super::{ALL, Fixture, KIND, path, plain};

/// Set in a child process to the directory it works in.
const CHILD: &str = "DIA_TEST_CHILD_DIR";

fn unfinished(f: &Fixture) -> usize {
    fs::read_dir(f.dir.path().join("temporary")).unwrap().count()
}

#[test]
fn only_the_owner_may_read_what_is_stored() {
    let f = Fixture::disk();
    let stored = f.store(b"privileged");
    let metadata = fs::metadata(path(f.dir.path(), stored.blob)).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o777), (stored.stored_bytes, 0o600));
}

#[tokio::test]
async fn an_unfinished_writer_leaves_nothing() {
    let f = Fixture::disk();
    let mut writer = f.objects.writer(&f.key, f.case, BlobId::new(), KIND).await.unwrap();
    writer.write(Bytes::from(plain(3_000_000))).await.unwrap();
    assert_eq!(unfinished(&f), 1);
    assert!(f.list(ALL).await.is_empty(), "an unfinished object is not visible");
    assert_eq!(f.objects.clean_temporary(ALL).unwrap(), 0, "its writer lives");
    drop(writer);
    assert_eq!(unfinished(&f), 0);
    drop(f.objects.writer_blocking(&f.key, f.case, BlobId::new(), KIND).unwrap());
    assert_eq!(unfinished(&f), 0);
    assert!(f.list(ALL).await.is_empty());
}

#[tokio::test]
async fn no_plaintext_reaches_the_disk() {
    let canary = b"attorney-client-canary-7319";
    let f = Fixture::disk();
    let mut writer = f.objects.writer(&f.key, f.case, BlobId::new(), KIND).await.unwrap();
    for _ in 0..100_000 {
        writer.write(Bytes::from_static(canary)).await.unwrap();
    }
    let unfinished = fs::read_dir(f.dir.path().join("temporary")).unwrap().next().unwrap().unwrap().path();
    let unfinished = fs::read(unfinished).unwrap();
    assert!(unfinished.len() > 1_000_000, "the test looks at something");
    let blob = writer.finish().await.unwrap().blob;
    for bytes in [unfinished, fs::read(path(f.dir.path(), blob)).unwrap()] {
        assert!(!bytes.windows(10).any(|window| window == &canary[..10]));
    }
}

#[tokio::test]
async fn listing_finds_every_object_that_is_old_enough() {
    let f = Fixture::disk();
    let mut expected = BTreeMap::new();
    for n in 0..1_200_u64 {
        let blob = BlobId::new();
        let file = fs::File::create(path(f.dir.path(), blob)).unwrap();
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
    let f = Fixture::disk();
    let mut child = child("objects::disk::a_killed_writer_leaves_nothing_after_the_next_start", &[], f.dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "half way\n");
    assert_eq!(
        (unfinished(&f), f.objects.clean_temporary(ALL).unwrap()),
        (1, 0),
        "the writer of another process lives"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((unfinished(&f), f.objects.clean_temporary(ALL).unwrap(), unfinished(&f)), (1, 1, 0));
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
    let output =
        child("objects::disk::a_full_disk_is_said_and_loses_nothing", &namespace, dir.path()).output().unwrap();
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
