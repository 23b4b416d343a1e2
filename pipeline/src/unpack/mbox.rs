//! Messages of a mailbox (RFC 4155).

use domain::outcome::{Category, Exception};
use mail_parser::mailbox::mbox::MessageIterator;

use super::Outlet;
use crate::{extract::eml, reader::MemberHead};

/// Subjects of all messages, for the mailbox's own text.
pub(super) fn names(bytes: &[u8]) -> Vec<String> {
    let messages = MessageIterator::new(bytes).filter_map(Result::ok);
    messages.map(|message| eml::subject(message.contents()).unwrap_or_else(|| "(no subject)".to_owned())).collect()
}

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    for message in MessageIterator::new(bytes) {
        let path = format!("message-{:06}.eml", outlet.done.members.saturating_add(1));
        let head = MemberHead { ordinal: 0, path, modified: None, inline: false };
        match message {
            Ok(message) => outlet.member(head, &mut message.contents())?,
            Err(_) => outlet.failed(&head, Exception::new(Category::Corrupt, "the mailbox is damaged here"))?,
        }
    }
    Ok(())
}
