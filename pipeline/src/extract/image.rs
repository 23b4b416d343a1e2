//! Pictures and scans: every frame of a TIFF, the first of other formats, checked against the pixel limit by its header
//! before anything is decoded; the text comes from OCR.

use std::io::Cursor;

use domain::outcome::{Category, Exception};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader};
use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult},
    tags::Tag,
};

use super::{Scans, corrupt};
use crate::{compose::Composer, format::Format};

pub(super) fn read(
    bytes: Vec<u8>,
    format: Format,
    composer: &mut Composer,
    scans: &mut Scans<'_>,
) -> Result<(), Exception> {
    if format == Format::Tiff {
        return read_tiff(&bytes, composer, scans);
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

fn read_tiff(bytes: &[u8], composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(|_| damaged())?;
    loop {
        let (width, height) = decoder.dimensions().map_err(|_| damaged())?;
        allowed(width, height, scans)?;
        let dpi = decoder
            .get_tag(Tag::XResolution)
            .ok()
            .and_then(|value| value.into_f32().ok())
            .filter(|dpi| (50.0..=1200.0).contains(dpi));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 50 and 1200")]
        let dpi = dpi.map_or(scans.settings.ocr_dpi, |dpi| dpi as u32);
        // The other decoder knows more kinds of pixels, but only the first frame.
        let first = composer.page_number() == 0;
        let other = || image::load_from_memory_with_format(bytes, ImageFormat::Tiff).ok();
        if let Some(picture) = decode_frame(&mut decoder, width, height).or_else(|| first.then(other).flatten()) {
            frame(&picture, dpi, composer, scans)?;
        } else {
            if !composer.begin_page(None, None) {
                return Ok(());
            }
            let page = composer.page_number();
            composer.warn(Category::Corrupt, Some(page), "the frame is damaged or of an unknown kind");
        }
        if composer.is_full() || !decoder.more_images() {
            return Ok(());
        }
        if decoder.next_image().is_err() {
            composer.warn(Category::Partial, None, "the frames after this one are damaged");
            return Ok(());
        }
    }
}

fn decode_frame(decoder: &mut Decoder<Cursor<&[u8]>>, width: u32, height: u32) -> Option<DynamicImage> {
    let color = decoder.colortype().ok()?;
    let pixels = decoder.read_image().ok()?;
    let bytes = match pixels {
        DecodingResult::U8(bytes) => bytes,
        DecodingResult::U16(words) => words.into_iter().map(|word| word.to_be_bytes()[0]).collect(),
        _ => return None,
    };
    match color {
        ColorType::Gray(1) => GrayImage::from_raw(width, height, bits(&bytes, width)).map(DynamicImage::ImageLuma8),
        ColorType::Gray(8 | 16) => GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        ColorType::GrayA(8 | 16) => {
            image::GrayAlphaImage::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8)
        }
        ColorType::RGB(8 | 16) => image::RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        ColorType::RGBA(8 | 16) => image::RgbaImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        _ => None,
    }
}

/// One bit per pixel, rows padded to whole bytes, to one byte per pixel.
fn bits(packed: &[u8], width: u32) -> Vec<u8> {
    let width = width as usize;
    let stride = width.div_ceil(8).max(1);
    let masks = [0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01_u8];
    let pixels = |byte: &u8| masks.map(|mask| if byte & mask == 0 { 0 } else { 255_u8 });
    let row = |row: &[u8]| row.iter().flat_map(pixels).take(width).collect::<Vec<u8>>();
    packed.chunks(stride).flat_map(row).collect()
}

fn frame(picture: &DynamicImage, dpi: u32, composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    let (width, height) = (picture.width(), picture.height());
    #[allow(clippy::cast_precision_loss, reason = "pixels fit in 24 bits")]
    let size = (width as f32 * 72.0 / dpi as f32, height as f32 * 72.0 / dpi as f32);
    if !composer.begin_page(Some(size), None) {
        return Ok(());
    }
    if !scans.available() {
        Scans::unavailable(composer);
        return Ok(());
    }
    scans.recognise(composer, on_white(picture), dpi)
}

/// Grey, with what is transparent shown as paper.
fn on_white(picture: &DynamicImage) -> GrayImage {
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
