//! Members of containers: one container, one file. Runs in the child; every member is streamed out in pieces.

mod compressed;
pub(crate) mod eml;
mod mbox;
mod msg;
mod office;
mod pdf;
mod pkcs7;
mod pst;
mod rar;
mod seven_zip;
mod tar;
mod tnef;
mod zip;

use std::{
    error::Error,
    fmt,
    io::{self, Read},
};

use domain::outcome::{Category, Exception};

use crate::{
    extract,
    format::Format,
    limits::Limits,
    passwords::KeyRing,
    protection,
    reader::{MemberHead, Unpacked},
    wire::Frame,
};

/// Sends the members of a container as frames.
pub(crate) fn members(
    format: Format,
    name: &str,
    bytes: Vec<u8>,
    limits: &Limits,
    keys: &KeyRing,
    send: &mut dyn FnMut(&Frame) -> io::Result<()>,
) -> Result<Unpacked, Exception> {
    if format == Format::EncryptedOffice {
        // What is wrong with a document that cannot be opened, reading its text says.
        let Ok(opened) = protection::open(bytes, limits, keys) else { return Ok(Unpacked::default()) };
        let inside = opened.format(name);
        return members(inside, name, opened.package, limits, keys, send);
    }
    let message = extract::message_key(format, &bytes, limits);
    let mut outlet = Outlet { limits, keys, container: bytes.len() as u64, done: Unpacked::default(), send };
    match format {
        Format::Zip => zip::members(&bytes, &mut outlet)?,
        Format::Tar => tar::members(&mut bytes.as_slice(), &mut outlet)?,
        Format::Gzip | Format::Bzip2 | Format::Xz | Format::Zstd => {
            compressed::members(&bytes, format, name, &mut outlet)?;
        }
        Format::SevenZip => seven_zip::members(&bytes, &mut outlet)?,
        Format::Rar => rar::members(bytes, &mut outlet)?,
        Format::Eml => eml::members(&bytes, &mut outlet)?,
        Format::Mbox => mbox::members(&bytes, &mut outlet)?,
        Format::Msg => msg::members(bytes, &mut outlet)?,
        Format::Pst => pst::members(bytes, &mut outlet)?,
        Format::Tnef => tnef::members(&bytes, &mut outlet)?,
        Format::Pkcs7 => pkcs7::members(&bytes, &mut outlet)?,
        Format::Pdf => pdf::members(bytes, &mut outlet)?,
        Format::Docx | Format::Pptx | Format::Xlsx | Format::Xlsb => office::members(bytes, &mut outlet)?,
        _ => {}
    }
    Ok(Unpacked { message, opened_with: keys.opened_with(), ..outlet.done })
}

/// Names of the members of an archive or mailbox.
pub(crate) fn names(
    format: Format,
    name: &str,
    bytes: Vec<u8>,
    limits: &Limits,
    keys: &KeyRing,
) -> Result<Vec<String>, Exception> {
    match format {
        Format::Zip => zip::names(&bytes),
        Format::Tar => tar::names(&mut bytes.as_slice()),
        Format::Gzip | Format::Bzip2 | Format::Xz | Format::Zstd => compressed::names(&bytes, format, name, limits),
        Format::SevenZip => seven_zip::names(&bytes, limits, keys),
        Format::Rar => rar::names(bytes, limits, keys),
        Format::Mbox => Ok(mbox::names(&bytes)),
        Format::Pst => pst::names(bytes),
        _ => Ok(Vec::new()),
    }
}

/// Where members go out; counts them and holds them to the limits.
struct Outlet<'a> {
    limits: &'a Limits,
    /// What may open the container or its members.
    keys: &'a KeyRing,
    container: u64,
    done: Unpacked,
    send: &'a mut dyn FnMut(&Frame) -> io::Result<()>,
}

