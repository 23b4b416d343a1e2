//! Attachments of Outlook messages (MS-OXMSG); messages and OLE objects among them become files of their own.

use domain::outcome::{Category, Exception};

use super::Outlet;
use crate::mapi::{Method, file::File, letter};

pub(super) fn members(bytes: Vec<u8>, outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let mut file = File::open(bytes)?;
    let message = file.message();
    let page = letter::page(&message.properties);
    let storages = file.attachment_storages();
    for ((storage, attachment), number) in storages.into_iter().zip(&message.attachments).zip(1..) {
        let properties = &attachment.properties;
        let head = letter::attachment_head(properties, number, page.as_deref());
        let method = properties.method();
        match file.content(storage, method) {
            _ if method == Method::Reference => outlet.failed(&head, elsewhere())?,
            Some(content) => outlet.member(head, &mut content.as_slice())?,
            None => outlet.failed(&head, Exception::new(Category::Corrupt, "the attachment has no content"))?,
        }
    }
    Ok(())
}

/// For attachments that are only a path.
pub(super) fn elsewhere() -> Exception {
    Exception::new(Category::Unsupported, "the message holds only the path of the attachment, not its content")
}
