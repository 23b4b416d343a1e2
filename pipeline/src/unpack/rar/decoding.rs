//! The decoder at work. It pushes what it decodes, and what it is pushed to must live as long as it likes; so it runs in a
//! thread of its own, a few pieces ahead of the outlet. A panic ends that thread and costs one member.

use std::{
    io::{self, Write},
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use domain::outcome::{Category, Exception};
use rars::{Archive, ArchiveReadOptions, Error, ExtractionDecision, ExtractionErrorAction};

use super::{Entry, Fate, reason};
use crate::{extract::corrupt, unpack::Outlet, wire::Frame};

/// Pieces that wait for the outlet, and bytes of one.
const AHEAD: usize = 4;
const PIECE: usize = 128 << 10;
/// Stack of the decoder.
const STACK: usize = 8 << 20;

/// What the decoder says.
enum Event {
    /// The entry at that place begins.
    Begin(usize),
    Data(Vec<u8>),
    End,
    Failed(Exception),
    /// The entry at that place is named, without content.
    Named(usize),
}

/// Sends all entries, in order.
pub(super) fn send(
    archive: &Archive,
    options: ArchiveReadOptions<'_>,
    solid: bool,
    entries: &[Entry],
    outlet: &mut Outlet<'_>,
) -> Result<(), Exception> {
    let mut from = 0;
    while from < entries.len() {
        let walk = Walk { entries, solid, from, next: AtomicUsize::new(0), is_open: AtomicBool::new(false) };
        let ended = walk.run(archive, options, outlet)?;
        let next = walk.next.load(Ordering::SeqCst);
        if walk.is_open.load(Ordering::SeqCst) {
            match &ended {
                Ended::Whole => outlet.say(&Frame::End)?,
                Ended::Broken(why) => outlet.broken(why.clone())?,
            }
        }
        // Of an archive that hangs together the rest is lost, and so it is when there was no headway.
        let is_over = matches!(ended, Ended::Whole) || solid || next <= from;
        from = next.max(from);
        if is_over {
            break;
        }
    }
    for entry in entries.get(from..).unwrap_or_default() {
        match &entry.fate {
            Fate::Folder => {}
            Fate::Nothing(why) | Fate::Passed(why) | Fate::Lost(why) => outlet.failed(&entry.head, why.clone())?,
            Fate::Content => outlet.failed(&entry.head, corrupt("the member lies behind damage in the archive"))?,
        }
    }
    Ok(())
}

/// How the decoder came to its end.
enum Ended {
    Whole,
    Broken(Exception),
}

/// One run of the decoder over an archive.
struct Walk<'a> {
    entries: &'a [Entry],
    solid: bool,
    /// Entries before that one were sent by an earlier run.
    from: usize,
    /// Entries seen, and whether the last of them has begun and not ended.
    next: AtomicUsize,
    is_open: AtomicBool,
}

impl Walk<'_> {
    fn run(
        &self,
        archive: &Archive,
        options: ArchiveReadOptions<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Result<Ended, Exception> {
        let (sender, receiver) = sync_channel(AHEAD);
        thread::scope(|scope| {
            let decoder = thread::Builder::new().stack_size(STACK);
            let decoder = decoder.spawn_scoped(scope, move || self.decode(archive, options, &sender));
            let decoder = decoder.map_err(|_| Exception::new(Category::Memory, "there is no room for a decoder"))?;
            self.forward(receiver, outlet)?;
            Ok(match decoder.join() {
                Ok(Ok(())) => Ended::Whole,
                Ok(Err(error)) => Ended::Broken(reason(&error).unwrap_or_else(|| corrupt("the member is damaged"))),
                Err(_) => Ended::Broken(corrupt("the member is damaged")),
            })
        })
    }

    /// Sends what comes, until the decoder is done.
    fn forward(&self, events: Receiver<Event>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
        let entry = |place: usize| self.entries.get(place);
        for event in events {
            match event {
                Event::Begin(place) => {
                    if let Some(entry) = entry(place) {
                        outlet.begin(&entry.head)?;
                    }
                }
                Event::Data(piece) => {
                    outlet.count(piece.len() as u64)?;
                    outlet.say(&Frame::Data(piece))?;
                }
                Event::End => outlet.say(&Frame::End)?,
                Event::Failed(why) => outlet.broken(why)?,
                Event::Named(place) => {
                    if let Some(Entry { head, fate: Fate::Nothing(why) | Fate::Passed(why) | Fate::Lost(why) }) =
                        entry(place)
                    {
                        outlet.failed(head, why.clone())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn decode(
        &self,
        archive: &Archive,
        options: ArchiveReadOptions<'_>,
        sender: &SyncSender<Event>,
    ) -> Result<(), Error> {
        let say = |event| sender.send(event).map_err(|_| Error::Cancelled);
        let decide = |_: &rars::ArchiveMember| {
            if self.is_open.swap(false, Ordering::SeqCst) {
                say(Event::End)?;
            }
            let place = self.next.load(Ordering::SeqCst);
            let Some(entry) = self.entries.get(place) else { return Ok(ExtractionDecision::Stop) };
            if self.solid && matches!(entry.fate, Fate::Lost(_)) {
                return Ok(ExtractionDecision::Stop);
            }
            self.next.store(place.saturating_add(1), Ordering::SeqCst);
            if place < self.from {
                return Ok(ExtractionDecision::Skip);
            }
            match &entry.fate {
                Fate::Folder => Ok(ExtractionDecision::Skip),
                Fate::Nothing(_) | Fate::Lost(_) => say(Event::Named(place)).map(|()| ExtractionDecision::Skip),
                Fate::Passed(_) => {
                    say(Event::Named(place))?;
                    Ok(if self.solid {
                        ExtractionDecision::Extract(Box::new(io::sink()))
                    } else {
                        ExtractionDecision::Skip
                    })
                }
                Fate::Content => {
                    say(Event::Begin(place))?;
                    self.is_open.store(true, Ordering::SeqCst);
                    Ok(ExtractionDecision::Extract(Box::new(Pieces(sender.clone()))))
                }
            }
        };
        let fail = |_: &rars::ArchiveMember, error: &Error| {
            if self.is_open.swap(false, Ordering::SeqCst) {
                say(Event::Failed(reason(error).ok_or(Error::Cancelled)?))?;
            }
            Ok(ExtractionErrorAction::Continue)
        };
        archive.extract_with_control_and_errors(options, decide, fail).map(drop)
    }
}

/// Where the decoder pushes the content of a member.
struct Pieces(SyncSender<Event>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        if !piece.is_empty() {
            self.0.send(Event::Data(piece.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
