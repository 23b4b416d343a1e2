//! The extracted text of a document as an object: one byte for the version of the form, then [`Text`] in postcard
//! (<https://postcard.jamesmunns.com/wire-format>). Extraction writes it; readers, the index and chat read it.

use std::io::{Read as _, Write as _};

use domain::{
    ids::{BlobId, CaseId},
    text::Text,
};

use crate::{
    Error, Result,
    objects::{BlobKind, ObjectError, Objects, Stored},
    vault::CaseKey,
};

/// The form written now. A change of [`Text`] that old bytes do not fit needs the next number and a way to read both.
const VERSION: u8 = 1;

/// Stores a text durably. Blocks.
pub fn write_text(objects: &Objects, key: &CaseKey, case: CaseId, text: &Text) -> Result<Stored> {
    let encoded = postcard::to_stdvec(text)?;
    let mut writer = objects.writer_blocking(key, case, BlobId::new(), BlobKind::Text)?;
    writer.write_all(&[VERSION])?;
    writer.write_all(&encoded)?;
    Ok(writer.finish()?)
}

/// Reads a text stored by [`write_text`]. Blocks.
pub fn read_text(objects: &Objects, key: &CaseKey, case: CaseId, blob: BlobId) -> Result<Text> {
    let mut reader = objects.reader(key, case, blob, BlobKind::Text)?;
    let mut bytes = Vec::with_capacity(usize::try_from(reader.size()).unwrap_or(0));
    reader.read_to_end(&mut bytes).map_err(|source| ObjectError::Damaged { blob, source })?;
    match bytes.split_first() {
        Some((&VERSION, encoded)) => Ok(postcard::from_bytes(encoded)?),
        _ => Err(Error::Invalid("a stored text has an unknown form")),
    }
}
