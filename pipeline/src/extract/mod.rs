//! Text of documents: one format, one file. Runs in the child.

mod asides;
mod biff;
mod biff12;
mod biff_rows;
mod content_lines;
mod docx;
mod early;
pub(crate) mod early_word;
pub(crate) mod eml;
mod epub;
pub(crate) mod html;
mod ics;
mod image;
mod imported;
mod iwork;
mod json;
mod listing;
pub(crate) mod markup;
mod msg;
mod odf;
mod ods;
mod office;
pub(crate) mod package;
mod pdf;
mod pictures;
pub(crate) mod pkcs7;
mod plain;
mod pptx;
pub(crate) mod rtf;
mod sheet;
mod tnef;
mod vcf;
mod workbook;
mod xls;
mod xlsb;
mod xml;

use std::io;

use domain::{
    outcome::{Category, Exception},
    text::{Text, Warning},
};
use office_oxide::DocumentFormat;

pub(crate) use self::pdf::{AttachedFile, Engines, attached_files};
use sha2::{Digest as _, Sha256};

use crate::{
    compose::Composer, format::Format, limits::Limits, passwords::KeyRing, protection, settings::Settings, sniff,
};

/// A page that must be recognised: grey pixels, row by row.
pub(crate) struct PageImage {
    pub(crate) page: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dpi: u32,
    /// A picture beside the text: without words on it there is no page.
    pub(crate) is_beside: bool,
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
    keys: &KeyRing,
    send: &mut dyn FnMut(PageImage) -> io::Result<()>,
) -> Result<Text, Exception> {
    if bytes.is_empty() {
        return Err(Exception::new(Category::Empty, "the file has no bytes"));
    }
    if format == Format::EncryptedOffice {
        return decrypted(name, bytes, settings, engines, keys, send);
    }
    let mut bytes = bytes;
    protection::unlock(format, &mut bytes, &settings.limits, keys)?;
    let mut composer = Composer::new(&settings.limits);
    let mut scans = Scans { settings, sent: 0, send };
    let package = pictures::beside(format, &bytes, &scans);
    match format {
        Format::Pdf => pdf::read(bytes, engines, keys, &mut composer, &mut scans)?,
        Format::Docx => office::read(bytes, DocumentFormat::Docx, &mut composer)?,
        Format::Doc if early_word::begins(&bytes) => early_word::read(&bytes, &mut composer)?,
        Format::Doc => office::read(bytes, DocumentFormat::Doc, &mut composer)?,
        Format::Pptx => office::read(bytes, DocumentFormat::Pptx, &mut composer)?,
        Format::Ppt => office::read(bytes, DocumentFormat::Ppt, &mut composer)?,
        Format::Xlsx | Format::Xlsb | Format::Xls => sheet::read(bytes, format, &mut composer)?,
        Format::Ods => ods::read(bytes, &mut composer)?,
        Format::Odt | Format::Odp | Format::Odg => odf::read(bytes, &mut composer)?,
        Format::Iwork => iwork::read(bytes, engines, keys, &mut composer, &mut scans)?,
        Format::Rtf => rtf::read(&bytes, &mut composer)?,
        Format::Epub => epub::read(bytes, &mut composer)?,
        Format::Html => html::read(&bytes, &mut composer),
        Format::Xml => xml::read(&bytes, &mut composer),
        Format::Text if sniff::extension(name) == "json" => json::read(&bytes, &mut composer),
        Format::Text | Format::Csv | Format::Markdown => plain::read(&bytes, format, &mut composer),
        Format::Eml => eml::read(&bytes, &mut composer)?,
        Format::Msg => msg::read(bytes, &mut composer)?,
        Format::Tnef => tnef::read(&bytes, &mut composer)?,
        Format::Pkcs7 => pkcs7::read(&bytes, &mut composer)?,
        Format::Ics => ics::read(&bytes, &mut composer),
        Format::Vcf => vcf::read(&bytes, &mut composer),
        Format::Zip
        | Format::Tar
        | Format::Gzip
        | Format::Bzip2
        | Format::Xz
        | Format::Zstd
        | Format::SevenZip
        | Format::Rar
        | Format::Mbox
        | Format::Pst => listing::read(bytes, format, name, &settings.limits, keys, &mut composer)?,
        Format::Png | Format::Jpeg | Format::Tiff | Format::Gif | Format::Bmp | Format::Webp => {
            image::read(bytes, format, &mut composer, &mut scans)?;
        }
        _ => return Err(Exception::new(Category::Unsupported, format!("no reader for {}", format.media_type()))),
    }
    if let Some(package) = package {
        pictures::read(package, &mut composer, &mut scans)?;
    }
    Ok(composer.finish())
}

/// Reads an Office file inside its encryption wrapper; the metadata say what it is.
fn decrypted(
    name: &str,
    bytes: Vec<u8>,
    settings: &Settings,
    engines: &Engines,
    keys: &KeyRing,
    send: &mut dyn FnMut(PageImage) -> io::Result<()>,
) -> Result<Text, Exception> {
    let opened = protection::open(bytes, &settings.limits, keys)?;
    let format = opened.format(name);
    let mut text = document(format, name, opened.package, settings, engines, keys, send)?;
    text.metadata.extra.insert("decrypted_format".to_owned(), format.name().to_owned());
    if !opened.intact {
        let detail = "the integrity check of the encrypted file fails: it was changed after it was encrypted";
        text.warnings.push(Warning { category: Category::Partial, page: None, detail: detail.to_owned() });
    }
    Ok(text)
}

/// What a message has in common with its copies; `None` for other formats and for messages that cannot be read.
pub(crate) fn message_key(format: Format, bytes: &[u8], limits: &Limits) -> Option<[u8; 32]> {
    let mut composer = Composer::new(limits);
    match format {
        Format::Eml => eml::read(bytes, &mut composer).ok()?,
        Format::Msg => msg::read(bytes.to_vec(), &mut composer).ok()?,
        _ => return None,
    }
    let metadata = composer.finish().metadata;
    let hash = metadata.message_hash.unwrap_or_default();
    Some(Sha256::digest(format!("{hash} {}", metadata.content_hash?)).into())
}

/// Where pages without text go.
pub(crate) struct Scans<'a> {
    pub(crate) settings: &'a Settings,
    /// Pages that need to be recognised, so far.
    pub(crate) sent: u32,
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
        if is_blank(&grey) {
            return Ok(());
        }
        if !self.available() {
            self.sent = self.sent.saturating_add(1);
            Self::unavailable(composer);
            return Ok(());
        }
        self.send(composer.page_number(), grey, dpi, false)
    }

    /// Sends a picture that stands beside the text; the caller has begun its page.
    pub(crate) fn recognise_beside(
        &mut self,
        composer: &Composer,
        grey: ::image::GrayImage,
        dpi: u32,
    ) -> Result<(), Exception> {
        self.send(composer.page_number(), grey, dpi, true)
    }

    fn send(&mut self, page: u32, grey: ::image::GrayImage, dpi: u32, is_beside: bool) -> Result<(), Exception> {
        let (width, height) = grey.dimensions();
        let mut grey = grey.into_raw();
        // A picture may bring more pixels than it is large.
        grey.truncate((width as usize).saturating_mul(height as usize));
        let image = PageImage { page, width, height, dpi, is_beside, grey };
        self.sent = self.sent.saturating_add(1);
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
