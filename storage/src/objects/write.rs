//! Writing objects: hash, seal and store in one pass, from worker threads or from async code.

use std::{
    fmt,
    io::{self, Write},
};

use bytes::{Bytes, BytesMut};
use domain::ids::BlobId;
use sha2::{Digest as _, Sha256};

use super::{ObjectError, Result, blocking, disk, s3};
use crate::vault::{
    CaseKey,
    chunked::{self, Sealer},
};

/// Plaintext gathered before a blocking thread is asked for.
const BUFFER: usize = 1024 * 1024;

/// An object on its way into a store. Dropped without [`Unfinished::publish`], it leaves nothing.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// A temporary file.
    Disk(disk::Unfinished),
    /// Parts of an upload.
    S3(s3::Upload),
}

impl Unfinished {
    /// Makes the object durable and gives it its name.
    fn publish(self) -> Result<()> {
        match self {
            Self::Disk(file) => file.publish(),
            Self::S3(upload) => upload.publish(),
        }
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.write(bytes),
            Self::S3(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(file) => file.flush(),
            Self::S3(upload) => upload.flush(),
        }
    }
}

/// A durable object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub blob: BlobId,
    /// Bytes of plaintext.
    pub size: u64,
    /// SHA-256 of the plaintext.
    pub sha256: [u8; 32],
    /// Bytes it takes in the store.
    pub stored_bytes: u64,
}

/// Writes an object from a thread that may block. Dropped before [`BlockingBlobWriter::finish`], it leaves nothing.
pub struct BlockingBlobWriter {
    blob: BlobId,
    sealer: Sealer<Unfinished>,
    hash: Sha256,
    size: u64,
}

impl BlockingBlobWriter {
    pub(super) fn new(key: &CaseKey, context: &[u8], blob: BlobId, out: Unfinished) -> Result<Self> {
        let sealer = Sealer::new(key, context, out).map_err(|error| ObjectError::io("start an object", error))?;
        Ok(Self { blob, sealer, hash: Sha256::new(), size: 0 })
    }

    /// Makes the object durable under its name.
    pub fn finish(self) -> Result<Stored> {
        let Self { blob, sealer, hash, size } = self;
        sealer.finish().map_err(|error| ObjectError::io("store an object", error))?.publish()?;
        Ok(Stored { blob, size, sha256: hash.finalize().into(), stored_bytes: chunked::sealed_len(size) })
    }
}

impl Write for BlockingBlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sealer.write_all(bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealer.flush()
    }
}

impl fmt::Debug for BlockingBlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingBlobWriter").field("blob", &self.blob).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Writes an object from async code; hashing, sealing and writing happen on blocking threads, a MiB at a time. Dropped
/// before [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    /// `None` while a blocking thread has it, and for good after a failure.
    writer: Option<Box<BlockingBlobWriter>>,
    buffer: BytesMut,
}

impl BlobWriter {
    pub(super) fn new(writer: BlockingBlobWriter) -> Self {
        Self { writer: Some(Box::new(writer)), buffer: BytesMut::new() }
    }

    /// Takes more plaintext. After an error the object is lost and every further call is [`ObjectError::Interrupted`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        let mut writer = self.writer.take().ok_or(ObjectError::Interrupted)?;
        let full = std::mem::take(&mut self.buffer);
        let (writer, mut buffer) = blocking(move || {
            writer.write_all(&full).map_err(|error| ObjectError::io("write an object", error))?;
            Ok((writer, full))
        })
        .await?;
        buffer.clear();
        self.writer = Some(writer);
        self.buffer = buffer;
        Ok(())
    }

    /// Writes what is left and makes the object durable under its name.
    pub async fn finish(self) -> Result<Stored> {
        let Self { writer, buffer } = self;
        let mut writer = writer.ok_or(ObjectError::Interrupted)?;
        blocking(move || {
            writer.write_all(&buffer).map_err(|error| ObjectError::io("write an object", error))?;
            writer.finish()
        })
        .await
    }
}
