//! `OpenDocument` text and presentations (ISO 26300), zipped or flat: headings, lists, tables, notes, comments, tracked
//! changes. A slide is a page with its speaker notes at the end; a text has no pages before it is laid out.

mod styles;
mod writer;

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};

use self::writer::Writer;
use super::{
    corrupt,
    markup::{Markup, Token},
    package::{Package, declared_encoding},
};
use crate::{compose::Composer, decode};

pub(super) fn read(bytes: Vec<u8>, composer: &mut Composer) -> Result<(), Exception> {
    if !bytes.starts_with(b"PK") {
        let text = decode::text(&bytes, declared_encoding(&bytes).as_deref());
        metadata(&text, composer);
        let mut writer = Writer::new(composer);
        let whole = writer.read(&text);
        writer.finish();
        return note_damage(whole, composer);
    }
    let mut package = Package::open(bytes)?;
    if package.text("META-INF/manifest.xml").is_some_and(|manifest| manifest.contains("encryption-data")) {
        return Err(Exception::new(Category::Encrypted, "the document is protected by a password"));
    }
    if let Some(meta) = package.text("meta.xml") {
        metadata(&meta, composer);
    }
    let content = package.text("content.xml").ok_or_else(|| corrupt("the document has no readable content"))?;
    let mut writer = Writer::new(composer);
    // Styles come first: they say what is hidden, and hold the headers and footers.
    if let Some(styles) = package.text("styles.xml") {
        writer.read(&styles);
    }
    let whole = writer.read(&content);
    writer.finish();
    note_damage(whole, composer)
}

pub(super) fn note_damage(whole: bool, composer: &mut Composer) -> Result<(), Exception> {
    if whole {
        return Ok(());
    }
    if composer.page_number() == 0 {
        return Err(corrupt("the document's content is damaged from its beginning"));
    }
    composer.warn(Category::Partial, None, "the document's content is damaged; what follows the damage is left out");
    Ok(())
}

pub(super) fn metadata(xml: &str, composer: &mut Composer) {
    let mut markup = Markup::new(xml);
    let mut field: Option<String> = None;
    let mut value = String::new();
    let mut inside = 0_u32;
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) if element.name() == "meta" => inside = inside.saturating_add(1),
            Token::Open(element) if inside > 0 => {
                field = Some(element.name().to_owned());
                value.clear();
            }
            Token::Text(text) if inside > 0 => value.push_str(&text),
            Token::Close(name) if name == "meta" => return,
            Token::Close(name) if inside > 0 && field.as_ref() == Some(&name) => {
                property(&name, value.trim(), composer);
                field = None;
            }
            // The text itself is not the place to look.
            Token::Open(element) if element.name() == "body" => return,
            _ => {}
        }
    }
}

fn property(name: &str, value: &str, composer: &mut Composer) {
    if value.is_empty() {
        return;
    }
    let metadata = &mut composer.metadata;
    // Times have no zone; most writers mean UTC.
    let time = || Timestamp::parse(value).or_else(|| Timestamp::parse(&format!("{}Z", value.get(..19)?)));
    let extra = match name {
        "title" => return metadata.title = Some(value.to_owned()),
        "subject" => return metadata.subject = Some(value.to_owned()),
        "initial-creator" => return metadata.author = Some(value.to_owned()),
        "creation-date" => return metadata.created_at = time(),
        "date" => return metadata.modified_at = time(),
        "creator" => {
            metadata.author.get_or_insert_with(|| value.to_owned());
            "last_modified_by"
        }
        "description" => "description",
        "keyword" => "keywords",
        "generator" => "producer",
        _ => return,
    };
    let kept = metadata.extra.entry(extra.to_owned()).or_default();
    if !kept.is_empty() {
        kept.push_str("; ");
    }
    kept.push_str(value);
}
