//! Reading objects from start to end, on blocking threads ([`Reader`]) or as an async stream.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use domain::files::ReadAt;
use futures::{Stream, stream};

/// Bytes fetched at once.
const PIECE: u64 = 1024 * 1024;

/// A cursor over an object's plaintext, with a read-ahead of at most 1 MiB.
#[derive(Debug)]
pub struct Reader {
    source: Arc<dyn ReadAt>,
    /// Where the next byte comes from.
    at: u64,
    /// Plaintext fetched, and the offset it begins at.
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl Reader {
    /// A cursor at the start of `source`.
    pub fn new(source: Arc<dyn ReadAt>) -> Self {
        Self { source, at: 0, ahead: Vec::new(), ahead_at: 0 }
    }

    /// Length of the object's plaintext in bytes.
    pub fn size(&self) -> u64 {
        self.source.len()
    }

    /// What is fetched from the cursor on.
    fn fetched(&self) -> &[u8] {
        let skipped = self.at.checked_sub(self.ahead_at).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| self.ahead.get(skipped..)).unwrap_or_default()
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.source.len() {
            return Ok(0);
        }
        if self.fetched().is_empty() {
            self.ahead = self.source.read_at(self.at..(self.at + PIECE).min(self.source.len()))?;
            self.ahead_at = self.at;
        }
        let fetched = self.fetched();
        let taken = fetched.len().min(out.len());
        out[..taken].copy_from_slice(&fetched[..taken]);
        self.at += taken as u64;
        Ok(taken)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.source.len().checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The bytes of `range`, which lies within `source`, in pieces of at most 1 MiB.
pub(super) fn stream(source: Arc<dyn ReadAt>, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((source, range), |(source, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let end = (range.start + PIECE).min(range.end);
        let (from, start) = (Arc::clone(&source), range.start);
        let piece = tokio::task::spawn_blocking(move || from.read_at(start..end)).await.map_err(io::Error::other)??;
        Ok(Some((Bytes::from(piece), (source, end..range.end))))
    })
}
