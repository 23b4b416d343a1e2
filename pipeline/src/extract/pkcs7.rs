//! Signed or encrypted content that stands alone (CMS, RFC 5652): whose certificates it carries. What was signed is its member.

use domain::outcome::{Category, Exception};

use super::corrupt;
use crate::{
    compose::Composer,
    mail::signed::{self, Content},
};

pub(super) fn read(bytes: &[u8], composer: &mut Composer) -> Result<(), Exception> {
    match signed::open(bytes) {
        Some(Content::Signed { certificates, .. }) => {
            composer.push("Signed content\n");
            for owner in certificates {
                composer.push(&format!("Certificate: {owner}\n"));
            }
            Ok(())
        }
        Some(Content::Encrypted) => Err(encrypted()),
        Some(Content::Other) => {
            Err(Exception::new(Category::Unsupported, "the content is neither signed nor encrypted"))
        }
        None => Err(corrupt("the content does not begin as it should")),
    }
}

/// For content that only its recipients can open.
pub(crate) fn encrypted() -> Exception {
    Exception::new(Category::Encrypted, "the content is encrypted for its recipients")
}
