//! Frames of a TIFF whose pixels are places in a table of colours (TIFF 6.0, section 5). The `tiff` crate decodes no such frames,
//! but it would decode their places if they were levels of grey: so they are called that, and looked up afterwards.

use std::{collections::HashSet, io::Cursor};

use image::{DynamicImage, GrayImage};
use tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult},
    tags::{ByteOrder, Tag},
};

use super::tiff::{Frames, levels};

/// Values of `PhotometricInterpretation`.
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

/// Calls frames with a palette grey, and gives the places of their directories. Only in files with 32-bit offsets, as all
/// with palettes are.
pub(super) fn unmask(bytes: &mut [u8]) -> HashSet<u64> {
    let mut found = HashSet::new();
    let mut entries = Vec::new();
    let Ok(mut decoder) = Decoder::new(Cursor::new(&*bytes)) else { return found };
    let big_endian = decoder.byte_order() == ByteOrder::BigEndian;
    loop {
        if decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation).ok().flatten() == Some(PALETTE)
            && let Some(place) = decoder.ifd_pointer()
            && let Some(entry) = entry(bytes, place.0, big_endian)
        {
            found.insert(place.0);
            entries.push(entry);
        }
        if !decoder.more_images() || decoder.next_image().is_err() {
            break;
        }
    }
    let grey = if big_endian { BLACK_IS_ZERO.to_be_bytes() } else { BLACK_IS_ZERO.to_le_bytes() };
    for entry in entries {
        if let Some(value) = bytes.get_mut(entry..entry.saturating_add(2)) {
            value.copy_from_slice(&grey);
        }
    }
    found
}

/// Where the value of `PhotometricInterpretation` stands in the directory at `place`.
fn entry(bytes: &[u8], place: u64, big_endian: bool) -> Option<usize> {
    let number = |at: usize| {
        let pair: [u8; 2] = *bytes.get(at..)?.first_chunk()?;
        Some(if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    // The version after the byte order is 42; 43 has 64-bit offsets.
    if number(2)? != 42 {
        return None;
    }
    let place = usize::try_from(place).ok()?;
    let first = place.checked_add(2)?;
    let mut entries = (0..usize::from(number(place)?)).map(|at| at.saturating_mul(12).saturating_add(first));
    let wanted = Tag::PhotometricInterpretation.to_u16();
    entries.find(|at| number(*at) == Some(wanted)).map(|at| at.saturating_add(8))
}

/// The frame in grey: how light each colour of the table is.
pub(super) fn decode(decoder: &mut Frames<'_>, width: u32, height: u32) -> Option<DynamicImage> {
    let table = decoder.get_tag_u16_vec(Tag::ColorMap).ok()?;
    let ColorType::Gray(deep @ (1 | 2 | 4 | 8)) = decoder.colortype().ok()? else { return None };
    let DecodingResult::U8(packed) = decoder.read_image().ok()? else { return None };
    let colours = table.len() / 3;
    let (red, rest) = table.split_at_checked(colours)?;
    let (green, blue) = rest.split_at_checked(colours)?;
    let light: Vec<u8> =
        red.iter().zip(green).zip(blue).map(|((red, green), blue)| lightness(*red, *green, *blue)).collect();
    // A level is its place with the bits repeated, so the first of them are the place.
    let spare = 8_u8.saturating_sub(deep);
    let pixels = levels(&packed, width, deep).into_iter();
    let pixels = pixels.map(|level| light.get(usize::from(level >> spare)).copied().unwrap_or(255));
    GrayImage::from_raw(width, height, pixels.collect()).map(DynamicImage::ImageLuma8)
}

/// ITU-R BT.601 luma of a colour of 16 bits a channel, in 8 bits.
fn lightness(red: u16, green: u16, blue: u16) -> u8 {
    let part = |level: u16, share: u32| u32::from(level).saturating_mul(share);
    let sum = part(red, 299).saturating_add(part(green, 587)).saturating_add(part(blue, 114)) / 1000;
    u8::try_from(sum >> 8).unwrap_or(255)
}
