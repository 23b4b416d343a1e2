//! `winmail.dat` (MS-OXTNEF): the message inside.

use std::borrow::Cow;

use domain::outcome::Exception;

use super::corrupt;
use crate::{
    compose::Composer,
    mail::identity::{Digest, digest},
    mapi::{letter, tnef},
};

pub(super) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    let message = tnef::read(bytes).ok_or_else(|| corrupt("the message does not begin as one"))?;
    let digests: Vec<Digest> = message
        .attachments
        .iter()
        .map(|attachment| digest(&mut attachment.content().unwrap_or(Cow::Borrowed(&[])).as_ref()))
        .collect();
    letter::write(&message, &digests, composer);
    Ok(())
}
