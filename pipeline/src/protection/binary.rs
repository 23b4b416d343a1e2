//! Binary Office files under RC4 or XOR: decrypted stream by stream within their compound file (MS-XLS 2.2.10, MS-DOC 2.2.6.2 and
//! 2.2.6.3).

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use cfb::CompoundFile;
use domain::outcome::{Category, Exception};

use super::{
    KNOWN_TO_ALL,
    rc4::Descriptor,
    utf16,
    xor::{self, Obfuscation},
};
use crate::{extract::corrupt, format::Format, passwords::KeyRing};

type File<'a> = CompoundFile<Cursor<&'a mut Vec<u8>>>;

/// Decrypts an XLS or DOC in place, if it is encrypted. What no candidate opens is [`Category::Encrypted`]; what is no
/// compound file is left to its reader.
pub(crate) fn unlock(format: Format, bytes: &mut Vec<u8>, keys: &KeyRing) -> Result<(), Exception> {
    let Ok(mut file) = CompoundFile::open(Cursor::new(bytes)) else { return Ok(()) };
    match format {
        Format::Xls => workbook(&mut file, keys),
        Format::Doc => letter(&mut file, keys),
        _ => Ok(()),
    }
}

fn secret(descriptor: &Descriptor, keys: &KeyRing) -> Result<Vec<u8>, Exception> {
    let fits = |password: &str| descriptor.secret(&utf16(password));
    let known = KNOWN_TO_ALL.iter().find_map(|password| fits(password));
    known.or_else(|| keys.open(fits)).ok_or_else(locked)
}

fn locked() -> Exception {
    Exception::new(Category::Encrypted, "the document is protected by a password")
}

fn damaged() -> Exception {
    corrupt("the encrypted file is damaged")
}

fn stream(file: &mut File<'_>, name: &str) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    file.open_stream(name).ok()?.read_to_end(&mut content).ok()?;
    Some(content)
}

fn store(file: &mut File<'_>, name: &str, content: &[u8]) -> Result<(), Exception> {
    let mut stream = file.open_stream(name).map_err(|_| damaged())?;
    let written = stream.seek(SeekFrom::Start(0)).and_then(|_| stream.write_all(content)).and_then(|()| stream.flush());
    written.map_err(|_| damaged())
}

/// Records that stay as they are: where a part begins, how it is encrypted, who has it open.
const PLAIN: [u16; 7] = [0x0809, FILE_PASS, 0x0194, 0x0195, 0x00e1, 0x0196, 0x0138];
const FILE_PASS: u16 = 0x002f;
const BOUND_SHEET: u16 = 0x0085;
/// A number that no record has, for the one that says the file is encrypted.
const NOTHING: u16 = 0x0bad;
/// Bytes of a block of a workbook.
const WORKBOOK_BLOCK: usize = 1024;

fn workbook(file: &mut File<'_>, keys: &KeyRing) -> Result<(), Exception> {
    let Some((name, mut stored)) =
        ["/Workbook", "/Book"].into_iter().find_map(|name| Some((name, stream(file, name)?)))
    else {
        return Ok(());
    };
    let Some(pass) = records(&stored).take(64).find(|record| record.kind == FILE_PASS) else { return Ok(()) };
    let content = stored.get(pass.from..pass.to).ok_or_else(damaged)?;
    let (kind, info) = content.split_first_chunk().ok_or_else(damaged)?;
    // Excel 95 knew but one way, and names no kind.
    let checks = if content.len() == 4 { Some(content) } else { Some(info).filter(|_| *kind == [0, 0]) };
    if let Some(checks) = checks {
        let checks = Obfuscation::parse(checks).ok_or_else(damaged)?;
        let known = KNOWN_TO_ALL.iter().find_map(|password| checks.ring(password));
        let ring = known.or_else(|| keys.open(|password| checks.ring(password))).ok_or_else(locked)?;
        for record in records(&stored.clone()).filter(|record| !PLAIN.contains(&record.kind)) {
            if let Some(bytes) = stored.get_mut(record.from..record.to) {
                xor::uncover(&ring, record.from, plain(&record), bytes);
            }
        }
        forget(&mut stored, &pass);
        return store(file, name, &stored);
    }
    let descriptor = Descriptor::parse(info)?;
    let secret = secret(&descriptor, keys)?;
    let mut opened = stored.clone();
    descriptor.decrypt(&secret, &mut opened, WORKBOOK_BLOCK).ok_or_else(damaged)?;
    let all: Vec<Record> = records(&stored).collect();
    for record in all {
        let from = record.from.saturating_add(plain(&record));
        let target = stored.get_mut(from..record.to).filter(|_| !PLAIN.contains(&record.kind));
        if let (Some(target), Some(source)) = (target, opened.get(from..record.to)) {
            target.copy_from_slice(source);
        }
    }
    forget(&mut stored, &pass);
    store(file, name, &stored)
}