impl Outlet<'_> {
    /// Sends a whole member. Errors of `content` fail the member alone; limits and a parent that is gone fail everything.
    fn member(&mut self, mut head: MemberHead, content: &mut dyn Read) -> Result<(), Exception> {
        head.ordinal = self.begin(&head)?;
        let mut piece = vec![0; 128 << 10];
        loop {
            let read = match content.read(&mut piece) {
                Ok(0) => return self.say(&Frame::End),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => match limit_hit(&error) {
                    Some(exception) => return Err(exception),
                    None => return self.broken(damaged(&error)),
                },
            };
            self.count(read as u64)?;
            self.say(&Frame::Data(piece.get(..read).unwrap_or_default().to_vec()))?;
        }
    }

    /// Reports a member that cannot be read at all.
    fn failed(&mut self, head: &MemberHead, exception: Exception) -> Result<(), Exception> {
        self.begin(head)?;
        self.broken(exception)
    }

    fn begin(&mut self, head: &MemberHead) -> Result<u32, Exception> {
        let ordinal = self.done.members;
        if ordinal >= self.limits.max_members {
            return Err(too_many(self.limits));
        }
        self.done.members = ordinal.saturating_add(1);
        self.say(&Frame::Begin(MemberHead { ordinal, ..head.clone() }))?;
        Ok(ordinal)
    }

    fn broken(&mut self, exception: Exception) -> Result<(), Exception> {
        self.done.failed = self.done.failed.saturating_add(1);
        self.say(&Frame::MemberFailed(exception))
    }

    fn count(&mut self, bytes: u64) -> Result<(), Exception> {
        self.done.bytes = self.done.bytes.saturating_add(bytes);
        expansion(self.limits, self.container, self.done.bytes)
    }

    fn say(&mut self, frame: &Frame) -> Result<(), Exception> {
        (self.send)(frame).map_err(|_| Exception::new(Category::Internal, "nobody takes the members"))
    }
}

/// Holds `out` bytes that came from a container of `size` to the limits.
fn expansion(limits: &Limits, size: u64, out: u64) -> Result<(), Exception> {
    if out > limits.max_unpacked_bytes {
        let detail = format!("the container expands to more than {} bytes", limits.max_unpacked_bytes);
        return Err(Exception::new(Category::ArchiveBomb, detail));
    }
    if out > limits.ratio_floor_bytes && out > size.saturating_mul(limits.max_ratio) {
        let detail = format!("the container expands to more than {} times its size", limits.max_ratio);
        return Err(Exception::new(Category::ArchiveBomb, detail));
    }
    Ok(())
}

/// A decoder held to the limits on expansion, for what is read on the way to the members.
struct Expanding<'a, R> {
    inner: R,
    container: u64,
    limits: &'a Limits,
    out: u64,
}

impl<'a, R> Expanding<'a, R> {
    fn new(inner: R, container: u64, limits: &'a Limits) -> Self {
        Self { inner, container, limits, out: 0 }
    }
}

impl<R: Read> Read for Expanding<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.out = self.out.saturating_add(read as u64);
        expansion(self.limits, self.container, self.out).map_err(|exception| io::Error::other(LimitHit(exception)))?;
        Ok(read)
    }
}

/// A limit that was hit while something was read.
#[derive(Debug)]
struct LimitHit(Exception);

impl fmt::Display for LimitHit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.detail)
    }
}

impl Error for LimitHit {}

/// The limit behind an error, however often it was wrapped on its way.
fn limit_hit(error: &io::Error) -> Option<Exception> {
    let mut next: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = next {
        if let Some(LimitHit(exception)) = error.downcast_ref() {
            return Some(exception.clone());
        }
        // An I/O error hides the one it was made of from its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as _).or_else(|| error.source());
    }
    None
}

/// What is wrong with a member that cannot be read to its end.
fn damaged(error: &io::Error) -> Exception {
    match error.kind() {
        io::ErrorKind::OutOfMemory => too_much_memory(),
        _ => Exception::new(Category::Corrupt, "the member is damaged"),
    }
}

fn too_much_memory() -> Exception {
    Exception::new(Category::Memory, "decompressing it takes a larger dictionary than allowed")
}

fn too_many(limits: &Limits) -> Exception {
    Exception::new(Category::TooManyMembers, format!("the container has more than {} members", limits.max_members))
}
