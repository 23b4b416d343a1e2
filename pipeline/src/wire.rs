//! What parent and child say to each other over pipes. A frame is a kind byte, a length (u32, little endian) and that
//! many bytes: postcard for structures, raw for data. The child speaks only after it has read its whole input.

use std::io::{self, Read, Write};

use domain::outcome::Exception;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    format::Format,
    passwords::Passwords,
    reader::{Extraction, MemberHead, Unpacked},
    settings::Settings,
};

/// Data is sent in pieces of at most this many bytes.
const PIECE: usize = 256 << 10;

/// What the child shall do; the document's bytes follow until end of input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) task: Task,
    pub(crate) settings: Settings,
    /// What may open the document if it is protected.
    pub(crate) passwords: Passwords,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Send the members of a container.
    Unpack { format: Format, name: String },
    /// Send the text of a document.
    Extract { format: Format, name: String },
    /// Become tesseract: a grey image as PGM on stdin, TSV (or orientation) on stdout.
    Recognise { orientation: bool, dpi: u32 },
    /// Try everything the sandbox must refuse and send what was possible; for tests of the sandbox.
    Probe(Probe),
}

/// What a test asks the sandbox to withstand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// Open files, sockets and programs; answer with those that succeeded.
    Doors,
    /// Allocate without end.
    Memory,
    /// Compute without end.
    Processor,
    /// Do nothing, for ever.
    Sleep,
    /// Recurse without end.
    Stack,
    /// Panic.
    Panic,
}

/// A grey page image that needs OCR; its pixels follow as data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageHead {
    /// Page number from 1.
    pub(crate) page: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Dots per inch; boxes come out in points by it.
    pub(crate) dpi: u32,
    /// A picture beside the text: without words on it there is no page.
    pub(crate) is_beside: bool,
}

/// What the child says.
#[derive(Debug)]
pub(crate) enum Frame {
    Begin(MemberHead),
    Data(Vec<u8>),
    End,
    MemberFailed(Exception),
    Image(ImageHead),
    Text(Box<Extraction>),
    Unpacked(Unpacked),
    Failed(Exception),
}

/// Room for a request without its passwords; a larger one is written as well.
const REQUEST: usize = 8 << 10;

/// Writes a request, length first. Its bytes are wiped: there may be passwords in them.
pub(crate) fn write_request(output: &mut dyn Write, request: &Request) -> io::Result<()> {
    // Enough room from the start, so that no copy is left behind by growing.
    let room = Vec::with_capacity(request.passwords.size().saturating_mul(2).saturating_add(REQUEST));
    let bytes = Zeroizing::new(postcard::to_extend(request, room).map_err(io::Error::other)?);
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(&bytes)
}

/// Reads a request and not one byte more. What it leaves in memory ends with the child.
pub(crate) fn read_request(input: &mut dyn Read) -> io::Result<Request> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let bytes = read_bytes(input, u32::from_le_bytes(length))?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

/// Writes one frame and flushes.
pub(crate) fn write_frame(output: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Begin(head) => write_body(output, b'b', head),
        Frame::Data(bytes) => write_data(output, bytes),
        Frame::End => write_raw(output, b'e', &[]),
        Frame::MemberFailed(exception) => write_body(output, b'f', exception),
        Frame::Image(head) => write_body(output, b'i', head),
        Frame::Text(text) => write_body(output, b't', text),
        Frame::Unpacked(unpacked) => write_body(output, b'u', unpacked),
        Frame::Failed(exception) => write_body(output, b'x', exception),
    }
}

/// Writes data frames for `bytes`.
pub(crate) fn write_data(output: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(PIECE).try_for_each(|piece| write_raw(output, b'd', piece))
}

fn write_body(output: &mut dyn Write, kind: u8, body: &impl Serialize) -> io::Result<()> {
    write_raw(output, kind, &postcard::to_stdvec(body).map_err(io::Error::other)?)
}

fn write_raw(output: &mut dyn Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    output.write_all(&[kind])?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}

/// Reads one frame; `None` at the end of output. A frame longer than `max` bytes or that does not parse is
/// [`io::ErrorKind::InvalidData`]: the child is not trusted.
pub(crate) fn read_frame(input: &mut dyn Read, max: u64) -> io::Result<Option<Frame>> {
    let (mut kind, mut length) = ([0; 1], [0; 4]);
    if input.read(&mut kind)? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if u64::from(length) > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let bytes = read_bytes(input, length)?;
    let frame = match kind {
        [b'b'] => Frame::Begin(parse(&bytes)?),
        [b'd'] => Frame::Data(bytes),
        [b'e'] => Frame::End,
        [b'f'] => Frame::MemberFailed(parse(&bytes)?),
        [b'i'] => Frame::Image(parse(&bytes)?),
        [b't'] => Frame::Text(Box::new(parse(&bytes)?)),
        [b'u'] => Frame::Unpacked(parse(&bytes)?),
        [b'x'] => Frame::Failed(parse(&bytes)?),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown frame")),
    };
    Ok(Some(frame))
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn read_bytes(input: &mut dyn Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Grows with what really arrives, so a lying length allocates nothing.
    if input.take(u64::from(length)).read_to_end(&mut bytes)? < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
