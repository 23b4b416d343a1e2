//! Attachments of a message (RFC 2045), messages within it included.

use std::borrow::Cow;

use domain::outcome::{Category, Exception};
use mail_parser::{
    Encoding, Message, MessagePart, MimeHeaders,
    decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode},
};

use super::Outlet;
use crate::{extract::eml, reader::MemberHead};

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let bytes = match eml::opened(eml::as_ascii_superset(bytes)) {
        // The exception is the message's own; there is nothing to take out.
        Err(exception) if exception.category == Category::Encrypted => return Ok(()),
        opened => opened?,
    };
    let message = eml::parse(&bytes)?;
    for part in message.attachments() {
        let head = MemberHead {
            ordinal: 0,
            path: eml::name(part, outlet.done.members),
            modified: None,
            inline: is_inline(part, &message),
        };
        outlet.member(head, &mut &*content(part, &message))?;
    }
    Ok(())
}

/// The attachment's own bytes: the parser turns text into UTF-8, so text is decoded again from the raw message, and a copy
/// of the file elsewhere has the same checksum.
pub(crate) fn content<'a>(part: &'a MessagePart<'_>, message: &'a Message<'_>) -> Cow<'a, [u8]> {
    if !part.is_text() {
        return Cow::Borrowed(part.contents());
    }
    let raw = message.raw_message().get(part.raw_body_offset() as usize..part.raw_end_offset() as usize);
    let decoded = match (raw, part.encoding) {
        (Some(raw), Encoding::Base64) => base64_decode(raw),
        (Some(raw), Encoding::QuotedPrintable) => quoted_printable_decode(raw),
        (raw, Encoding::None) => return Cow::Borrowed(raw.unwrap_or_else(|| part.contents())),
        _ => None,
    };
    decoded.map_or_else(|| Cow::Borrowed(part.contents()), Cow::Owned)
}

/// Inline is a picture that the message's HTML shows by its content id or its address, or that says so itself without a file name.
fn is_inline(part: &MessagePart<'_>, message: &Message<'_>) -> bool {
    let picture = part.content_type().is_some_and(|media| media.ctype().eq_ignore_ascii_case("image"));
    if !picture {
        return false;
    }
    let reference = part.content_id().map(|id| format!("cid:{}", id.trim_matches(['<', '>'])));
    // Saved web pages refer to their pictures by where they were (RFC 2557 section 4.2).
    let references = [reference.as_deref(), part.content_location().filter(|place| place.len() > 3)];
    let shown = references.into_iter().flatten().any(|reference| {
        message.html_bodies().any(|body| body.text_contents().is_some_and(|html| html.contains(reference)))
    });
    let declared = part.content_disposition().is_some_and(mail_parser::ContentType::is_inline);
    shown || (declared && part.attachment_name().is_none())
}
