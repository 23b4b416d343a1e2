//! What a file is, by its bytes. Magic numbers first, then what is inside a ZIP or a compound file, then the grammar of
//! text. The name decides only where bytes cannot: between kinds of plain text, and for a compound file whose directory
//! lies beyond the bytes given.

mod compound;
mod plain;
mod zip;

use infer::MatcherType;

use crate::{extract::early_word, format::Format, mail::signed, mapi::tnef};

/// What [`identify`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// The format.
    pub format: Format,
    /// The media type; more exact than the format's own for formats without a reader.
    pub media_type: &'static str,
    /// True when the name's extension promises something else than the bytes are.
    pub extension_mismatch: bool,
}

/// Identifies a file from `head` (its first bytes: 1 MiB is plenty, the whole file is best) and its `name`.
pub fn identify(head: &[u8], name: &str) -> Identified {
    let extension = extension(name);
    let format = by_bytes(head, &extension);
    let kind = (format.media_type() == Format::Unknown.media_type()).then(|| infer::get(head)).flatten();
    let media_type = kind.map_or(format.media_type(), |kind| kind.mime_type());
    Identified { format, media_type, extension_mismatch: mismatch(format, &extension) }
}

fn by_bytes(head: &[u8], extension: &str) -> Format {
    if head.is_empty() {
        return Format::Empty;
    }
    if early_word::begins(head) {
        return Format::Doc;
    }
    if let Some(format) = by_magic(head) {
        return match format {
            Format::Zip => zip::identify(head),
            Format::CompoundFile => compound::identify(head, extension),
            other => other,
        };
    }
    match plain::identify(head, extension) {
        Format::Unknown => by_kind(head).unwrap_or(Format::Unknown),
        text => text,
    }
}

/// What has no reader but a name.
fn by_kind(head: &[u8]) -> Option<Format> {
    let kind = infer::get(head)?;
    Some(match (kind.matcher_type(), kind.mime_type()) {
        (_, "image/vnd.dwg") => Format::Cad,
        (_, "application/vnd.sqlite3") => Format::Data,
        (MatcherType::Image, _) | (_, "application/dicom") => Format::Picture,
        (MatcherType::Audio, _) => Format::Audio,
        (MatcherType::Video, _) => Format::Video,
        (MatcherType::Font, _) => Format::Font,
        (MatcherType::Archive, _) => Format::Archive,
        (
            _,
            "application/wasm"
            | "application/x-executable"
            | "application/vnd.microsoft.portable-executable"
            | "application/java"
            | "application/x-mach-binary"
            | "application/vnd.android.dex"
            | "application/vnd.android.dey"
            | "application/x-llvm",
        ) => Format::Executable,
        _ => return None,
    })
}

/// Magic numbers, each with its offset.
const MAGIC: &[(usize, &[u8], Format)] = &[
    (0, b"PK\x03\x04", Format::Zip),
    (0, b"PK\x05\x06", Format::Zip),
    (0, b"PK\x07\x08PK", Format::Zip),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Format::CompoundFile),
    (0, b"{\\rtf", Format::Rtf),
    (0, b"\x89PNG\r\n\x1a\n", Format::Png),
    (0, b"\xff\xd8\xff", Format::Jpeg),
    (0, b"GIF87a", Format::Gif),
    (0, b"GIF89a", Format::Gif),
    (0, b"II*\0", Format::Tiff),
    (0, b"MM\0*", Format::Tiff),
    (0, b"II+\0", Format::Tiff),
    (0, b"MM\0+", Format::Tiff),
    (8, b"WEBPVP8", Format::Webp),
    (0, b"\xffWPC", Format::WordPerfect),
    (4, b"ftyphei", Format::Heif),
    (4, b"ftyphev", Format::Heif),
    (4, b"ftypmif1", Format::Heif),
    (4, b"ftypmsf1", Format::Heif),
    (4, b"ftypavi", Format::Heif),
    (0, b"!BDN", Format::Pst),
    (0, tnef::MAGIC, Format::Tnef),
    (0, b"7z\xbc\xaf\x27\x1c", Format::SevenZip),
    (0, b"Rar!\x1a\x07", Format::Rar),
    (0, b"RE~^", Format::Rar),
    (0, b"\x1f\x8b\x08", Format::Gzip),
    (0, b"BZh", Format::Bzip2),
    // Workbooks of Excel 2 to 4, which were one stream of records, and of later ones written like that.
    (0, b"\x09\x00\x04\x00\x02\x00\x10\x00", Format::Xls),
    (0, b"\x09\x00\x04\x00\x07\x00\x10\x00", Format::Xls),
    (0, b"\x09\x02\x06\x00", Format::Xls),
    (0, b"\x09\x04\x06\x00", Format::Xls),
    (0, b"\x09\x08\x08\x00\x00\x05", Format::Xls),
    (0, b"\x09\x08\x10\x00\x00\x06", Format::Xls),
    (0, b"\xfd7zXZ\0", Format::Xz),
    (0, b"\x28\xb5\x2f\xfd", Format::Zstd),
    (257, b"ustar", Format::Tar),
    (0, b"%!PS", Format::PostScript),
    (0, b"\xc5\xd0\xd3\xc6", Format::PostScript),
    (0, b"\xd7\xcd\xc6\x9a", Format::Picture),
    (40, b" EMF\0\0\x01\0", Format::Picture),
    (4, b"Standard Jet DB", Format::Data),
    (4, b"Standard ACE DB", Format::Data),
    (0, b"ISO-10303-21;", Format::Cad),
    (0x8001, b"CD001", Format::Archive),
];

fn by_magic(head: &[u8]) -> Option<Format> {
    for (at, magic, format) in MAGIC {
        if head.get(*at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Some(*format);
        }
    }
    if is_tar(head) {
        return Some(Format::Tar);
    }
    if signed::begins(head) {
        return Some(Format::Pkcs7);
    }
    // A bitmap's two letters begin many a word, so its header size must fit too.
    if head.starts_with(b"BM")
        && head.get(14..18).is_some_and(|size| matches!(size, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
    {
        return Some(Format::Bmp);
    }
    // Readers accept a PDF header within the first 1,024 bytes (ISO 32000-1, implementation note 13).
    let start = head.get(..1024).unwrap_or(head);
    find(start, b"%PDF-").map(|_| Format::Pdf)
}

/// True when `head` begins with a TAR header: its checksum is right (POSIX.1-1988, 10.1.1). So archives older than the
/// `ustar` mark are known too.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else { return false };
    let sum =
        header.iter().zip(0_usize..).map(|(byte, at)| if (148..156).contains(&at) { 0x20 } else { u32::from(*byte) });
    let stated = header.get(148..156).and_then(|field| std::str::from_utf8(field).ok()).unwrap_or_default();
    let stated = u32::from_str_radix(stated.trim_matches(|scalar| matches!(scalar, ' ' | '\0')), 8);
    header.first().is_some_and(|first| *first != 0) && stated.is_ok_and(|stated| stated == sum.sum::<u32>())
}

/// Position of `needle` in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The extension of `name`, lower case and without the dot; empty when there is none.
pub(crate) fn extension(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    last.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

fn mismatch(format: Format, extension: &str) -> bool {
    if format.extensions().contains(&extension) || matches!(format, Format::Empty | Format::Unknown) {
        return false;
    }
    let promised = Format::ALL.iter().find(|other| other.extensions().contains(&extension));
    promised.is_some_and(|other| !(other.is_plain() && format.is_plain()))
}
