//! Attachments of a message (RFC 2045), messages within it included.

use domain::outcome::Exception;
use mail_parser::{Message, MessagePart, MimeHeaders};

use super::Outlet;
use crate::{extract::eml, reader::MemberHead};

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let bytes = eml::as_ascii_superset(bytes);
    let message = eml::parse(&bytes)?;
    for part in message.attachments() {
        let head = MemberHead {
            ordinal: 0,
            path: eml::name(part, outlet.done.members),
            modified: None,
            inline: is_inline(part, &message),
        };
        outlet.member(head, &mut part.contents())?;
    }
    Ok(())
}

/// Inline is a picture that the message's HTML shows by its content id, or that says so itself without a file name.
fn is_inline(part: &MessagePart<'_>, message: &Message<'_>) -> bool {
    let picture = part.content_type().is_some_and(|media| media.ctype().eq_ignore_ascii_case("image"));
    if !picture {
        return false;
    }
    let shown = part.content_id().is_some_and(|id| {
        let reference = format!("cid:{}", id.trim_matches(['<', '>']));
        message.html_bodies().any(|body| body.text_contents().is_some_and(|html| html.contains(&reference)))
    });
    let declared = part.content_disposition().is_some_and(mail_parser::ContentType::is_inline);
    shown || (declared && part.attachment_name().is_none())
}
