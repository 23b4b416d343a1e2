//! Writes MSG files: a message that is an attachment of another, and messages out of stores, become files of their own that
//! Outlook opens and dia reads. The same message gives the same bytes: no time of writing goes in.

use std::{
    io::{self, Cursor, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use cfb::{CompoundFile, Version};
use uuid::Uuid;

use super::{
    Message, Properties,
    file::{DATA_STORAGE, NAMES, PROPERTIES},
    names::Names,
    property::{ATTACH_DATA, kind},
};
use crate::compound::{Compound, ROOT};

type Memory = CompoundFile<Cursor<Vec<u8>>>;

/// The class of a message's file (MS-OXMSG 2.1).
const MESSAGE: Uuid = Uuid::from_u128(0x0002_0d0b_0000_0000_c000_0000_0000_0046);

/// A storage of `source` as a file; a message's property list and names are put the way a file of its own has them. What
/// promises more than the whole file holds is refused.
pub(super) fn storage_as_file(source: &Compound, storage: usize, message: bool) -> io::Result<Vec<u8>> {
    let class = source.entry(storage).map(|entry| Uuid::from_bytes_le(entry.class)).unwrap_or_default();
    let mut target = create(if message { MESSAGE } else { class })?;
    let mut left = source.len();
    copy(source, storage, &mut target, Path::new("/"), message, (&mut left, 0))?;
    let names = Path::new("/").join(NAMES);
    if let Some(table) = source.find(ROOT, NAMES).filter(|_| message && !target.exists(&names)) {
        create_storage(&mut target, &names)?;
        copy(source, table, &mut target, &names, false, (&mut left, 0))?;
    }
    finish(target)
}

/// Storages nested deeper than this are no message.
const DEEPEST: u32 = 100;

/// Copies what is in a storage; `message` when it is the top of one.
fn copy(
    source: &Compound,
    storage: usize,
    target: &mut Memory,
    at: &Path,
    message: bool,
    (left, depth): (&mut u64, u32),
) -> io::Result<()> {
    let too_much = || io::Error::new(io::ErrorKind::InvalidData, "the storage promises more than the file holds");
    if depth > DEEPEST {
        return Err(too_much());
    }
    for (id, entry) in source.children(storage) {
        let path = at.join(&entry.name);
        if entry.is_storage {
            create_storage(target, &path)?;
            target.set_storage_clsid(&path, Uuid::from_bytes_le(entry.class))?;
            copy(source, id, target, &path, false, (&mut *left, depth.saturating_add(1)))?;
            continue;
        }
        *left = left.checked_sub(entry.size.min(source.len())).ok_or_else(too_much)?;
        let mut bytes = source.read(id);
        if message && entry.name == PROPERTIES && bytes.len() >= 24 {
            // The list of an embedded message lacks the last eight bytes of a file's header (MS-OXMSG 2.4.1.1).
            bytes.splice(24..24, [0; 8]);
        }
        target.create_stream(path)?.write_all(&bytes)?;
    }
    Ok(())
}

/// A message as a file.
pub(crate) fn message_as_file(message: &Message) -> io::Result<Vec<u8>> {
    let mut target = create(MESSAGE)?;
    names(&mut target, message.properties.names())?;
    contents(&mut target, Path::new("/"), message)?;
    finish(target)
}

fn names(target: &mut Memory, names: &Names) -> io::Result<()> {
    let folder = Path::new("/").join(NAMES);
    create_storage(target, &folder)?;
    let streams = [("00020102", &names.sets), ("00030102", &names.entries), ("00040102", &names.strings)];
    for (tag, bytes) in streams {
        target.create_stream(folder.join(format!("__substg1.0_{tag}")))?.write_all(bytes)?;
    }
    Ok(())
}

fn contents(target: &mut Memory, at: &Path, message: &Message) -> io::Result<()> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let (recipients, attachments) = (count(message.recipients.len()), count(message.attachments.len()));
    let mut header = [[0; 4], [0; 4], recipients, attachments, recipients, attachments].concat();
    if at == Path::new("/") {
        header.extend([0; 8]);
    }
    properties(target, at, header, &message.properties)?;
    for (recipient, number) in message.recipients.iter().zip(0_u32..) {
        let storage = at.join(format!("__recip_version1.0_#{number:08X}"));
        create_storage(target, &storage)?;
        properties(target, &storage, vec![0; 8], recipient)?;
    }
    for (attachment, number) in message.attachments.iter().zip(0_u32..) {
        let storage = at.join(format!("__attach_version1.0_#{number:08X}"));
        create_storage(target, &storage)?;
        properties(target, &storage, vec![0; 8], &attachment.properties)?;
        if let Some(inner) = &attachment.message {
            let data = storage.join(DATA_STORAGE);
            create_storage(target, &data)?;
            contents(target, &data, inner)?;
        }
    }
    Ok(())
}

/// The property list and the streams of the long values.
fn properties(target: &mut Memory, at: &Path, header: Vec<u8>, bag: &Properties) -> io::Result<()> {
    /// Readable and writable (MS-OXMSG 2.4.2.1).
    const FLAGS: [u8; 4] = [6, 0, 0, 0];
    let mut list = header;
    for (id, property) in bag.iter() {
        let (kind, bytes) = (property.kind, &property.bytes);
        let mut value = [0; 8];
        if kind::is_fixed(kind) {
            for (to, from) in value.iter_mut().zip(bytes) {
                *to = *from;
            }
        } else if matches!(kind, kind::STRING_8 | kind::UNICODE | kind::BINARY) {
            target.create_stream(at.join(format!("__substg1.0_{id:04X}{kind:04X}")))?.write_all(bytes)?;
            let terminator = match kind {
                kind::STRING_8 => 1,
                kind::UNICODE => 2,
                _ => 0,
            };
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(terminator);
            for (to, from) in value.iter_mut().zip(size.to_le_bytes()) {
                *to = from;
            }
        } else if (id, kind) == (ATTACH_DATA, kind::OBJECT) {
            value = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        } else {
            continue;
        }
        list.extend(kind.to_le_bytes());
        list.extend(id.to_le_bytes());
        list.extend(FLAGS);
        list.extend(value);
    }
    target.create_stream(at.join(PROPERTIES))?.write_all(&list)
}

fn create(class: Uuid) -> io::Result<Memory> {
    let mut target = CompoundFile::create_with_version(Version::V3, Cursor::new(Vec::new()))?;
    target.set_storage_clsid("/", class)?;
    without_times(&mut target, Path::new("/"))?;
    Ok(target)
}

fn create_storage(target: &mut Memory, path: &PathBuf) -> io::Result<()> {
    target.create_storage(path)?;
    without_times(target, path)
}

fn without_times(target: &mut Memory, path: &Path) -> io::Result<()> {
    // 1601, the zero of these times.
    let zero = SystemTime::UNIX_EPOCH.checked_sub(Duration::from_hours(3_234_576)).unwrap_or(SystemTime::UNIX_EPOCH);
    target.set_created_time(path, zero)?;
    target.set_modified_time(path, zero)
}

fn finish(mut target: Memory) -> io::Result<Vec<u8>> {
    target.flush()?;
    Ok(target.into_inner().into_inner())
}
