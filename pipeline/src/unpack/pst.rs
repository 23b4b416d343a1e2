//! Messages of Outlook stores (MS-PST), by Microsoft's own reader. Every message becomes an MSG file made of all its
//! properties, so nothing is translated and one reader reads both; its path is that of its folder. Folders are walked from
//! the store's root, so what was deleted from sight but not from the file comes out too; search folders only repeat.

use std::{
    collections::BTreeSet,
    io::{self, Cursor},
    rc::Rc,
};

use domain::outcome::{Category, Exception};
use outlook_pst::{
    AnsiPstFile, UnicodePstFile,
    ltp::{
        prop_context::PropertyValue,
        table_context::{TableContext, TableRowData},
    },
    messaging::{
        attachment::{AnsiAttachment, Attachment as StoredAttachment, AttachmentData, UnicodeAttachment},
        message::{AnsiMessage, Message as StoredMessage, UnicodeMessage},
        store::{AnsiStore, EntryId, Store, UnicodeStore},
    },
    ndb::node_id::{NID_ROOT_FOLDER, NodeId, NodeIdType},
};

use super::Outlet;
use crate::{
    extract::corrupt,
    mapi::{
        Attachment, Message, Properties, Property, letter,
        names::Names,
        property::{self, kind},
        write,
    },
    reader::MemberHead,
};

pub(super) fn members(bytes: Vec<u8>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let mailbox = Mailbox::open(bytes)?;
    mailbox.walk(&mut |path, id| {
        let head = |name: String, modified| MemberHead { ordinal: 0, path: join(path, &name), modified, inline: false };
        let read = id.and_then(|id| mailbox.message(&id, None).or_else(|_| mailbox.message(&id, Some(ESSENTIAL))));
        let Ok(message) = read else {
            return outlet.failed(&head("(damaged)".to_owned(), None), corrupt("the store is damaged here"));
        };
        let modified = message.properties.time(property::MODIFIED);
        let head = head(file_name(&message.properties), modified);
        match write::message_as_file(&message) {
            Ok(file) => outlet.member(head, &mut file.as_slice()),
            Err(_) => outlet.failed(&head, corrupt("the message cannot be written as a file")),
        }
    })
}

/// Paths of all messages, for the store's own text.
pub(super) fn names(bytes: Vec<u8>) -> Result<Vec<String>, Exception> {
    let mailbox = Mailbox::open(bytes)?;
    let mut names = Vec::new();
    mailbox.walk(&mut |path, id| {
        let message = id.and_then(|id| mailbox.properties(&id, Some(&[property::SUBJECT])));
        let name = message.map_or_else(|_| "(damaged)".to_owned(), |properties| file_name(&properties));
        names.push(join(path, &name));
        Ok(())
    })?;
    Ok(names)
}

/// What is read of a message when one of its other properties is damaged.
const ESSENTIAL: &[u16] = &[
    property::MESSAGE_CLASS,
    property::SUBJECT,
    property::CLIENT_SUBMIT_TIME,
    property::SENDER_NAME,
    property::SENDER_ADDRESS,
    property::SENDER_SMTP,
    property::SENT_REPRESENTING_NAME,
    property::SENT_REPRESENTING_ADDRESS,
    property::DISPLAY_TO,
    property::DISPLAY_CC,
    property::DELIVERY_TIME,
    property::BODY,
    property::INTERNET_MESSAGE_ID,
    property::CONVERSATION_INDEX,
];

/// The two widths of stores.
enum Width {
    Ansi(Rc<AnsiStore>),
    Unicode(Rc<UnicodeStore>),
}

struct Mailbox {
    store: Rc<dyn Store>,
    width: Width,
    names: Rc<Names>,
}

/// Takes a message of a folder, or why it cannot be had.
type Give<'a> = dyn FnMut(&str, io::Result<EntryId>) -> Result<(), Exception> + 'a;

impl Mailbox {
    fn open(mut bytes: Vec<u8>) -> Result<Self, Exception> {
        mend_header(&mut bytes);
        let damaged = |_| corrupt("the store is damaged");
        let (store, width): (Rc<dyn Store>, _) = match bytes.get(10..12) {
            Some([14 | 15, 0]) => {
                let file = AnsiPstFile::read_from(Box::new(Cursor::new(bytes))).map_err(damaged)?;
                let store = AnsiStore::read(Rc::new(file)).map_err(damaged)?;
                (Rc::clone(&store) as _, Width::Ansi(store))
            }
            Some([23, 0]) => {
                let file = UnicodePstFile::read_from(Box::new(Cursor::new(bytes))).map_err(damaged)?;
                let store = UnicodeStore::read(Rc::new(file)).map_err(damaged)?;
                (Rc::clone(&store) as _, Width::Unicode(store))
            }
            Some([36..=u8::MAX, 0]) => {
                let detail = "a store with the large pages of Outlook 2013; export it as a PST";
                return Err(Exception::new(Category::Unsupported, detail));
            }
            _ => return Err(corrupt("the store has no version")),
        };
        let names = Rc::new(names_of(store.as_ref()).unwrap_or_default());
        Ok(Self { store, width, names })
    }

