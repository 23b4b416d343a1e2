//! Text of documents: one format, one file. Runs in the child.

pub(crate) mod eml;
mod html;
mod image;
mod listing;
mod office;
mod pdf;
mod plain;
mod sheet;
mod xml;

use std::io;

use domain::{
    outcome::{Category, Exception},
    text::Text,
};
use office_oxide::DocumentFormat;

pub(crate) use self::pdf::Engines;
use crate::{compose::Composer, format::Format, settings::Settings};

/// A page that must be recognised: grey pixels, row by row.
pub(crate) struct PageImage {
    pub(crate) page: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dpi: u32,
    pub(crate) grey: Vec<u8>,
}

/// Reads a document. `send` takes the images of pages that have no text of their own; what the parent recognises on
/// them replaces the empty pages later.
pub(crate) fn document(
    format: Format,
    name: &str,
    bytes: Vec<u8>,
    settings: &Settings,
    engines: &Engines,
    send: &mut dyn FnMut(PageImage) -> io::Result<()>,
) -> Result<Text, Exception> {
    if bytes.is_empty() {
        return Err(Exception::new(Category::Empty, "the file has no bytes"));
    }
    let mut composer = Composer::new(&settings.limits);
    let mut scans = Scans { settings, send };
    match format {
        Format::Pdf => pdf::read(bytes, engines, &mut composer, &mut scans)?,
        Format::Docx => office::read(bytes, DocumentFormat::Docx, &mut composer)?,
        Format::Doc => office::read(bytes, DocumentFormat::Doc, &mut composer)?,
        Format::Pptx => office::read(bytes, DocumentFormat::Pptx, &mut composer)?,
        Format::Ppt => office::read(bytes, DocumentFormat::Ppt, &mut composer)?,
        Format::Xlsx | Format::Xlsb | Format::Xls | Format::Ods => sheet::read(bytes, format, &mut composer)?,
        Format::Html => html::read(&bytes, &mut composer),
        Format::Xml => xml::read(&bytes, &mut composer),
        Format::Text | Format::Csv | Format::Markdown => plain::read(&bytes, format, &mut composer),
        Format::Eml => eml::read(&bytes, &mut composer)?,
        Format::Zip | Format::Mbox => listing::read(bytes, format, &mut composer)?,
        Format::Png | Format::Jpeg | Format::Tiff | Format::Gif | Format::Bmp | Format::Webp => {
            image::read(bytes, format, &mut composer, &mut scans)?;
        }
        _ => return Err(Exception::new(Category::Unsupported, format!("no reader for {}", format.media_type()))),
    }
    let _ = name;
    Ok(composer.finish())
}

/// Where pages without text go.
pub(crate) struct Scans<'a> {
    pub(crate) settings: &'a Settings,
    send: &'a mut dyn FnMut(PageImage) -> io::Result<()>,
}

impl Scans<'_> {
    /// Sends the current page's image to be recognised. A blank image needs nobody; without tesseract the page gets a
    /// warning instead.
    pub(crate) fn recognise(
        &mut self,
        composer: &mut Composer,
        grey: ::image::GrayImage,
        dpi: u32,
    ) -> Result<(), Exception> {
        let page = composer.page_number();
        if is_blank(&grey) {
            return Ok(());
        }
        if !self.available() {
            Self::unavailable(composer);
            return Ok(());
        }
        let (width, height) = grey.dimensions();
        let image = PageImage { page, width, height, dpi, grey: grey.into_raw() };
        (self.send)(image).map_err(|_| Exception::new(Category::Internal, "nobody takes the page image"))
    }

    /// True when there is somebody to recognise pages.
    pub(crate) fn available(&self) -> bool {
        self.settings.tesseract.is_some()
    }

    /// Notes that the current page needs OCR and there is none.
    pub(crate) fn unavailable(composer: &mut Composer) {
        let page = composer.page_number();
        composer.warn(Category::OcrUnavailable, Some(page), "the page is an image and no OCR engine is configured");
    }
}

/// True when hardly a pixel differs from the others: an empty page, or the empty back of a scanned one.
fn is_blank(grey: &::image::GrayImage) -> bool {
    let mut histogram = [0_u64; 256];
    for pixel in grey.as_raw() {
        if let Some(count) = histogram.get_mut(usize::from(*pixel)) {
            *count = count.saturating_add(1);
        }
    }
    let total: u64 = histogram.iter().sum();
    let peak = histogram.iter().enumerate().max_by_key(|(_, count)| **count).map_or(0, |(level, _)| level);
    let near: u64 =
        histogram.iter().enumerate().filter(|(level, _)| level.abs_diff(peak) <= 48).map(|(_, count)| *count).sum();
    total.saturating_sub(near).saturating_mul(20_000) < total
}

/// An exception for bytes that are not what the format demands. Parsers' own messages may quote the document, so they
/// are not passed on.
pub(crate) fn corrupt(what: &str) -> Exception {
    Exception::new(Category::Corrupt, what)
}
