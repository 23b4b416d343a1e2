//! Objects in a directory:
//!
//! ```text
//! DIR/blobs/3f/01989c1e-…-…3f     a finished object, in the folder of its id's last byte (the first bytes are the time)
//! DIR/temporary/01989c1e-…        an object being written, held under a lock by its writer
//! ```
//!
//! An object is written and fsynced under a temporary name, hard-linked to its own (which never replaces another), and its
//! folder is fsynced. A crash leaves at most a temporary file, which the next start removes because nobody holds its lock.

use std::{
    fs::{self, File, OpenOptions, ReadDir, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use domain::{clock::Timestamp, ids::BlobId};
use futures::{Stream, stream};

use super::{Listed, ObjectError, Result, blocking};

/// Most entries in one batch of a listing.
const BATCH: usize = 1_000;

/// A store in a directory. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Disk {
    dir: Arc<Path>,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let disk = Self { dir: dir.into() };
        disk.make_folders().map_err(|error| ObjectError::io("prepare the object store", error))?;
        Ok(disk)
    }

    /// Makes every folder at once, so that storing an object only ever changes one.
    fn make_folders(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(self.temporary())?;
        for last in 0..=u8::MAX {
            builder.create(self.folder(last))?;
        }
        sync_folder(&self.dir.join("blobs"))?;
        sync_folder(&self.dir)
    }

    fn temporary(&self) -> PathBuf {
        self.dir.join("temporary")
    }

    fn folder(&self, last: u8) -> PathBuf {
        self.dir.join("blobs").join(format!("{last:02x}"))
    }

    fn path(&self, blob: BlobId) -> PathBuf {
        let [.., last] = *blob.uuid().as_bytes();
        self.folder(last).join(blob.to_string())
    }

    /// Starts an object under a temporary name.
    pub(super) fn create(&self, blob: BlobId) -> Result<Unfinished> {
        loop {
            let temporary = self.temporary().join(domain::ids::fresh().to_string());
            let file = lock_new(&temporary).map_err(|error| ObjectError::io("start an object", error))?;
            let unfinished = Unfinished { file, temporary, disk: self.clone(), blob };
            // Whoever cleans may have taken the file in the moment before it was locked: then its name is gone.
            let links = unfinished.file.metadata().map_err(|error| ObjectError::io("start an object", error))?.nlink();
            if links > 0 {
                return Ok(unfinished);
            }
        }
    }

    pub(super) fn source(&self, blob: BlobId) -> io::Result<File> {
        File::open(self.path(blob))
    }

    pub(super) fn delete(&self, blob: BlobId) -> Result<()> {
        match fs::remove_file(self.path(blob)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ObjectError::io("delete an object", error)),
            _ => Ok(()),
        }
    }

    pub(super) fn list(&self, older_than: Timestamp) -> impl Stream<Item = Result<Vec<Listed>>> + Send + use<> {
        let listing = Listing { disk: self.clone(), folders: 0..=u8::MAX, open: None, older_than };
        stream::try_unfold(listing, |mut listing| {
            blocking(move || {
                let batch = listing.next_batch().map_err(|error| ObjectError::io("list the objects", error))?;
                Ok((!batch.is_empty()).then_some((batch, listing)))
            })
        })
    }

    pub(super) fn clean_temporary(&self) -> Result<u64> {
        let mut removed = 0;
        let failed = |error| ObjectError::io("clean up unfinished objects", error);
        for entry in fs::read_dir(self.temporary()).map_err(failed)? {
            removed += u64::from(remove_abandoned(&entry.map_err(failed)?.path()).map_err(failed)?);
        }
        Ok(removed)
    }
}

/// An object being written. Dropped without [`Unfinished::publish`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: File,
    temporary: PathBuf,
    disk: Disk,
    blob: BlobId,
}

impl Unfinished {
    /// Makes the object durable and gives it its name.
    pub(super) fn publish(self) -> Result<()> {
        let failed = |error| ObjectError::io("store an object", error);
        self.file.sync_all().map_err(failed)?;
        let path = self.disk.path(self.blob);
        fs::hard_link(&self.temporary, &path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => ObjectError::Exists(self.blob),
            _ => failed(error),
        })?;
        let folder = path.parent().unwrap_or(&self.disk.dir);
        sync_folder(folder).map_err(|error| {
            // A name that may not survive a crash must not be promised.
            let _ = fs::remove_file(&path);
            failed(error)
        })
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an unfinished object could not be removed; the next start will");
        }
    }
}

/// Walks the folders one after another.
struct Listing {
    disk: Disk,
    folders: std::ops::RangeInclusive<u8>,
    open: Option<ReadDir>,
    older_than: Timestamp,
}

impl Listing {
    /// The next entries, at most [`BATCH`]; none at the end.
    fn next_batch(&mut self) -> io::Result<Vec<Listed>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(folder) = &mut self.open else {
                let Some(next) = self.folders.next() else { break };
                self.open = Some(fs::read_dir(self.disk.folder(next))?);
                continue;
            };
            match folder.next() {
                Some(entry) => batch.extend(listed(&entry?)?.filter(|found| found.written_at < self.older_than)),
                None => self.open = None,
            }
        }
        Ok(batch)
    }
}

/// The object an entry stands for; `None` for what is no object or was deleted meanwhile.
fn listed(entry: &fs::DirEntry) -> io::Result<Option<Listed>> {
    let Some(blob) = entry.file_name().to_str().and_then(|name| name.parse::<BlobId>().ok()) else {
        tracing::warn!("a file in the object store is not an object");
        return Ok(None);
    };
    let metadata = match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(Listed { blob, stored_bytes: metadata.len(), written_at: Timestamp::default().plus(since) }))
}

/// Creates a file and takes its lock.
fn lock_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Err(error) = file.lock() {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Removes a temporary file unless its writer lives; true when it was removed.
fn remove_abandoned(path: &Path) -> io::Result<bool> {
    let removed = File::open(path).and_then(|file| match file.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
