//! Pictures and scans: every frame of a TIFF, the first of other formats, checked against the pixel limit by its header
//! before anything is decoded, and turned as its orientation says; the text comes from OCR.

mod exif;
mod palette;
mod strips;
mod tiff;

use std::io::Cursor;

use domain::outcome::{Category, Exception};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader};

use super::{Scans, corrupt};
use crate::{compose::Composer, format::Format};

pub(super) fn read(
    bytes: Vec<u8>,
    format: Format,
    composer: &mut Composer,
    scans: &mut Scans<'_>,
) -> Result<(), Exception> {
    exif::describe(&bytes, &mut composer.metadata);
    if format == Format::Tiff {
        return tiff::read(bytes, composer, scans);
    }
    let decodable = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Gif => ImageFormat::Gif,
        Format::Bmp => ImageFormat::Bmp,
        _ => ImageFormat::WebP,
    };
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), decodable).into_decoder().map_err(|_| damaged())?;
    let (width, height) = decoder.dimensions();
    allowed(width, height, scans)?;
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|_| damaged())?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    frame(&picture, scans.settings.ocr_dpi, composer, scans)
}

fn frame(picture: &DynamicImage, dpi: u32, composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    if !composer.begin_page(Some(page_size(picture.width(), picture.height(), dpi)), None) {
        return Ok(());
    }
    if !scans.available() {
        Scans::unavailable(composer);
        return Ok(());
    }
    scans.recognise(composer, on_white(picture), dpi)
}

/// The size in points of a page that is a picture of so many pixels.
#[allow(clippy::cast_precision_loss, reason = "pixels fit in 24 bits")]
pub(super) fn page_size(width: u32, height: u32, dpi: u32) -> (f32, f32) {
    (width as f32 * 72.0 / dpi as f32, height as f32 * 72.0 / dpi as f32)
}

/// Grey, with what is transparent shown as paper.
pub(super) fn on_white(picture: &DynamicImage) -> GrayImage {
    if !picture.color().has_alpha() {
        return picture.to_luma8();
    }
    let mut grey = GrayImage::new(picture.width(), picture.height());
    for (target, source) in grey.pixels_mut().zip(picture.to_luma_alpha8().pixels()) {
        let [level, alpha] = source.0.map(u16::from);
        let mixed = level.saturating_mul(alpha).saturating_add(255_u16.saturating_sub(alpha).saturating_mul(255)) / 255;
        target.0 = [u8::try_from(mixed).unwrap_or(255)];
    }
    grey
}

fn allowed(width: u32, height: u32, scans: &Scans<'_>) -> Result<(), Exception> {
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    if pixels > scans.settings.limits.max_pixels {
        return Err(Exception::new(Category::TooLarge, format!("{width} by {height} pixels are more than allowed")));
    }
    Ok(())
}

fn damaged() -> Exception {
    corrupt("the picture is damaged")
}
