//! What was signed (CMS, RFC 5652): one member.

use domain::outcome::Exception;

use super::Outlet;
use crate::{
    mail::signed::{self, Content},
    reader::MemberHead,
    sniff,
};

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    let Some(Content::Signed { inside: Some(inside), .. }) = signed::open(bytes) else { return Ok(()) };
    let format = sniff::identify(&inside, "signed.eml").format;
    let path = format!("signed.{}", format.extensions().first().unwrap_or(&"bin"));
    outlet.member(MemberHead { ordinal: 0, path, modified: None, inline: false }, &mut inside.as_ref())
}
