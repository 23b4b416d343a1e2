//! Electronic books (EPUB 2 and 3): the package file says in which order the book is read; each item of that order is a
//! page. A book without a usable package file is read in the order of its parts.

use std::collections::HashMap;

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};

use super::{
    corrupt, html,
    markup::{Markup, Token},
    package::{Package, resolve},
};
use crate::compose::Composer;

pub(super) fn read(bytes: Vec<u8>, composer: &mut Composer) -> Result<(), Exception> {
    let mut package = Package::open(bytes)?;
    let mut parts = Vec::new();
    if let Some(root) = package.text("META-INF/container.xml").as_deref().and_then(root_file)
        && let Some(opf) = package.text(&root)
    {
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        parts = spine(&opf, folder, composer);
    }
    if parts.is_empty() {
        let pages = |name: &&String| [".xhtml", ".html", ".htm"].iter().any(|end| name.to_lowercase().ends_with(end));
        parts = package.names().iter().filter(pages).cloned().collect();
        parts.sort();
    }
    let locked = package.text("META-INF/encryption.xml").map(|xml| locked_parts(&xml)).unwrap_or_default();
    if !parts.is_empty() && parts.iter().all(|part| locked.contains(part)) {
        return Err(Exception::new(Category::Encrypted, "the book is protected (DRM)"));
    }
    let title = composer.metadata.title.take();
    let mut found = false;
    for part in parts {
        if !composer.begin_page(None, None) {
            break;
        }
        let page = composer.page_number();
        if locked.contains(&part) {
            composer.warn(Category::Partial, Some(page), "this part of the book is protected");
        } else if let Some(bytes) = package.part(&part) {
            html::read(&bytes, composer);
            found = true;
        } else {
            composer.warn(Category::Partial, Some(page), "this part of the book is missing or damaged");
        }
    }
    let first = composer.metadata.title.take();
    composer.metadata.title = title.or(first);
    if found { Ok(()) } else { Err(corrupt("the book has no readable part")) }
}

/// The path of the package file (OCF 3.3, 4.2.6.3.1).
fn root_file(container: &str) -> Option<String> {
    let mut markup = Markup::new(container);
    while let Some(token) = markup.next() {
        if let Token::Open(element) = token
            && element.name() == "rootfile"
        {
            return element.attribute("full-path");
        }
    }
    None
}

/// The parts of the book in reading order; its metadata go to `composer`.
fn spine(opf: &str, folder: &str, composer: &mut Composer) -> Vec<String> {
    let mut items = HashMap::new();
    let mut order = Vec::new();
    let mut value = String::new();
    let mut in_metadata = false;
    let mut markup = Markup::new(opf);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) => {
                value.clear();
                match element.name() {
                    "metadata" => in_metadata = true,
                    "item" => {
                        if let (Some(id), Some(target)) = (element.attribute("id"), element.attribute("href")) {
                            items.insert(id, resolve(folder, &percent_decoded(&target)));
                        }
                    }
                    "itemref" => order.extend(element.attribute("idref")),
                    _ => {}
                }
            }
            Token::Text(text) if in_metadata => value.push_str(&text),
            Token::Close(name) if name == "metadata" => in_metadata = false,
            Token::Close(name) if in_metadata => property(&name, value.trim(), composer),
            _ => {}
        }
    }
    order.iter().filter_map(|id| items.remove(id)).collect()
}

fn property(name: &str, value: &str, composer: &mut Composer) {
    if value.is_empty() {
        return;
    }
    let metadata = &mut composer.metadata;
    match name {
        "title" => {
            metadata.title.get_or_insert_with(|| value.to_owned());
        }
        "creator" => match &mut metadata.author {
            Some(author) => {
                author.push_str("; ");
                author.push_str(value);
            }
            author => *author = Some(value.to_owned()),
        },
        "date" if metadata.created_at.is_none() => metadata.created_at = Timestamp::parse(value),
        "subject" => {
            metadata.subject.get_or_insert_with(|| value.to_owned());
        }
        "publisher" | "language" | "description" | "identifier" => {
            metadata.extra.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        _ => {}
    }
}

/// Parts that are encrypted, except fonts, whose scrambling protects no text (OCF 3.3, 4.3).
fn locked_parts(encryption: &str) -> Vec<String> {
    let mut locked = Vec::new();
    let mut scrambled_font = false;
    let mut markup = Markup::new(encryption);
    while let Some(token) = markup.next() {
        let Token::Open(element) = token else { continue };
        match element.name() {
            "EncryptionMethod" => {
                let algorithm = element.attribute("Algorithm").unwrap_or_default();
                scrambled_font = algorithm.contains("/embedding") || algorithm.contains("font");
            }
            "CipherReference" if !scrambled_font => {
                locked.extend(element.attribute("URI").map(|uri| resolve("", &percent_decoded(&uri))));
            }
            _ => {}
        }
    }
    locked
}

/// A relative reference without its fragment, `%20` and the like decoded (RFC 3986, 2.1).
fn percent_decoded(reference: &str) -> String {
    let reference = reference.split('#').next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(reference.len());
    let mut rest = reference.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_decoded() {
        for (reference, expected) in [("a%20b.html#c", "a b.html"), ("%c3%bc%", "ü%"), ("100%zz", "100%zz")] {
            assert_eq!(percent_decoded(reference), expected);
        }
    }
}
