//! The text of a container itself: the names of what it holds.

use domain::outcome::Exception;

use crate::{compose::Composer, format::Format, unpack};

pub(super) fn read(bytes: Vec<u8>, format: Format, composer: &mut Composer) -> Result<(), Exception> {
    for name in unpack::names(format, bytes)? {
        composer.push(&name);
        composer.end_line();
    }
    Ok(())
}
