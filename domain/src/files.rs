//! The seam between encrypted storage and those who read bytes at random: the index reads and writes its segment files
//! through these traits without knowing where they lie or how they are sealed.

use std::{fmt, io, ops::Range, sync::Arc};

/// Immutable bytes that can be read at any offset. Bytes are authenticated before they are returned; tampered or
/// truncated storage gives [`io::ErrorKind::InvalidData`].
pub trait ReadAt: Send + Sync + fmt::Debug + 'static {
    /// Length of the plaintext in bytes.
    fn len(&self) -> u64;

    /// True when there is not one byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range` (start inclusive, end exclusive, within `0..len`). A range past the end is
    /// [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// A sink that becomes durable, and visible under its name, only when finished; dropped unfinished it leaves nothing.
pub trait WriteSealed: io::Write + Send + Sync {
    /// Seals the last block, flushes to the device and makes the file visible.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The files of one index: a flat set of names, sealed at rest. Implemented by `storage` for a published generation plus
/// the files a writer adds to it.
pub trait SealedFiles: Send + Sync + fmt::Debug + 'static {
    /// Opens a finished file; [`io::ErrorKind::NotFound`] when there is none of that name.
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>>;

    /// Starts a new file. A name already taken is [`io::ErrorKind::AlreadyExists`]; a read-only set answers
    /// [`io::ErrorKind::PermissionDenied`].
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteSealed>>;

    /// True when a finished file of that name exists.
    fn exists(&self, name: &str) -> bool;

    /// Forgets a file. Published generations are untouched: only the writer's own view changes.
    fn remove(&self, name: &str) -> io::Result<()>;
}
