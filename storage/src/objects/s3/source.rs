//! Reading an object of a bucket at random: a MiB or more for each request, and more the longer somebody reads on. Index
//! files and texts, which are read again and again, go through the cache on disk; originals, which are read once from
//! start to end, only through a window in memory.

use std::{
    fmt, io,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use domain::{files::ReadAt, ids::BlobId};

use super::{
    S3,
    cache::BLOCK,
    failure::{Failure, Kind},
};
use crate::{
    objects::BlobKind,
    vault::{
        CaseKey,
        chunked::{Opener, Source},
    },
};

/// Most blocks asked for at once.
const MOST_AHEAD: u64 = 8;
/// A sealed chunk, the end mark of an object included.
const CHUNK: u64 = 16_400;

/// An object whose bytes were checked when they were opened and are fetched once more when a check fails: what failed may
/// have been the cache, or the way here.
pub(super) struct Checked {
    s3: S3,
    blob: BlobId,
    kind: BlobKind,
    key: CaseKey,
    context: Vec<u8>,
    opener: RwLock<Opener<Remote>>,
    len: u64,
}

impl Checked {
    pub(super) fn open(s3: S3, blob: BlobId, kind: BlobKind, key: CaseKey, context: Vec<u8>) -> io::Result<Self> {
        let mut opened = Remote::open(&s3, blob, kind).and_then(|remote| Opener::open(&key, &context, remote));
        if is_damaged(&opened) {
            s3.0.cache.forget(blob);
            opened = Remote::open(&s3, blob, kind).and_then(|remote| Opener::open(&key, &context, remote));
        }
        let opener = opened?;
        let len = opener.len();
        Ok(Self { s3, blob, kind, key, context, opener: RwLock::new(opener), len })
    }
}

fn is_damaged<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

impl ReadAt for Checked {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let read = self.opener.read().unwrap_or_else(PoisonError::into_inner).read_at(range.clone());
        if !is_damaged(&read) {
            return read;
        }
        let mut opener = self.opener.write().unwrap_or_else(PoisonError::into_inner);
        self.s3.0.cache.forget(self.blob);
        let fresh = Opener::open(&self.key, &self.context, Remote::open(&self.s3, self.blob, self.kind)?)?;
        let read = fresh.read_at(range)?;
        tracing::warn!(blob = %self.blob, "a sealed block was damaged on its way or in the cache, and was fetched anew");
        *opener = fresh;
        Ok(read)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("blob", &self.blob).field("len", &self.len).finish_non_exhaustive()
    }
}

/// The sealed bytes of one object.
pub(super) struct Remote {
    s3: S3,
    blob: BlobId,
    length: u64,
    cached: bool,
    state: Mutex<State>,
}

/// What was fetched last, and how far to reach the next time.
#[derive(Default)]
struct State {
    /// Bytes at hand and where they begin; only of objects that are not cached.
    window: (u64, Bytes),
    /// The same for the end of the object, which is looked at first.
    tail: (u64, Bytes),
    /// Where somebody who reads on will ask.
    next: u64,
    /// How many blocks were asked for the last time.
    ahead: u64,
}

impl Remote {
    fn open(s3: &S3, blob: BlobId, kind: BlobKind) -> io::Result<Self> {
        let cached = kind != BlobKind::Original;
        let kept = if cached { s3.0.cache.get((blob, 0)) } else { None };
        let (length, first) = if let Some(kept) = kept {
            kept
        } else {
            let _flight = cached.then(|| s3.0.cache.flight((blob, 0)));
            match s3.0.cache.get((blob, 0)).filter(|_| cached) {
                Some(kept) => kept,
                None => s3.first(blob, cached)?,
            }
        };
        let mut state = State { next: first.len() as u64, ahead: 1, ..State::default() };
        if !cached {
            state.window = (0, first);
        }
        Ok(Self { s3: s3.clone(), blob, length, cached, state: Mutex::new(state) })
    }

    /// Bytes from offset `at` on: at least one, as many as are at hand or come with one request.
    fn bytes_at(&self, at: u64) -> io::Result<Bytes> {
        if self.cached { self.cached_at(at) } else { self.window_at(at) }
    }

