//! MSG files: a compound file with one storage for each recipient and attachment, one stream for each long value, and a
//! list of the short ones (MS-OXMSG).

use std::rc::Rc;

use domain::outcome::Exception;

use super::{
    Attachment, Message, Method, Properties, Property,
    names::Names,
    property::{self, kind},
    write,
};
use crate::{
    compound::{Compound, ROOT},
    extract::corrupt,
};

/// The list of properties of a storage.
pub(super) const PROPERTIES: &str = "__properties_version1.0";
/// The table of named properties, of the whole file.
pub(super) const NAMES: &str = "__nameid_version1.0";
const RECIPIENT: &str = "__recip_version1.0_#";
const ATTACHMENT: &str = "__attach_version1.0_#";
/// Storage of an attachment that is a message or an object.
pub(super) const DATA_STORAGE: &str = "__substg1.0_3701000D";
const DATA_STREAM: &str = "__substg1.0_37010102";

/// An open MSG file.
pub(crate) struct File {
    compound: Compound,
    names: Rc<Names>,
    /// Bytes of properties that may still be read: streams may share their sectors, so a small file can promise much.
    left: u64,
}

impl File {
    pub(crate) fn open(bytes: Vec<u8>) -> Result<Self, Exception> {
        let compound = Compound::open(bytes).ok_or_else(|| corrupt("the compound file is damaged"))?;
        if compound.find(ROOT, PROPERTIES).is_none() {
            return Err(corrupt("the message has no properties"));
        }
        let table = compound.find(ROOT, NAMES);
        let stream = |name| table.and_then(|table| compound.find(table, name)).map(|id| compound.read(id));
        let stream = |name| stream(name).unwrap_or_default();
        let names =
            Names::new(stream("__substg1.0_00020102"), stream("__substg1.0_00030102"), stream("__substg1.0_00040102"));
        let left = compound.len().saturating_mul(4);
        Ok(Self { compound, names: Rc::new(names), left })
    }

    /// The message with its recipients, and its attachments without their content.
    pub(crate) fn message(&mut self) -> Message {
        // The list of the file itself has a header of 32 bytes (MS-OXMSG 2.4.1).
        let properties = self.properties(ROOT, 32, None);
        let page = properties.code_page();
        let recipients =
            self.storages(RECIPIENT).into_iter().map(|storage| self.properties(storage, 8, page)).collect();
        let attachments = self.attachment_storages().into_iter();
        let attachments = attachments
            .map(|storage| Attachment { properties: self.properties(storage, 8, page), message: None })
            .collect();
        Message { properties, recipients, attachments }
    }

    /// The storages of the attachments, in the order of [`Message::attachments`].
    pub(crate) fn attachment_storages(&self) -> Vec<usize> {
        self.storages(ATTACHMENT)
    }

    /// The content of an attachment: its bytes, or the message or object it is as a compound file of its own. `None` when
    /// there is none.
    pub(crate) fn content(&self, storage: usize, method: Method) -> Option<Vec<u8>> {
        let data = self.compound.find(storage, DATA_STORAGE).filter(|_| method != Method::Value);
        match data {
            Some(data) => write::storage_as_file(&self.compound, data, method == Method::Message).ok(),
            None => self.compound.find(storage, DATA_STREAM).map(|stream| self.compound.read(stream)),
        }
    }

    fn storages(&self, prefix: &str) -> Vec<usize> {
        let all = self.compound.children(ROOT);
        all.filter(|(_, entry)| entry.is_storage && entry.name.starts_with(prefix)).map(|(id, _)| id).collect()
    }

    fn stream(&mut self, id: usize) -> Vec<u8> {
        if self.compound.entry(id).is_none_or(|entry| entry.size > self.left) {
            return Vec::new();
        }
        let bytes = self.compound.read(id);
        self.left = self.left.saturating_sub(bytes.len() as u64);
        bytes
    }

    /// All properties of a storage but an attachment's content.
    fn properties(&mut self, storage: usize, header: usize, page: Option<u16>) -> Properties {
        let mut properties = Properties::new(Rc::clone(&self.names), page);
        let list = self.compound.find(storage, PROPERTIES).map(|id| self.stream(id)).unwrap_or_default();
        for entry in list.get(header..).unwrap_or_default().as_chunks::<16>().0 {
            let [k0, k1, i0, i1, _, _, _, _, value @ ..] = *entry;
            let kind = u16::from_le_bytes([k0, k1]);
            if kind::is_fixed(kind) {
                properties.put(u16::from_le_bytes([i0, i1]), Property { kind, bytes: value.to_vec() });
            }
        }
        let streams: Vec<(usize, u16, u16)> = self
            .compound
            .children(storage)
            .filter(|(_, entry)| !entry.is_storage)
            .filter_map(|(stream, entry)| tag(&entry.name).map(|(id, kind)| (stream, id, kind)))
            .collect();
        for (stream, id, kind) in streams {
            if id != property::ATTACH_DATA {
                properties.put(id, Property { kind, bytes: self.stream(stream) });
            }
        }
        properties
    }
}

/// Number and type of the property that a stream of this name holds.
fn tag(name: &str) -> Option<(u16, u16)> {
    let tag = u32::from_str_radix(name.strip_prefix("__substg1.0_").filter(|hex| hex.len() == 8)?, 16).ok()?;
    let (id, kind) = ((tag >> 16) as u16, (tag & 0xffff) as u16);
    matches!(kind, kind::STRING_8 | kind::UNICODE | kind::BINARY).then_some((id, kind))
}
