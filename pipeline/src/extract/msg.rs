//! Outlook messages (MS-OXMSG), and what Outlook keeps like them: appointments, contacts, tasks.

use domain::outcome::Exception;

use crate::{
    compose::Composer,
    mail::identity::{Digest, digest},
    mapi::{file::File, letter},
};

pub(super) fn read(bytes: Vec<u8>, composer: &mut Composer) -> Result<(), Exception> {
    let mut file = File::open(bytes)?;
    let message = file.message();
    let contents = file.attachment_storages().into_iter().zip(&message.attachments);
    let digests: Vec<Digest> = contents
        .map(|(storage, attachment)| file.content(storage, attachment.properties.method()).unwrap_or_default())
        .map(|content| digest(&mut content.as_slice()))
        .collect();
    letter::write(&message, &digests, composer);
    Ok(())
}
