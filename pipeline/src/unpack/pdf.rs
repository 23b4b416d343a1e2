//! Files embedded in a PDF; a portfolio is nothing else.

use domain::outcome::{Category, Exception};

use super::Outlet;
use crate::{
    extract::{AttachedFile, attached_files},
    reader::MemberHead,
};

pub(super) fn members(bytes: Vec<u8>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let keys = outlet.keys;
    attached_files(bytes, keys, &mut |file: AttachedFile| {
        let number = outlet.done.members.saturating_add(1);
        let path = if file.name.is_empty() { format!("attachment-{number}") } else { file.name };
        let head = MemberHead { ordinal: 0, path, modified: file.modified, inline: false };
        match file.bytes {
            Some(bytes) => outlet.member(head, &mut bytes.as_slice()),
            None => outlet.failed(&head, Exception::new(Category::Corrupt, "the embedded file is damaged")),
        }
    })
}
