//! Attachments in `winmail.dat` (MS-OXTNEF); messages among them become MSG files.

use domain::outcome::Exception;

use super::Outlet;
use crate::{
    extract::corrupt,
    mapi::{letter, tnef},
};

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let message = tnef::read(bytes).ok_or_else(|| corrupt("the message does not begin as one"))?;
    let page = letter::page(&message.properties);
    for (attachment, number) in message.attachments.iter().zip(1..) {
        let head = letter::attachment_head(&attachment.properties, number, page.as_deref());
        match attachment.content() {
            Some(content) => outlet.member(head, &mut content.as_ref())?,
            None => outlet.failed(&head, corrupt("the attachment has no content"))?,
        }
    }
    Ok(())
}
