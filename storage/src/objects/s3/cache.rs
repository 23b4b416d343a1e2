//! Sealed blocks of objects, kept on the local disk as they came from the bucket, so that an index is not fetched again for
//! every question and every start. What lies here is ciphertext: whoever reads it has the key or learns nothing.
//!
//! ```text
//! DIR/0/lock                        held by the process that uses this place; the next process takes DIR/1
//! DIR/0/01989c1e-…-000003           the object's length (8 bytes), then its fourth block
//! ```
//!
//! Nothing here is flushed or trusted: a file of the wrong length is no hit, and one that fails the integrity check of its
//! object is fetched anew by [`super::source`]. What was used longest ago goes first.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use domain::ids::BlobId;

/// Bytes of a block: 64 sealed chunks, about a MiB.
pub(super) const BLOCK: u64 = 64 * 16_400;
/// Bytes before the block: the length of the object.
const HEADER: usize = 8;
/// Most processes of one machine that share a directory.
const PLACES: u32 = 64;

type Key = (BlobId, u32);

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    most: u64,
    state: Mutex<State>,
    /// Blocks that are being fetched wait for each other here, so that ten questions do not fetch one block ten times.
    flights: Vec<Mutex<()>>,
    /// Whether the last write failed; told once.
    failing: AtomicBool,
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    blocks: BTreeMap<Key, Entry>,
    /// The same by their last use.
    by_use: BTreeMap<u64, Key>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    used: u64,
    bytes: u64,
}

impl State {
    fn add(&mut self, key: Key, bytes: u64) {
        self.remove(key);
        self.uses += 1;
        self.blocks.insert(key, Entry { used: self.uses, bytes });
        self.by_use.insert(self.uses, key);
        self.bytes += bytes;
    }

    fn touch(&mut self, key: Key) -> bool {
        let Some(entry) = self.blocks.get(&key).copied() else { return false };
        self.add(key, entry.bytes);
        true
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.blocks.remove(&key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

impl Cache {
    /// Takes the first free place in `dir` with what an earlier process left there, within `most` bytes.
    pub(super) fn open(dir: &Path, most: u64) -> io::Result<Self> {
        let (dir, lock) = take_place(dir)?;
        let flights = (0..256).map(|_| Mutex::default()).collect();
        let cache = Self { dir, most, state: Mutex::default(), flights, failing: AtomicBool::new(false), _lock: lock };
        let mut found = Vec::new();
        for entry in fs::read_dir(&cache.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(key) = name.to_str().and_then(key_of) else {
                if name != "lock" {
                    fs::remove_file(entry.path())?;
                }
                continue;
            };
            let metadata = entry.metadata()?;
            found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), key, metadata.len()));
        }
        found.sort_unstable();
        for (_, key, bytes) in found {
            cache.state().add(key, bytes);
        }
        cache.evict();
        Ok(cache)
    }

