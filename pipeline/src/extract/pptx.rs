//! What stands beside the text of a `PowerPoint` presentation: descriptions of its pictures (ISO 29500-1, 19.3.1.12). The text itself,
//! notes and comments come from `office_oxide`.

use super::{
    asides::{Aside, Kind},
    markup::{Markup, Token},
    package::Package,
    workbook::relations,
};

/// The asides of each slide, in the order of the presentation. A package that cannot be opened has none.
pub(super) fn gather(bytes: Vec<u8>) -> Vec<Vec<Aside>> {
    let Ok(mut package) = Package::open(bytes) else { return Vec::new() };
    let relations = relations(&mut package, "ppt", "presentation.xml");
    let presentation = package.text("ppt/presentation.xml").unwrap_or_default();
    let mut slides = Vec::new();
    let mut markup = Markup::new(&presentation);
    while let Some(token) = markup.next() {
        let Token::Open(element) = token else { continue };
        if element.name() == "sldId" {
            // The slide's own number is `id`; `r:id` is the relation.
            let relation = element.attributes().into_iter().find(|(name, _)| name.ends_with(":id"));
            let part = relation.and_then(|(_, id)| relations.get(&id)).map(|(_, part)| part.clone());
            let xml = part.and_then(|part| package.text(&part)).unwrap_or_default();
            slides.push(pictures(&xml));
        }
    }
    slides
}

fn pictures(xml: &str) -> Vec<Aside> {
    let mut found = Vec::new();
    let mut fallback = 0_u32;
    let mut markup = Markup::new(xml);
    while let Some(token) = markup.next() {
        match token {
            Token::Open(element) if element.name() == "Fallback" => fallback = fallback.saturating_add(1),
            Token::Close(name) if name == "Fallback" => fallback = fallback.saturating_sub(1),
            Token::Open(element) if element.name() == "cNvPr" && fallback == 0 => {
                let text = element.attribute("descr").filter(|text| !text.trim().is_empty());
                found.extend(text.map(|text| Aside { kind: Kind::Picture, by: None, at: None, text }));
            }
            _ => {}
        }
    }
    found
}
