//! The text of a container itself: the names of what it holds.

use domain::outcome::Exception;

use crate::{compose::Composer, format::Format, limits::Limits, passwords::KeyRing, unpack};

pub(super) fn read(
    bytes: Vec<u8>,
    format: Format,
    name: &str,
    limits: &Limits,
    keys: &KeyRing,
    composer: &mut Composer,
) -> Result<(), Exception> {
    for name in unpack::names(format, name, bytes, limits, keys)? {
        composer.push(&name);
        composer.end_line();
    }
    Ok(())
}
