//! The PDFium engine: character by character with boxes, because its whole-page text clips rotated pages.

use std::{cell::OnceCell, path::Path};

use domain::{
    outcome::{Category, Exception},
    text::Metadata,
};
use image::GrayImage;
use pdfium_render::prelude::{
    PdfDocument, PdfDocumentMetadataTagType as Property, PdfFormType, PdfPage, PdfPageAnnotationType,
    PdfPageObjectType, PdfPageObjectsCommon, PdfPageRenderRotation, PdfRenderConfig, Pdfium, PdfiumError,
    PdfiumInternalError,
};

use super::{
    SecondOpinion,
    beside::Beside,
    date,
    draft::{Draft, Frame},
    unreadable,
};
use crate::{
    compose::Composer,
    extract::{Scans, corrupt},
    passwords::KeyRing,
    settings::Settings,
};

/// Loads the library; `None` when it is not there or not PDFium.
pub(super) fn load(library: &Path) -> Option<Pdfium> {
    Pdfium::bind_to_library(library).ok().map(Pdfium::new)
}

/// Opens a document, with the empty user password or one of `keys` if it wants one.
pub(super) fn open<'a>(library: &'a Pdfium, bytes: &'a [u8], keys: &KeyRing) -> Result<PdfDocument<'a>, Exception> {
    let document = library.load_pdf_from_byte_slice(bytes, None);
    let document = match document {
        Err(error) if is_locked(&error) => {
            let unlock = |password: &str| library.load_pdf_from_byte_slice(bytes, Some(password)).ok();
            // The library takes a C string.
            keys.open(|password| if password.contains('\0') { None } else { unlock(password) }).ok_or(error)
        }
        other => other,
    };
    let document = document.map_err(|error| match error {
        error if is_locked(&error) => Exception::new(Category::Encrypted, "the document is protected by a password"),
        PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::SecurityError) => {
            Exception::new(Category::Encrypted, "the document uses an unknown kind of protection")
        }
        _ => corrupt("the file is not a readable PDF"),
    })?;
    if document.pages().is_empty() {
        return Err(corrupt("the document has no readable page"));
    }
    Ok(document)
}

fn is_locked(error: &PdfiumError) -> bool {
    matches!(error, PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::PasswordError))
}

pub(super) fn read(
    document: &PdfDocument<'_>,
    bytes: &[u8],
    keys: &KeyRing,
    composer: &mut Composer,
    scans: &mut Scans<'_>,
) -> Result<(), Exception> {
    composer.metadata = metadata(document);
    let second = SecondOpinion { bytes, keys, document: OnceCell::new() };
    let mut beside = Beside::default();
    if document.bookmarks().root().is_some()
        && let Some(objects) = second.document()
    {
        beside.outline(objects);
    }
    for index in document.pages().as_range() {
        let page = document.pages().get(index).ok();
        let frame = page.as_ref().map(frame);
        if composer.is_full() || !composer.begin_page(frame.map(|frame| frame.size()), None) {
            break;
        }
        let (Some(page), Some(frame)) = (page, frame) else {
            unreadable(composer);
            continue;
        };
        let mut draft = draft(&page, &frame);
        let bare = page.objects().is_empty();
        let number = usize::try_from(index).unwrap_or(usize::MAX);
        let mut by_pdfium = true;
        if !draft.is_readable() && !bare {
            let other = if draft.is_empty() && only_pictures(&page) { None } else { second.page(number, &frame) };
            if let Some(other) = other.filter(|other| other.worth() > draft.worth()) {
                draft = other;
                by_pdfium = false;
            }
        }
        let readable = draft.is_readable();
        draft.write(composer);
        if !readable && !bare {
            scan(&page, &frame, composer, scans)?;
        }
        if (is_annotated(&page) || beside.has_bookmark(number))
            && let Some(objects) = second.document()
        {
            beside.page(objects, number, by_pdfium, composer);
        }
    }
    if document.form().is_some_and(|form| form.form_type() != PdfFormType::Acrobat)
        && let Some(objects) = second.document()
    {
        beside.form(objects, composer);
    }
    Ok(())
}

/// True when the page has annotations that may say something.
fn is_annotated(page: &PdfPage<'_>) -> bool {
    page.annotations()
        .iter()
        .any(|one| !matches!(one.annotation_type(), PdfPageAnnotationType::Link | PdfPageAnnotationType::Popup))
}

/// True when no text operator can have been missed.
fn only_pictures(page: &PdfPage<'_>) -> bool {
    page.objects()
        .iter()
        .all(|object| matches!(object.object_type(), PdfPageObjectType::Image | PdfPageObjectType::Path))
}

