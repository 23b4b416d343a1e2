//! Properties: a number, a type and a value (MS-OXCDATA 2.11, MS-OXPROPS). Values are kept as MSG files store them, so a
//! bag read from anywhere can be written as one.

use std::{borrow::Cow, collections::BTreeMap, rc::Rc};

use domain::clock::Timestamp;

use super::names::Names;
use crate::decode;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)+) => { $($(#[$doc])* pub(crate) const $name: u16 = $id;)+ };
}

ids! {
    /// `IPM.Note`, `IPM.Appointment`, `IPM.Contact` …
    MESSAGE_CLASS = 0x001a;
    SUBJECT = 0x0037;
    CLIENT_SUBMIT_TIME = 0x0039;
    SUBJECT_PREFIX = 0x003d;
    SENT_REPRESENTING_NAME = 0x0042;
    START_DATE = 0x0060;
    END_DATE = 0x0061;
    SENT_REPRESENTING_TYPE = 0x0064;
    SENT_REPRESENTING_ADDRESS = 0x0065;
    CONVERSATION_TOPIC = 0x0070;
    CONVERSATION_INDEX = 0x0071;
    TRANSPORT_HEADERS = 0x007d;
    RECIPIENT_TYPE = 0x0c15;
    SENDER_NAME = 0x0c1a;
    SENDER_TYPE = 0x0c1e;
    SENDER_ADDRESS = 0x0c1f;
    DISPLAY_BCC = 0x0e02;
    DISPLAY_CC = 0x0e03;
    DISPLAY_TO = 0x0e04;
    DELIVERY_TIME = 0x0e06;
    NORMALIZED_SUBJECT = 0x0e1d;
    BODY = 0x1000;
    RTF_COMPRESSED = 0x1009;
    BODY_HTML = 0x1013;
    INTERNET_MESSAGE_ID = 0x1035;
    INTERNET_REFERENCES = 0x1039;
    IN_REPLY_TO = 0x1042;
    DISPLAY_NAME = 0x3001;
    ADDRESS_TYPE = 0x3002;
    EMAIL_ADDRESS = 0x3003;
    CREATED = 0x3007;
    MODIFIED = 0x3008;
    ATTACH_DATA = 0x3701;
    ATTACH_EXTENSION = 0x3703;
    ATTACH_FILENAME = 0x3704;
    ATTACH_METHOD = 0x3705;
    ATTACH_LONG_FILENAME = 0x3707;
    ATTACH_MIME_TAG = 0x370e;
    ATTACH_CONTENT_ID = 0x3712;
    ATTACH_FLAGS = 0x3714;
    SMTP_ADDRESS = 0x39fe;
    INTERNET_CODE_PAGE = 0x3fde;
    MESSAGE_CODE_PAGE = 0x3ffd;
    SENDER_SMTP = 0x5d01;
    SENT_REPRESENTING_SMTP = 0x5d02;
    RECIPIENT_DISPLAY_NAME = 0x5ff6;
    ATTACHMENT_HIDDEN = 0x7ffe;
}

/// Types of values (MS-OXCDATA 2.11.1).
pub(crate) mod kind {
    pub(crate) const INTEGER_16: u16 = 0x0002;
    pub(crate) const INTEGER_32: u16 = 0x0003;
    pub(crate) const FLOATING_64: u16 = 0x0005;
    pub(crate) const BOOLEAN: u16 = 0x000b;
    pub(crate) const OBJECT: u16 = 0x000d;
    pub(crate) const INTEGER_64: u16 = 0x0014;
    pub(crate) const STRING_8: u16 = 0x001e;
    pub(crate) const UNICODE: u16 = 0x001f;
    pub(crate) const TIME: u16 = 0x0040;
    pub(crate) const BINARY: u16 = 0x0102;

    /// True for values of at most eight bytes, which stand in the property list itself.
    pub(crate) fn is_fixed(kind: u16) -> bool {
        matches!(kind, 0x0001..=0x000b | INTEGER_64 | TIME)
    }
}

/// A value: eight bytes at most for the fixed types, little endian; else the whole stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) kind: u16,
    pub(crate) bytes: Vec<u8>,
}

/// A bag of properties by their number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties {
    values: BTreeMap<u16, Property>,
    names: Rc<Names>,
    /// Code page of 8-bit strings when the bag itself does not say: that of the message it belongs to.
    inherited_code_page: Option<u16>,
}

impl Properties {
    pub(crate) fn new(names: Rc<Names>, inherited_code_page: Option<u16>) -> Self {
        Self { values: BTreeMap::new(), names, inherited_code_page }
    }

    /// Adds a property. Of a string kept in both widths the Unicode one stays.
    pub(crate) fn put(&mut self, id: u16, property: Property) {
        let wide = self.values.get(&id).is_some_and(|kept| kept.kind == kind::UNICODE);
        if !(wide && property.kind == kind::STRING_8) {
            self.values.insert(id, property);
        }
    }

    /// Puts a property in the place of whatever was there.
    pub(crate) fn replace(&mut self, id: u16, property: Property) {
        self.values.insert(id, property);
    }

    pub(crate) fn get(&self, id: u16) -> Option<&Property> {
        self.values.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Property)> {
        self.values.iter().map(|(id, property)| (*id, property))
    }

    pub(crate) fn names(&self) -> &Rc<Names> {
        &self.names
    }

    /// The number under which this message keeps a named property (MS-OXPROPS 1.3.2).
    pub(crate) fn named(&self, set: [u8; 16], id: u32) -> Option<u16> {
        self.names.find(set, id)
    }

