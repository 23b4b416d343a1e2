//! XML as a stream of tags and text for the readers of Office, `OpenDocument`, books and forms. Names come without their
//! prefix. Nothing is expanded but character references and the five entities every XML has; nesting costs no stack.

use std::borrow::Cow;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

/// A stream over one XML text.
pub(crate) struct Markup<'a> {
    reader: Reader<&'a [u8]>,
    damaged: bool,
}

/// The next thing in the stream. An empty element is an `Open` and a `Close`.
pub(crate) enum Token<'a> {
    Open(Element<'a>),
    Close(String),
    Text(Cow<'a, str>),
}

/// A start tag.
pub(crate) struct Element<'a>(BytesStart<'a>);

impl<'a> Markup<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        config.expand_empty_elements = true;
        Self { reader, damaged: false }
    }

    /// The next token; `None` at the end, or where the text stops being XML.
    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        loop {
            match self.reader.read_event() {
                Ok(Event::Start(start) | Event::Empty(start)) => return Some(Token::Open(Element(start))),
                Ok(Event::End(end)) => return Some(Token::Close(end.local_name().into_inner().to_owned())),
                Ok(Event::Text(text)) => return Some(Token::Text(text.into_inner())),
                Ok(Event::CData(text)) => return Some(Token::Text(text.into_inner())),
                Ok(Event::GeneralRef(reference)) => {
                    let named = match &*reference {
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "amp" => Some('&'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => reference.resolve_char_ref().ok().flatten(),
                    };
                    // What only a definition could expand stays as it is written.
                    let text = named.map_or_else(|| format!("&{};", &*reference), String::from);
                    return Some(Token::Text(Cow::Owned(text)));
                }
                Ok(Event::Eof) => return None,
                Ok(_) => {}
                Err(_) => {
                    self.damaged = true;
                    return None;
                }
            }
        }
    }

    /// True when the stream ended because the text is not XML any more.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }
}

impl Element<'_> {
    /// The name without its prefix.
    pub(crate) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// The value of the attribute called `name`, whatever its prefix.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.0.attributes();
        let found = attributes.with_checks(false).flatten().find(|one| one.key.local_name().as_ref() == name)?;
        let value = found.normalized_value(XmlVersion::Implicit1_0);
        Some(value.map_or_else(|_| found.value.clone().into_owned(), Cow::into_owned))
    }

    /// All attributes in order, names with their prefixes.
    pub(crate) fn attributes(&self) -> Vec<(String, String)> {
        let mut attributes = self.0.attributes();
        let found = attributes.with_checks(false).flatten().map(|one| {
            let value = one.normalized_value(XmlVersion::Implicit1_0);
            (one.key.as_ref().to_owned(), value.map_or_else(|_| one.value.clone().into_owned(), Cow::into_owned))
        });
        found.collect()
    }

    /// True when the attribute called `name` is there and says yes.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.attribute(name).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "on"))
    }
}
