//! The format of sealed objects: [C2SP chunked-encryption v1](https://c2sp.org/chunked-encryption) with HKDF-SHA-256 and
//! AES-256-GCM, to the letter, so that any implementation of that specification opens ours.
//!
//! ```text
//! offset 0    salt        24 random bytes, one per object
//! offset 24   commitment  32 bytes
//! offset 56   chunk 0, chunk 1, … each ciphertext ‖ tag (16)
//!
//! key (32) ‖ base nonce (12) ‖ commitment (32) = HKDF-Expand-SHA-256(
//!     prk  = the case's "blobs" key,
//!     info = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM" ‖ 0x00 ‖ salt ‖ context)
//! chunk k = AES-256-GCM(key, base nonce XOR k as 96-bit big-endian, no associated data, plaintext[k·16384 ..])
//! ```
//!
//! Every chunk holds 16,384 bytes of plaintext except the last, which is always shorter and may be empty: that is the end
//! mark, so a cut at a chunk boundary is seen. Chunk `k` stands at `56 + k·16400`. Objects of dia use the context
//! `case (16) ‖ blob (16) ‖ kind (ASCII)`: bytes copied under another case, name or kind do not open. The commitment binds
//! an object to exactly one key and context, which AES-GCM alone does not.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    ops::Range,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::files::ReadAt;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    CaseKey, VaultError,
    cipher::{Cipher, KEY, NONCE, TAG},
    envelope,
};

/// Plaintext bytes in every chunk but the last.
pub const CHUNK: usize = 16 * 1024;
/// Bytes before the first chunk.
pub const HEADER: usize = SALT + COMMITMENT;

const SALT: usize = 24;
const COMMITMENT: usize = 32;
const SEALED_CHUNK: usize = CHUNK + TAG;
/// The specification's bound on chunks per message, 4 PiB.
const MOST_CHUNKS: u64 = 1 << 38;
/// Chunks read from the source at once, about 1 MiB.
const RUN: u64 = 64;

/// Length of the sealed form of `plaintext` bytes.
pub fn sealed_len(plaintext: u64) -> u64 {
    HEADER as u64 + plaintext + (plaintext / CHUNK as u64 + 1) * TAG as u64
}

/// Length of the plaintext in `sealed` bytes, or `None` when no message seals to that length.
pub fn plaintext_len(sealed: u64) -> Option<u64> {
    let body = sealed.checked_sub(HEADER as u64)?;
    let last = (body % SEALED_CHUNK as u64).checked_sub(TAG as u64)?;
    Some(body / SEALED_CHUNK as u64 * CHUNK as u64 + last)
}

/// The cipher of one object and the nonce its chunks count from.
struct Message {
    cipher: Cipher,
    base_nonce: [u8; NONCE],
    commitment: [u8; COMMITMENT],
}

impl Message {
    fn derive(key: &CaseKey, salt: &[u8; SALT], context: &[u8]) -> Result<Self, VaultError> {
        let info = [b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0".as_slice(), salt, context];
        let mut output = Zeroizing::new([0; KEY + NONCE + COMMITMENT]);
        let hkdf = Hkdf::<Sha256>::from_prk(key.blobs().as_slice()).map_err(|_| VaultError::Limit)?;
        hkdf.expand_multi_info(&info, output.as_mut_slice()).map_err(|_| VaultError::Limit)?;
        let (secret, rest) = output.split_first_chunk::<KEY>().ok_or(VaultError::Limit)?;
        let (base_nonce, rest) = rest.split_first_chunk().ok_or(VaultError::Limit)?;
        let commitment = rest.first_chunk().ok_or(VaultError::Limit)?;
        Ok(Self { cipher: Cipher::new(secret)?, base_nonce: *base_nonce, commitment: *commitment })
    }

    fn nonce(&self, chunk: u64) -> io::Result<[u8; NONCE]> {
        if chunk >= MOST_CHUNKS {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an object holds at most 4 PiB"));
        }
        let mut nonce = self.base_nonce;
        for (byte, count) in nonce.iter_mut().skip(4).zip(chunk.to_be_bytes()) {
            *byte ^= count;
        }
        Ok(nonce)
    }

    /// Decrypts one sealed chunk in place and returns its plaintext.
    fn open<'a>(&self, chunk: u64, sealed: &'a mut [u8]) -> io::Result<&'a [u8]> {
        Ok(self.cipher.open(self.nonce(chunk)?, b"", sealed)?)
    }
}

