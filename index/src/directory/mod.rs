//! tantivy's `Directory` over sealed files. Segment files go through [`SealedFiles`]; the two small files tantivy rewrites
//! (`meta.json`, `.managed.json`) live in memory, and the caller keeps the first as the generation's meta. Nothing is
//! ever written to the machine's own files, and plaintext lives only in the block cache.

mod cache;
mod file;

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use domain::files::{SealedFiles, WriteSealed};
use tantivy::{
    Directory,
    directory::{
        AntiCallToken, DirectoryLock, FileHandle, Lock, TerminatingWrite, WatchCallback, WatchHandle, WritePtr,
        error::{DeleteError, LockError, OpenReadError, OpenWriteError},
    },
};

pub use cache::{BlockCache, Blocks};
use file::SealedFile;

/// The file that names the living segments.
const META: &str = "meta.json";

/// One view of an index: a set of sealed files and the small files of this view.
#[derive(Clone)]
pub(crate) struct SealedDirectory {
    files: Arc<dyn SealedFiles>,
    cache: Blocks,
    small: Arc<Mutex<HashMap<PathBuf, Vec<u8>>>>,
}

impl SealedDirectory {
    /// The view that `meta` names; an empty one without.
    pub(crate) fn new(files: Arc<dyn SealedFiles>, cache: Blocks, meta: Option<&[u8]>) -> Self {
        let small = meta.map(|meta| (PathBuf::from(META), meta.to_vec())).into_iter().collect();
        Self { files, cache, small: Arc::new(Mutex::new(small)) }
    }

    /// The bytes of `meta.json` as last committed.
    pub(crate) fn meta(&self) -> Option<Vec<u8>> {
        self.with_small(|small| small.get(Path::new(META)).cloned())
    }

    fn with_small<T>(&self, f: impl FnOnce(&mut HashMap<PathBuf, Vec<u8>>) -> T) -> T {
        f(&mut self.small.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for SealedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDirectory({:?})", self.files)
    }
}

/// The flat name of a file; tantivy never nests.
fn name(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

impl Directory for SealedDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let wrap = |error| OpenReadError::wrap_io_error(error, path.to_path_buf());
        let name = name(path).map_err(wrap)?;
        match self.files.open(name) {
            Ok(source) => Ok(Arc::new(SealedFile::new(name, source, self.cache.clone()).map_err(wrap)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(OpenReadError::FileDoesNotExist(path.to_path_buf()))
            }
            Err(error) => Err(wrap(error)),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let wrap = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_path_buf()),
            _ => DeleteError::IoError { io_error: Arc::new(error), filepath: path.to_path_buf() },
        };
        name(path).and_then(|name| self.files.remove(name)).map_err(wrap)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        if self.with_small(|small| small.contains_key(path)) {
            return Ok(true);
        }
        let name = name(path).map_err(|error| OpenReadError::wrap_io_error(error, path.to_path_buf()))?;
        Ok(self.files.exists(name))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        match name(path).and_then(|name| self.files.create(name)) {
            Ok(sink) => Ok(io::BufWriter::new(Box::new(Sink(Some(sink))))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OpenWriteError::FileAlreadyExists(path.to_path_buf()))
            }
            Err(error) => Err(OpenWriteError::wrap_io_error(error, path.to_path_buf())),
        }
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.with_small(|small| small.get(path).cloned())
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_path_buf()))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.with_small(|small| small.insert(path.to_path_buf(), data.to_vec()));
        Ok(())
    }

    /// Each file is durable when its writer finishes; there is no directory to flush here.
    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// A view has one writer and no second process: the database's lease keeps others out.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    /// Readers stand on one generation; there is nothing to watch.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// A file being written; `None` once finished.
struct Sink(Option<Box<dyn WriteSealed>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

impl TerminatingWrite for Sink {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.take().map_or(Ok(()), WriteSealed::finish)
    }
}