    /// The code page of 8-bit strings.
    pub(crate) fn code_page(&self) -> Option<u16> {
        let stated = [MESSAGE_CODE_PAGE, INTERNET_CODE_PAGE].into_iter().find_map(|id| self.page(id));
        stated.or(self.inherited_code_page)
    }

    /// A code page by its number; those of Unicode say nothing about 8-bit strings.
    fn page(&self, id: u16) -> Option<u16> {
        u16::try_from(self.integer(id)?).ok().filter(|page| !matches!(page, 0 | 1200 | 1201))
    }

    /// A string, whichever way it is kept; `None` when it is blank.
    pub(crate) fn text(&self, id: u16) -> Option<String> {
        let property = self.get(id)?;
        let text = match property.kind {
            kind::UNICODE => encoding_rs::UTF_16LE.decode_without_bom_handling(&property.bytes).0,
            kind::STRING_8 => decode::text(&property.bytes, label(self.code_page())),
            _ => return None,
        };
        let text = text.trim_end_matches('\0');
        (!text.trim().is_empty()).then(|| text.to_owned())
    }

    /// The HTML body, which is kept as bytes in the Internet code page, or as a string.
    pub(crate) fn html(&self) -> Option<Cow<'_, str>> {
        let property = self.get(BODY_HTML)?;
        if property.kind == kind::BINARY {
            let declared = crate::extract::html::declared_encoding(&property.bytes);
            let page = label(self.page(INTERNET_CODE_PAGE)).map(str::to_owned);
            let text = decode::text(&property.bytes, page.or(declared).as_deref());
            return (!text.trim().is_empty()).then_some(text);
        }
        self.text(BODY_HTML).map(Cow::Owned)
    }

    /// A whole number or a Boolean.
    pub(crate) fn integer(&self, id: u16) -> Option<i64> {
        let property = self.get(id)?;
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(&property.bytes) {
            *to = *from;
        }
        let whole = i64::from_le_bytes(bytes);
        match property.kind {
            kind::INTEGER_16 => Some(whole & 0xffff),
            kind::INTEGER_32 => Some(whole & 0xffff_ffff),
            kind::BOOLEAN => Some(whole & 1),
            kind::INTEGER_64 => Some(whole),
            _ => None,
        }
    }

    pub(crate) fn is_set(&self, id: u16) -> bool {
        self.integer(id).is_some_and(|value| value != 0)
    }

    /// A time; zero and the far future mean none.
    pub(crate) fn time(&self, id: u16) -> Option<Timestamp> {
        let property = self.get(id).filter(|property| property.kind == kind::TIME)?;
        file_time(u64::from_le_bytes(*property.bytes.first_chunk()?))
    }

    pub(crate) fn binary(&self, id: u16) -> Option<&[u8]> {
        self.get(id).filter(|property| property.kind == kind::BINARY).map(|property| property.bytes.as_slice())
    }
}

/// Tenths of microseconds since 1601 (MS-DTYP 2.3.3).
pub(crate) fn file_time(ticks: u64) -> Option<Timestamp> {
    /// Microseconds from 1601 to 1970.
    const EPOCH: i64 = 11_644_473_600_000_000;
    /// What Outlook writes for "no date": the year 4501.
    const NONE: u64 = 0x0cb3_4557_a3dd_4000;
    let micros = i64::try_from(ticks / 10).ok()?.checked_sub(EPOCH)?;
    (ticks != 0 && ticks < NONE).then_some(Timestamp(micros))
}

/// The name of a Windows code page.
pub(crate) fn label(page: Option<u16>) -> Option<&'static str> {
    codepage::to_encoding(page?).map(encoding_rs::Encoding::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(values: &[(u16, u16, &[u8])]) -> Properties {
        let mut properties = Properties::default();
        for (id, kind, bytes) in values {
            properties.put(*id, Property { kind: *kind, bytes: bytes.to_vec() });
        }
        properties
    }

    #[test]
    fn strings_in_their_code_page() {
        let page = 1251_u32.to_le_bytes();
        let cyrillic = bag(&[
            (MESSAGE_CODE_PAGE, kind::INTEGER_32, &page),
            (SUBJECT, kind::STRING_8, b"\xc4\xee\xe3\xee\xe2\xee\xf0\0"),
        ]);
        assert_eq!(cyrillic.text(SUBJECT).as_deref(), Some("Договор"));
        let both = bag(&[(SUBJECT, kind::UNICODE, b"x\0\xfc\0"), (SUBJECT, kind::STRING_8, b"x?")]);
        assert_eq!(both.text(SUBJECT).as_deref(), Some("xü"));
        assert_eq!(bag(&[(SUBJECT, kind::UNICODE, b" \0\0\0")]).text(SUBJECT), None);
        let html = bag(&[(BODY_HTML, kind::BINARY, b"<meta charset=koi8-r><p>\xe4\xc1")]);
        assert_eq!(html.html().as_deref(), Some("<meta charset=koi8-r><p>Да"));
    }

    #[test]
    fn times_and_numbers() {
        let ticks = 116_444_736_000_000_000_u64.saturating_add(15_000_000);
        let times = bag(&[
            (CREATED, kind::TIME, &ticks.to_le_bytes()),
            (MODIFIED, kind::TIME, &[0; 8]),
            (RECIPIENT_TYPE, kind::INTEGER_32, &[3, 0, 0, 0, 9, 9, 9, 9]),
            (ATTACHMENT_HIDDEN, kind::BOOLEAN, &[1, 0, 0, 0, 0, 0, 0, 0]),
        ]);
        assert_eq!(times.time(CREATED), Some(Timestamp(1_500_000)));
        assert_eq!(times.time(MODIFIED), None);
        assert_eq!(times.integer(RECIPIENT_TYPE), Some(3));
        assert!(times.is_set(ATTACHMENT_HIDDEN));
    }
}
