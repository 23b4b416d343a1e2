//! EDRM XML 1.0 to 1.2: `Document` elements with their tags, files and locations, each read by itself. The relationships at the
//! end of a file, behind all documents, are not used: an item is attached to what its own tags name as its parent.

use super::{
    LoadFileError, MOST_RECORD, Record, Take,
    characters::Characters,
    columns::{Draft, Role},
    give, malformed,
};
use crate::extract::markup::{Element, Markup, Token};

pub(super) fn read(characters: &mut Characters<'_>, take: &mut Take<'_>) -> Result<(), LoadFileError> {
    let mut seen = false;
    while let Some((line, xml)) = document(characters)? {
        seen = true;
        let record = match xml {
            Some(xml) => record(&xml),
            None => Record::Refused("the document's description is longer than 4 MiB"),
        };
        give(take, line, record)?;
    }
    if seen { Ok(()) } else { Err(malformed(1, "there is no Document element of EDRM XML in it")) }
}

/// The next `Document` element as it is written, and its line; without its text when that is too long.
fn document(characters: &mut Characters<'_>) -> Result<Option<(u64, Option<String>)>, LoadFileError> {
    let (mut xml, mut begun, mut too_long) = (String::new(), None, false);
    while let Some(next) = characters.peek()? {
        let (line, is_tag) = (characters.line, next == '<');
        let piece = if is_tag { tag(characters)? } else { text(characters)? };
        if begun.is_none() && is_tag && named(&piece, "<", "Document") {
            begun = Some(line);
        }
        let Some(line) = begun else { continue };
        too_long |= xml.len().saturating_add(piece.len()) > MOST_RECORD;
        if too_long {
            xml.clear();
        } else {
            xml.push_str(&piece);
        }
        let alone = is_tag && piece.ends_with("/>") && named(&piece, "<", "Document");
        if alone || is_tag && named(&piece, "</", "Document") {
            return Ok(Some((line, (!too_long).then_some(xml))));
        }
    }
    match begun {
        Some(line) => {
            Err(malformed(line, "the XML ends within a Document element; the documents before it were taken"))
        }
        None => Ok(None),
    }
}

/// True for a tag of that name, whatever its prefix.
fn named(tag: &str, opens: &str, name: &str) -> bool {
    let Some(rest) = tag.strip_prefix(opens) else { return false };
    let whole = rest.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next().unwrap_or_default();
    whole.rsplit(':').next() == Some(name)
}

/// A tag with its brackets; quotes protect brackets within.
fn tag(characters: &mut Characters<'_>) -> Result<String, LoadFileError> {
    let (mut tag, mut quote) = (String::new(), None);
    while let Some(next) = characters.next()? {
        if tag.len() <= MOST_RECORD {
            tag.push(next);
        }
        match (quote, next) {
            (None, '>') => break,
            (None, '"' | '\'') => quote = Some(next),
            (Some(open), _) if open == next => quote = None,
            _ => {}
        }
    }
    Ok(tag)
}

/// Text up to the next tag.
fn text(characters: &mut Characters<'_>) -> Result<String, LoadFileError> {
    let mut text = String::new();
    while let Some(next) = characters.peek()? {
        if next == '<' {
            break;
        }
        characters.next()?;
        if text.len() <= MOST_RECORD {
            text.push(next);
        }
    }
    Ok(text)
}

fn record(xml: &str) -> Record {
    let mut draft = Draft::default();
    let (mut native, mut within, mut value) = (None, String::new(), String::new());
    let mut markup = Markup::new(xml);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) => {
                open(&element, &mut native, &mut draft);
                element.name().clone_into(&mut within);
                value.clear();
            }
            Token::Text(text) => value.push_str(&text),
            Token::Close(name) => {
                if name == "Custodian" && within == name {
                    draft.take(Role::Custodian, "Custodian", &value);
                }
                within.clear();
            }
        }
    }
    draft.finish().map_or(Record::Refused("the document names no file"), Record::Item)
}

/// Takes what a start tag says; `kind` is that of the file one is within.
fn open(element: &Element<'_>, kind: &mut Option<String>, draft: &mut Draft) {
    let attribute = |name| element.attribute(name).unwrap_or_default();
    match element.name() {
        "Document" => draft.take(Role::ControlNumber, "DocID", &attribute("DocID")),
        "Tag" => {
            let name = attribute("TagName");
            let name = name.trim_start_matches('#');
            draft.take(Role::of(name), name, &attribute("TagValue"));
        }
        "File" => *kind = element.attribute("FileType"),
        "ExternalFile" => {
            let (folder, name) = (attribute("FilePath"), attribute("FileName"));
            let path = match folder.trim_end_matches(['/', '\\']) {
                "" => name,
                folder if name.is_empty() => folder.to_owned(),
                folder => format!("{folder}/{name}"),
            };
            let is_text = kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("text"));
            draft.take(if is_text { Role::Text } else { Role::Path }, "ExternalFile", &path);
            draft.take(Role::Sha256, "Hash", &attribute("Hash"));
        }
        _ => {}
    }
}
