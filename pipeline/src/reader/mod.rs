//! The parent's side: starts the sandboxed child for a document, feeds it, takes what it says, and turns whatever
//! happens to it into a result or a named exception.

mod described;
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
    provenance::Provenance,
    text::Text,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use self::process::{Launch, Turn};
use crate::{
    format::Format,
    ocr::{self, Recogniser},
    passwords::Passwords,
    settings::Settings,
    wire::{Frame, ImageHead, Probe, Request, Task},
};

/// Reads documents, each in a sandboxed child process of its own. Cheap to clone; holds no state between documents.
#[derive(Debug, Clone)]
pub struct Reader {
    settings: Settings,
    program: PathBuf,
    args: Vec<String>,
    stops_at_scans: bool,
    passwords: Passwords,
    described: Arc<OnceLock<Provenance>>,
}

/// A member of a container, as the container names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHead {
    /// Position in the container, from 0, counting every member that begins, readable or not. The same bytes give the same
    /// ordinals with and without passwords, so a member that was protected is found again once its password is known.
    pub ordinal: u32,
    /// Path as named in the container: data, never to be used as a path of a file system.
    pub path: String,
    /// When the container says it was last changed.
    pub modified: Option<Timestamp>,
    /// True for a picture shown in the body of a message rather than attached to it.
    pub inline: bool,
}

/// What came out of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unpacked {
    /// Members begun, readable or not.
    pub members: u32,
    /// Members that ended in [`MemberSink::failed`].
    pub failed: u32,
    /// Bytes of members.
    pub bytes: u64,
    /// For a message, what it has in common with its copies: the SHA-256 of its EDRM hash and its content hash
    /// ([`Metadata::message_hash`](domain::text::Metadata), [`Metadata::content_hash`](domain::text::Metadata)).
    pub message: Option<[u8; 32]>,
    /// Which candidates of [`Reader::with_passwords`] opened the container or members of it, by their place in that list.
    pub opened_with: BTreeSet<u32>,
}

/// What was read of a document.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Extraction {
    /// Its text and metadata.
    pub text: Text,
    /// Which candidates of [`Reader::with_passwords`] opened it, by their place in that list; empty for a document that is
    /// not protected, or only by a password that everybody knows (the empty one, Excel's own).
    pub opened_with: BTreeSet<u32>,
}

/// Takes the members of a container, in order. Each begun member ends with `end` or `failed`, unless the whole
/// [`Reader::unpack`] fails: then the member being written is to be thrown away. An error stops the unpacking and comes
/// back as [`ReadError::Io`].
pub trait MemberSink {
    /// A member begins.
    fn begin(&mut self, member: &MemberHead) -> io::Result<()>;
    /// The next bytes of the member begun last.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The member is complete.
    fn end(&mut self) -> io::Result<()>;
    /// The member begun last cannot be read (further).
    fn failed(&mut self, exception: Exception) -> io::Result<()>;
}

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The document's own fault: retrying gives the same.
    #[error("{}: {}", .0.category.name(), .0.detail)]
    Exception(Exception),
    /// A page must be recognised, and this reader [stops](Reader::stopping_at_scans) at such pages.
    #[error("the document has scanned pages")]
    Scanned,
    /// The caller raised the cancel flag.
    #[error("cancelled")]
    Cancelled,
    /// The machine's fault (no process could be started, the input or the sink failed): retry.
    #[error("the reader could not be run: {0}")]
    Io(#[from] io::Error),
}

impl ReadError {
    pub(crate) fn exception(category: Category, detail: impl Into<String>) -> Self {
        Self::Exception(Exception::new(category, detail))
    }
}

impl Reader {
    /// A reader that starts `program` with `args` as its child; that program must call [`child_main`](crate::child_main)
    /// first thing.
    pub fn new(settings: Settings, program: PathBuf, args: Vec<String>) -> Self {
        Self {
            settings,
            program,
            args,
            stops_at_scans: false,
            passwords: Passwords::default(),
            described: Arc::default(),
        }
    }

    /// The same reader, but [`Reader::extract`] ends with [`ReadError::Scanned`] at the first page that must be recognised.
    #[must_use]
    pub fn stopping_at_scans(&self) -> Self {
        Self { stops_at_scans: true, ..self.clone() }
    }

