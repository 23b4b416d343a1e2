//! Messages (RFC 5322): headers into metadata and the first lines of the text, then the body, plain preferred to HTML.

use std::borrow::Cow;

use domain::{clock::Timestamp, outcome::Exception};
use mail_parser::{
    Address, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType, decoders::base64::base64_decode,
};

use super::{corrupt, html, pkcs7};
use crate::{
    compose::Composer,
    decode,
    format::Format,
    mail::{
        self,
        identity::{Digest, digest},
        signed::{self, Content},
    },
    sniff, unpack,
};

pub(super) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let bytes = opened(as_ascii_superset(bytes))?;
    let message = parse(&bytes)?;
    metadata(&message, composer);
    let names: Vec<String> = message.attachments().zip(0..).map(|(part, ordinal)| name(part, ordinal)).collect();
    // As its author's program wrote it: the words a reader of the message sees and quotes.
    let date = message.header_raw("Date").map(str::trim);
    mail::head(composer, date, &names);
    composer.push("\n");
    let start = composer.begin_span();
    body(&message, composer);
    let digests: Vec<Digest> =
        message.attachments().map(|part| digest(&mut &*unpack::eml::content(part, &message))).collect();
    mail::identify(composer, start, &digests);
    Ok(())
}

/// Reads the body alone, as it stands inside another document.
pub(super) fn read_body(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let bytes = as_ascii_superset(bytes);
    body(&parse(&bytes)?, composer);
    Ok(())
}

fn body(message: &Message<'_>, composer: &mut Composer) {
    let mut parts: Vec<&MessagePart<'_>> = message.text_bodies().collect();
    if parts.is_empty() {
        parts = message.html_bodies().collect();
    }
    if parts.is_empty() {
        // A message cut short: its text is taken for an attachment, though nothing says it is one.
        let nameless =
            |part: &&MessagePart<'_>| part.content_disposition().is_none() && part.attachment_name().is_none();
        parts = message.attachments().filter(nameless).collect();
    }
    for part in parts {
        match &part.body {
            PartType::Text(text) => composer.push(&mended(part, text, message, None)),
            PartType::Html(page) => {
                let declared = html::declared_encoding(page.as_bytes());
                html::write(&mended(part, page, message, declared), composer);
            }
            _ => {}
        }
        composer.end_line();
    }
}

/// The text of a part. Where its character set was wrong or not given, and characters were lost by it, the bytes are read
/// again with a better guess.
fn mended<'a>(part: &MessagePart<'_>, text: &'a str, message: &Message<'_>, declared: Option<String>) -> Cow<'a, str> {
    if !text.contains('\u{fffd}') {
        return Cow::Borrowed(text);
    }
    let stated = part.content_type().and_then(|media| media.attribute("charset")).map(str::to_owned);
    let bytes = unpack::eml::content(part, message);
    let again = decode::text(&bytes, declared.or(stated).as_deref());
    let lost = |text: &str| text.matches('\u{fffd}').count();
    if lost(&again) < lost(text) { Cow::Owned(again.into_owned()) } else { Cow::Borrowed(text) }
}

/// Parses a message; what has not one header field is no message.
pub(crate) fn parse(bytes: &[u8]) -> Result<Message<'_>, Exception> {
    let message = MessageParser::default().parse(bytes).filter(|message| !message.headers().is_empty());
    message.ok_or_else(|| corrupt("the message has no header"))
}

/// Signatures around signatures beyond this many stay closed.
const MOST_WRAPPINGS: u32 = 5;

