//! Members of containers: one container, one file. Runs in the child; every member is streamed out in pieces.

mod eml;
mod mbox;
mod zip;

use std::io::{self, Read};

use domain::outcome::{Category, Exception};

use crate::{
    format::Format,
    limits::Limits,
    reader::{MemberHead, Unpacked},
    wire::Frame,
};

/// Sends the members of a container as frames.
pub(crate) fn members(
    format: Format,
    bytes: Vec<u8>,
    limits: &Limits,
    send: &mut dyn FnMut(&Frame) -> io::Result<()>,
) -> Result<Unpacked, Exception> {
    let mut outlet = Outlet { limits, container: bytes.len() as u64, done: Unpacked::default(), send };
    match format {
        Format::Zip => zip::members(bytes, &mut outlet)?,
        Format::Eml => eml::members(&bytes, &mut outlet)?,
        Format::Mbox => mbox::members(&bytes, &mut outlet)?,
        _ => {}
    }
    Ok(outlet.done)
}

/// Names of the members of an archive or mailbox.
pub(crate) fn names(format: Format, bytes: Vec<u8>) -> Result<Vec<String>, Exception> {
    match format {
        Format::Zip => zip::names(bytes),
        Format::Mbox => Ok(mbox::names(&bytes)),
        _ => Ok(Vec::new()),
    }
}

/// Where members go out; counts them and holds them to the limits.
struct Outlet<'a> {
    limits: &'a Limits,
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
                Err(_) => return self.broken(Exception::new(Category::Corrupt, "the member is damaged")),
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
        let limits = self.limits;
        if self.done.bytes > limits.max_unpacked_bytes {
            let detail = format!("the container expands to more than {} bytes", limits.max_unpacked_bytes);
            return Err(Exception::new(Category::ArchiveBomb, detail));
        }
        if self.done.bytes > limits.ratio_floor_bytes
            && self.done.bytes > self.container.saturating_mul(limits.max_ratio)
        {
            let detail = format!("the container expands to more than {} times its size", limits.max_ratio);
            return Err(Exception::new(Category::ArchiveBomb, detail));
        }
        Ok(())
    }

    fn say(&mut self, frame: &Frame) -> Result<(), Exception> {
        (self.send)(frame).map_err(|_| Exception::new(Category::Internal, "nobody takes the members"))
    }
}

fn too_many(limits: &Limits) -> Exception {
    Exception::new(Category::TooManyMembers, format!("the container has more than {} members", limits.max_members))
}