    /// The same reader with candidate passwords, tried in this order on whatever is protected. They go to the sandboxed
    /// child and nowhere else, and are wiped with the last clone of this reader; answers name them by their place.
    #[must_use]
    pub fn with_passwords(&self, passwords: Vec<Zeroizing<String>>) -> Self {
        Self { passwords: Passwords::new(passwords), ..self.clone() }
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it is: the same bytes read by a reader of the same provenance give the same text. Found out once; blocks then.
    pub fn provenance(&self) -> io::Result<Provenance> {
        if let Some(known) = self.described.get() {
            return Ok(known.clone());
        }
        let found = described::describe(&self.settings)?;
        Ok(self.described.get_or_init(|| found).clone())
    }

    /// Gives the members of a container to `sink`, in order and in bounded memory; formats without members give none.
    /// `name` is the container's: a compressed file passes it on to what lies in it.
    /// After an exception the members that ended before it are good.
    pub fn unpack(
        &self,
        format: Format,
        name: &str,
        input: &mut dyn Read,
        sink: &mut dyn MemberSink,
        cancel: &AtomicBool,
    ) -> Result<Unpacked, ReadError> {
        if !format.is_container() {
            return Ok(Unpacked::default());
        }
        let mut done = None;
        // The child counts too; counting here again means a child gone wrong cannot flood the parent.
        let limits = &self.settings.limits;
        let mut left = limits.max_unpacked_bytes;
        let mut members = 0_u32;
        let task = Task::Unpack { format, name: name.to_owned() };
        self.launch(task, cancel).run(input, &mut |frame| {
            match frame {
                Frame::Begin(head) if members < limits.max_members => {
                    members = members.saturating_add(1);
                    sink.begin(&head)?;
                }
                Frame::Data(bytes) if left >= bytes.len() as u64 => {
                    left = left.saturating_sub(bytes.len() as u64);
                    sink.data(&bytes)?;
                }
                Frame::End => sink.end()?,
                Frame::MemberFailed(exception) => sink.failed(exception)?,
                Frame::Failed(exception) => return Err(ReadError::Exception(exception)),
                Frame::Unpacked(unpacked) => {
                    done = Some(unpacked);
                    return Ok(Turn::Finished);
                }
                Frame::Begin(_) => {
                    return Err(ReadError::exception(Category::TooManyMembers, "more members than allowed"));
                }
                Frame::Data(_) => return Err(ReadError::exception(Category::ArchiveBomb, "more bytes than allowed")),
                Frame::Image(_) | Frame::Text(_) => return Err(nonsense()),
            }
            Ok(Turn::Continue)
        })?;
        done.ok_or_else(nonsense)
    }

    /// The text and metadata of one document: for a message its headers and body, for other containers the names of
    /// their members. A document without any text is an exception, [`Category::NoText`] or [`Category::OcrUnavailable`].
    pub fn extract(
        &self,
        format: Format,
        name: &str,
        input: &mut dyn Read,
        cancel: &AtomicBool,
    ) -> Result<Extraction, ReadError> {
        match format {
            Format::Empty => return Err(ReadError::exception(Category::Empty, "the file has no bytes")),
            other if !other.is_readable() => {
                return Err(ReadError::exception(Category::Unsupported, other.unsupported()));
            }
            _ => {}
        }
        let recogniser = Recogniser::new(self);
        let mut recognised = BTreeMap::new();
        let mut image: Option<(ImageHead, Vec<u8>)> = None;
        let mut text = None;
        let task = Task::Extract { format, name: name.to_owned() };
        self.launch(task, cancel).run(input, &mut |frame| {
            match frame {
                Frame::Image(_) if self.stops_at_scans => return Err(ReadError::Scanned),
                Frame::Image(head) => image = Some((head, Vec::new())),
                Frame::Data(bytes) => {
                    let Some((head, pixels)) = image.as_mut() else { return Err(nonsense()) };
                    pixels.extend(bytes);
                    let whole = u64::from(head.width).saturating_mul(u64::from(head.height));
                    if pixels.len() as u64 > whole {
                        return Err(nonsense());
                    }
                    if pixels.len() as u64 == whole {
                        recognised.insert(head.page, recogniser.page(head, pixels, cancel)?);
                        image = None;
                    }
                }
                Frame::Text(found) => {
                    text = Some(*found);
                    return Ok(Turn::Finished);
                }
                Frame::Failed(exception) => return Err(ReadError::Exception(exception)),
                Frame::Begin(_) | Frame::End | Frame::MemberFailed(_) | Frame::Unpacked(_) => return Err(nonsense()),
            }
            Ok(Turn::Continue)
        })?;
        let Extraction { text, opened_with } = text.ok_or_else(nonsense)?;
        Ok(Extraction { text: ocr::merge(text, recognised, &self.settings)?, opened_with })
    }

    /// Lets the child try what the sandbox must refuse and gives the names of what it could do; for the sandbox's own
    /// tests and for a self-check on a new machine.
    #[doc(hidden)]
    pub fn probe(&self, what: &str, cancel: &AtomicBool) -> Result<Vec<String>, ReadError> {
        let probe = match what {
            "memory" => Probe::Memory,
            "processor" => Probe::Processor,
            "sleep" => Probe::Sleep,
            "stack" => Probe::Stack,
            "panic" => Probe::Panic,
            _ => Probe::Doors,
        };
        let mut opened = None;
        self.launch(Task::Probe(probe), cancel).run(&mut io::empty(), &mut |frame| match frame {
            Frame::Text(found) => {
                opened = Some(found.text.text.lines().map(str::to_owned).collect());
                Ok(Turn::Finished)
            }
            Frame::Failed(exception) => Err(ReadError::Exception(exception)),
            _ => Err(nonsense()),
        })?;
        opened.ok_or_else(nonsense)
    }

    pub(crate) fn launch<'a>(&'a self, task: Task, cancel: &'a AtomicBool) -> Launch<'a> {
        let passwords = match task {
            Task::Unpack { .. } | Task::Extract { .. } => self.passwords.clone(),
            Task::Recognise { .. } | Task::Probe(_) => Passwords::default(),
        };
        Launch {
            program: &self.program,
            args: &self.args,
            request: Request { task, settings: self.settings.clone(), passwords },
            wall_seconds: self.settings.limits.wall_seconds,
            max_input: self.settings.limits.max_document_bytes,
            cancel,
        }
    }
}

fn nonsense() -> ReadError {
    ReadError::exception(Category::Crashed, "the reader spoke out of turn")
}
