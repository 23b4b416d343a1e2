//! Outlook's messages: a message is a bag of properties, its recipients and attachments are bags of their own (MS-OXCMSG).
//! Three containers hold such bags: MSG files (MS-OXMSG, [`file`]), `winmail.dat` ([`tnef`]) and PST stores; what the
//! properties mean is said once ([`letter`]).

use std::borrow::Cow;

pub(crate) mod file;
pub(crate) mod letter;
pub(crate) mod names;
pub(crate) mod property;
mod rtf;
mod squeezed;
pub(crate) mod tnef;
pub(crate) mod write;

pub(crate) use self::property::{Properties, Property};

/// A message and what belongs to it.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) properties: Properties,
    pub(crate) recipients: Vec<Properties>,
    pub(crate) attachments: Vec<Attachment>,
}

/// An attachment: its properties, and the message it is when it is one.
#[derive(Debug, Default)]
pub(crate) struct Attachment {
    pub(crate) properties: Properties,
    pub(crate) message: Option<Box<Message>>,
}

impl Attachment {
    /// The content: its bytes, or the message it is as an MSG file. `None` when there is none.
    pub(crate) fn content(&self) -> Option<Cow<'_, [u8]>> {
        match &self.message {
            Some(message) => write::message_as_file(message).ok().map(Cow::Owned),
            None => self.properties.binary(property::ATTACH_DATA).map(Cow::Borrowed),
        }
    }
}

/// How an attachment is kept (MS-OXCMSG 2.2.2.9, `PidTagAttachMethod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Its bytes are in the message.
    Value,
    /// It lies elsewhere; the message has its path.
    Reference,
    /// It is a message.
    Message,
    /// It is an OLE object.
    Object,
}

impl Properties {
    /// How the attachment with these properties is kept.
    pub(crate) fn method(&self) -> Method {
        match self.integer(property::ATTACH_METHOD) {
            Some(2..=4 | 7) if self.get(property::ATTACH_DATA).is_none() => Method::Reference,
            Some(5) => Method::Message,
            Some(6) => Method::Object,
            _ => Method::Value,
        }
    }
}
