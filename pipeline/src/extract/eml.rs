//! Messages (RFC 5322): headers into metadata and the first lines of the text, then the body, plain preferred to HTML.

use std::borrow::Cow;

use domain::{clock::Timestamp, outcome::Exception};
use mail_parser::{Address, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::{corrupt, html};
use crate::{compose::Composer, decode};

pub(super) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let bytes = as_ascii_superset(bytes);
    let message = parse(&bytes)?;
    headers(&message, composer);
    composer.push("\n");
    let mut bodies = 0_u32;
    for part in message.text_bodies() {
        bodies = bodies.saturating_add(1);
        match &part.body {
            PartType::Text(text) => composer.push(text),
            PartType::Html(text) => html::write(text, composer),
            _ => {}
        }
        composer.end_line();
    }
    if bodies == 0 {
        for part in message.html_bodies() {
            if let PartType::Html(text) = &part.body {
                html::write(text, composer);
            }
        }
    }
    Ok(())
}

/// Parses a message; what has not one header field is no message.
pub(crate) fn parse(bytes: &[u8]) -> Result<Message<'_>, Exception> {
    let message = MessageParser::default().parse(bytes).filter(|message| !message.headers().is_empty());
    message.ok_or_else(|| corrupt("the message has no header"))
}

/// The subject of a message.
pub(crate) fn subject(bytes: &[u8]) -> Option<String> {
    MessageParser::default().parse_headers(bytes)?.subject().map(str::to_owned)
}

/// Some programs save messages as UTF-16, which no mail parser reads: those become UTF-8.
pub(crate) fn as_ascii_superset(bytes: &[u8]) -> Cow<'_, [u8]> {
    let wide = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || bytes.get(..4).is_some_and(|head| head.contains(&0));
    if wide {
        return Cow::Owned(decode::text(bytes, None).into_owned().into_bytes());
    }
    Cow::Borrowed(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

fn headers(message: &Message<'_>, composer: &mut Composer) {
    let line = |composer: &mut Composer, name: &str, value: &str| {
        if !value.is_empty() {
            composer.push(&format!("{name}: {value}\n"));
        }
    };
    let metadata = &mut composer.metadata;
    metadata.subject = message.subject().map(str::to_owned);
    metadata.from = people(message.from()).into_iter().next().or_else(|| people(message.sender()).into_iter().next());
    metadata.to = message.all_to().flat_map(|address| people(Some(address))).collect();
    metadata.cc = message.all_cc().flat_map(|address| people(Some(address))).collect();
    metadata.bcc = message.all_bcc().flat_map(|address| people(Some(address))).collect();
    let date = message.date().filter(|date| date.is_valid());
    metadata.sent_at = date.map(|date| Timestamp(date.to_timestamp().saturating_mul(1_000_000)));
    metadata.message_id = message.message_id().map(str::to_owned);
    metadata.in_reply_to = identifiers(message.in_reply_to()).into_iter().next();
    metadata.references = identifiers(message.references());
    let attachments: Vec<String> = message.attachments().zip(0..).map(|(part, ordinal)| name(part, ordinal)).collect();
    let known = metadata.clone();
    line(composer, "From", known.from.as_deref().unwrap_or_default());
    line(composer, "To", &known.to.join("; "));
    line(composer, "Cc", &known.cc.join("; "));
    line(composer, "Bcc", &known.bcc.join("; "));
    line(composer, "Date", &date.map(mail_parser::DateTime::to_rfc3339).unwrap_or_default());
    line(composer, "Subject", known.subject.as_deref().unwrap_or_default());
    line(composer, "Attachments", &attachments.join("; "));
}

/// Each person as `Name <address>`, or whichever part exists.
fn people(address: Option<&Address<'_>>) -> Vec<String> {
    let Some(address) = address else { return Vec::new() };
    let written = address.iter().map(|one| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    });
    written.filter(|one| !one.is_empty()).collect()
}

fn identifiers(value: &HeaderValue<'_>) -> Vec<String> {
    match value {
        HeaderValue::Text(one) => vec![one.to_string()],
        HeaderValue::TextList(many) => many.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// The attachment's name; for one without, its position and what it is.
pub(crate) fn name(part: &MessagePart<'_>, ordinal: u32) -> String {
    if let Some(name) = part.attachment_name().map(str::trim).filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let number = ordinal.saturating_add(1);
    if let PartType::Message(message) = &part.body {
        let subject = message.subject().map(str::trim).filter(|subject| !subject.is_empty());
        return subject.map_or_else(|| format!("message-{number}.eml"), |subject| format!("{subject}.eml"));
    }
    let subtype = part.content_type().and_then(|media| media.subtype()).unwrap_or("bin");
    let extension: String = subtype.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("attachment-{number}.{}", extension.to_ascii_lowercase())
}
