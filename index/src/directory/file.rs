//! One sealed file as tantivy reads it: any byte range, block by block through the cache.

use std::{fmt, io, ops::Range, path::Path, sync::Arc};

use domain::files::ReadAt;
use tantivy::{
    HasLen,
    directory::{FileHandle, OwnedBytes},
};

use super::cache::{BLOCK, Blocks};

/// Reads that cover more blocks than this go past the cache: they are whole-file loads, which their reader keeps.
const MAX_CACHED_BLOCKS: usize = 64;

pub(super) struct SealedFile {
    name: Arc<str>,
    source: Arc<dyn ReadAt>,
    len: usize,
    /// `None` for lists of deleted entries: their names may recur with other bytes after a lost commit.
    cache: Option<Blocks>,
}

impl SealedFile {
    pub(super) fn new(name: &str, source: Arc<dyn ReadAt>, cache: Blocks) -> io::Result<Self> {
        let len = usize::try_from(source.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let is_deletes = Path::new(name).extension().is_some_and(|extension| extension == "del");
        let cache = (!is_deletes).then_some(cache);
        Ok(Self { name: name.into(), source, len, cache })
    }

    fn direct(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let bytes = self.source.read_at(range.start as u64..range.end as u64)?;
        if bytes.len() == range.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn block(&self, cache: &Blocks, number: usize) -> io::Result<Arc<[u8]>> {
        if let Some(block) = cache.get(&self.name, number) {
            return Ok(block);
        }
        let start = number * BLOCK;
        let block: Arc<[u8]> = self.direct(start..(start + BLOCK).min(self.len))?.into();
        cache.put(&self.name, number, block.clone());
        Ok(block)
    }
}

impl FileHandle for SealedFile {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.is_empty() {
            return Ok(OwnedBytes::empty());
        }
        if range.end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        let Some(cache) = self.cache.as_ref().filter(|_| last - first < MAX_CACHED_BLOCKS) else {
            return Ok(OwnedBytes::new(self.direct(range)?));
        };
        if first == last {
            let block = self.block(cache, first)?;
            part(&block, first, &range)?;
            let start = first * BLOCK;
            return Ok(OwnedBytes::new(block).slice(range.start - start..range.end - start));
        }
        let mut bytes = Vec::with_capacity(range.len());
        for number in first..=last {
            bytes.extend_from_slice(part(&self.block(cache, number)?, number, &range)?);
        }
        Ok(OwnedBytes::new(bytes))
    }
}

/// The part of block `number` that lies in `range`; an error when the block is shorter than it was when it was written.
fn part<'a>(block: &'a [u8], number: usize, range: &Range<usize>) -> io::Result<&'a [u8]> {
    let start = number * BLOCK;
    let end = range.end.min(start + BLOCK) - start;
    block.get(range.start.saturating_sub(start)..end).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl HasLen for SealedFile {
    fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedFile({}, {} bytes)", self.name, self.len)
    }
}
