//! Immutable encrypted bytes: originals, extracted texts, index files. Every object is sealed under its case's key before
//! the first byte leaves memory (format: [`crate::vault::chunked`]), bound to case, blob and kind, and durable before it
//! has a name.

use std::{io, ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use domain::{
    clock::Timestamp,
    files::ReadAt,
    ids::{BlobId, CaseId},
};
use futures::{Stream, StreamExt as _};

use self::write::Unfinished;
pub use self::{
    disk::Disk,
    error::ObjectError,
    index_files::{Added, IndexFiles},
    read::Reader,
    s3::{BucketError, Buckets, Capabilities, Checksum, RemoteObject, S3, Settings as S3Settings},
    write::{BlobWriter, BlockingBlobWriter, Stored},
};

use crate::vault::{CaseKey, chunked::Opener};

mod disk;
mod error;
mod index_files;
mod read;
mod s3;
mod write;

type Result<T> = std::result::Result<T, ObjectError>;

/// What an object holds; part of what its bytes are bound to, so an original never opens as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKind {
    /// The bytes of a document as received or unpacked.
    Original,
    /// The extracted text of a document, with pages and offsets.
    Text,
    /// One file of an index generation.
    Index,
}

impl BlobKind {
    /// The name in rows and in the sealing context; never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Text => "text",
            Self::Index => "index",
        }
    }
}

/// One object as the store lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub blob: BlobId,
    /// Bytes it takes in the store.
    pub stored_bytes: u64,
    /// When its last byte was written.
    pub written_at: Timestamp,
}

/// Where objects lie. Cloning shares the store.
#[derive(Debug, Clone)]
pub enum Objects {
    /// A directory of this machine.
    Disk(Disk),
    /// A bucket, which many machines share.
    S3(S3),
}

impl Objects {
    /// Opens, or makes, a store in the directory `dir`. Blocks.
    pub fn disk(dir: &Path) -> Result<Self> {
        Disk::open(dir).map(Self::Disk)
    }

    /// Reaches the bucket that `settings` name; sealed parts of what is read from it are kept in the directory `cache`. A
    /// bucket that is not there or does not let itself be used is [`ObjectError::Unusable`].
    pub async fn s3(settings: &S3Settings, cache: &Path) -> Result<Self> {
        // Futures of the SDK are large.
        Box::pin(S3::open(settings, cache)).await.map(Self::S3)
    }

    /// Fails when no object could be begun.
    pub async fn check(&self) -> Result<()> {
        let objects = self.clone();
        blocking(move || match &objects {
            // An object begun and never finished: it needs room for a name, and leaves nothing.
            Self::Disk(disk) => disk.create(BlobId::new()).map(drop),
            Self::S3(s3) => s3.check(),
        })
        .await
    }

    /// Starts an object, for callers on an async thread. Blobs are never overwritten: finishing a name that exists is
    /// [`ObjectError::Exists`].
    pub async fn writer(&self, key: &CaseKey, case: CaseId, blob: BlobId, kind: BlobKind) -> Result<BlobWriter> {
        let (objects, key) = (self.clone(), key.clone());
        let writer = blocking(move || objects.writer_blocking(&key, case, blob, kind)).await?;
        Ok(BlobWriter::new(writer))
    }

    /// Starts an object, for worker threads.
    pub fn writer_blocking(
        &self,
        key: &CaseKey,
        case: CaseId,
        blob: BlobId,
        kind: BlobKind,
    ) -> Result<BlockingBlobWriter> {
        let out = match self {
            Self::Disk(disk) => Unfinished::Disk(disk.create(blob)?),
            Self::S3(s3) => Unfinished::S3(s3.create(blob, kind)),
        };
        BlockingBlobWriter::new(key, &context(case, blob, kind), blob, out)
    }

    /// Opens an object for reading at random; [`ObjectError::Missing`] when there is none of that name, and
    /// [`ObjectError::Damaged`] when its bytes, or case, kind and key, are not those it was written with. Blocks.
    pub fn open(&self, key: &CaseKey, case: CaseId, blob: BlobId, kind: BlobKind) -> Result<Arc<dyn ReadAt>> {
        let context = context(case, blob, kind);
        let opened = match self {
            Self::Disk(disk) => {
                let opener = disk.source(blob).and_then(|file| Opener::open(key, &context, file));
                opener.map(|opener| Arc::new(opener) as Arc<dyn ReadAt>)
            }
            Self::S3(s3) => s3.read(blob, kind, key, &context),
        };
        opened.map_err(|error| ObjectError::reading(blob, error))
    }

    /// Opens an object for reading from the start. Blocks.
    pub fn reader(&self, key: &CaseKey, case: CaseId, blob: BlobId, kind: BlobKind) -> Result<Reader> {
        Ok(Reader::new(self.open(key, case, blob, kind)?))
    }

    /// Streams `range` of an object's plaintext (all of it for `None`) in pieces of at most 1 MiB, read off the async
    /// threads. A range past the end fails before the first piece.
    pub async fn stream(
        &self,
        key: &CaseKey,
        case: CaseId,
        blob: BlobId,
        kind: BlobKind,
        range: Option<Range<u64>>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
        let (objects, key) = (self.clone(), key.clone());
        let source = blocking(move || objects.open(&key, case, blob, kind)).await?;
        let range = range.unwrap_or(0..source.len());
        if range.start > range.end || range.end > source.len() {
            return Err(ObjectError::reading(blob, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(read::stream(source, range))
    }

    /// Deletes an object; one that does not exist counts as deleted. Readers that hold it open keep it until they end, on a
    /// disk; of a bucket they keep what they have fetched.
    pub async fn delete(&self, blob: BlobId) -> Result<()> {
        let objects = self.clone();
        blocking(move || match &objects {
            Self::Disk(disk) => disk.delete(blob),
            Self::S3(s3) => s3.delete(blob),
        })
        .await
    }

    /// Every object written before `older_than`, in no order, in batches of at most 1,000. To find orphans, compare with
    /// the rows and leave out what is younger than the longest upload: an object is durable before its row is committed.
    pub fn list(&self, older_than: Timestamp) -> impl Stream<Item = Result<Vec<Listed>>> + Send + use<> {
        match self {
            Self::Disk(disk) => disk.list(older_than).left_stream(),
            Self::S3(s3) => s3.list(older_than).right_stream(),
        }
    }

    /// Removes what writers of dead processes left unfinished and returns how many there were. On a disk, writers that
    /// live, in this process or another, are untouched; in a bucket nobody can tell who lives, and what was begun before
    /// `older_than` counts as dead. Run at start and with the collection of garbage. Blocks.
    pub fn clean_temporary(&self, older_than: Timestamp) -> Result<u64> {
        match self {
            Self::Disk(disk) => disk.clean_temporary(),
            Self::S3(s3) => s3.clean_unfinished(older_than),
        }
    }
}

/// What an object's bytes are bound to: `case (16) ‖ blob (16) ‖ kind`.
fn context(case: CaseId, blob: BlobId, kind: BlobKind) -> Vec<u8> {
    [case.uuid().as_bytes().as_slice(), blob.uuid().as_bytes(), kind.name().as_bytes()].concat()
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ObjectError::Interrupted)?
}
