//! One compressed file: GZIP (RFC 1952), BZIP2, XZ, Zstandard (RFC 8878). What lies in it keeps the name the format holds,
//! else that of the outer file without its ending. A TAR inside is opened along with it, because to everybody but the
//! programs an archive `.tar.gz` is one archive and not two.

use std::io::{self, BufReader, Read};

use bzip2::bufread::BzDecoder;
use domain::{clock::Timestamp, outcome::Exception};
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, FrameHeaderError},
};

use super::{Expanding, Outlet, limit_hit, tar};
use crate::{decode, extract::corrupt, format::Format, limits::Limits, reader::MemberHead, sniff};

pub(super) fn members(bytes: &[u8], format: Format, name: &str, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let mut inside = open(bytes, format, outlet.limits);
    let head = head(bytes, format, name);
    let start = match start(&mut inside) {
        Ok(start) => start,
        Err(error) => return outlet.failed(&head, limit_hit(&error).unwrap_or_else(|| super::damaged(&error))),
    };
    let archive = sniff::is_tar(&start);
    let mut whole = start.as_slice().chain(inside);
    if archive { tar::members(&mut whole, outlet) } else { outlet.member(head, &mut whole) }
}

/// Names of what lies inside, for the container's own text.
pub(super) fn names(bytes: &[u8], format: Format, name: &str, limits: &Limits) -> Result<Vec<String>, Exception> {
    let mut inside = open(bytes, format, limits);
    let damaged = |error: io::Error| limit_hit(&error).unwrap_or_else(|| corrupt("the compressed data is damaged"));
    let start = start(&mut inside).map_err(damaged)?;
    if sniff::is_tar(&start) {
        return tar::names(&mut start.as_slice().chain(inside));
    }
    Ok(vec![head(bytes, format, name).path])
}

/// What is inside, as a stream that is held to the limits on expansion.
fn open<'a>(bytes: &'a [u8], format: Format, limits: &'a Limits) -> BufReader<Expanding<'a, Box<dyn Read + 'a>>> {
    let decoder: Box<dyn Read + 'a> = match format {
        Format::Gzip => Box::new(Parts::new(bytes, b"\x1f\x8b\x08", GzDecoder::new, GzDecoder::get_ref)),
        Format::Bzip2 => Box::new(Parts::new(bytes, b"BZh", BzDecoder::new, BzDecoder::get_ref)),
        Format::Xz => xz(bytes, limits),
        _ => zstandard(bytes, limits),
    };
    BufReader::with_capacity(128 << 10, Expanding::new(decoder, bytes.len() as u64, limits))
}

/// A decoder of XZ data that refuses dictionaries larger than allowed.
pub(super) fn xz<'a>(input: impl Read + 'a, limits: &Limits) -> Box<dyn Read + 'a> {
    let most = u32::try_from(limits.dictionary_bytes() / 1024).unwrap_or(u32::MAX);
    Box::new(XzReader::new_mem_limit(input, true, most))
}

/// A decoder of Zstandard data that refuses windows larger than allowed.
pub(super) fn zstandard<'a>(bytes: &'a [u8], limits: &Limits) -> Box<dyn Read + 'a> {
    Box::new(Frames { rest: bytes, frame: None, window: limits.dictionary_bytes() })
}

/// The first bytes: enough to tell an archive.
fn start(inside: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(tar::HEADER);
    inside.take(tar::HEADER as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn head(bytes: &[u8], format: Format, name: &str) -> MemberHead {
    let decoder = (format == Format::Gzip).then(|| GzDecoder::new(bytes));
    let header = decoder.as_ref().and_then(GzDecoder::header);
    let named = header.and_then(|header| header.filename()).filter(|name| !name.is_empty());
    let path = named.map_or_else(|| without_ending(name), |name| decode::text(name, None).into_owned());
    let seconds = header.map(|header| i64::from(header.mtime())).filter(|seconds| *seconds > 0);
    let modified = seconds.map(|seconds| Timestamp(seconds.saturating_mul(1_000_000)));
    MemberHead { ordinal: 0, path, modified, inline: false }
}

/// The file name of `name` without the ending that compression added.
fn without_ending(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => match ending.to_ascii_lowercase().as_str() {
            "gz" | "gzip" | "bz2" | "bzip2" | "xz" | "zst" | "zstd" | "z" => stem.to_owned(),
            "svgz" => format!("{stem}.svg"),
            _ => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

/// Streams one after the other, as `cat` makes them. What follows the last and is no stream is padding.
struct Parts<'a, D> {
    magic: &'static [u8],
    begin: fn(&'a [u8]) -> D,
    rest: fn(&D) -> &&'a [u8],
    decoder: D,
}

impl<'a, D> Parts<'a, D> {
    fn new(bytes: &'a [u8], magic: &'static [u8], begin: fn(&'a [u8]) -> D, rest: fn(&D) -> &&'a [u8]) -> Self {
        Self { magic, begin, rest, decoder: begin(bytes) }
    }
}

impl<D: Read> Read for Parts<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.decoder.read(buffer)?;
            let rest = *(self.rest)(&self.decoder);
            if read > 0 || buffer.is_empty() || !rest.starts_with(self.magic) {
                return Ok(read);
            }
            self.decoder = (self.begin)(rest);
        }
    }
}

/// Frames one after the other, with skippable ones between them.
struct Frames<'a> {
    rest: &'a [u8],
    frame: Option<StreamingDecoder<&'a [u8], FrameDecoder>>,
    window: u64,
}

impl Frames<'_> {
    /// Moves to the next frame; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        while let [first, b'\x2a', b'\x4d', b'\x18', l0, l1, l2, l3, rest @ ..] = self.rest
            && (0x50..=0x5f).contains(first)
        {
            let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
            self.rest = rest.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        if !self.rest.starts_with(b"\x28\xb5\x2f\xfd") {
            return Ok(false);
        }
        let frame =
            StreamingDecoder::new_with_max_window_size(self.rest, self.window).map_err(|error| match error {
                FrameDecoderError::WindowSizeTooBig { .. }
                | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. }) => {
                    io::ErrorKind::OutOfMemory.into()
                }
                other => io::Error::other(other),
            })?;
        self.frame = Some(frame);
        Ok(true)
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else {
                if buffer.is_empty() || !self.next()? {
                    return Ok(0);
                }
                continue;
            };
            let read = frame.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let stated = frame.decoder.get_checksum_from_data();
            if stated.is_some() && stated != frame.decoder.get_calculated_checksum() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.rest = *frame.get_ref();
            self.frame = None;
        }
    }
}