    /// Held by whoever fetches a block.
    pub(super) fn flight(&self, (blob, number): Key) -> MutexGuard<'_, ()> {
        let [.., before, last] = *blob.uuid().as_bytes();
        let lane = (usize::from(last) ^ usize::from(before).wrapping_mul(31)).wrapping_add(number as usize);
        self.flights[lane % self.flights.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block and the length of its object, if it is kept.
    pub(super) fn get(&self, key: Key) -> Option<(u64, Bytes)> {
        if !self.state().touch(key) {
            return None;
        }
        let found = self.read(key);
        if found.is_none() {
            self.state().remove(key);
            let _ = fs::remove_file(self.path(key));
        }
        found
    }

    fn read(&self, key: Key) -> Option<(u64, Bytes)> {
        let mut file = File::open(self.path(key)).ok()?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        let length = u64::from_be_bytes(header);
        let expected = length.checked_sub(u64::from(key.1) * BLOCK)?.min(BLOCK);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).ok()?);
        file.take(BLOCK + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == expected).then(|| (length, bytes.into()))
    }

    /// Keeps the blocks that begin in `bytes`, which stand at block `first` of an object of `length` bytes.
    pub(super) fn put(&self, blob: BlobId, length: u64, first: u32, bytes: &[u8]) {
        for (number, block) in (first..).zip(bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX))) {
            let written = self.write((blob, number), length, block);
            let failed = written.is_err();
            if let Err(error) = written
                && !self.failing.load(Ordering::Relaxed)
            {
                tracing::warn!(%error, "the cache of objects cannot be written; every read goes to the bucket");
            }
            self.failing.store(failed, Ordering::Relaxed);
        }
        self.evict();
    }

    fn write(&self, key: Key, length: u64, block: &[u8]) -> io::Result<()> {
        let new = self.dir.join(format!("new-{}", domain::ids::fresh()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let written = file
            .write_all(&length.to_be_bytes())
            .and_then(|()| file.write_all(block))
            .and_then(|()| fs::rename(&new, self.path(key)));
        if written.is_err() {
            let _ = fs::remove_file(&new);
            return written;
        }
        self.state().add(key, (HEADER + block.len()) as u64);
        Ok(())
    }

    /// Lets go of every block of an object.
    pub(super) fn forget(&self, blob: BlobId) {
        let mut state = self.state();
        let keys: Vec<Key> = state.blocks.range((blob, 0)..=(blob, u32::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            state.remove(key);
            let _ = fs::remove_file(self.path(key));
        }
    }

    fn evict(&self) {
        let mut state = self.state();
        while state.bytes > self.most {
            let Some((_, key)) = state.by_use.first_key_value() else { return };
            let key = *key;
            state.remove(key);
            let _ = fs::remove_file(self.path(key));
        }
    }

    fn path(&self, (blob, number): Key) -> PathBuf {
        self.dir.join(format!("{blob}-{number:06}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(name: &str) -> Option<Key> {
    let (blob, number) = name.rsplit_once('-')?;
    Some((blob.parse().ok()?, number.parse().ok()?))
}

/// The first folder of `dir` that no living process has, and its lock.
fn take_place(dir: &Path) -> io::Result<(PathBuf, File)> {
    for place in 0..PLACES {
        let place = dir.join(place.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&place)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(place.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => return Ok((place, lock)),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("64 processes share objects.cache_directory; give this one another"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_used() {
        let dir = TempDir::new().unwrap();
        let cache = Cache::open(dir.path(), 10 * 108).unwrap();
        let used = BlobId::new();
        cache.put(used, 100, 0, &[7; 100]);
        let others: Vec<BlobId> = (0..30).map(|_| BlobId::new()).collect();
        for other in &others {
            cache.put(*other, 100, 0, &[0; 100]);
            assert_eq!(cache.get((used, 0)), Some((100, Bytes::from(vec![7; 100]))));
            let on_disk = fs::read_dir(dir.path().join("0")).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
            assert!(on_disk.sum::<u64>() <= 10 * 108);
        }
        assert_eq!(others.iter().filter(|other| cache.get((**other, 0)).is_some()).count(), 9);
        cache.forget(used);
        assert_eq!(cache.get((used, 0)), None);
    }

    #[test]
    fn it_survives_a_restart_and_takes_nothing_on_trust() {
        let dir = TempDir::new().unwrap();
        let (whole, cut, long) = (BlobId::new(), BlobId::new(), BlobId::new());
        let first = Cache::open(dir.path(), 1 << 30).unwrap();
        let length = BLOCK + 5;
        for blob in [whole, cut, long] {
            first.put(blob, length, 0, &vec![3; usize::try_from(length).unwrap()]);
        }
        let second = Cache::open(dir.path(), 1 << 30).unwrap();
        assert_eq!(second.get((whole, 0)), None, "the second process has a place of its own");
        drop((first, second));
        fs::write(dir.path().join(format!("0/{cut}-000000")), [0; 20]).unwrap();
        fs::write(dir.path().join(format!("0/{long}-000001")), [0; 20]).unwrap();
        fs::write(dir.path().join("0/new-x"), "left by a crash").unwrap();

        let cache = Cache::open(dir.path(), 1 << 30).unwrap();
        assert_eq!(cache.get((whole, 1)), Some((length, Bytes::from(vec![3; 5]))));
        assert_eq!((cache.get((cut, 0)), cache.get((long, 1))), (None, None));
        assert!(!dir.path().join("0/new-x").exists());
        drop(cache);
        let small = Cache::open(dir.path(), BLOCK + 50).unwrap();
        assert_eq!((small.get((whole, 0)), small.get((whole, 1))), (None, Some((length, Bytes::from(vec![3; 5])))));
    }
}
