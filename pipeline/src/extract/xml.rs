//! XML without a reader of its own: its character data, element by element, and the attributes that say something. Nothing is
//! expanded but the five entities every XML has, so definitions and external entities are dead letters.

use domain::outcome::Category;

use super::{
    markup::{Element, Markup, Token},
    package::declared_encoding,
};
use crate::{compose::Composer, decode};

/// Attributes that are plumbing or geometry (XML namespaces, schemas, HTML, SVG).
const MUTE: &[&str] = &[
    "class",
    "d",
    "fill",
    "height",
    "id",
    "lang",
    "noNamespaceSchemaLocation",
    "points",
    "rel",
    "schemaLocation",
    "space",
    "stroke",
    "style",
    "transform",
    "type",
    "version",
    "viewBox",
    "width",
];

pub(super) fn read(bytes: &[u8], composer: &mut Composer) {
    let text = decode::text(bytes, declared_encoding(bytes).as_deref());
    let mut markup = Markup::new(&text);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) => {
                composer.end_line();
                attributes(&element, composer);
            }
            Token::Close(_) => composer.end_line(),
            Token::Text(text) if text.trim().is_empty() => {
                // Between entities a space is a space; between elements it is layout.
                if !text.contains('\n') && !composer.at_line_start() {
                    composer.push(" ");
                }
            }
            Token::Text(text) if composer.at_line_start() => composer.push(text.trim_start()),
            Token::Text(text) => composer.push(&text),
        }
    }
    if markup.is_damaged() {
        composer.warn(Category::Partial, None, "the XML is damaged; what follows the damage is left out");
    }
}

/// Attributes with words in them, `name: value`, a line each.
fn attributes(element: &Element<'_>, composer: &mut Composer) {
    for (name, value) in element.attributes() {
        let mute = name.starts_with("xmlns") || MUTE.contains(&name.rsplit(':').next().unwrap_or(&name));
        if !mute && value.chars().any(char::is_alphanumeric) {
            composer.push(&format!("{name}: {}", value.trim()));
            composer.end_line();
        }
    }
}
