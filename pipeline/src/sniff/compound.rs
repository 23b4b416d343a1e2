//! What kind of compound file (MS-CFB): by the class id of its root, then by the names of its streams.

use super::find;
use crate::format::Format;

pub(super) fn identify(head: &[u8], extension: &str) -> Format {
    by_class(head).or_else(|| by_stream(head)).or_else(|| by_extension(extension)).unwrap_or(Format::CompoundFile)
}

/// The class id of the root entry, first entry of the first directory sector (MS-CFB 2.6.1).
fn by_class(head: &[u8]) -> Option<Format> {
    let sector_shift = u32::from(u16::from_le_bytes(*head.get(30..32)?.first_chunk()?)).min(20);
    let sector = u32::from_le_bytes(*head.get(48..52)?.first_chunk()?);
    let at = usize::try_from(u64::from(sector).saturating_add(1).checked_shl(sector_shift)?).ok()?;
    let class = head.get(at..)?.get(80..96)?;
    let tail = class.get(4..)?;
    if tail != b"\0\0\0\0\xc0\0\0\0\0\0\0\x46" {
        return None;
    }
    match u32::from_le_bytes(*class.first_chunk()?) {
        0x0002_0906 | 0x0002_0900 => Some(Format::Doc),
        0x0002_0820 | 0x0002_0810 => Some(Format::Xls),
        0x0002_0d0b | 0x0002_0d0a => Some(Format::Msg),
        _ => None,
    }
}

fn by_stream(head: &[u8]) -> Option<Format> {
    let kinds = [
        ("EncryptedPackage", Format::EncryptedOffice),
        ("__properties_version1.0", Format::Msg),
        ("PowerPoint Document", Format::Ppt),
        ("WordDocument", Format::Doc),
        ("Workbook", Format::Xls),
        ("Book", Format::Xls),
        ("WORKBOOK", Format::Xls),
        ("BOOK", Format::Xls),
    ];
    kinds.into_iter().find(|(stream, _)| find(head, &utf16(stream)).is_some()).map(|(_, format)| format)
}

fn utf16(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_le_bytes).chain([0, 0]).collect()
}

fn by_extension(extension: &str) -> Option<Format> {
    [Format::Doc, Format::Xls, Format::Ppt, Format::Msg]
        .into_iter()
        .find(|format| format.extensions().contains(&extension))
}
