//! What a PDF holds around the text of its pages: bookmarks, form fields, annotations. Read from the objects by `pdf_oxide`,
//! whichever engine reads the pages. Everything is walked with a list and a set of what was seen: hostile files are circles.

use std::collections::{HashMap, HashSet};

use domain::clock::Timestamp;
use pdf_oxide::{
    PdfDocument,
    object::{Object, ObjectRef},
};

use super::{builtin::text_string, date};
use crate::extract::asides::{Aside, Kind};

/// Most pages, bookmarks, annotations of a page or files that are looked at.
pub(super) const MOST: usize = 20_000;
/// Most bookmarks: each may cost a search through the tree of named destinations.
const MOST_BOOKMARKS: usize = 2_000;
/// Longest chain of parents of a form field.
const LONGEST_CHAIN: usize = 32;

/// The objects of an open document.
#[derive(Clone, Copy)]
pub(super) struct Objects<'a>(pub(super) &'a PdfDocument);

/// An entry of the outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bookmark {
    pub(super) title: String,
    pub(super) level: u8,
    /// Page from 0.
    pub(super) page: usize,
}

impl Objects<'_> {
    /// The value of a dictionary's entry, a reference followed.
    pub(super) fn entry(self, of: &Object, key: &str) -> Option<Object> {
        let value = of.as_dict()?.get(key)?;
        self.resolved(value).filter(|value| !value.is_null())
    }

    pub(super) fn resolved(self, value: &Object) -> Option<Object> {
        match value {
            Object::Reference(_) => self.0.resolve_object(value).ok(),
            other => Some(other.clone()),
        }
    }

    /// A text string entry; `None` when there is nothing in it.
    pub(super) fn text(self, of: &Object, key: &str) -> Option<String> {
        let value = self.entry(of, key)?;
        value.as_string().map(text_string).filter(|text| !text.is_empty())
    }

    /// A time entry, as ISO 8601.
    fn time(self, of: &Object, key: &str) -> Option<String> {
        self.text(of, key).and_then(|text| date(&text)).map(Timestamp::rfc3339)
    }

    pub(super) fn catalog(self) -> Option<Object> {
        self.0.catalog().ok()
    }

    /// The pages' own references, in order.
    fn pages(self) -> HashMap<ObjectRef, usize> {
        let mut pages = HashMap::new();
        let mut seen = HashSet::new();
        let root = self.catalog().and_then(|catalog| catalog.as_dict()?.get("Pages")?.as_reference());
        let mut waiting: Vec<ObjectRef> = root.into_iter().collect();
        while let Some(reference) = waiting.pop() {
            if pages.len() >= MOST || !seen.insert(reference) {
                continue;
            }
            let Ok(node) = self.0.load_object(reference) else { continue };
            let kids = self.entry(&node, "Kids");
            if let Some(kids) = kids.as_ref().and_then(Object::as_array) {
                waiting.extend(kids.iter().rev().filter_map(Object::as_reference));
            } else {
                let number = pages.len();
                pages.insert(reference, number);
            }
        }
        pages
    }

    /// The outline in reading order: entries that lead to a page of this document.
    pub(super) fn bookmarks(self) -> Vec<Bookmark> {
        let outline = self.catalog().and_then(|catalog| self.entry(&catalog, "Outlines"));
        let first = |of: &Object, key: &str| of.as_dict()?.get(key)?.as_reference();
        let mut waiting: Vec<(ObjectRef, u8)> =
            outline.and_then(|outline| first(&outline, "First")).map(|reference| (reference, 1)).into_iter().collect();
        if waiting.is_empty() {
            return Vec::new();
        }
        let pages = self.pages();
        let mut seen = HashSet::new();
        let mut bookmarks = Vec::new();
        while let Some((reference, level)) = waiting.pop() {
            if seen.len() >= MOST_BOOKMARKS || !seen.insert(reference) {
                continue;
            }
            let Ok(item) = self.0.load_object(reference) else { continue };
            waiting.extend(first(&item, "Next").map(|next| (next, level)));
            waiting.extend(first(&item, "First").map(|child| (child, level.saturating_add(1).min(9))));
            if let (Some(title), Some(page)) = (self.text(&item, "Title"), self.target(&item, &pages)) {
                bookmarks.push(Bookmark { title, level, page });
            }
        }
        bookmarks
    }

    /// The page an outline entry leads to (ISO 32000-1, 12.3.2).
    fn target(self, item: &Object, pages: &HashMap<ObjectRef, usize>) -> Option<usize> {
        let destination = self.entry(item, "Dest").or_else(|| self.entry(&self.entry(item, "A")?, "D"))?;
        match &destination {
            Object::Array(parts) => match parts.first()? {
                Object::Reference(page) => pages.get(page).copied(),
                Object::Integer(page) => usize::try_from(*page).ok(),
                _ => None,
            },
            Object::String(name) => self.0.resolve_named_destination(&String::from_utf8_lossy(name)).ok().flatten(),
            Object::Name(name) => self.0.resolve_named_destination(name).ok().flatten(),
            _ => None,
        }
    }

    /// The annotations of a page (from 0) that say something.
    pub(super) fn annotations(self, page: usize) -> Vec<Object> {
        let list = self.0.get_page(page).ok().and_then(|page| self.entry(&page, "Annots"));
        let list = list.as_ref().and_then(Object::as_array);
        list.into_iter().flatten().take(MOST).filter_map(|one| self.resolved(one)).collect()
    }

    /// Comments and form values of a page, from 0. `with_fields` is false when the page's text has the values already.
    pub(super) fn asides(self, page: usize, with_fields: bool) -> Vec<Aside> {
        let mut asides: Vec<Aside> = Vec::new();
        for annotation in self.annotations(page) {
            let subtype = self.entry(&annotation, "Subtype");
            let aside = match subtype.as_ref().and_then(Object::as_name) {
                Some("Widget") if with_fields => self.field(&annotation),
                Some("Widget" | "Popup" | "Link") | None => None,
                Some(_) => self.comment(&annotation),
            };
            // One field may be shown many times.
            asides.extend(aside.filter(|aside| aside.kind == Kind::Comment || !asides.contains(aside)));
        }
        asides
    }

    fn comment(self, annotation: &Object) -> Option<Aside> {
        let text = self.text(annotation, "Contents")?;
        let at = self.time(annotation, "CreationDate").or_else(|| self.time(annotation, "M"));
        Some(Aside { kind: Kind::Comment, by: self.text(annotation, "T"), at, text })
    }

    /// A form field with a value, `name: value`. Entries may stand in the field's parents (ISO 32000-1, 12.7.3.1).
    fn field(self, widget: &Object) -> Option<Aside> {
        let mut chain = vec![widget.clone()];
        while let Some(parent) = chain.last().and_then(|child| self.entry(child, "Parent"))
            && chain.len() < LONGEST_CHAIN
        {
            chain.push(parent);
        }
        let inherited = |key: &str| chain.iter().find_map(|field| self.entry(field, key));
        let name = chain.iter().find_map(|field| self.text(field, "TU").or_else(|| self.text(field, "T")))?;
        let value = match inherited("FT").as_ref().and_then(Object::as_name)? {
            "Btn" => {
                self.entry(widget, "AS").or_else(|| inherited("V")).filter(|state| state.as_name() != Some("Off"))?
            }
            _ => inherited("V")?,
        };
        let value = self.value(&value).filter(|value| !value.trim().is_empty())?;
        Some(Aside { kind: Kind::Field, by: None, at: None, text: format!("{name}: {value}") })
    }

    fn value(self, value: &Object) -> Option<String> {
        match value {
            Object::String(bytes) => Some(text_string(bytes)),
            Object::Name(name) => Some(name.clone()),
            Object::Array(many) => {
                let many: Vec<String> =
                    many.iter().filter_map(|one| Some(text_string(self.resolved(one)?.as_string()?))).collect();
                Some(many.join(", "))
            }
            Object::Stream { .. } => value.decode_stream_data().ok().map(|bytes| text_string(&bytes)),
            // A signature names who signed.
            Object::Dictionary(_) => self.text(value, "Name").map(|name| format!("signed by {name}")),
            _ => None,
        }
    }
}