    fn cached_at(&self, at: u64) -> io::Result<Bytes> {
        let number = at / BLOCK;
        let key = (self.blob, u32::try_from(number).map_err(|_| io::ErrorKind::FileTooLarge)?);
        let cache = &self.s3.0.cache;
        let skip = usize::try_from(at % BLOCK).unwrap_or(0);
        if let Some((_, block)) = cache.get(key).filter(|(length, _)| *length == self.length) {
            return Ok(block.slice(skip..));
        }
        let _flight = cache.flight(key);
        if let Some((_, block)) = cache.get(key).filter(|(length, _)| *length == self.length) {
            return Ok(block.slice(skip..));
        }
        let (from, ahead) = (number * BLOCK, self.reach(number * BLOCK));
        let bytes = self.fetch(from..(from + ahead * BLOCK).min(self.length))?;
        cache.put(self.blob, self.length, key.1, &bytes);
        let end = bytes.len().min(usize::try_from(BLOCK).unwrap_or(usize::MAX));
        Ok(bytes.slice(skip..end))
    }

    fn window_at(&self, at: u64) -> io::Result<Bytes> {
        let held = |(start, bytes): &(u64, Bytes)| {
            let skip = usize::try_from(at.checked_sub(*start)?).ok()?;
            (skip < bytes.len()).then(|| bytes.slice(skip..))
        };
        {
            let state = self.state();
            if let Some(bytes) = held(&state.window).or_else(|| held(&state.tail)) {
                return Ok(bytes);
            }
        }
        if self.length - at <= CHUNK {
            let bytes = self.fetch(at..self.length)?;
            self.state().tail = (at, bytes.clone());
            return Ok(bytes);
        }
        let ahead = self.reach(at);
        let bytes = self.fetch(at..(at + ahead * BLOCK).min(self.length))?;
        self.state().window = (at, bytes.clone());
        Ok(bytes)
    }

    /// How many blocks to fetch from `at` on: twice as many as before for somebody who reads on, else one.
    fn reach(&self, at: u64) -> u64 {
        let mut state = self.state();
        state.ahead = if at == state.next { (state.ahead * 2).clamp(1, MOST_AHEAD) } else { 1 };
        state.next = at + state.ahead * BLOCK;
        state.ahead
    }

    fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let expected = range.end - range.start;
        let (length, bytes) = self.s3.range(self.blob, range)?;
        if length != self.length || bytes.len() as u64 != expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the object has another length than before"));
        }
        Ok(bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Remote {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_exact_at(&self, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            if at >= self.length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let found = self.bytes_at(at)?;
            let taken = found.len().min(bytes.len());
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes[..taken].copy_from_slice(&found[..taken]);
            bytes = &mut bytes[taken..];
            at += taken as u64;
        }
        Ok(())
    }
}

impl S3 {
    /// The first block of an object, and the object's length.
    fn first(&self, blob: BlobId, cached: bool) -> io::Result<(u64, Bytes)> {
        let (length, bytes) = self.range(blob, 0..BLOCK)?;
        if bytes.len() as u64 != length.min(BLOCK) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the object is cut short"));
        }
        if cached {
            self.0.cache.put(blob, length, 0, &bytes);
        }
        Ok((length, bytes))
    }

    /// The bytes of a range that begins within the object, and the object's length. Blocks.
    fn range(&self, blob: BlobId, range: Range<u64>) -> io::Result<(u64, Bytes)> {
        let (s3, key) = (self.clone(), self.key(blob));
        let asked = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let fetched = self.0.wire.wait(async move {
            let shared = &s3.0;
            shared
                .wire
                .tried(|| async {
                    let get = shared.wire.client.get_object().bucket(&shared.bucket).key(&key).range(&asked);
                    let answer = get.send().await.map_err(|error| Failure::of(&error))?;
                    let length = answer.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok());
                    let body = answer.body.collect().await;
                    let body =
                        body.map_err(|_| Failure::new(Kind::Passing, "S3 broke off in the middle of an answer"))?;
                    let length = length.ok_or_else(|| Failure::new(Kind::Unknown, "S3 ignores ranges"))?;
                    Ok((length, body.into_bytes()))
                })
                .await
        });
        Ok(fetched?)
    }
}
