//! TIFF (TIFF 6.0 and its technical notes), every frame of it: the `tiff` crate decodes most; what it lacks is put together
//! from the frame's strips ([`strips`](super::strips)) or from its [`palette`](super::palette).

use std::io::Cursor;

use domain::outcome::{Category, Exception};
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage, metadata::Orientation};
use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult},
    tags::Tag,
};

use super::{super::Scans, allowed, damaged, frame, palette, strips};
use crate::compose::Composer;

pub(super) type Frames<'a> = Decoder<Cursor<&'a [u8]>>;

pub(super) fn read(mut bytes: Vec<u8>, composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    let palettes = palette::unmask(&mut bytes);
    let mut decoder = Decoder::new(Cursor::new(&bytes[..])).map_err(|_| damaged())?;
    loop {
        let (width, height) = decoder.dimensions().map_err(|_| damaged())?;
        allowed(width, height, scans)?;
        let dpi = resolution(&mut decoder).unwrap_or(scans.settings.ocr_dpi);
        let place = decoder.ifd_pointer().map(|place| place.0);
        let picture = if place.is_some_and(|place| palettes.contains(&place)) {
            palette::decode(&mut decoder, width, height)
        } else {
            decode(&mut decoder, width, height).or_else(|| strips::decode(&mut decoder, &bytes, width, height))
        };
        if let Some(mut picture) = picture {
            if let Some(orientation) = orientation(&mut decoder) {
                picture.apply_orientation(orientation);
            }
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

fn resolution(decoder: &mut Frames<'_>) -> Option<u32> {
    let dots = decoder.get_tag(Tag::XResolution).ok()?.into_f32().ok()?;
    // Dots per centimetre (3) are rare, and lines of a fax per centimetre rarer.
    let unit = decoder.find_tag_unsigned::<u32>(Tag::ResolutionUnit).ok().flatten();
    let dpi = if unit == Some(3) { dots * 2.54 } else { dots };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 50 and 1200")]
    (50.0..=1200.0).contains(&dpi).then_some(dpi as u32)
}

fn orientation(decoder: &mut Frames<'_>) -> Option<Orientation> {
    Orientation::from_exif(decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok()??)
}

fn decode(decoder: &mut Frames<'_>, width: u32, height: u32) -> Option<DynamicImage> {
    let color = decoder.colortype().ok()?;
    let bytes = match decoder.read_image().ok()? {
        DecodingResult::U8(bytes) => bytes,
        DecodingResult::U16(words) => words.into_iter().map(|word| word.to_be_bytes()[0]).collect(),
        _ => return None,
    };
    let pixels = (width as usize).saturating_mul(height as usize);
    // Of colours in planes of their own only the first comes, which is grey enough.
    if bytes.len() == pixels && !matches!(color, ColorType::Gray(1 | 2 | 4)) {
        let plane = GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8)?;
        return Some(if matches!(color, ColorType::CMYK(_)) { inverted(plane) } else { plane });
    }
    match color {
        ColorType::Gray(deep @ (1 | 2 | 4)) => {
            GrayImage::from_raw(width, height, levels(&bytes, width, deep)).map(DynamicImage::ImageLuma8)
        }
        ColorType::Multiband { num_samples: 2, bit_depth: 8 | 16 } => {
            GrayAlphaImage::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8)
        }
        ColorType::RGB(8 | 16) => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        ColorType::RGBA(8 | 16) => RgbaImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        ColorType::CMYK(8 | 16) => GrayImage::from_raw(width, height, inks(&bytes)).map(DynamicImage::ImageLuma8),
        _ => None,
    }
}

fn inverted(mut picture: DynamicImage) -> DynamicImage {
    picture.invert();
    picture
}

/// How light four inks leave the paper.
fn inks(bytes: &[u8]) -> Vec<u8> {
    let (pixels, _) = bytes.as_chunks::<4>();
    let light = |[cyan, magenta, yellow, black]: &[u8; 4]| {
        let colours = u16::from(*cyan).saturating_add((*magenta).into()).saturating_add((*yellow).into()) / 3;
        255_u8.saturating_sub(u8::try_from(colours).unwrap_or(255)).saturating_sub(*black)
    };
    pixels.iter().map(light).collect()
}

/// Pixels of `deep` bits, rows padded to whole bytes, to one byte per pixel.
pub(super) fn levels(packed: &[u8], width: u32, deep: u8) -> Vec<u8> {
    let (width, deep) = (width as usize, usize::from(deep.clamp(1, 8)));
    let stride = width.saturating_mul(deep).div_ceil(8).max(1);
    // The largest level is white: the bits of a level are repeated through the byte.
    let spread = match deep {
        1 => 255_u8,
        2 => 85,
        4 => 17,
        _ => 1,
    };
    let pixel = |row: &[u8], at: usize| {
        let bit = at.saturating_mul(deep);
        let byte = row.get(bit >> 3).copied().unwrap_or(0);
        let shift = 8_usize.saturating_sub(deep).saturating_sub(bit & 7);
        let most = 255_u8 >> 8_usize.saturating_sub(deep);
        ((byte >> shift) & most).saturating_mul(spread)
    };
    packed.chunks(stride).flat_map(|row| (0..width).map(move |at| pixel(row, at))).collect()
}

#[cfg(test)]
mod tests {
    use super::levels;

    #[test]
    fn packed_pixels_spread_to_bytes() {
        assert_eq!(levels(&[0b1010_0000, 0b0100_0000], 3, 1), [255, 0, 255, 0, 255, 0]);
        assert_eq!(levels(&[0b0001_1011], 4, 2), [0, 85, 170, 255]);
        assert_eq!(levels(&[0xf0, 0x80], 3, 4), [255, 0, 136]);
    }
}