/// Of a sheet's record the place stays readable.
fn plain(record: &Record) -> usize {
    if record.kind == BOUND_SHEET { 4 } else { 0 }
}

/// Makes nothing of the record that says the file is encrypted.
fn forget(stored: &mut [u8], pass: &Record) {
    let at = pass.from.saturating_sub(4);
    if let Some(kind) = stored.get_mut(at..at.saturating_add(2)) {
        kind.copy_from_slice(&NOTHING.to_le_bytes());
    }
}

/// A record's number and where its content stands.
struct Record {
    kind: u16,
    from: usize,
    to: usize,
}

fn records(stream: &[u8]) -> impl Iterator<Item = Record> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        let [k0, k1, l0, l1] = *stream.get(at..)?.first_chunk()?;
        let from = at.saturating_add(4);
        let to = from.saturating_add(usize::from(u16::from_le_bytes([l0, l1])));
        at = to;
        Some(Record { kind: u16::from_le_bytes([k0, k1]), from, to })
    })
}

/// Bytes of a block of a letter's streams, and of the head of the first that stays as it is.
const LETTER_BLOCK: usize = 512;
const LETTER_HEAD: usize = 68;
/// Where the head says how the file is kept, and the bits for: encrypted, the second table, obfuscated.
const FLAGS: usize = 10;
const ENCRYPTED: u16 = 1 << 8;
const SECOND_TABLE: u16 = 1 << 9;
const OBFUSCATED: u16 = 1 << 15;

fn letter(file: &mut File<'_>, keys: &KeyRing) -> Result<(), Exception> {
    let Some(main) = stream(file, "/WordDocument") else { return Ok(()) };
    let Some(flags) = main.get(FLAGS..).and_then(<[u8]>::first_chunk).map(|two| u16::from_le_bytes(*two)) else {
        return Ok(());
    };
    if flags & ENCRYPTED == 0 {
        return Ok(());
    }
    if flags & OBFUSCATED != 0 {
        return Err(locked());
    }
    let table = if flags & SECOND_TABLE == 0 { "/0Table" } else { "/1Table" };
    let descriptor = Descriptor::parse(&stream(file, table).ok_or_else(damaged)?)?;
    let secret = secret(&descriptor, keys)?;
    for name in ["/WordDocument", table, "/Data"] {
        let Some(stored) = stream(file, name) else { continue };
        let mut opened = stored.clone();
        descriptor.decrypt(&secret, &mut opened, LETTER_BLOCK).ok_or_else(damaged)?;
        if name == "/WordDocument" {
            let head = opened.iter_mut().zip(&stored).take(LETTER_HEAD);
            head.for_each(|(byte, stored)| *byte = *stored);
            if let Some(field) = opened.get_mut(FLAGS..FLAGS.saturating_add(2)) {
                field.copy_from_slice(&(flags & !ENCRYPTED).to_le_bytes());
            }
        }
        store(file, name, &opened)?;
    }
    Ok(())
}