/// The message with what is signed taken out of its wrapping: its own header fields, then the part that was signed. A
/// message that is encrypted is [`Category::Encrypted`](domain::outcome::Category::Encrypted).
pub(crate) fn opened(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, Exception> {
    let mut bytes = bytes;
    for _ in 0..MOST_WRAPPINGS {
        let message = parse(&bytes)?;
        let root = message.root_part();
        let is = |kind: &str, subtypes: &[&str]| {
            root.content_type().is_some_and(|media| {
                media.ctype().eq_ignore_ascii_case(kind)
                    && media.subtype().is_some_and(|found| subtypes.iter().any(|one| one.eq_ignore_ascii_case(found)))
            })
        };
        if is("multipart", &["encrypted"]) {
            return Err(pkcs7::encrypted());
        }
        if !is("application", &["pkcs7-mime", "x-pkcs7-mime"]) {
            break;
        }
        let inside = match signed::open(root.contents()) {
            Some(Content::Encrypted) => return Err(pkcs7::encrypted()),
            Some(Content::Signed { inside: Some(inside), .. }) => inside,
            _ => break,
        };
        let mut unwrapped = own_fields(bytes.get(..root.raw_body_offset() as usize).unwrap_or_default());
        unwrapped.extend_from_slice(&inside);
        bytes = Cow::Owned(unwrapped);
    }
    Ok(bytes)
}

/// The fields of a header that do not describe its body.
fn own_fields(header: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut keeps = true;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            break;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            keeps = !line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"content-"));
        }
        if keeps {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// The subject of a message.
pub(crate) fn subject(bytes: &[u8]) -> Option<String> {
    MessageParser::default().parse_headers(bytes)?.subject().map(str::to_owned)
}

/// Some programs save messages as UTF-16, others write headers in old character sets, and no mail parser reads either:
/// those become UTF-8.
pub(crate) fn as_ascii_superset(bytes: &[u8]) -> Cow<'_, [u8]> {
    let wide = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || bytes.get(..4).is_some_and(|head| head.contains(&0));
    if wide {
        return Cow::Owned(decode::text(bytes, None).into_owned().into_bytes());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // A header in some old character set, not encoded as it must be (RFC 5322 section 2.2).
    let end = sniff::find(bytes, b"\n\n").or_else(|| sniff::find(bytes, b"\n\r\n")).unwrap_or(bytes.len());
    let (header, body) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    if std::str::from_utf8(header).is_ok() {
        return Cow::Borrowed(bytes);
    }
    // Encoded words name their own character set, whatever else they break.
    let is_plain = |line: &&[u8]| sniff::find(line, b"=?").is_none();
    let sample: Vec<u8> = header.split_inclusive(|byte| *byte == b'\n').filter(is_plain).flatten().copied().collect();
    let encoding = decode::guess(&sample);
    let mut whole = Vec::with_capacity(bytes.len());
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        if is_plain(&line) && std::str::from_utf8(line).is_err() {
            whole.extend_from_slice(encoding.decode_without_bom_handling(line).0.as_bytes());
        } else {
            whole.extend_from_slice(line);
        }
    }
    whole.extend_from_slice(body);
    Cow::Owned(whole)
}

/// What the header fields say.
pub(crate) fn metadata(message: &Message<'_>, composer: &mut Composer) {
    let metadata = &mut composer.metadata;
    metadata.subject = message.subject().map(str::to_owned);
    metadata.from = people(message.from()).into_iter().next().or_else(|| people(message.sender()).into_iter().next());
    metadata.to = message.all_to().flat_map(|address| people(Some(address))).collect();
    metadata.cc = message.all_cc().flat_map(|address| people(Some(address))).collect();
    metadata.bcc = message.all_bcc().flat_map(|address| people(Some(address))).collect();
    let date = message.date().filter(|date| date.is_valid());
    metadata.sent_at = date.map(timestamp);
    if let Some(date) = date {
        metadata.extra.insert(mail::DATE.to_owned(), date.to_rfc3339());
    }
    // The topmost was added last, by the server that delivered the message (RFC 5321 section 4.4).
    let delivered = message.received().and_then(mail_parser::Received::date).filter(mail_parser::DateTime::is_valid);
    metadata.received_at = delivered.as_ref().map(timestamp);
    metadata.message_id = message.message_id().map(str::to_owned);
    metadata.in_reply_to = identifiers(message.in_reply_to()).into_iter().next();
    metadata.references = identifiers(message.references());
    let index = message.header_raw("Thread-Index").map(|value| value.split_whitespace().collect::<String>());
    let index = index.and_then(|value| base64_decode(value.as_bytes())).filter(|index| !index.is_empty());
    metadata.conversation_index = index.map(|index| mail::hex(&index));
}

fn timestamp(date: &mail_parser::DateTime) -> Timestamp {
    Timestamp(date.to_timestamp().saturating_mul(1_000_000))
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
    let media = part.content_type().map(|media| format!("{}/{subtype}", media.ctype()).to_ascii_lowercase());
    let known = Format::ALL.iter().find(|format| media.as_deref() == Some(format.media_type()));
    let extension = known.and_then(|format| format.extensions().first()).map(|extension| (*extension).to_owned());
    let extension = extension.unwrap_or_else(|| {
        subtype.chars().filter(char::is_ascii_alphanumeric).take(12).collect::<String>().to_lowercase()
    });
    format!("attachment-{number}.{extension}")
}