    /// Gives every message with the path of its folder, folder by folder. A folder that cannot be read is given as one
    /// message that cannot.
    fn walk(&self, give: &mut Give<'_>) -> Result<(), Exception> {
        let entry = |node| self.store.properties().make_entry_id(node);
        let mut seen = BTreeSet::new();
        let mut folders = vec![(String::new(), NID_ROOT_FOLDER)];
        while let Some((parent, node)) = folders.pop() {
            if !seen.insert(u32::from(node)) {
                continue;
            }
            let folder = match entry(node).and_then(|id| self.store.open_folder(&id)) {
                Ok(folder) => folder,
                Err(error) => {
                    give(&parent, Err(error))?;
                    continue;
                }
            };
            let name = folder.properties().display_name().unwrap_or_default();
            let path = if name.trim().is_empty() { parent } else { join(&parent, &component(&name)) };
            for row in rows(folder.contents_table()) {
                give(&path, entry(row))?;
            }
            let inner = rows(folder.hierarchy_table()).into_iter();
            let inner = inner.filter(|node| !matches!(node.id_type(), Ok(NodeIdType::SearchFolder)));
            // The last one in is the next one out.
            folders.extend(inner.rev().map(|node| (path.clone(), node)));
        }
        Ok(())
    }

    fn properties(&self, id: &EntryId, only: Option<&[u16]>) -> io::Result<Properties> {
        let message: Rc<dyn StoredMessage> = match &self.width {
            Width::Ansi(store) => AnsiMessage::read(Rc::clone(store), id, only)?,
            Width::Unicode(store) => UnicodeMessage::read(Rc::clone(store), id, only)?,
        };
        Ok(self.bag(message.properties().iter(), None))
    }

    fn message(&self, id: &EntryId, only: Option<&[u16]>) -> io::Result<Message> {
        match &self.width {
            Width::Ansi(store) => {
                let message = AnsiMessage::read(Rc::clone(store), id, only)?;
                let open = |node| AnsiAttachment::read(Rc::clone(&message), node, None).map(|one| one as _);
                Ok(self.convert(message.as_ref(), Some(&open)))
            }
            Width::Unicode(store) => {
                let message = UnicodeMessage::read(Rc::clone(store), id, only)?;
                let open = |node| UnicodeAttachment::read(Rc::clone(&message), node, None).map(|one| one as _);
                Ok(self.convert(message.as_ref(), Some(&open)))
            }
        }
    }

    /// A message with all that belongs to it. Attachments that cannot be opened keep what the table says of them; those
    /// of a message within a message always do, because the reader opens no others.
    fn convert(&self, stored: &dyn StoredMessage, open: Option<&Open<'_>>) -> Message {
        let mut properties = self.bag(stored.properties().iter(), None);
        // Only stores keep the length of the prefix in it.
        if let Some(subject) = letter::subject(&properties) {
            let bytes = subject.encode_utf16().flat_map(u16::to_le_bytes).collect();
            properties.replace(property::SUBJECT, Property { kind: kind::UNICODE, bytes });
        }
        let page = properties.code_page();
        let recipients = stored.recipient_table().map(|table| self.table(table.as_ref(), page)).unwrap_or_default();
        let listed = stored.attachment_table().map(|table| self.table(table.as_ref(), page)).unwrap_or_default();
        let nodes = rows(stored.attachment_table());
        let attachments = nodes.into_iter().zip(listed).map(|(node, listed)| {
            let Some(Ok(opened)) = open.map(|open| open(node)) else {
                return Attachment { properties: listed, message: None };
            };
            let mut properties = self.bag(opened.properties().iter(), page);
            let mut message = None;
            match opened.data() {
                Some(AttachmentData::Message(inner)) => message = Some(Box::new(self.convert(inner.as_ref(), None))),
                Some(AttachmentData::Binary(content)) => {
                    let bytes = content.buffer().to_vec();
                    properties.put(property::ATTACH_DATA, Property { kind: kind::BINARY, bytes });
                }
                None => {}
            }
            Attachment { properties, message }
        });
        Message { attachments: attachments.collect(), properties, recipients }
    }

