//! The extracted text of a document as an object: one byte for the version of the form, then [`Text`] in postcard
//! (<https://postcard.jamesmunns.com/wire-format>). Extraction writes it; readers, the index and chat read it.

use std::io::{Read as _, Write as _};

use domain::{
    ids::{BlobId, CaseId},
    text::{Heading, Metadata, PageSource, PageText, Text, Warning, Word},
};
use serde::Deserialize;

use crate::{
    Error, Result,
    objects::{BlobKind, ObjectError, Objects, Stored},
    vault::CaseKey,
};

/// The form written now. A change of [`Text`] that old bytes do not fit needs the next number and a way to read both.
const VERSION: u8 = 2;
/// The form before words said how sure recognition is of them.
const WITHOUT_CONFIDENCE: u8 = 1;

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
        Some((&WITHOUT_CONFIDENCE, encoded)) => Ok(postcard::from_bytes::<FirstText>(encoded)?.into()),
        _ => Err(Error::Invalid("a stored text has an unknown form")),
    }
}

/// [`Text`] in the first form.
#[derive(Deserialize)]
struct FirstText {
    text: String,
    pages: Vec<FirstPage>,
    headings: Vec<Heading>,
    metadata: Metadata,
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct FirstPage {
    number: u32,
    start: u32,
    end: u32,
    asides: Option<u32>,
    source: PageSource,
    size: Option<(f32, f32)>,
    label: Option<String>,
    words: Vec<FirstWord>,
}

#[derive(Deserialize)]
struct FirstWord {
    start: u32,
    end: u32,
    bbox: [f32; 4],
}

impl From<FirstText> for Text {
    fn from(first: FirstText) -> Self {
        let FirstText { text, pages, headings, metadata, warnings } = first;
        Self { text, pages: pages.into_iter().map(PageText::from).collect(), headings, metadata, warnings }
    }
}

impl From<FirstPage> for PageText {
    fn from(first: FirstPage) -> Self {
        let FirstPage { number, start, end, asides, source, size, label, words } = first;
        let word = |FirstWord { start, end, bbox }| Word { start, end, bbox, confidence: None };
        Self { number, start, end, asides, source, size, label, words: words.into_iter().map(word).collect() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_is_still_read() {
        // text "ab", one page 1, 0..2, no asides, recognised, no size, no label, one word 0..2 in a box of zeros; no headings.
        let mut bytes = vec![2, b'a', b'b', 1, 1, 0, 2, 0, 1, 0, 0, 1, 0, 2];
        bytes.extend([0; 16]);
        bytes.push(0);
        bytes.extend(postcard::to_stdvec(&Metadata::default()).unwrap());
        bytes.push(0);
        let text = Text::from(postcard::from_bytes::<FirstText>(&bytes).unwrap());
        assert_eq!((text.text.as_str(), text.pages[0].source), ("ab", PageSource::Ocr));
        assert_eq!(text.pages[0].words, [Word { start: 0, end: 2, bbox: [0.0; 4], confidence: None }]);
    }
}
