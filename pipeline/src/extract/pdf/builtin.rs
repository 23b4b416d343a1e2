//! The built-in engine, `pdf_oxide`: pure Rust, no library to install.

use std::collections::{HashMap, VecDeque};

use domain::{
    outcome::{Category, Exception},
    text::Metadata,
};
use image::GrayImage;
use pdf_oxide::{PdfDocument, object::Object};

use super::{
    date,
    draft::{Draft, Frame},
};
use crate::{extract::corrupt, passwords::KeyRing, settings::Settings};

/// An open document.
pub(super) struct Builtin {
    document: PdfDocument,
    pages: usize,
}

impl Builtin {
    /// Opens a document, with the empty user password or one of `keys` if it wants one. The engine would answer a locked
    /// document with empty pages, so the lock is tried first.
    pub(super) fn open(bytes: Vec<u8>, keys: &KeyRing) -> Result<Self, Exception> {
        let document = PdfDocument::from_bytes(bytes).map_err(|_| corrupt("the file is not a readable PDF"))?;
        if document.is_encrypted() && !unlock(&document, keys) {
            return Err(Exception::new(Category::Encrypted, "the document is protected by a password"));
        }
        match document.page_count() {
            Ok(pages @ 1..) => Ok(Self { document, pages }),
            _ => Err(corrupt("the document has no readable page")),
        }
    }

    pub(super) fn document(&self) -> &PdfDocument {
        &self.document
    }

    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    pub(super) fn frame(&self, index: usize) -> Frame {
        let visible = self.document.get_page_visible_box(index).unwrap_or((0.0, 0.0, 612.0, 792.0));
        let rotation = self.document.get_page_rotation(index).unwrap_or(0).rem_euclid(360);
        Frame { left: visible.0, bottom: visible.1, right: visible.2, top: visible.3, rotation }
    }

    /// The text of a page in the engine's reading order. Boxes come from its word list, each given to the next place in
    /// the text where that word stands.
    pub(super) fn page(&self, index: usize, frame: &Frame) -> Option<Draft> {
        let text = unbroken(&self.document.extract_text(index).ok()?);
        let mut boxes: HashMap<String, VecDeque<[f32; 4]>> = HashMap::new();
        for word in self.document.extract_words(index).unwrap_or_default() {
            let place = word.bbox;
            let shown = frame.displayed(place.x, place.y, place.x + place.width, place.y + place.height);
            boxes.entry(word.text).or_default().push_back(shown);
        }
        let mut draft = Draft::default();
        for part in text.split_inclusive(char::is_whitespace) {
            let word = part.trim_end_matches(char::is_whitespace);
            let bbox = boxes.get_mut(word).and_then(VecDeque::pop_front);
            draft.push_word(word.to_owned(), bbox);
            if let Some(gap) = part.chars().next_back().filter(|last| last.is_whitespace()) {
                draft.push_gap(gap);
            }
        }
        Some(draft)
    }

    /// The largest picture on the page, which on a scanned page is the page; with the resolution it is shown at.
    pub(super) fn scan(&self, index: usize, frame: &Frame, settings: &Settings) -> Option<(GrayImage, u32)> {
        let pictures = self.document.extract_images(index).ok()?;
        let area = |width: u32, height: u32| u64::from(width).saturating_mul(u64::from(height));
        let largest = pictures.into_iter().max_by_key(|picture| area(picture.width(), picture.height()))?;
        if area(largest.width(), largest.height()) > settings.limits.max_pixels {
            return None;
        }
        let grey = largest.to_dynamic_image().ok()?.to_luma8();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to what tesseract takes"
        )]
        let dpi = (grey.width() as f32 * 72.0 / frame.size().0.max(1.0)).clamp(70.0, 1200.0) as u32;
        Some((grey, dpi))
    }

    pub(super) fn metadata(&self) -> Metadata {
        let info = self
            .document
            .trailer()
            .as_dict()
            .and_then(|trailer| trailer.get("Info"))
            .and_then(|info| self.document.resolve_object(info).ok());
        let Some(info) = info.as_ref().and_then(Object::as_dict) else { return Metadata::default() };
        let text = |key: &str| {
            info.get(key)
                .and_then(|value| self.document.resolve_object(value).ok())
                .as_ref()
                .and_then(Object::as_string)
                .map(text_string)
                .filter(|value| !value.is_empty())
        };
        let mut metadata = Metadata {
            title: text("Title"),
            author: text("Author"),
            subject: text("Subject"),
            created_at: text("CreationDate").and_then(|value| date(&value)),
            modified_at: text("ModDate").and_then(|value| date(&value)),
            ..Metadata::default()
        };
        let extra = [("keywords", "Keywords"), ("creator", "Creator"), ("producer", "Producer")];
        metadata.extra.extend(extra.into_iter().filter_map(|(name, key)| Some((name.to_owned(), text(key)?))));
        metadata
    }
}

/// The text with words joined that a hyphen breaks at a line's end, as the other engine joins them: so they are found.
fn unbroken(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("-\n") {
        whole.push_str(before);
        let broken = before.ends_with(char::is_alphabetic) && after.starts_with(char::is_lowercase);
        whole.push_str(if broken { "" } else { "-\n" });
        rest = after;
    }
    whole.push_str(rest);
    whole
}

/// Tries the empty password, then `keys` as user and owner passwords. Before 2008 passwords were one byte a letter
/// (ISO 32000-2, 7.6.4.3.2), since then UTF-8.
fn unlock(document: &PdfDocument, keys: &KeyRing) -> bool {
    let fits = |password: &[u8]| document.authenticate(password).unwrap_or(false);
    fits(b"")
        || keys
            .open(|password| {
                let (narrow, _, lossy) = encoding_rs::WINDOWS_1252.encode(password);
                (fits(password.as_bytes()) || (!lossy && fits(&narrow))).then_some(())
            })
            .is_some()
}

/// A text string: UTF-16 or UTF-8 with a mark, else one byte a letter (ISO 32000-1, 7.9.2.2).
pub(super) fn text_string(bytes: &[u8]) -> String {
    let text = match encoding_rs::Encoding::for_bom(bytes) {
        Some(_) => crate::decode::text(bytes, None).into_owned(),
        None => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    };
    text.trim().to_owned()
}