    fn bag<'a>(&self, values: impl Iterator<Item = (&'a u16, &'a PropertyValue)>, page: Option<u16>) -> Properties {
        let mut bag = Properties::new(Rc::clone(&self.names), page);
        for (id, value) in values {
            if let Some(property) = convert(value) {
                bag.put(*id, property);
            }
        }
        bag
    }

    /// The rows of a table as bags.
    fn table(&self, table: &dyn TableContext, page: Option<u16>) -> Vec<Properties> {
        let context = table.context();
        let rows = table.rows_matrix().map(|row: &TableRowData| {
            let mut bag = Properties::new(Rc::clone(&self.names), page);
            for (column, value) in context.columns().iter().zip(row.columns(context).unwrap_or_default()) {
                let value = value.and_then(|value| table.read_column(&value, column.prop_type()).ok());
                if let Some(property) = value.as_ref().and_then(convert) {
                    bag.put(column.prop_id(), property);
                }
            }
            bag
        });
        rows.collect()
    }
}

/// Makes the header one that the reader accepts. Offline stores (OST) differ from PSTs only in the name of the program
/// they are for, and a header whose checksum is wrong may still point to all that is there (MS-PST 2.2.2.6).
fn mend_header(bytes: &mut [u8]) {
    let Some(header) = bytes.get_mut(..528) else { return };
    if let Some(program) = header.get_mut(8..10) {
        program.copy_from_slice(b"SM");
    }
    if let Some(versions) = header.get_mut(12..16) {
        versions.copy_from_slice(&[19, 0, 1, 1]);
    }
    let wide = header.get(10) >= Some(&20);
    let sums = [
        (4, checksum(header.get(8..479).unwrap_or_default())),
        (524, checksum(header.get(8..524).unwrap_or_default())),
    ];
    for (at, sum) in sums.into_iter().take(if wide { 2 } else { 1 }) {
        if let Some(place) = header.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = sum.to_le_bytes();
        }
    }
}

/// CRC-32 without the usual inversions (MS-PST 5.3).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

type Open<'a> = dyn Fn(NodeId) -> io::Result<Rc<dyn StoredAttachment>> + 'a;

fn rows(table: Option<&Rc<dyn TableContext>>) -> Vec<NodeId> {
    table.map(|table| table.rows_matrix().map(|row| NodeId::from(u32::from(row.id()))).collect()).unwrap_or_default()
}

/// The value as MSG files keep it; several values in one are left out.
fn convert(value: &PropertyValue) -> Option<Property> {
    let fixed = |kind, value: i64| Some(Property { kind, bytes: value.to_le_bytes().to_vec() });
    match value {
        PropertyValue::Integer16(value) => fixed(kind::INTEGER_16, i64::from(*value)),
        PropertyValue::Integer32(value) => fixed(kind::INTEGER_32, i64::from(*value)),
        PropertyValue::Boolean(value) => fixed(kind::BOOLEAN, i64::from(*value)),
        PropertyValue::Integer64(value) => fixed(kind::INTEGER_64, *value),
        PropertyValue::Time(value) => fixed(kind::TIME, *value),
        PropertyValue::Floating64(value) => {
            Some(Property { kind: kind::FLOATING_64, bytes: value.to_le_bytes().to_vec() })
        }
        PropertyValue::String8(value) => Some(Property { kind: kind::STRING_8, bytes: value.buffer().to_vec() }),
        PropertyValue::Unicode(value) => {
            let bytes = value.buffer().iter().flat_map(|unit| unit.to_le_bytes()).collect();
            Some(Property { kind: kind::UNICODE, bytes })
        }
        PropertyValue::Binary(value) => Some(Property { kind: kind::BINARY, bytes: value.buffer().to_vec() }),
        PropertyValue::Object(_) => Some(Property { kind: kind::OBJECT, bytes: Vec::new() }),
        _ => None,
    }
}

/// The store's table of named properties (MS-PST 2.4.7), in the same three streams that MSG files have.
fn names_of(store: &dyn Store) -> io::Result<Names> {
    let map = store.named_property_map()?;
    let stream = |id| match map.properties().get(id) {
        Some(PropertyValue::Binary(value)) => value.buffer().to_vec(),
        _ => Vec::new(),
    };
    Ok(Names::new(stream(2), stream(3), stream(4)))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// A name as one step of a path.
fn component(name: &str) -> String {
    name.trim()
        .chars()
        .filter(|scalar| !scalar.is_control())
        .map(|scalar| if scalar == '/' { '_' } else { scalar })
        .collect()
}

fn file_name(properties: &Properties) -> String {
    let subject = letter::subject(properties).map(|subject| component(&subject)).filter(|subject| !subject.is_empty());
    let subject: String = subject.unwrap_or_else(|| "(no subject)".to_owned()).chars().take(120).collect();
    format!("{subject}.msg")
}