/// Seals a stream into `W`: write the plaintext, then [`Sealer::finish`]. Unfinished output does not open.
pub struct Sealer<W: Write> {
    message: Message,
    /// Plaintext of the chunk being filled; sealed in place, so it leaves no plaintext behind.
    buffer: Vec<u8>,
    chunks: u64,
    out: W,
}

impl<W: Write> Sealer<W> {
    /// Starts an object and writes its header to `out`.
    pub fn new(key: &CaseKey, context: &[u8], mut out: W) -> io::Result<Self> {
        let mut salt = [0; SALT];
        envelope::fill_random(&mut salt)?;
        let message = Message::derive(key, &salt, context)?;
        out.write_all(&salt)?;
        out.write_all(&message.commitment)?;
        Ok(Self { message, buffer: Vec::with_capacity(SEALED_CHUNK), chunks: 0, out })
    }

    /// Seals the last chunk and returns the sink, which is not flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal_chunk()?;
        Ok(self.out)
    }

    fn seal_chunk(&mut self) -> io::Result<()> {
        let nonce = self.message.nonce(self.chunks)?;
        self.message.cipher.seal(nonce, b"", &mut self.buffer)?;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.chunks += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.seal_chunk()?;
        }
        Ok(taken)
    }

    /// Flushes the sink; a chunk not yet full stays in memory.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Sealed bytes that can be read at any offset.
pub trait Source: Send + Sync + 'static {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `bytes` from offset `at`, or fails.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, at)
    }
}

impl Source for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.as_slice().len() as u64)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Reads a sealed object at random. Nothing is returned before its chunk is authenticated; anything wrong is
/// [`io::ErrorKind::InvalidData`].
pub struct Opener<S: Source> {
    message: Message,
    source: S,
    len: u64,
}

impl<S: Source> Opener<S> {
    /// Opens an object: checks the commitment, then the last chunk, so that the length is authentic from here on.
    pub fn open(key: &CaseKey, context: &[u8], source: S) -> io::Result<Self> {
        let sealed = source.length()?;
        let len = plaintext_len(sealed).ok_or(VaultError::Sealed)?;
        let mut header = [0; HEADER];
        read_source(&source, &mut header, 0)?;
        let (salt, commitment) = header.split_first_chunk::<SALT>().ok_or(VaultError::Sealed)?;
        let message = Message::derive(key, salt, context)?;
        verify_slices_are_equal(&message.commitment, commitment).map_err(|_| VaultError::Sealed)?;
        let opener = Self { message, source, len };
        let last = len / CHUNK as u64;
        let mut chunk = opener.read_sealed(last, 1)?;
        opener.message.open(last, &mut chunk)?;
        Ok(opener)
    }

    /// Reads `count` sealed chunks from chunk `first` on; shorter where the object ends.
    fn read_sealed(&self, first: u64, count: u64) -> io::Result<Vec<u8>> {
        let start = HEADER as u64 + first * SEALED_CHUNK as u64;
        let end = (start + count * SEALED_CHUNK as u64).min(sealed_len(self.len));
        let mut sealed = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        read_source(&self.source, &mut sealed, start)?;
        Ok(sealed)
    }
}

impl<S: Source> ReadAt for Opener<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the range reaches past the end of the object"));
        }
        let mut out = Vec::with_capacity(usize::try_from(range.end - range.start).map_err(io::Error::other)?);
        let end = range.end.div_ceil(CHUNK as u64);
        let mut first = range.start / CHUNK as u64;
        while first < end && !range.is_empty() {
            let count = (end - first).min(RUN);
            let mut sealed = self.read_sealed(first, count)?;
            for (chunk, sealed) in (first..).zip(sealed.chunks_mut(SEALED_CHUNK)) {
                let plain = self.message.open(chunk, sealed)?;
                out.extend_from_slice(within(plain, chunk * CHUNK as u64, &range));
            }
            first += count;
        }
        Ok(out)
    }
}

impl<S: Source> fmt::Debug for Opener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The part of `plain`, which stands at offset `at`, that lies in `range`.
fn within<'a>(plain: &'a [u8], at: u64, range: &Range<u64>) -> &'a [u8] {
    let place = |offset: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(plain.len());
    &plain[place(range.start)..place(range.end)]
}

/// Reads from the source; bytes that should be there and are not mean that the object was cut.
fn read_source(source: &impl Source, bytes: &mut [u8], at: u64) -> io::Result<()> {
    source.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => VaultError::Sealed.into(),
        _ => error,
    })
}
