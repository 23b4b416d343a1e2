//! Objects embedded in Office documents: the parts of their `embeddings` folders. An object stored by an OLE server lies in a
//! compound file, out of which come the file it wraps (a package, or whatever was dropped into the document) or the
//! compound file itself when it is a document.

use std::io::{Cursor, Read};

use cfb::CompoundFile;
use domain::outcome::Exception;

use super::Outlet;
use crate::{
    decode,
    extract::package::Package,
    format::Format,
    reader::MemberHead,
    sniff::{find, identify},
};

/// Streams in which a server keeps a file as it is.
const WHOLE: [&str; 3] = ["/Package", "/CONTENTS", "/EmbeddedOdf"];

pub(super) fn members(bytes: Vec<u8>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    // The folder's name stands as it is in the file's directory, so most documents are not opened at all.
    if find(&bytes, b"embeddings/").is_none() {
        return Ok(());
    }
    // What is wrong with a document that cannot be opened, reading its text says.
    let Ok(mut package) = Package::open(bytes) else { return Ok(()) };
    let embedded = |name: &&String| {
        let folders = ["word/embeddings/", "ppt/embeddings/", "xl/embeddings/"];
        folders.iter().any(|folder| name.to_ascii_lowercase().starts_with(folder)) && !name.ends_with('/')
    };
    let names: Vec<String> = package.names().iter().filter(embedded).cloned().collect();
    for name in names {
        let Some(bytes) = package.part(&name) else { continue };
        let unwrapped = if bytes.starts_with(b"\xd0\xcf\x11\xe0") { unwrap(&bytes) } else { None };
        let (path, bytes) = unwrapped.map_or((None, bytes), |(path, bytes)| (path, bytes));
        let path = path.unwrap_or_else(|| renamed(&name, &bytes));
        let head = MemberHead { ordinal: 0, path, modified: None, inline: false };
        outlet.member(head, &mut bytes.as_slice())?;
    }
    Ok(())
}

/// The part's own name, with the extension of what is in it.
fn renamed(name: &str, bytes: &[u8]) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    let found = identify(bytes, name);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    match (found.format, found.format.extensions().first()) {
        (Format::Unknown | Format::CompoundFile, _) | (_, None) => name.to_owned(),
        (_, Some(_)) if !found.extension_mismatch && name.strip_suffix(".bin").is_none() => name.to_owned(),
        (_, Some(extension)) => format!("{stem}.{extension}"),
    }
}

/// The file that an OLE object wraps, with its name where there is one.
fn unwrap(bytes: &[u8]) -> Option<(Option<String>, Vec<u8>)> {
    let mut object = CompoundFile::open(Cursor::new(bytes)).ok()?;
    let mut stream = |path: &str| {
        let mut content = Vec::new();
        object.open_stream(path).ok()?.take(bytes.len() as u64).read_to_end(&mut content).ok()?;
        (!content.is_empty()).then_some(content)
    };
    for path in WHOLE {
        if let Some(content) = stream(path) {
            return Some((None, content));
        }
    }
    packaged(&stream("/\u{1}Ole10Native")?)
}

/// What the Packager wraps (MS-OLEDS 2.3.6 and practice): size, a word, name, path, two words, a temporary path, the file.
fn packaged(native: &[u8]) -> Option<(Option<String>, Vec<u8>)> {
    let rest = native.get(6..)?;
    let (label, rest) = zero_ended(rest)?;
    let (_, rest) = zero_ended(rest)?;
    let rest = rest.get(4..)?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let rest = rest.get(4..)?.get(length..)?;
    let size = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let rest = rest.get(4..)?;
    let content = rest.get(..size).unwrap_or(rest);
    let name = decode::text(label, None);
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().trim().to_owned();
    Some(((!name.is_empty()).then_some(name), content.to_vec()))
}

fn zero_ended(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end.saturating_add(1)..)?))
}
