//! Frames of a TIFF that the `tiff` crate does not decode, put together from their strips: fax pages (ITU-T T.4 and T.6) and
//! JPEG with subsampled colours.

use std::ops::Range;

use hayro_ccitt::{DecodeSettings, DecoderContext, EncodingMode};
use image::{DynamicImage, GenericImage as _, GrayImage, ImageFormat, RgbImage};
use tiff::tags::Tag;

use super::tiff::Frames;

/// Values of the Compression tag.
const RUN_LENGTHS: u16 = 2;
const GROUP_3: u16 = 3;
const GROUP_4: u16 = 4;
const JPEG: u16 = 7;

/// The strips of a frame.
struct Strips<'a> {
    bytes: &'a [u8],
    places: Vec<Range<usize>>,
    rows: u32,
    width: u32,
    height: u32,
}

pub(super) fn decode(decoder: &mut Frames<'_>, bytes: &[u8], width: u32, height: u32) -> Option<DynamicImage> {
    let strips = Strips::of(decoder, bytes, width, height)?;
    match number(decoder, Tag::Compression)? {
        method @ (RUN_LENGTHS | GROUP_3 | GROUP_4) => fax(decoder, &strips, method),
        JPEG => jpeg(decoder, &strips),
        _ => None,
    }
}

impl<'a> Strips<'a> {
    fn of(decoder: &mut Frames<'_>, bytes: &'a [u8], width: u32, height: u32) -> Option<Self> {
        let starts = decoder.get_tag_u64_vec(Tag::StripOffsets).ok()?;
        let lengths = decoder.get_tag_u64_vec(Tag::StripByteCounts).unwrap_or_default();
        let place = |(start, at): (&u64, usize)| {
            let start = usize::try_from(*start).ok()?.min(bytes.len());
            // One strip without a length reaches to the end.
            let length = lengths.get(at).and_then(|length| usize::try_from(*length).ok()).unwrap_or(bytes.len());
            Some(start..start.saturating_add(length).min(bytes.len()))
        };
        let places = starts.iter().zip(0..).map(place).collect::<Option<Vec<_>>>()?;
        let rows = decoder.find_tag_unsigned::<u32>(Tag::RowsPerStrip).ok()?.unwrap_or(height).clamp(1, height.max(1));
        Some(Self { bytes, places, rows, width, height })
    }

    /// Each strip's bytes with its first row and how many rows it has.
    fn iter(&self) -> impl Iterator<Item = (&'a [u8], u32, u32)> {
        self.places.iter().zip(0_u32..).filter_map(|(place, at)| {
            let first = at.checked_mul(self.rows).filter(|first| *first < self.height)?;
            let rows = self.rows.min(self.height.saturating_sub(first));
            Some((self.bytes.get(place.clone())?, first, rows))
        })
    }
}

fn number(decoder: &mut Frames<'_>, tag: Tag) -> Option<u16> {
    decoder.find_tag_unsigned::<u16>(tag).ok()?
}

/// Rows of a fax as they arrive.
struct Rows {
    width: usize,
    /// The colour a row begins with.
    paper: u8,
    pixels: Vec<u8>,
    most: usize,
}

impl hayro_ccitt::Decoder for Rows {
    fn push_row(&mut self, changes: &[u32]) {
        if self.pixels.len() >= self.most {
            return;
        }
        let (mut at, mut colour) = (0_usize, self.paper);
        for change in changes {
            let change = (*change as usize).min(self.width);
            self.pixels.extend(std::iter::repeat_n(colour, change.saturating_sub(at)));
            (at, colour) = (change.max(at), !colour);
        }
        self.pixels.extend(std::iter::repeat_n(colour, self.width.saturating_sub(at)));
    }
}

/// A fax page. Rows that are damaged stay white, as on paper.
fn fax(decoder: &mut Frames<'_>, strips: &Strips<'_>, method: u16) -> Option<DynamicImage> {
    // T4Options, bit 0: two-dimensional coding (TIFF 6.0, section 11).
    let two_dimensional = number(decoder, Tag::Unknown(292)).is_some_and(|options| options & 1 == 1);
    let reversed = number(decoder, Tag::FillOrder) == Some(2);
    // The runs of a row begin with what the tag calls zero, which for a fax is white.
    let paper = if number(decoder, Tag::PhotometricInterpretation) == Some(1) { 0 } else { 255 };
    let width = strips.width as usize;
    let mut pixels = Vec::new();
    for (data, _, rows) in strips.iter() {
        let settings = DecodeSettings {
            columns: strips.width,
            rows,
            end_of_block: method != RUN_LENGTHS,
            end_of_line: method == GROUP_3,
            rows_are_byte_aligned: method == RUN_LENGTHS,
            encoding: match method {
                GROUP_4 => EncodingMode::Group4,
                GROUP_3 if two_dimensional => EncodingMode::Group3_2D,
                _ => EncodingMode::Group3_1D,
            },
            strict: false,
        };
        let most = width.saturating_mul(rows as usize);
        let mut found = Rows { width, paper, pixels: Vec::new(), most };
        let turned: Vec<u8>;
        let data = if reversed {
            turned = data.iter().map(|byte| byte.reverse_bits()).collect();
            &turned
        } else {
            data
        };
        // What came before the damage is worth having.
        let _end = hayro_ccitt::decode(data, &mut found, &mut DecoderContext::new(settings));
        found.pixels.resize(most, paper);
        pixels.append(&mut found.pixels);
    }
    let page = GrayImage::from_raw(strips.width, strips.height, pixels)?;
    Some(DynamicImage::ImageLuma8(page))
}

/// Strips that are JPEG files of their own but for the tables they share (TIFF Technical Note 2).
fn jpeg(decoder: &mut Frames<'_>, strips: &Strips<'_>) -> Option<DynamicImage> {
    let tables = decoder.find_tag(Tag::JPEGTables).ok()?.and_then(|tables| tables.into_u8_vec().ok());
    let mut page = RgbImage::new(strips.width, strips.height);
    for (data, first, _) in strips.iter() {
        // The tables end, and the strip begins, with a mark that must not stand in the middle.
        let whole = match tables.as_deref().and_then(|tables| tables.strip_suffix(b"\xff\xd9")) {
            Some(tables) => [tables, data.strip_prefix(b"\xff\xd8")?].concat(),
            None => data.to_vec(),
        };
        let strip = image::load_from_memory_with_format(&whole, ImageFormat::Jpeg).ok()?.into_rgb8();
        let height = strip.height().min(strips.height.saturating_sub(first));
        let width = strip.width().min(strips.width);
        let cut = image::imageops::crop_imm(&strip, 0, 0, width, height).to_image();
        page.copy_from(&cut, 0, first).ok()?;
    }
    Some(DynamicImage::ImageRgb8(page))
}
