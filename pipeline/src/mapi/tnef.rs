//! `winmail.dat`: a message in Outlook's Transport-Neutral Encapsulation Format (MS-OXTNEF), a stream of attributes of which
//! some hold whole bags of properties.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    Attachment, Message, Properties, Property,
    names::Names,
    property::{self, kind},
};

/// First bytes of the stream.
pub(crate) const MAGIC: &[u8] = b"\x78\x9f\x3e\x22";
/// Messages within messages deeper than this are not read.
const DEEPEST: u32 = 10;

/// Attributes (MS-OXTNEF 2.1.3.2), without the upper half that gives their type.
mod attribute {
    pub(super) const SUBJECT: u16 = 0x8004;
    pub(super) const MESSAGE_CLASS: u16 = 0x8008;
    pub(super) const BODY: u16 = 0x800c;
    pub(super) const ATTACH_DATA: u16 = 0x800f;
    pub(super) const ATTACH_TITLE: u16 = 0x8010;
    pub(super) const ATTACH_RENDERING: u16 = 0x9002;
    pub(super) const MESSAGE_PROPERTIES: u16 = 0x9003;
    pub(super) const RECIPIENTS: u16 = 0x9004;
    pub(super) const ATTACHMENT: u16 = 0x9005;
    pub(super) const CODE_PAGE: u16 = 0x9007;
}

/// Interface of an attached object that is a message.
const IS_MESSAGE: [u8; 16] = [7, 3, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

/// Reads the message; `None` when the bytes are something else. Damage ends it early.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    read_at(bytes, 0)
}

fn read_at(bytes: &[u8], depth: u32) -> Option<Message> {
    let mut rest = Bytes(bytes.strip_prefix(MAGIC)?);
    rest.take(2)?;
    let mut draft = Draft::default();
    while let Some((id, data)) = next_attribute(&mut rest) {
        draft.add(id, data);
    }
    Some(draft.finish(depth))
}

fn next_attribute<'a>(rest: &mut Bytes<'a>) -> Option<(u16, &'a [u8])> {
    rest.take(1)?;
    let id = (rest.word()? & 0xffff) as u16;
    let length = rest.word()? as usize;
    let data = rest.take(length)?;
    // The checksum; what was damaged on its way is read all the same.
    rest.take(2);
    Some((id, data))
}

type Values = Vec<(u16, Property)>;

/// What was read so far. Bags are made last, when the code page and all names are known.
#[derive(Default)]
struct Draft {
    page: Option<u16>,
    known: BTreeMap<([u8; 16], u32), u16>,
    message: Values,
    recipients: Vec<Values>,
    attachments: Vec<Values>,
}

impl Draft {
    fn add(&mut self, id: u16, data: &[u8]) {
        let text = || Property { kind: kind::STRING_8, bytes: data.strip_suffix(b"\0").unwrap_or(data).to_vec() };
        match id {
            attribute::CODE_PAGE => {
                self.page = data.first_chunk().map(|page| u16::from_le_bytes(*page));
            }
            attribute::SUBJECT => self.message.insert(0, (property::SUBJECT, text())),
            attribute::MESSAGE_CLASS => self.message.insert(0, (property::MESSAGE_CLASS, text())),
            attribute::BODY => self.message.insert(0, (property::BODY, text())),
            attribute::MESSAGE_PROPERTIES => {
                let values = self.values(&mut Bytes(data));
                self.message.extend(values);
            }
            attribute::RECIPIENTS => {
                let mut rows = Bytes(data);
                for _ in 0..rows.word().unwrap_or_default() {
                    let row = self.values(&mut rows);
                    if row.is_empty() {
                        break;
                    }
                    self.recipients.push(row);
                }
            }
            attribute::ATTACH_RENDERING => self.attachments.push(Vec::new()),
            attribute::ATTACH_TITLE => self.attach(property::ATTACH_FILENAME, text()),
            attribute::ATTACH_DATA => {
                self.attach(property::ATTACH_DATA, Property { kind: kind::BINARY, bytes: data.to_vec() });
            }
            attribute::ATTACHMENT => {
                let values = self.values(&mut Bytes(data));
                for (id, property) in values {
                    self.attach(id, property);
                }
            }
            _ => {}
        }
    }

    fn attach(&mut self, id: u16, property: Property) {
        if let Some(attachment) = self.attachments.last_mut() {
            attachment.push((id, property));
        }
    }

    /// A list of properties; ends at the first that makes no sense (MS-OXTNEF 2.1.3.4).
    fn values(&mut self, bytes: &mut Bytes<'_>) -> Values {
        let mut values = Vec::new();
        for _ in 0..bytes.word().unwrap_or_default() {
            let Some((id, property)) = self.value(bytes) else { break };
            values.extend(property.map(|property| (id, property)));
        }
        values
    }

    /// The next property, `None` inside when several values stand in one.
    fn value(&mut self, bytes: &mut Bytes<'_>) -> Option<(u16, Option<Property>)> {
        let tag = bytes.word()?;
        let (kind, id) = ((tag & 0xffff) as u16, (tag >> 16) as u16);
        if id >= 0x8000 {
            let set = *bytes.take(16)?.first_chunk()?;
            if bytes.word()? == 0 {
                self.known.insert((set, bytes.word()?), id);
            } else {
                bytes.counted()?;
            }
        }
        let several = kind & 0x1000 != 0;
        let single = kind & 0x0fff;
        let long = matches!(single, kind::STRING_8 | kind::UNICODE | kind::BINARY | kind::OBJECT);
        let count = if several || long { bytes.word()? } else { 1 };
        let mut value = None;
        for _ in 0..count {
            value = Some(match single {
                _ if long => bytes.counted()?,
                0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => bytes.take(4)?,
                0x0005 | 0x0006 | 0x0007 | kind::INTEGER_64 | kind::TIME => bytes.take(8)?,
                0x0048 => bytes.take(16)?,
                _ => return None,
            });
        }
        let bytes = value.filter(|_| !several).map(<[u8]>::to_vec);
        Some((id, bytes.map(|bytes| Property { kind, bytes })))
    }

    fn finish(self, depth: u32) -> Message {
        let names = Rc::new(Names::of(self.known));
        let page = self.page;
        let bag = |values: Values| {
            let mut bag = Properties::new(Rc::clone(&names), page);
            for (id, property) in values {
                bag.put(id, property);
            }
            bag
        };
        let attachments = self.attachments.into_iter().map(|values| {
            let mut attachment = Attachment { properties: bag(values), message: None };
            let object = attachment.properties.get(property::ATTACH_DATA).filter(|data| data.kind == kind::OBJECT);
            if let Some((interface, content)) = object.and_then(|object| object.bytes.split_at_checked(16)) {
                if interface == IS_MESSAGE {
                    attachment.message =
                        (depth < DEEPEST).then(|| read_at(content, depth.saturating_add(1))).flatten().map(Box::new);
                } else {
                    let content = Property { kind: kind::BINARY, bytes: content.to_vec() };
                    attachment.properties.replace(property::ATTACH_DATA, content);
                }
            }
            attachment
        });
        Message {
            attachments: attachments.collect(),
            properties: bag(self.message),
            recipients: self.recipients.into_iter().map(bag).collect(),
        }
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|word| u32::from_le_bytes(*word))
    }

    /// A length and so many bytes, filled up to a multiple of four.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.word()? as usize;
        let bytes = self.take(length)?;
        self.take(length.wrapping_neg() & 3);
        Some(bytes)
    }
}