fn frame(page: &PdfPage<'_>) -> Frame {
    let (width, height) = (page.width().value, page.height().value);
    let rotation = match page.rotation() {
        Ok(PdfPageRenderRotation::Degrees90) => 90,
        Ok(PdfPageRenderRotation::Degrees180) => 180,
        Ok(PdfPageRenderRotation::Degrees270) => 270,
        _ => 0,
    };
    let (width, height) = if rotation % 180 == 0 { (width, height) } else { (height, width) };
    let boundaries = page.boundaries();
    let visible = boundaries.crop().or_else(|_| boundaries.media()).map(|boundary| boundary.bounds);
    let (left, bottom) = visible.map_or((0.0, 0.0), |bounds| (bounds.left().value, bounds.bottom().value));
    Frame { left, bottom, right: left + width, top: bottom + height, rotation }
}

fn draft(page: &PdfPage<'_>, frame: &Frame) -> Draft {
    let mut draft = Draft::default();
    let Ok(text) = page.text() else { return draft };
    let mut word = String::new();
    let mut bounds: Option<[f32; 4]> = None;
    let mut joining = false;
    for character in text.chars().iter() {
        let scalar = match character.unicode_value() {
            // The hyphen of a word broken at a line's end: the word goes on after the line end that follows.
            0x02 | 0xfffe => {
                joining = true;
                continue;
            }
            value => char::from_u32(value).unwrap_or('\u{fffd}'),
        };
        if scalar.is_whitespace() || scalar == '\0' {
            if joining {
                continue;
            }
            draft.push_word(std::mem::take(&mut word), boxed(bounds.take(), frame));
            draft.push_gap(if matches!(scalar, '\n' | '\r') { '\n' } else { ' ' });
            continue;
        }
        joining = false;
        // Between scripts of two directions the space often stands on the other side; without one neither word is found.
        if let (Some(last), Some(next)) = (word.chars().next_back().and_then(runs_left), runs_left(scalar))
            && last != next
        {
            draft.push_word(std::mem::take(&mut word), boxed(bounds.take(), frame));
            draft.push_gap(' ');
        }
        word.push(scalar);
        if let Ok(place) = character.loose_bounds() {
            let place = [place.left().value, place.bottom().value, place.right().value, place.top().value];
            bounds = Some(bounds.map_or(place, |[left, bottom, right, top]| {
                [left.min(place[0]), bottom.min(place[1]), right.max(place[2]), top.max(place[3])]
            }));
        }
    }
    draft.push_word(word, boxed(bounds, frame));
    draft
}

/// Whether a letter belongs to a script that runs to the left (Hebrew, Arabic and their neighbours); `None` for what is no letter.
fn runs_left(scalar: char) -> Option<bool> {
    let left = matches!(scalar, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}');
    scalar.is_alphabetic().then_some(left)
}

fn boxed(bounds: Option<[f32; 4]>, frame: &Frame) -> Option<[f32; 4]> {
    bounds.map(|[left, bottom, right, top]| frame.displayed(left, bottom, right, top))
}

/// Renders the page for OCR.
fn scan(page: &PdfPage<'_>, frame: &Frame, composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    let number = composer.page_number();
    let Some((width, height)) = pixels(frame, scans.settings) else {
        composer.warn(Category::TooLarge, Some(number), "the page is larger than may be rendered");
        return Ok(());
    };
    let config = PdfRenderConfig::new().set_fixed_size(width, height).use_grayscale_rendering(true);
    let Ok(bitmap) = page.render_with_config(&config) else {
        unreadable(composer);
        return Ok(());
    };
    let (width, height) = (bitmap.width().unsigned_abs(), bitmap.height().unsigned_abs());
    // Four equal bytes a pixel; the first says it all.
    let grey: Vec<u8> = bitmap.as_raw_bytes().into_iter().step_by(4).collect();
    if let Some(image) = GrayImage::from_raw(width, height, grey) {
        scans.recognise(composer, image, scans.settings.ocr_dpi)
    } else {
        unreadable(composer);
        Ok(())
    }
}

/// Size of the rendered page, unless it is over the pixel limit or nothing at all.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "checked against the pixel limit first"
)]
fn pixels(frame: &Frame, settings: &Settings) -> Option<(i32, i32)> {
    let scale = settings.ocr_dpi as f32 / 72.0;
    let (width, height) = frame.size();
    let (width, height) = ((width * scale).round(), (height * scale).round());
    let fits =
        width >= 1.0 && height >= 1.0 && f64::from(width) * f64::from(height) <= settings.limits.max_pixels as f64;
    fits.then_some((width as i32, height as i32))
}

fn metadata(document: &PdfDocument<'_>) -> Metadata {
    let known = document.metadata();
    let text =
        |property| known.get(property).map(|tag| tag.value().trim().to_owned()).filter(|value| !value.is_empty());
    let mut metadata = Metadata {
        title: text(Property::Title),
        author: text(Property::Author),
        subject: text(Property::Subject),
        created_at: text(Property::CreationDate).and_then(|value| date(&value)),
        modified_at: text(Property::ModificationDate).and_then(|value| date(&value)),
        ..Metadata::default()
    };
    let extra = [("keywords", Property::Keywords), ("creator", Property::Creator), ("producer", Property::Producer)];
    metadata.extra.extend(extra.into_iter().filter_map(|(name, property)| Some((name.to_owned(), text(property)?))));
    metadata
}
