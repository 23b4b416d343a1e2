//! Files that a Word document takes in whole when it is opened (`altChunk`, ISO 29500-1, 17.17.2.1): web pages, saved mail, RTF, plain
//! text, other Word documents. Word shows them as part of the document, so their text is part of it; it follows the document's
//! own.

use office_oxide::DocumentFormat;

use super::{eml, html, office, package::Package, rtf, workbook::relations};
use crate::{compose::Composer, decode, format::Format, limits::Limits, sniff::identify};

/// Most files taken in.
const MOST: usize = 1_000;

/// Writes the text of the files that a document takes in. Those that cannot be read are said to be missing.
pub(super) fn write(bytes: Vec<u8>, composer: &mut Composer) {
    let Ok(mut package) = Package::open(bytes) else { return };
    let imported = relations(&mut package, "word", "document.xml").into_values();
    let mut parts: Vec<String> =
        imported.filter(|(kind, _)| kind.ends_with("/aFChunk")).map(|(_, part)| part).collect();
    parts.sort();
    for part in parts.into_iter().take(MOST) {
        if composer.is_full() {
            return;
        }
        let text = package.part(&part).and_then(|bytes| read(&part, bytes));
        match text {
            Some(text) => {
                composer.end_line();
                composer.push(&text);
                composer.end_line();
            }
            None => composer.warn(
                domain::outcome::Category::Partial,
                None,
                "a file that the document takes in when it is opened could not be read",
            ),
        }
    }
}

fn read(name: &str, bytes: Vec<u8>) -> Option<String> {
    let mut composer = Composer::new(&Limits::default());
    match identify(&bytes, name).format {
        Format::Html | Format::Xml => html::read(&bytes, &mut composer),
        Format::Eml => eml::read_body(&bytes, &mut composer).ok()?,
        Format::Rtf => rtf::read(&bytes, &mut composer).ok()?,
        // What such a document takes in itself is not followed: a circle would have no end.
        Format::Docx => office::read_own(bytes, DocumentFormat::Docx, &mut composer).ok()?,
        Format::Text | Format::Csv | Format::Markdown => composer.push(&decode::text(&bytes, None)),
        _ => return None,
    }
    Some(composer.finish().text)
}
